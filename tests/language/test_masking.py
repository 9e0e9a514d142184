"""The mean of what masking makes of an embedding, and a model that reads it."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from kexue.language.masking import consistent_embedding, correct_mlm_embedding_


def bert(*, tied: bool = True, vocabulary: int = 20, **options: int) -> nn.Module:
    from transformers import BertConfig, BertForMaskedLM

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = BertConfig(vocab_size=vocabulary, tie_word_embeddings=tied, initializer_range=0.5, **sizes, **options)
        return BertForMaskedLM(config).eval()


def embedding_of(model: nn.Module) -> Tensor:
    return model.get_input_embeddings().weight


def head_of(model: nn.Module) -> Tensor:
    return model.get_output_embeddings().weight


# -- the formula


def test_formula_on_a_table_of_five_rows() -> None:
    weight = torch.arange(20.0, dtype=torch.float64).reshape(5, 4) ** 2
    r, hide, keep, other = 0.3, 0.7, 0.2, 0.1
    expected = torch.empty_like(weight)
    for i in range(5):
        for d in range(4):
            mean = sum(weight[k, d] for k in range(5)) / 5
            expected[i, d] = (1 - r) * weight[i, d] + r * (hide * weight[2, d] + keep * weight[i, d] + other * mean)
    before = weight.clone()
    ours = consistent_embedding(weight, 2, select_prob=r, mask_fraction=hide, keep_fraction=keep, random_fraction=other)
    torch.testing.assert_close(ours, expected)
    assert torch.equal(weight, before)


def test_it_is_the_mean_of_the_masked_embeddings() -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(6, 3, dtype=torch.float64, generator=generator)
    draws = 400_000
    selected = torch.rand(draws, generator=generator) < 0.15
    kind = torch.rand(draws, generator=generator)
    ids = torch.full((draws,), 4)
    ids[selected & (kind < 0.8)] = 5
    anything = selected & (kind >= 0.9)
    ids[anything] = torch.randint(6, (int(anything.sum()),), generator=generator)
    mean = weight[ids].mean(0)
    torch.testing.assert_close(consistent_embedding(weight, 5)[4], mean, atol=5e-3, rtol=0)


def test_corners() -> None:
    weight = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(consistent_embedding(weight, 0, select_prob=0.0), weight)
    alone = {"mask_fraction": 1.0, "keep_fraction": 0.0, "random_fraction": 0.0}
    torch.testing.assert_close(consistent_embedding(weight, 1, select_prob=1.0, **alone), weight[1].expand(5, 3))
    torch.testing.assert_close(consistent_embedding(weight, 1, **alone)[1], weight[1])
    kept = {"mask_fraction": 0.0, "keep_fraction": 1.0, "random_fraction": 0.0}
    torch.testing.assert_close(consistent_embedding(weight, 1, **kept), weight)
    once = consistent_embedding(weight, 1)
    assert not torch.allclose(consistent_embedding(once, 1), once)


def test_gradient_and_dtype() -> None:
    weight = torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(lambda w: consistent_embedding(w, 3), (weight,))
    half = weight.detach().bfloat16()
    ours = consistent_embedding(half, 3)
    assert ours.dtype == torch.bfloat16
    assert torch.equal(ours, consistent_embedding(half.float(), 3).bfloat16())


@pytest.mark.parametrize(
    ("weight", "mask_id", "options", "error", "message"),
    [
        (torch.ones(3, 2).long(), 0, {}, TypeError, "weight must be a floating-point tensor"),
        (torch.ones(3), 0, {}, ValueError, r"weight must have shape \(n, d\), got \(3,\)"),
        (torch.ones(3, 2), 3, {}, ValueError, "mask_id must be a row of weight, which has 3, got 3"),
        (torch.ones(3, 2), -1, {}, ValueError, "mask_id must be an integer >= 0, got -1"),
        (torch.ones(3, 2), 0.5, {}, TypeError, "mask_id must be an integer"),
        (torch.ones(3, 2), 0, {"select_prob": 1.5}, ValueError, r"select_prob must be in \[0, 1\], got 1.5"),
        (torch.ones(3, 2), 0, {"mask_fraction": 0.7}, ValueError, "sum to 1, got 0.7, 0.1, 0.1"),
        (torch.ones(3, 2), 0, {"mask_fraction": 1.0, "keep_fraction": -0.1}, ValueError, "must not be negative"),
        (torch.ones(3, 2), 0, {"mask_fraction": float("nan")}, ValueError, "must not be negative and sum to 1"),
    ],
)
def test_bad_input(weight: Tensor, mask_id: int, options: dict[str, float], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        consistent_embedding(weight, mask_id, **options)


# -- a model


def test_the_head_keeps_its_logits() -> None:
    model = bert()
    before, matrix = embedding_of(model).detach().clone(), head_of(model)
    hidden = torch.randn(2, 3, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = model.cls(hidden)
        correct_mlm_embedding_(model, 4)
        assert torch.equal(model.cls(hidden), logits)
    assert head_of(model) is matrix
    assert torch.equal(embedding_of(model), consistent_embedding(before, 4))
    assert model.config.tie_word_embeddings is False


@pytest.mark.parametrize("tied", [True, False])
def test_it_can_be_taken_back(tied: bool) -> None:
    model = bert(tied=tied)
    original, head, keys = embedding_of(model), head_of(model), list(model.state_dict())
    assert (original is head) is tied
    with correct_mlm_embedding_(model, 4) as handle:
        assert handle.model is model
        assert embedding_of(model) is not original
        assert model.config.tie_word_embeddings is False
        assert list(model.state_dict()) == keys
    assert embedding_of(model) is original
    assert head_of(model) is head
    assert model.config.tie_word_embeddings is tied


def test_a_second_application_is_refused_also_to_a_part() -> None:
    model = bert()
    handle = correct_mlm_embedding_(model, 4)
    corrected = embedding_of(model)
    for again in (model, model.bert):
        with pytest.raises(RuntimeError, match="can be applied once"):
            correct_mlm_embedding_(again, 4)
    assert embedding_of(model) is corrected
    handle.remove()
    correct_mlm_embedding_(model, 4)
    assert torch.equal(embedding_of(model), corrected)


def test_saving_and_loading_keeps_both_matrices(tmp_path: Path) -> None:
    model = bert()
    correct_mlm_embedding_(model, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save_pretrained(tmp_path)
        loaded = type(model).from_pretrained(tmp_path)
    assert torch.equal(embedding_of(loaded), embedding_of(model))
    assert torch.equal(head_of(loaded), head_of(model))
    assert not torch.equal(embedding_of(loaded), head_of(loaded))


def test_what_is_corrected_can_be_trained_and_a_frozen_one_stays_frozen() -> None:
    model = bert()
    correct_mlm_embedding_(model, 4)
    ids = torch.arange(6)[None]
    model(ids, labels=ids).loss.backward()
    assert embedding_of(model).grad is not None
    assert head_of(model).grad is not None
    frozen = bert()
    embedding_of(frozen).requires_grad_(False)
    correct_mlm_embedding_(frozen, 4)
    assert not embedding_of(frozen).requires_grad


def test_a_refused_argument_changes_nothing() -> None:
    model = bert()
    original = embedding_of(model)
    for options, message in [({"mask_id": 20}, "mask_id must be a row"), ({"select_prob": 2.0}, "select_prob")]:
        with pytest.raises(ValueError, match=message):
            correct_mlm_embedding_(model, **{"mask_id": 4} | options)
        assert embedding_of(model) is original
        assert model.config.tie_word_embeddings is True
    correct_mlm_embedding_(model, 4).remove()


def test_the_id_of_the_mask_can_come_from_the_configuration() -> None:
    with pytest.raises(ValueError, match="take tokenizer.mask_token_id"):
        correct_mlm_embedding_(bert())
    model, other = bert(mask_token_id=4), bert()
    correct_mlm_embedding_(model)
    correct_mlm_embedding_(other, 4)
    assert torch.equal(embedding_of(model), embedding_of(other))


def test_what_has_no_embeddings_is_refused() -> None:
    with pytest.raises(TypeError, match="model must have input embeddings with a weight, got Linear"):
        correct_mlm_embedding_(nn.Linear(2, 2), 0)


def test_a_copy_has_a_change_of_its_own() -> None:
    model = bert()
    handle = correct_mlm_embedding_(model, 4)
    twin = copy.deepcopy(model)
    handle.remove()
    assert not torch.equal(embedding_of(twin), embedding_of(model))
