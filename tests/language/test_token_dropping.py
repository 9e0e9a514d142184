"""What stays after tokens are dropped: as many as asked for, any equally likely, in order, where they were."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor, nn

from kexue.language.token_dropping import (
    _OFFSET_MODELS,
    DropToken,
    DropTokenCollator,
    attention_column_mask,
    drop_tokens,
)

# Sizes of the smallest encoders.
SIZES: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 40,
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch_of(lengths: list[int], *, width: int | None = None, left: bool = False) -> dict[str, Tensor]:
    """Sequences of distinct tokens from 10 on, between 1 and 2, padded with 0."""
    width = max(lengths) if width is None else width
    ids = torch.zeros(len(lengths), width, dtype=torch.int64)
    for row, n in enumerate(lengths):
        start = width - n if left else 0
        ids[row, start : start + n] = torch.arange(n) + 10
        if n:
            ids[row, start], ids[row, start + n - 1] = 1, 2
    return {"input_ids": ids, "attention_mask": (ids > 0).long()}


def special(batch: dict[str, Tensor]) -> Tensor:
    return (batch["input_ids"] == 1) | (batch["input_ids"] == 2)


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.integers(0, 20), min_size=1, max_size=6),
    st.floats(0, 0.99),
    st.booleans(),
    st.booleans(),
    st.integers(0, 100),
)
def test_what_stays(lengths: list[int], rate: float, protect: bool, left: bool, seed: int) -> None:
    batch = batch_of(lengths, left=left)
    mask = special(batch) if protect else None
    short = drop_tokens(batch, rate, special_tokens_mask=mask, generator=seeded(seed))
    expected = []
    for row, n in enumerate(lengths):
        protected = 0 if mask is None else int(mask[row].sum())
        expected.append(min(max(protected, round((1 - rate) * n), 1), n))
        real = short["attention_mask"][row] > 0
        kept, places = short["input_ids"][row][real], short["position_ids"][row][real]
        assert len(kept) == (expected[-1] if rate else n)
        assert (places.diff() > 0).all()
        assert torch.equal(batch["input_ids"][row][places], kept)  # each has the position that it had
        assert (batch["attention_mask"][row][places] == 1).all()
        if protect and n:
            assert {1, 2} & set(batch["input_ids"][row].tolist()) <= set(kept.tolist())
    if rate:
        assert short["input_ids"].shape == (len(lengths), max(expected))


def test_at_rate_zero_only_positions_are_added() -> None:
    batch = batch_of([5, 3])
    same = drop_tokens(batch, 0.0)
    assert set(same) == {"input_ids", "attention_mask", "position_ids"}
    assert all(torch.equal(same[name], value) for name, value in batch.items())
    assert same["position_ids"].tolist() == [[0, 1, 2, 3, 4]] * 2
    assert set(batch) == {"input_ids", "attention_mask"}


def test_protected_sequences_stay_whole_and_one_token_stays_always() -> None:
    batch = batch_of([6, 4])
    everything = torch.ones(2, 6, dtype=torch.bool)
    whole = drop_tokens(batch, 0.9, special_tokens_mask=everything)
    assert torch.equal(whole["input_ids"], batch["input_ids"])
    assert drop_tokens(batch, 0.99)["attention_mask"].tolist() == [[1], [1]]
    assert drop_tokens(batch_of([4, 0]), 0.5)["attention_mask"].tolist() == [[1, 1], [0, 0]]
    assert drop_tokens(batch_of([0, 0], width=3), 0.5)["input_ids"].shape == (2, 0)


def test_what_belongs_to_tokens_goes_with_them_and_the_rest_stays() -> None:
    batch: dict[str, Any] = batch_of([9, 5, 2])
    real = batch["attention_mask"] > 0
    batch["labels"] = torch.where(real, batch["input_ids"] * 2, -100)
    batch["token_type_ids"] = (batch["input_ids"] > 12).long()
    batch["weights"] = batch["input_ids"] / 7
    batch["classes"] = torch.arange(3)
    batch["name"] = "three"
    short = drop_tokens(batch, 0.5, special_tokens_mask=special(batch), generator=seeded())
    kept = short["attention_mask"] > 0
    ids = short["input_ids"]
    assert torch.equal(short["labels"], torch.where(kept, ids * 2, -100))
    assert torch.equal(short["token_type_ids"], (ids > 12).long())
    assert torch.equal(short["weights"], ids / 7)
    assert torch.equal(short["classes"], batch["classes"])
    assert short["name"] == "three"


def test_new_padding_looks_like_the_old() -> None:
    batch = batch_of([8, 4])
    batch["input_ids"][1, 4:] = 33
    batch["labels"] = torch.full((2, 8), -1)
    short = drop_tokens(batch, 0.5, generator=seeded())
    assert short["input_ids"][1, 2:].tolist() == [33, 33]
    assert short["labels"][1, 2:].tolist() == [-1, -1]
    # Where nothing was padded, what is protected can still make rows of different lengths.
    batch = batch_of([6, 6])
    batch["labels"] = batch["input_ids"].clone()
    mask = torch.zeros(2, 6, dtype=torch.bool)
    mask[0] = True
    short = drop_tokens(batch, 0.5, special_tokens_mask=mask, generator=seeded())
    assert short["labels"][1, 3:].tolist() == [-100] * 3
    assert short["attention_mask"].tolist() == [[1] * 6, [1, 1, 1, 0, 0, 0]]


def test_the_mask_in_the_batch_is_taken() -> None:
    batch = batch_of([10])
    batch["special_tokens_mask"] = special(batch).long()
    for seed in range(20):
        short = drop_tokens(batch, 0.8, generator=seeded(seed))
        assert short["input_ids"].tolist() == [[1, 2]]
        assert short["special_tokens_mask"].tolist() == [[1, 1]]


def test_every_token_is_as_likely_to_stay_as_any_other() -> None:
    batch = batch_of([12] * 2000 + [7] * 1000)
    short = drop_tokens(batch, 0.4, special_tokens_mask=special(batch), generator=seeded())
    real = short["attention_mask"] > 0
    for rows, n in ((slice(2000), 12), (slice(2000, None), 7)):
        kept = round(0.6 * n) - 2
        places = short["position_ids"][rows][real[rows]]
        counts = torch.bincount(places, minlength=n)[1 : n - 1].double()
        assert counts.sum() == kept * len(batch["input_ids"][rows])
        # Drawn without replacement: less spread than χ² by the share that is dropped.
        expected = counts.mean()
        statistic = ((counts - expected) ** 2 / expected).sum() / (1 - kept / (n - 2)) * (n - 3) / (n - 2)
        assert stats.chi2.sf(float(statistic), n - 3) > 1e-3


def test_a_generator_gives_the_same_again() -> None:
    batch = batch_of([30] * 4)
    one, other = (drop_tokens(batch, 0.3, generator=seeded(1)) for _ in range(2))
    assert torch.equal(one["input_ids"], other["input_ids"])
    assert not torch.equal(one["input_ids"], drop_tokens(batch, 0.3, generator=seeded(2))["input_ids"])


def test_positions_that_are_given_are_kept_and_an_offset_counts_real_tokens() -> None:
    batch = batch_of([5, 3], left=True)
    assert drop_tokens(batch, 0.0, position_offset=2)["position_ids"].tolist() == [[2, 3, 4, 5, 6], [1, 1, 2, 3, 4]]
    batch["position_ids"] = torch.arange(10).reshape(2, 5)
    short = drop_tokens(batch, 0.5, position_offset=2, generator=seeded())
    kept = short["attention_mask"] > 0
    assert torch.equal(batch["input_ids"].flatten()[short["position_ids"][kept]], short["input_ids"][kept])


def test_long_sequences_and_integers_of_any_kind() -> None:
    for length in (1, 2, 3, 5000):
        batch = {"input_ids": torch.arange(2 * length, dtype=torch.int32).reshape(2, length)}
        short = drop_tokens(batch, 0.5, generator=seeded())
        assert short["input_ids"].shape == (2, max(round(0.5 * length), 1))
        assert short["input_ids"].dtype == torch.int32
        assert (short["input_ids"].diff() > 0).all()


@pytest.mark.parametrize(
    ("batch", "rate", "options", "error", "message"),
    [
        ({}, 0.1, {}, TypeError, "input_ids must be a tensor of integers, got NoneType"),
        ({"input_ids": torch.ones(2, 3)}, 0.1, {}, TypeError, "input_ids must be a tensor of integers"),
        ({"input_ids": torch.ones(3).long()}, 0.1, {}, ValueError, r"input_ids must have shape \(B, L\), got \(3,\)"),
        (batch_of([3]), 1.0, {}, ValueError, r"rate must be in \[0, 1\), got 1.0"),
        (batch_of([3]), -0.1, {}, ValueError, "rate must be in"),
        (batch_of([3]), float("nan"), {}, ValueError, "rate must be in"),
        (batch_of([3]), 0.1, {"position_offset": -1}, ValueError, "position_offset must be"),
        (
            batch_of([3]),
            0.1,
            {"special_tokens_mask": torch.ones(3)},
            ValueError,
            r"special_tokens_mask must have the shape of input_ids, \(1, 3\), got \(3,\)",
        ),
        (
            batch_of([3]) | {"attention_mask": torch.ones(1, 1, 3, 3)},
            0.1,
            {},
            ValueError,
            "attention_mask must have the shape",
        ),
    ],
)
def test_bad_input(batch: dict[str, Any], rate: float, options: dict[str, Any], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        drop_tokens(batch, rate, **options)


# -- encoders


def encoder(kind: str, **options: Any) -> nn.Module:
    from transformers import AutoConfig, AutoModel

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoModel.from_config(AutoConfig.for_model(kind, **SIZES | options)).eval()


class PreNormEncoder(nn.Module):
    """Layers of torch that normalise first, after positions were added."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(40, 16), nn.Embedding(40, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, ids: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        return self.layers(self.words(ids) + self.places(positions), src_key_padding_mask=~mask)


