"""Small masked models: their tokenizer, their windows, and that they learn what is there to learn."""

from __future__ import annotations

import pytest
import torch

from kexue.language import impact_matrix
from kexue.progress import NullProgress
from kexue.studies.masked_models import listed_tokenizer, small_masked_model, train_masked_model, windows
from kexue.training import training


def test_the_tokenizer_knows_what_is_listed():
    tokenizer = listed_tokenizer(["天", "地", "天", "ab"])
    assert tokenizer.get_vocab() == {"[PAD]": 0, "[UNK]": 1, "[MASK]": 2, "天": 3, "地": 4, "ab": 5}
    ids = tokenizer(["ab", "玄", "天"], is_split_into_words=True)["input_ids"]
    assert ids == [5, tokenizer.unk_token_id, 3]


def test_windows_overlap_by_half():
    tokenizer = listed_tokenizer("abcdef")
    rows = windows(["abc", "def", "x"], tokenizer, length=4)
    assert rows.tolist() == [[3, 4, 5, 6], [5, 6, 7, 8]]
    assert rows.dtype == torch.int64


def test_a_model_learns_pairs(tmp_path):
    """Words ab and cd in any order: what is within a word impacts its neighbour, what is not does not."""
    tokenizer = listed_tokenizer("abcd")
    rng = torch.Generator().manual_seed(0)
    pairs = torch.tensor([[3, 4], [5, 6]])
    rows = pairs[torch.randint(2, (512, 4), generator=rng)].flatten(1)
    found = []
    for _ in range(2):  # the second time it is read
        with training("pairs", seed=1, directory=tmp_path, progress=NullProgress()) as run:
            model = small_masked_model(tokenizer, width=16, layers=1, heads=2)
            model = train_masked_model(run, model, rows, tokenizer, steps=150, batch=64, hidden=0.2, rate=5e-3)
        assert not model.training
        (F,) = impact_matrix(model, tokenizer, [list("abcdab")], metric="prob", pairs="adjacent")
        found.append(F)
        between = (F.diagonal(1) + F.diagonal(-1)) / 2
        assert between[::2].min() > between[1::2].max() + 0.1
    assert found[0].diagonal(1).tolist() == pytest.approx(found[1].diagonal(1).tolist(), abs=1e-6)
