"""Handles: one application, removal in any order, nothing left behind."""

from __future__ import annotations

import copy
import gc
import itertools
import pickle
import weakref

import pytest
import torch
from torch import nn

from kexue.nn.handles import Handle


def scale_output(model, factor, log=None):
    """A verb with a change of two parts."""
    handle = Handle(model)
    with handle.change("scale_output", key=factor) as undo:
        if log is not None:
            undo.callback(log.append, "first")
        undo.callback(model.register_forward_hook(lambda module, args, output: factor * output).remove)
        if log is not None:
            undo.callback(log.append, "last")
        if factor == 0:
            raise ValueError("factor must not be 0")
    return handle


def test_removal_takes_the_change_back_and_is_idempotent():
    model, log = nn.Identity(), []
    handle = scale_output(model, 3.0, log)
    assert handle.model is model
    assert model(torch.ones(())) == 3
    handle.remove()
    handle.remove()
    assert model(torch.ones(())) == 1
    assert log == ["last", "first"]


def test_the_block_ends_the_change_also_with_an_exception():
    model = nn.Identity()
    with pytest.raises(KeyError), scale_output(model, 3.0) as handle:
        assert handle.model(torch.ones(())) == 3
        raise KeyError
    assert model(torch.ones(())) == 1


def test_a_second_application_is_refused_until_the_first_is_removed():
    model = nn.Identity()
    handle = scale_output(model, 3.0)
    with pytest.raises(RuntimeError, match="scale_output can be applied once, and is applied to this Identity already"):
        scale_output(model, 3.0)
    assert model(torch.ones(())) == 3
    scale_output(nn.Identity(), 3.0)  # another object
    handle.remove()
    with scale_output(model, 3.0):
        assert model(torch.ones(())) == 3


def test_a_handle_stands_for_one_change():
    model = nn.Identity()
    handle = scale_output(model, 3.0)
    with pytest.raises(RuntimeError, match=r"other cannot be applied: this handle is in use; call its remove\(\)"):
        handle.change("other").__enter__()
    handle.remove()
    with handle.change("other") as undo:
        undo.callback(lambda: None)
    handle.remove()


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_any_order_of_removal(order):
    torch.manual_seed(0)
    model, x = nn.Linear(3, 3), torch.randn(2, 3)
    before, keys = model(x), list(model.state_dict())
    handles = [scale_output(model, factor) for factor in (2.0, 3.0, 5.0)]
    assert not torch.equal(model(x), before)
    for index in order:
        handles[index].remove()
    assert torch.equal(model(x), before)
    assert list(model.state_dict()) == keys


def test_a_change_that_fails_is_taken_back():
    model, log = nn.Identity(), []
    with pytest.raises(ValueError, match="factor must not be 0"):
        scale_output(model, 0, log)
    assert log == ["last", "first"]
    assert model(torch.ones(())) == 1
    with pytest.raises(ValueError):  # and not: is applied already
        scale_output(model, 0)


def test_the_object_may_be_another_than_the_model():
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    handle = Handle(model)
    with handle.change("verb", of=optimizer):
        pass
    with pytest.raises(RuntimeError, match="this SGD"), Handle(None).change("verb", of=optimizer):
        pass
    with Handle(model).change("verb"):
        pass
    assert handle.model is model


def test_nothing_is_left_on_the_object_and_nothing_keeps_it_alive():
    model = nn.Linear(1, 1)
    names = set(vars(model))
    handle = Handle(model)
    with handle.change("verb"):
        pass
    assert set(vars(model)) == names
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        with Handle(twin).change("verb"):
            pass
    reference = weakref.ref(model)
    del model, handle
    gc.collect()
    assert reference() is None


def test_a_handle_says_what_it_is():
    model = nn.Linear(1, 1)
    assert repr(Handle(model)) == "<no change on Linear; .model, .remove()>"
    handle = scale_output(model, 3.0)
    assert repr(handle) == "<scale_output on Linear: in force; .model, .remove()>"
    handle.remove()
    assert repr(handle) == "<scale_output on Linear: taken back; .model, .remove()>"


def test_an_attribute_of_the_model_is_not_one_of_the_handle():
    handle = Handle(nn.Linear(1, 2))
    with pytest.raises(
        AttributeError, match=r"no attribute 'weight': it belongs to the model, use handle.model.weight"
    ):
        handle.weight  # noqa: B018
    with pytest.raises(AttributeError, match=r"no attribute 'generate'$"):
        handle.generate  # noqa: B018
    assert hasattr(handle, "remove")
    assert not hasattr(handle, "weight")
    for twin in (copy.copy(handle), copy.deepcopy(handle), pickle.loads(pickle.dumps(handle))):
        assert type(twin.model) is nn.Linear
    assert not hasattr(Handle.__new__(Handle), "model")  # as copies are made

    class Other(Handle):
        """What derives from it keeps its own attributes, and the usual message."""

    with pytest.raises(AttributeError, match=r"'Other' object has no attribute 'weight'$"):
        Other(nn.Linear(1, 2)).weight  # noqa: B018
    assert "Other object at" in repr(Other(None))
