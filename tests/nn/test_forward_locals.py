"""Around a forward: any order, copies, exceptions; and the locals that a forward leaves."""

from __future__ import annotations

import copy
import itertools
import sys

import pytest
import torch
from torch import nn

from kexue.nn.forward_locals import local_names, read_locals, wrap_forward


class Chain(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Inner()

    def forward(self, x):
        hidden = x + 1
        hidden = self.inner(hidden)
        return hidden * 10


class Inner(nn.Module):
    def forward(self, x):
        hidden = x * 2
        return hidden + 1


class Derived(Chain):
    def forward(self, x):
        before = x - 1
        return super().forward(before)


def scaled(factor):
    return lambda forward, *args: factor * forward(*args)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_functions_around_a_forward_go_in_any_order(order):
    module, factors = Inner(), {0: 2, 1: 3, 2: 5}
    removals = [wrap_forward(module, scaled(factor)) for factor in factors.values()]
    for index in order:
        expected = 3
        for factor in factors.values():
            expected *= factor
        assert module(1) == expected
        removals[index]()
        del factors[index]
    assert module(1) == 3
    assert "forward" not in vars(module)


def test_the_last_one_stands_outside():
    module, log = Inner(), []

    def around(name):
        def call(forward, *args):
            log.append(name)
            return forward(*args)

        return call

    for name in "ab":
        wrap_forward(module, around(name))
    module(1)
    assert log == ["b", "a"]


def test_a_forward_of_its_own_is_given_back():
    module = Inner()

    def own(x):
        return -x

    module.forward = own
    remove = wrap_forward(module, scaled(2))
    assert module(3) == -6
    remove()
    assert vars(module)["forward"] is own


def test_somebody_else_may_stand_on_top():
    module = Inner()
    remove = wrap_forward(module, scaled(2))
    below = module.forward
    module.forward = lambda x: 100 + below(x)
    remove()
    assert module(1) == 103


def test_a_copy_has_its_own_forward():
    module = Chain()
    remove = wrap_forward(module.inner, scaled(2))
    copied = copy.deepcopy(module)
    copied.inner.register_forward_pre_hook(lambda module, args: (args[0] + 1,))
    assert copied(0) == 50
    assert copied.inner.forward.__self__ is copied.inner
    remove()
    assert module(0) == 30


def test_locals_at_the_return_are_those_of_the_module_itself():
    module = Chain()
    result, found = read_locals(module, module.forward, (1,), {})
    assert result == 50
    assert found["hidden"] == 5  # the last value, and not that of the inner forward of the same name
    assert found["x"] == 1


def test_ancestors_that_are_called_count():
    module = Derived()
    _, found = read_locals(module, module.forward, (), {"x": 1})
    assert found["before"] == 0
    assert found["hidden"] == 3
    assert found["x"] == 1  # of the outermost forward, which returns last


def test_a_profiler_goes_on_seeing_the_calls():
    module, seen = Chain(), []

    def profiler(frame, event, argument):
        if event == "return" and frame.f_code.co_name == "forward":
            seen.append(argument)

    sys.setprofile(profiler)
    try:
        read_locals(module, module.forward, (1,), {})
        assert sys.getprofile() is profiler
    finally:
        sys.setprofile(None)
    assert seen == [5, 50]


def test_an_exception_leaves_no_profiler_behind():
    module = nn.Linear(2, 2)
    with pytest.raises(RuntimeError, match="shapes"):
        read_locals(module, module.forward, (torch.ones(3),), {})
    assert sys.getprofile() is None


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="cProfile does not take the place of a profile function there")
def test_a_profiler_that_cannot_be_handed_on_to_is_told():
    import cProfile

    module, profiler = Chain(), cProfile.Profile()
    profiler.enable()
    try:
        with pytest.raises(RuntimeError, match="cannot be read while Profile profiles this thread"):
            read_locals(module, module.forward, (1,), {})
    finally:
        profiler.disable()


def test_names_are_known_before_a_call():
    assert local_names(Inner()) == {"self", "x", "hidden"}
    assert {"before", "hidden", "x"} <= local_names(Derived())
    native = type("Native", (nn.Module,), {"forward": torch.relu})
    for module in (nn.ModuleList(), nn.Module(), native()):
        assert local_names(module) == set()
    for module, x in ((Chain(), 1), (Derived(), 1), (Inner(), 1)):
        _, found = read_locals(module, module.forward, (x,), {})
        assert set(found) <= local_names(module)
        remove = wrap_forward(module, scaled(2))
        assert set(found) <= local_names(module)
        remove()


def test_what_a_decorator_hides_is_not_known():
    class Decorated(nn.Module):
        forward = (lambda forward: lambda *args: forward(*args))(Inner.forward)

    class Wrapped(nn.Module):
        forward = torch.no_grad()(Inner.forward)

    assert local_names(Decorated()) is None
    assert local_names(Wrapped()) == {"self", "x", "hidden"}