@pytest.mark.parametrize("kind", ["bert", "pre-norm"])
def test_dropping_is_removing_columns_of_the_attention(kind: str) -> None:
    batch = batch_of([14, 9, 11])
    short = drop_tokens(batch, 0.4, special_tokens_mask=special(batch), generator=seeded())
    kept = short["attention_mask"] > 0
    keep = torch.zeros_like(batch["input_ids"], dtype=torch.bool)
    for row in range(3):
        keep[row, short["position_ids"][row][kept[row]]] = True
    columns = attention_column_mask(keep)
    assert columns.shape == (3, 1, 1, 14)
    with torch.no_grad():
        if kind == "bert":
            model = encoder("bert")
            dropped = model(**short).last_hidden_state
            whole = model(batch["input_ids"], attention_mask=columns.expand(3, 1, 14, 14)).last_hidden_state
        else:
            torch.manual_seed(0)
            model = PreNormEncoder().eval()
            dropped = model(short["input_ids"], short["position_ids"], kept)
            whole = model(batch["input_ids"], torch.arange(14).expand(3, 14), columns[:, 0, 0])
    torch.testing.assert_close(dropped[kept], whole[keep], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["bert", "electra", *sorted(_OFFSET_MODELS)])
def test_positions_are_those_of_the_model(kind: str) -> None:
    own = {"lilt": {"hidden_size": 48}, "xmod": {"default_language": "en_XX"}, "luke": {"entity_vocab_size": 4}}
    options: dict[str, Any] = {"pad_token_id": 3, **own.get(kind, {})}
    model = encoder(kind, **options)
    ids = batch_of([9, 6])["input_ids"]
    real = ids > 0
    batch = {"input_ids": torch.where(real, ids + 3, 3), "attention_mask": real.long()}
    collator = DropTokenCollator(lambda features: features[0], 0.0, config=model.config)
    with torch.no_grad():
        expected = model(**batch)[0][:, :9]  # Longformer pads to a multiple of its window
        ours = model(**collator([batch]))[0][:, :9]
    torch.testing.assert_close(ours[real], expected[real])


