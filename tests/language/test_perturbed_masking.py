"""Perturbed masking: a closed form, the literal loop, what the model is shown, how it is left, and bad input."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForMaskedLM, BertModel, PreTrainedTokenizerFast

from kexue.language.perturbed_masking import impact_matrix
from kexue.training import reduction

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = ["the", "cat", "dog", "play", "##ing", "##s", "un", "##know", "##able", "is", "."]
VOCABULARY = {piece: k for k, piece in enumerate([*SPECIAL, *PIECES])}
MASK = VOCABULARY["[MASK]"]
SENTENCES = [
    ["the", "cats", "is", "playing", "."],
    ["unknowable", "dogs"],
    ["the"],
    [],
    ["the", "cat", "playings", "dog", "is", "the", "cat", "."],
    ["unknowable", "dogs"],
]


def tiny_tokenizer(**special):
    plain = Tokenizer(models.WordPiece(VOCABULARY, unk_token="[UNK]"))
    plain.normalizer = normalizers.BertNormalizer()  # drops control characters: a word of them has no token
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    plain.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", VOCABULARY["[CLS]"]), ("[SEP]", VOCABULARY["[SEP]"])]
    )
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]", "mask_token": "[MASK]", **special}
    return PreTrainedTokenizerFast(tokenizer_object=plain, **names)


def tiny_bert(kind=BertForMaskedLM, seed=0, **options):
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=24,
        initializer_range=0.5,
        **options,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return kind(config)


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_tokenizer()


@pytest.fixture(scope="module")
def bert():
    return tiny_bert()


class Toy(torch.nn.Module):
    """The state at i is the sum of the other visible embeddings, each divided by its distance from i."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.table = torch.nn.Parameter(torch.randn(len(VOCABULARY), 6, generator=generator))
        self.seen = []

    def forward(self, input_ids, attention_mask, output_hidden_states=False):
        assert not self.training
        assert not torch.is_grad_enabled()
        self.seen += [row[keep.bool()].tolist() for row, keep in zip(input_ids, attention_mask, strict=True)]
        visible = self.table[input_ids] * ((input_ids != MASK) & attention_mask.bool())[..., None]
        at = torch.arange(input_ids.shape[1])
        weight = 1 / (at[:, None] - at).abs().clamp(min=1) * (at[:, None] != at)
        return SimpleNamespace(hidden_states=(self.table[input_ids], weight @ visible))


def ranges(tokenizer, sentence):
    """Token positions of the words of a sentence, and its ids."""
    encoded = tokenizer(sentence, is_split_into_words=True)
    of_token = encoded.word_ids()
    return [[k for k, w in enumerate(of_token) if w == n] for n in range(len(sentence))], encoded["input_ids"]


def literal(model, tokenizer, sentence, layer, metric):
    """One forward for each side of each entry, straight from the formula."""
    words, ids = ranges(tokenizer, sentence)

    def look(hidden, at):
        masked = [MASK if k in hidden else token for k, token in enumerate(ids)]
        with torch.no_grad():
            output = model(input_ids=torch.tensor([masked]), output_hidden_states=True)
        if metric in ("euclidean", "cosine"):
            return output.hidden_states[layer][0, at].mean(0)
        return output.logits[0, at].log_softmax(-1)

    def distance(first, second, truth):
        if metric == "euclidean":
            return (first - second).square().sum().sqrt()
        if metric == "cosine":
            return 1 - first @ second / (first.norm() * second.norm())
        if metric == "kl":
            return torch.nn.functional.kl_div(second, first, log_target=True, reduction="sum") / len(truth)
        first, second = (one[range(len(truth)), truth] for one in (first, second))
        return (first - second).mean() if metric == "logprob" else (first.exp() - second.exp()).mean()

    F = np.zeros((len(words), len(words)), dtype=np.float32)
    for i, j in itertools.permutations(range(len(words)), 2):
        truth = [ids[k] for k in words[i]]
        F[i, j] = distance(look(words[i], words[i]), look(words[i] + words[j], words[i]), truth)
    return F


