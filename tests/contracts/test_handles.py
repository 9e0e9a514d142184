"""What every handle must do: add a verb to the table, and it is held to it."""

from __future__ import annotations

import gc
import itertools
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from kexue.attention import AttentionChange, change_attention, enable_length_scaling, enable_linear_attention
from kexue.decoding import make_self_terminating
from kexue.language import correct_mlm_embedding_
from kexue.nn.capture import capture


class Verb(NamedTuple):
    """A verb under contract: it changes a model, and returns a handle."""

    name: str
    apply: Callable[[nn.Module], Any]
    """Apply it with settings that change what the model below says."""
    changes: bool = True
    """Whether it changes what the model says. One that reads only can be applied as often as wanted."""


def _doubled(attend: Callable[..., Any], backend: str) -> Callable[..., Any]:
    def attention(module: nn.Module, query: Tensor, *rest: Any, **options: Any) -> Any:
        return attend(module, 2 * query, *rest, **options)

    return attention


DOUBLED = AttentionChange("change_attention", "doubled", _doubled)
VERBS = [
    Verb("enable_length_scaling", lambda model: enable_length_scaling(model, base_length=3)),
    Verb("enable_linear_attention", enable_linear_attention),
    Verb("change_attention", lambda model: change_attention(model, DOUBLED)),
    Verb("correct_mlm_embedding_", lambda model: correct_mlm_embedding_(model, 3)),
    Verb(
        "capture",
        lambda model: capture(model, "*", "*.input", "*.self_attn:query_states", attention="*.self_attn"),
        changes=False,
    ),
    Verb("make_self_terminating", lambda model: make_self_terminating(model, 0.1, eos_token_id=3)),
]
verbs = pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)


def build() -> nn.Module:
    """A language model of transformers with scores far apart, so that every change shows."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=20,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=16,
        max_position_embeddings=32,
        initializer_range=0.5,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LlamaForCausalLM(config).eval()


@pytest.fixture
def model() -> nn.Module:
    return build()


def says(model: nn.Module) -> Tensor:
    tokens = torch.arange(1, 10)[None]
    with torch.no_grad():
        return model(tokens, labels=tokens).logits


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return list(one) == list(other) and all(torch.equal(value, other[name]) for name, value in one.items())


@verbs
def test_the_handle_holds_what_the_user_goes_on_with(verb: Verb, model: nn.Module) -> None:
    before = says(model)
    handle = verb.apply(model)
    assert isinstance(handle.model, nn.Module)
    assert torch.equal(says(handle.model), before) is not verb.changes
    handle.remove()


@verbs
def test_removal_leaves_no_trace(verb: Verb, model: nn.Module) -> None:
    before, kept, names, hooks = says(model), state(model), set(vars(model)), len(model._forward_hooks)
    handle = verb.apply(model)
    handle.remove()
    handle.remove()  # after that, it does nothing
    assert torch.equal(says(model), before)
    assert same(state(model), kept)
    assert set(vars(model)) == names
    assert len(model._forward_hooks) == hooks
    assert not any(parameter.grad is not None for parameter in model.parameters())


@verbs
def test_a_block_ends_it_also_with_an_exception(verb: Verb, model: nn.Module) -> None:
    before = says(model)
    with verb.apply(model) as handle:
        assert torch.equal(says(handle.model), before) is not verb.changes
    assert torch.equal(says(model), before)
    with pytest.raises(KeyError), verb.apply(model):
        raise KeyError
    assert torch.equal(says(model), before)


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb.changes], ids=lambda verb: verb.name)
def test_a_second_application_is_refused_until_the_first_is_removed(verb: Verb, model: nn.Module) -> None:
    handle = verb.apply(model)
    changed = says(handle.model)
    with pytest.raises(RuntimeError, match=f"{verb.name} can be applied once, and is applied to"):
        verb.apply(model)
    assert torch.equal(says(handle.model), changed)
    handle.remove()
    with verb.apply(model) as again:
        assert torch.equal(says(again.model), changed)


@pytest.mark.parametrize(
    "pair", list(itertools.permutations(VERBS, 2)), ids=lambda pair: "-".join(v.name for v in pair)
)
@pytest.mark.parametrize("first", [0, 1])
def test_two_verbs_go_in_any_order(pair: tuple[Verb, Verb], first: int, model: nn.Module) -> None:
    before, kept = says(model), state(model)
    alone = []
    for verb in pair:
        with verb.apply(model) as handle:
            alone.append(says(handle.model))
    handles = [verb.apply(model) for verb in pair]
    handles[first].remove()
    torch.testing.assert_close(says(handles[1 - first].model), alone[1 - first])
    handles[1 - first].remove()
    assert torch.equal(says(model), before)
    assert same(state(model), kept)


@verbs
def test_the_state_has_the_same_keys_meanwhile_but_for_what_is_new(verb: Verb, model: nn.Module) -> None:
    """What is there under a name before is there under that name: a checkpoint of the model can be loaded."""
    kept = state(model)
    with verb.apply(model):
        assert set(kept) <= set(model.state_dict())


@verbs
def test_nothing_keeps_a_model_alive(verb: Verb) -> None:
    model = build()
    reference = weakref.ref(model)
    handle = verb.apply(model)
    handle.remove()
    del model, handle
    gc.collect()
    assert reference() is None