# -- the collator


def tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghij"]
    plain = Tokenizer(models.WordLevel({word: k for k, word in enumerate(words)}, unk_token="[UNK]"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    plain.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {f"{kind}_token": f"[{kind.upper()}]" for kind in ("pad", "unk", "cls", "sep", "mask")}
    return PreTrainedTokenizerFast(tokenizer_object=plain, **names)


def test_collators_of_transformers_can_be_wrapped() -> None:
    from transformers import DataCollatorForLanguageModeling, DataCollatorWithPadding

    tokens = tokenizer()
    features = [tokens(text) for text in ("a b c d e f g h", "a x c d", "j")]
    padded = DropTokenCollator(DataCollatorWithPadding(tokens), 0.5, generator=seeded())([dict(f) for f in features])
    assert padded["input_ids"].shape == (3, 5)
    assert padded["attention_mask"].sum(1).tolist() == [5, 3, 2]
    for row in padded["input_ids"].tolist():
        assert row[0] == 2
        assert 3 in row
    torch.manual_seed(0)
    masking = DataCollatorForLanguageModeling(tokens, mlm_probability=0.5)
    batch = DropTokenCollator(masking, 0.5)([dict(f) for f in features])
    assert batch["labels"].shape == batch["input_ids"].shape == batch["position_ids"].shape == (3, 5)
    assert (batch["labels"][batch["attention_mask"] == 0] == -100).all()


def test_masked_tokens_are_not_protected() -> None:
    tokens = tokenizer()
    features = [{"input_ids": [2, 4, 4, 4, 4, 4, 4, 3]}]
    from transformers import DataCollatorWithPadding

    short = DropTokenCollator(DataCollatorWithPadding(tokens), 0.75)(features)
    assert short["input_ids"].tolist() == [[2, 3]]


def test_bad_collators() -> None:
    with pytest.raises(TypeError, match="collator must be callable, got int"):
        DropTokenCollator(3, 0.1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="rate must be in"):
        DropTokenCollator(list, 1.5)  # type: ignore[arg-type]

    class Config:
        model_type = "roberta"
        pad_token_id = None

    with pytest.raises(ValueError, match="config of a roberta model must have a pad_token_id"):
        DropTokenCollator(list, 0.1, config=Config())  # type: ignore[arg-type]
    assert DropTokenCollator(list, 0.1, config=Config(), position_offset=5).position_offset == 5  # type: ignore[arg-type]


# -- the module


def test_the_module_drops_in_training_only() -> None:
    x = torch.randn(3, 10, 4, generator=seeded())
    drop = DropToken(0.3)
    kept, index = drop(x, generator=seeded())
    assert kept.shape == (3, 7, 4)
    assert (index.diff() > 0).all()
    assert torch.equal(kept, torch.stack([row[chosen] for row, chosen in zip(x, index, strict=True)]))
    whole, index = drop.eval()(x)
    assert whole is x
    assert torch.equal(index, torch.arange(10).expand(3, 10))
    assert DropToken(0.99)(x)[0].shape == (3, 1, 4)
    assert DropToken(0.0)(x)[0] is x
    assert DropToken(0.5)(x[:, :0])[0].shape == (3, 0, 4)


def test_restored_tokens_stand_where_they_stood() -> None:
    x = torch.randn(3, 10, 4, generator=seeded())
    drop = DropToken(0.6)
    kept, index = drop(x, generator=seeded())
    here = torch.zeros(3, 10, dtype=torch.bool).scatter(1, index, True)
    assert torch.equal(drop.restore(kept, index, length=10), x * here[..., None])
    token = torch.arange(4.0)
    filled = drop.restore(kept, index, length=10, fill=token)
    assert torch.equal(filled[here], x[here])
    assert torch.equal(filled[~here], token.expand(int((~here).sum()), 4))


def test_gradients_go_through_module_and_restoration() -> None:
    drop = DropToken(0.5)
    x = torch.randn(2, 6, 3, dtype=torch.float64, generator=seeded(), requires_grad=True)
    token = torch.randn(3, dtype=torch.float64, generator=seeded(1), requires_grad=True)

    def there_and_back(x: Tensor, token: Tensor) -> Tensor:
        kept, index = drop(x, generator=seeded())
        return drop.restore(kept**2, index, length=6, fill=token)

    assert torch.autograd.gradcheck(there_and_back, (x, token))


def test_the_module_draws_every_position_equally_often() -> None:
    _, index = DropToken(0.4)(torch.zeros(3000, 10, 1), generator=seeded())
    counts = torch.bincount(index.flatten(), minlength=10).double()
    statistic = ((counts - 1800) ** 2 / 1800).sum() / 0.4 * 9 / 10
    assert stats.chi2.sf(float(statistic), 9) > 1e-3


@pytest.mark.filterwarnings("ignore::EncodingWarning:torch")
def test_the_module_is_one_graph() -> None:
    drop = DropToken(0.5)
    compiled = torch.compile(lambda x: drop(x), backend="aot_eager", fullgraph=True)
    x = torch.randn(2, 6, 3, generator=seeded())
    kept, index = compiled(x)
    assert torch.equal(kept, x.gather(1, index[:, :, None].expand(-1, -1, 3)))


def test_bad_input_of_the_module_and_the_mask() -> None:
    with pytest.raises(ValueError, match="rate must be in"):
        DropToken(1.0)
    with pytest.raises(ValueError, match=r"x must have shape \(B, L, D\), got \(2, 3\)"):
        DropToken(0.5)(torch.ones(2, 3))
    with pytest.raises(TypeError, match="x must be a floating-point tensor"):
        DropToken(0.5)(torch.ones(2, 3, 4).long())
    with pytest.raises(ValueError, match="x and keep_index must have shapes"):
        DropToken(0.5).restore(torch.ones(2, 3, 4), torch.zeros(2, 2).long(), length=5)
    with pytest.raises(ValueError, match="K <= 2"):
        DropToken(0.5).restore(torch.ones(2, 3, 4), torch.zeros(2, 3).long(), length=2)
    with pytest.raises(TypeError, match="keep must be a tensor of bool, got torch.float32"):
        attention_column_mask(torch.ones(2, 3))
    with pytest.raises(ValueError, match=r"keep must have shape \(B, L\), got \(3,\)"):
        attention_column_mask(torch.ones(3, dtype=torch.bool))