def test_the_closed_form_of_a_linear_model(tokenizer):
    model = Toy()
    for sentence, F in zip(SENTENCES, impact_matrix(model, tokenizer, SENTENCES), strict=True):
        words, ids = ranges(tokenizer, sentence) if sentence else ([], [])
        expected = np.zeros((len(words), len(words)))
        for i, j in itertools.permutations(range(len(words)), 2):
            lost = sum(model.table[ids[q]].detach() / abs(p - q) for p in words[i] for q in words[j]) / len(words[i])
            expected[i, j] = lost.norm()
        assert F.dtype == np.float32
        np.testing.assert_allclose(F, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "prob", "logprob", "kl"])
def test_the_literal_loop(tokenizer, bert, metric):
    bert.eval()
    found = impact_matrix(bert, tokenizer, SENTENCES, metric=metric, max_batch_tokens=50)
    assert [F.shape for F in found] == [(len(s), len(s)) for s in SENTENCES]
    for sentence, F in zip(SENTENCES, found, strict=True):
        expected = literal(bert, tokenizer, sentence, -1, metric) if sentence else np.zeros((0, 0))
        np.testing.assert_allclose(F, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(found[4]).max() > 1e-3


@pytest.mark.parametrize("metric", ["euclidean", "prob", "kl"])
@pytest.mark.parametrize("pairs", ["all", "adjacent"])
def test_packing_does_not_matter(tokenizer, bert, metric, pairs):
    whole = impact_matrix(bert, tokenizer, SENTENCES, metric=metric, pairs=pairs)
    for budget in (1, 13, 40, 200):
        parts = impact_matrix(bert, tokenizer, SENTENCES, metric=metric, pairs=pairs, max_batch_tokens=budget)
        alone = [
            impact_matrix(bert, tokenizer, [sentence], metric=metric, pairs=pairs, max_batch_tokens=budget)[0]
            for sentence in SENTENCES
        ]
        for first, second, third in zip(whole, parts, alone, strict=True):
            np.testing.assert_allclose(first, second, atol=1e-4)
            np.testing.assert_allclose(first, third, atol=1e-4)


def test_every_input_is_shown_once(tokenizer):
    sentence = SENTENCES[0]
    words, ids = ranges(tokenizer, sentence)
    n = len(words)

    def hidden(*which):
        positions = {k for one in which for k in words[one]}
        return [MASK if k in positions else token for k, token in enumerate(ids)]

    model = Toy()
    impact_matrix(model, tokenizer, [sentence, sentence], max_batch_tokens=30)
    expected = [hidden(i) for i in range(n)] + [hidden(i, j) for i, j in itertools.combinations(range(n), 2)]
    assert sorted(model.seen) == sorted(expected)
    assert len(model.seen) == n * (n + 1) // 2

    model = Toy()
    impact_matrix(model, tokenizer, [sentence], pairs="adjacent", max_batch_tokens=30)
    assert sorted(model.seen) == sorted([hidden(i) for i in range(n)] + [hidden(i, i + 1) for i in range(n - 1)])
    assert len(model.seen) == 2 * n - 1


def test_batches_keep_to_their_budget(tokenizer):
    shapes = []

    class Watched(Toy):
        def forward(self, input_ids, attention_mask, output_hidden_states=False):
            shapes.append(tuple(input_ids.shape))
            return super().forward(input_ids, attention_mask, output_hidden_states)

    impact_matrix(Watched(), tokenizer, SENTENCES, max_batch_tokens=64)
    assert all(rows * width <= 64 for rows, width in shapes)
    assert sum(rows for rows, _ in shapes[:-1]) / (len(shapes) - 1) >= 4


def test_adjacent_pairs_are_the_band_of_all(tokenizer, bert):
    every = impact_matrix(bert, tokenizer, SENTENCES)
    band = impact_matrix(bert, tokenizer, SENTENCES, pairs="adjacent")
    for F, B in zip(every, band, strict=True):
        near = np.abs(np.subtract.outer(np.arange(len(F)), np.arange(len(F)))) <= 1
        np.testing.assert_allclose(B[near], F[near], atol=1e-5)
        assert np.isnan(B[~near]).all()


def test_units_of_a_sentence(tokenizer, bert):
    text = "the cats is playing"  # the, cat, ##s, is, play, ##ing
    (tokens,) = impact_matrix(bert, tokenizer, [text])
    assert tokens.shape == (6, 6)
    (words,) = impact_matrix(bert, tokenizer, [text.split()])
    (same,) = impact_matrix(bert, tokenizer, [text], spans=[[(0, 1), (1, 3), (3, 4), (4, 6)]])
    np.testing.assert_allclose(words, same, atol=1e-5)
    (some,) = impact_matrix(bert, tokenizer, [text.split()], spans=[[(1, 3), (4, 6)]])
    np.testing.assert_allclose(some, words[np.ix_([1, 3], [1, 3])], atol=1e-5)
    none, empty = impact_matrix(bert, tokenizer, [text, ""], spans=[[], []])
    assert none.shape == empty.shape == (0, 0)


def test_layers(tokenizer, bert):
    sentence = SENTENCES[4]
    body = tiny_bert(BertModel)
    body.load_state_dict(bert.bert.state_dict(), strict=False)
    (last,) = impact_matrix(bert, tokenizer, [sentence])
    for model, layer in ((bert, 2), (body, -1), (body, np.int64(2))):
        np.testing.assert_allclose(impact_matrix(model, tokenizer, [sentence], layer=layer)[0], last, atol=1e-5)
    (middle,) = impact_matrix(bert, tokenizer, [sentence], layer=1)
    np.testing.assert_allclose(middle, literal(bert.eval(), tokenizer, sentence, 1, "euclidean"), atol=1e-4)
    # The embedding of a hidden word knows nothing of the others.
    assert np.abs(impact_matrix(bert, tokenizer, [sentence], layer=0)[0]).max() < 1e-5
    for layer in (3, -4):
        with pytest.raises(ValueError, match=rf"layer must be in -3 \.\. 2 for this model, got {layer}"):
            impact_matrix(bert, tokenizer, [sentence], layer=layer)


def test_the_model_is_left_as_it_was(tokenizer):
    model = tiny_bert(hidden_dropout_prob=0.5)
    model.train()
    model.bert.encoder.layer[0].eval()
    flags = [module.training for module in model.modules()]
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    first = impact_matrix(model, tokenizer, SENTENCES, metric="prob", device="cpu")
    second = impact_matrix(model, tokenizer, SENTENCES, metric="prob")
    for F, G in zip(first, second, strict=True):
        assert (F == G).all()  # no dropout
    with pytest.raises(ValueError, match="layer must be"):
        impact_matrix(model, tokenizer, SENTENCES, layer=9)
    assert [module.training for module in model.modules()] == flags
    assert all((value == weights[name]).all() for name, value in model.state_dict().items())
    assert not model.get_output_embeddings()._forward_pre_hooks
    assert torch.is_grad_enabled()


def test_predictions_without_a_known_head(tokenizer, bert):
    """A module that only gives logits is read as it is."""

    class Plain(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = bert

        def forward(self, **arguments):
            return self.inner(**arguments)

    for metric in ("prob", "kl"):
        (F,) = impact_matrix(Plain(), tokenizer, SENTENCES[:1], metric=metric)
        np.testing.assert_allclose(F, impact_matrix(bert, tokenizer, SENTENCES[:1], metric=metric)[0], atol=1e-5)
    with pytest.raises(TypeError, match="metric='kl' needs .* AutoModelForMaskedLM .* got Toy"):

        class Bare(Toy):
            def forward(self, input_ids, attention_mask):
                return super().forward(input_ids, attention_mask)

        Bare.__name__ = "Toy"
        impact_matrix(Bare(), tokenizer, SENTENCES[:1], metric="kl")


class _Sent(Exception):
    """A process of the test has sent its share, and waits for the others."""


@pytest.mark.parametrize("count", [2, 8])
def test_processes_share_the_sentences(tokenizer, monkeypatch, count):
    model = Toy()
    expected = impact_matrix(model, tokenizer, SENTENCES)
    shown, model.seen = len(model.seen), []
    sent = {}

    def gather(content, *, device):
        sent[reduction.process_rank()] = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        if len(sent) < count:
            raise _Sent
        return [sent[rank] for rank in range(count)]

    monkeypatch.setattr(reduction, "process_count", lambda: count)
    monkeypatch.setattr(reduction, "gather_bytes", gather)
    for rank in range(1, count):
        monkeypatch.setattr(reduction, "process_rank", lambda rank=rank: rank)
        with pytest.raises(_Sent):
            impact_matrix(model, tokenizer, SENTENCES)
    monkeypatch.setattr(reduction, "process_rank", lambda: 0)
    found = impact_matrix(model, tokenizer, SENTENCES)
    assert len(model.seen) == shown  # together they did the work of one
    for F, G in zip(found, expected, strict=True):
        np.testing.assert_allclose(F, G, atol=1e-5)


TWO = """
import sys
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

from kexue.language import impact_matrix
from kexue.training.process import accelerator
from kexue.training.reduction import process_count, process_rank

torch.set_num_threads(1)
words = ["[PAD]", "[UNK]", "[MASK]", *"abcdefgh"]
plain = Tokenizer(models.WordLevel({word: k for k, word in enumerate(words)}, unk_token="[UNK]"))
plain.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="[PAD]", mask_token="[MASK]")
torch.manual_seed(0)
config = BertConfig(vocab_size=11, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
                    initializer_range=0.5)
model = BertForMaskedLM(config)
assert accelerator().num_processes == process_count()
shown = []
model.get_input_embeddings().register_forward_pre_hook(lambda _, arguments: shown.append(len(arguments[0])))
sentences = [list("abcde"), list("ha"), [], ["c"], list("fgabhcd"), list("ha")]
for metric in ("euclidean", "kl"):
    found = impact_matrix(model, tokenizer, sentences, metric=metric)
    np.savez(Path(sys.argv[1]) / f"{metric}-{process_rank()}.npz", *found)
(Path(sys.argv[1]) / f"shown-{process_rank()}").write_text(str(sum(shown)), encoding="utf-8")
"""


def test_two_real_processes(tmp_path):
    """Under torchrun each computes a part, and all have the whole, as one process alone."""
    if not torch.distributed.is_gloo_available():
        pytest.skip("this torch has no gloo")
    (tmp_path / "two.py").write_text(TWO, encoding="utf-8")
    loopback = {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}
    shown, found = {}, {}
    for count, launcher in ((1, []), (2, ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"])):
        out = tmp_path / str(count)
        out.mkdir()
        outcome = subprocess.run(
            [sys.executable, *launcher, "two.py", str(out)],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1", **loopback},
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=300,
        )
        assert outcome.returncode == 0, outcome.stderr[-3000:]
        shown[count] = [int(path.read_text(encoding="utf-8")) for path in out.glob("shown-*")]
        found[count] = {path.name: list(np.load(path).values()) for path in sorted(out.glob("*.npz"))}
    (alone,), both = shown[1], shown[2]
    assert sum(both) == alone == 2 * (15 + 3 + 28)
    assert min(both) > 0
    for metric in ("euclidean", "kl"):
        expected = found[1][f"{metric}-0.npz"]
        assert [F.shape for F in expected] == [(n, n) for n in (5, 2, 0, 1, 7, 2)]
        for rank in (0, 1):
            for F, G in zip(found[2][f"{metric}-{rank}.npz"], expected, strict=True):
                np.testing.assert_allclose(F, G, atol=1e-5)


def test_nothing_to_do(tokenizer, bert):
    assert impact_matrix(bert, tokenizer, []) == []
    found = impact_matrix(bert, tokenizer, [[], ["the"], "", "the"], metric="kl", pairs="adjacent")
    assert [F.tolist() for F in found] == [[], [[0.0]], [], [[0.0]]]
    assert [F.shape for F in found] == [(0, 0), (1, 1), (0, 0), (1, 1)]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"metric": "manhattan"}, ValueError, "metric must be one of euclidean, .*, got 'manhattan'"),
        ({"pairs": "near"}, ValueError, 'pairs must be "all" or "adjacent", got \'near\''),
        ({"layer": 1.0}, TypeError, "layer must be an integer, got 1.0"),
        ({"layer": True}, TypeError, "layer must be an integer, got True"),
        ({"max_batch_tokens": 0}, ValueError, "max_batch_tokens must be an integer >= 1, got 0"),
        ({"spans": []}, ValueError, "spans must be given for each sentence, got 0 for 1"),
        (
            {"spans": [[(0, 2), (1, 3)]]},
            ValueError,
            r"within the 2 tokens of their sentence, got \[\(0, 2\), \(1, 3\)\]",
        ),
        ({"spans": [[(1, 1)]]}, ValueError, "spans must be ranges"),
        ({"spans": [[(0, 3)]]}, ValueError, "within the 2 tokens"),
    ],
)
def test_bad_options(tokenizer, bert, options, error, message):
    with pytest.raises(error, match=message):
        impact_matrix(bert, tokenizer, [["the", "cat"]], **options)


