"""Sampling at a constant entropy: every row, every mode, every kind of model."""

from __future__ import annotations

import math
import shutil

import pytest
import torch
from torch import Tensor
from transformers import LogitsProcessor

from kexue.decoding.sampling import EntropyNormalizationLogitsProcessor, constant_entropy_logits
from kexue.probability.entropy import entropy_from_logits

pytestmark = pytest.mark.filterwarnings("ignore::EncodingWarning:torch")
IDS = torch.zeros(6, 2, dtype=torch.long)


def scores(*shape: int, seed: int = 0) -> Tensor:
    """Rows from nearly uniform to peaked."""
    z = torch.randn(shape or (6, 40), generator=torch.Generator().manual_seed(seed))
    return z * torch.logspace(-1, 1, z.shape[-2])[:, None]


def test_every_row_has_the_entropy() -> None:
    z = scores()
    found = constant_entropy_logits(z, 1.7)
    torch.testing.assert_close(entropy_from_logits(found), torch.full((6,), 1.7), rtol=0, atol=2e-5)
    torch.testing.assert_close(found.logsumexp(-1), torch.zeros(6), rtol=0, atol=1e-5)
    assert (found.gather(-1, z.argsort(-1)).diff(dim=-1) >= 0).all()
    assert torch.equal(EntropyNormalizationLogitsProcessor(1.7)(IDS, z), found)
    each = torch.linspace(0.5, 3, 6)
    torch.testing.assert_close(entropy_from_logits(constant_entropy_logits(z, each)), each, rtol=0, atol=5e-5)


def test_modes_touch_one_side_only() -> None:
    z = scores()
    own = entropy_from_logits(z)
    fixed = constant_entropy_logits(z, 2.0)
    for mode, touched in (("max", own > 2.0), ("min", own < 2.0)):
        assert 0 < touched.sum() < 6
        found = constant_entropy_logits(z, 2.0, mode=mode)
        assert torch.equal(found[touched], fixed[touched])
        assert torch.equal(found[~touched], z.log_softmax(-1)[~touched])
        assert torch.equal(EntropyNormalizationLogitsProcessor(2.0, mode)(IDS, z), found)


def test_the_nearest_where_the_target_is_out_of_reach() -> None:
    z = scores()
    z[:, 10:] = -math.inf
    found = constant_entropy_logits(z, 5.0)
    torch.testing.assert_close(found[:, :10].exp(), torch.full((6, 10), 0.1))
    assert (found[:, 10:] == -math.inf).all()
    sharp = constant_entropy_logits(z, 0.0)
    assert (sharp.exp().amax(-1) == 1).all()
    tied = torch.tensor([[1.0, 1.0, 0.0]])
    torch.testing.assert_close(constant_entropy_logits(tied, 0.1).exp(), torch.tensor([[0.5, 0.5, 0.0]]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_dtype_and_input(dtype) -> None:
    z = scores().to(dtype)
    copy = z.clone()
    found = constant_entropy_logits(z, 1.5)
    assert found.dtype is dtype
    assert torch.equal(z, copy)
    torch.testing.assert_close(entropy_from_logits(found.float()), torch.full((6,), 1.5), rtol=0.02, atol=0)


class _Watch(LogitsProcessor):
    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self.seen.append(scores.clone())
        return scores


@pytest.mark.parametrize("kind", ["gpt2", "llama", "qwen2", "t5", "bert"])
@pytest.mark.parametrize(
    "options",
    [{}, {"num_beams": 3}, {"num_return_sequences": 3}, {"cache_implementation": "static", "disable_compile": True}],
    ids=["sampling", "beams", "several", "static"],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_every_step_of_a_generation_has_the_entropy(small_model, kind, options, dtype) -> None:
    if kind == "bert" and "cache_implementation" in options:
        pytest.skip("BertLMHeadModel has no static cache")
    model, before, after = small_model(kind).to(dtype), _Watch(), _Watch()
    prompt = torch.tensor([[0, 5, 6, 7], [9, 10, 3, 4]])
    mask = torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]])
    torch.manual_seed(0)
    model.generate(
        prompt,
        attention_mask=mask,
        max_new_tokens=8,
        do_sample=True,
        top_k=0,
        top_p=1.0,
        logits_processor=[before, EntropyNormalizationLogitsProcessor(1.3), after],
        **options,
    )
    own, found = torch.cat([entropy_from_logits(x) for x in before.seen]), torch.cat(after.seen)
    assert own.std() > 0.05
    torch.testing.assert_close(entropy_from_logits(found), torch.full((len(found),), 1.3), rtol=0, atol=5e-5)


def test_a_row_of_a_padded_batch_is_the_row_alone(small_model) -> None:
    model = small_model("llama")
    rows = [torch.tensor([5, 6]), torch.tensor([9, 10, 3, 4])]
    padded = torch.tensor([[0, 0, 5, 6], [9, 10, 3, 4]])
    position_ids = torch.tensor([[0, 0, 0, 1], [0, 1, 2, 3]])
    whole = model(padded, attention_mask=(padded > 0).long(), position_ids=position_ids).logits[:, -1]
    for row, z in zip(rows, constant_entropy_logits(whole, 1.0), strict=True):
        alone = constant_entropy_logits(model(row[None]).logits[:, -1], 1.0)[0]
        torch.testing.assert_close(z, alone, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "backend",
    [
        "aot_eager",
        pytest.param(
            "inductor",
            marks=[
                pytest.mark.slow,
                pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler"),
                pytest.mark.filterwarnings("ignore:.torch.jit.*is deprecated:DeprecationWarning"),
            ],
        ),
    ],
)
def test_compiled(backend, monkeypatch) -> None:
    torch.compiler.reset()
    # Rows as easy as these need no more steps, and each of them takes a while to compile.
    monkeypatch.setattr("kexue.probability.entropy_normalization._STEPS", 6)
    z = scores()
    z[0, 3:] = -math.inf

    def process(x: Tensor) -> Tensor:
        return constant_entropy_logits(x, 1.5, mode="max")

    found = torch.compile(process, fullgraph=True, backend=backend)(z)
    torch.testing.assert_close(found, process(z), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: constant_entropy_logits(scores(), 1.0, mode="mean"), ValueError, 'mode must be "fixed", "max" or'),
        (lambda: constant_entropy_logits(torch.zeros(2, 3, dtype=int), 1.0), TypeError, "logits must be a floating"),
        (lambda: constant_entropy_logits(torch.full((2, 3), math.nan), 1.0), ValueError, "logits must be finite"),
        (lambda: constant_entropy_logits(scores(), math.nan), ValueError, "target must lie between"),
        (lambda: constant_entropy_logits(scores(), torch.ones(5)), ValueError, "target must broadcast"),
        (lambda: EntropyNormalizationLogitsProcessor(-0.1), ValueError, "target_entropy must be a number of at least"),
        (lambda: EntropyNormalizationLogitsProcessor(math.nan), ValueError, "target_entropy must be a number of at"),
        (lambda: EntropyNormalizationLogitsProcessor("1"), ValueError, "target_entropy must be a number of at least"),
        (lambda: EntropyNormalizationLogitsProcessor(1.0, "mean"), ValueError, "mode must be"),
    ],
)
def test_bad_input(call, error, message) -> None:
    with pytest.raises(error, match=message):
        call()
