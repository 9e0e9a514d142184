"""What every handle on an optimiser must do: add a verb to the table, and it is held to it."""

from __future__ import annotations

import gc
import itertools
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from kexue.optim.averaging import EMA
from kexue.optim.clipping import attach_clipping


class Verb(NamedTuple):
    """A verb under contract: it changes an optimiser, and returns a handle."""

    name: str
    apply: Callable[[nn.Module, Optimizer], Any]
    changes: bool
    """Whether it changes the steps of the optimiser."""


VERBS = [
    Verb("attach_clipping", lambda model, optimizer: attach_clipping(optimizer, 0.1), True),
    Verb("attach", lambda model, optimizer: EMA(model, 0.5).attach(optimizer), False),
]
verbs = pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)


def build() -> tuple[nn.Module, Optimizer]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    return model, torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)


def train(model: nn.Module, optimizer: Optimizer) -> list[Tensor]:
    """Where three more steps lead."""
    x = torch.linspace(-3, 3, 12).reshape(4, 3)
    for _ in range(3):
        optimizer.zero_grad()
        (model(x) - 5).square().mean().backward()
        optimizer.step()
    return [parameter.detach().clone() for parameter in model.parameters()]


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(p, q) for p, q in zip(one, other, strict=True))


def hooks(optimizer: Optimizer) -> int:
    return len(optimizer._optimizer_step_pre_hooks) + len(optimizer._optimizer_step_post_hooks)


@verbs
def test_the_steps_are_changed_or_not(verb: Verb) -> None:
    model, optimizer = build()
    verb.apply(model, optimizer)
    assert same(train(model, optimizer), train(*build())) is not verb.changes


@verbs
def test_removal_leaves_no_trace(verb: Verb) -> None:
    model, optimizer = build()
    names, keys = set(vars(optimizer)), list(optimizer.state_dict())
    handle = verb.apply(model, optimizer)
    assert list(optimizer.state_dict()) == keys
    handle.remove()
    handle.remove()  # after that, it does nothing
    assert hooks(optimizer) == 0
    assert set(vars(optimizer)) == names
    assert same(train(model, optimizer), train(*build()))


@verbs
def test_a_block_ends_it_also_with_an_exception(verb: Verb) -> None:
    model, optimizer = build()
    with pytest.raises(KeyError), verb.apply(model, optimizer):
        assert hooks(optimizer) == 1
        raise KeyError
    assert hooks(optimizer) == 0
    assert same(train(model, optimizer), train(*build()))


@verbs
def test_a_second_application_is_refused_until_the_first_is_removed(verb: Verb) -> None:
    model, optimizer = build()
    handle = verb.apply(model, optimizer)
    with pytest.raises(RuntimeError, match=rf"{verb.name} can be applied once, and is applied to this SGD already"):
        verb.apply(model, optimizer)
    assert hooks(optimizer) == 1
    handle.remove()
    with verb.apply(model, optimizer):
        assert hooks(optimizer) == 1


@pytest.mark.parametrize("pair", list(itertools.permutations(VERBS, 2)), ids=lambda pair: pair[0].name)
@pytest.mark.parametrize("first", [0, 1])
def test_two_verbs_go_in_any_order(pair: tuple[Verb, Verb], first: int) -> None:
    model, optimizer = build()
    handles = [verb.apply(model, optimizer) for verb in pair]
    handles[first].remove()
    reference = build()
    pair[1 - first].apply(*reference)
    assert same(train(model, optimizer), train(*reference))
    handles[1 - first].remove()
    assert hooks(optimizer) == 0


@verbs
def test_nothing_keeps_an_optimiser_alive(verb: Verb) -> None:
    model, optimizer = build()
    reference = weakref.ref(optimizer)
    handle = verb.apply(model, optimizer)
    handle.remove()
    del model, optimizer, handle
    gc.collect()
    assert reference() is None