def test_bad_sentences(tokenizer, bert):
    with pytest.raises(TypeError, match="got the str 'the cat'"):
        impact_matrix(bert, tokenizer, "the cat")
    with pytest.raises(ValueError, match=r"got '\\x00', which the tokenizer drops"):
        impact_matrix(bert, tokenizer, [["the", "\x00", "cat"]])
    with pytest.raises(ValueError, match="got '', which the tokenizer drops"):
        impact_matrix(bert, tokenizer, [["the", ""]])
    with pytest.raises(ValueError, match="at most 24 tokens for this model, got 32 tokens"):
        impact_matrix(bert, tokenizer, [["the"], ["cat"] * 30])
    with pytest.raises(ValueError, match="at most 9 tokens for this model, got 10 tokens"):
        impact_matrix(bert, tiny_tokenizer(model_max_length=9), ["cat " * 8])


def test_positions_after_the_padding_index_are_counted(tokenizer):
    from transformers import RobertaConfig, RobertaModel

    config = RobertaConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=12,
        pad_token_id=0,
    )
    model = RobertaModel(config)
    assert impact_matrix(model, tokenizer, [["the"] * 9])[0].shape == (9, 9)
    with pytest.raises(ValueError, match="at most 11 tokens for this model, got 12 tokens"):
        impact_matrix(model, tokenizer, [["the"] * 10])


def test_bad_models_and_tokenizers(tokenizer, bert):
    with pytest.raises(ValueError, match="must have a mask token, got .* without one"):
        impact_matrix(bert, tiny_tokenizer(mask_token=None), ["the cat"])
    for metric in ("prob", "logprob", "kl"):
        with pytest.raises(TypeError, match=f"metric='{metric}' needs .* AutoModelForMaskedLM .* got BertModel"):
            impact_matrix(tiny_bert(BertModel), tokenizer, ["the cat"], metric=metric)

    class Slow:
        mask_token_id = MASK

        def __call__(self, sentence, **options):
            return type("Encoded", (dict,), {"word_ids": lambda self: (_ for _ in ()).throw(ValueError("slow"))})(
                input_ids=[2, 5, 6, 3], special_tokens_mask=[1, 0, 0, 1]
            )

    assert impact_matrix(bert, Slow(), ["the cat"])[0].shape == (2, 2)
    with pytest.raises(TypeError, match="must be a fast one, .* got Slow"):
        impact_matrix(bert, Slow(), [["the", "cat"]])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu(tokenizer):
    model = tiny_bert()
    for metric in ("euclidean", "prob", "kl"):
        expected = impact_matrix(model, tokenizer, SENTENCES, metric=metric)
        found = impact_matrix(model, tokenizer, SENTENCES, metric=metric, device="cuda")
        assert next(model.parameters()).device.type == "cpu"
        for F, G in zip(found, expected, strict=True):
            np.testing.assert_allclose(F, G, rtol=2e-2, atol=2e-2)
