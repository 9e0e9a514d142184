"""Handles: changes to a caller's model or optimiser that can be taken back."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Generic, NoReturn, Self, TypeVar
from weakref import WeakKeyDictionary

__all__ = ["Handle"]

M = TypeVar("M")

# What has been done to each object. It is kept here, not on the object, so that it is in no state_dict, pickle or
# copy; and it holds names only, because a reference back to the object would keep it alive.
_CHANGES: WeakKeyDictionary[object, set[Hashable]] = WeakKeyDictionary()


class Handle(Generic[M]):
    """A change to a model or an optimiser, and the way to take it back.

    The verb that makes the change returns its handle. `remove` takes the change back; so does leaving the ``with``
    block of the handle. A handle that is dropped without either leaves the change in place.

    Parameters
    ----------
    model : object
        What the user goes on with: the model that is changed (or the optimiser, where there is no model).

    Attributes
    ----------
    model : object
        The same.

    Notes
    -----
    Whatever is registered to take a change back must undo that change alone, whatever else was changed in the
    meantime: handles may be removed in any order.

    References
    ----------
    Modelled on ``torch.utils.hooks.RemovableHandle``.

    Examples
    --------
    >>> import torch
    >>> def double_output(model):
    ...     handle = Handle(model)
    ...     with handle.change("double_output") as undo:
    ...         undo.callback(model.register_forward_hook(lambda module, args, output: 2 * output).remove)
    ...     return handle
    >>> model = torch.nn.Identity()
    >>> with double_output(model) as handle:
    ...     handle
    ...     handle.model(torch.ones(2))
    <double_output on Identity: in force; .model, .remove()>
    tensor([2., 2.])
    >>> model(torch.ones(2))
    tensor([1., 1.])
    """

    def __init__(self, model: M) -> None:
        self.model = model
        self._undo: ExitStack | None = None
        self._verb: str | None = None

    @contextmanager
    def change(self, verb: str, *, of: object = None, key: Hashable = None) -> Iterator[ExitStack]:
        """Make the change inside this ``with`` block; for the verbs that return handles.

        An exception inside the block takes back what has been registered until then.

        Parameters
        ----------
        verb : str
            Name of the verb, which can be applied once to the same object.
        of : object, optional
            The object that is changed, if it is not the handle's model.
        key : hashable, optional
            Tells applications of the verb apart that may stand side by side. It must not refer to the object.

        Yields
        ------
        contextlib.ExitStack
            Register with its ``callback`` what takes the change back; the last one registered is called first.

        Raises
        ------
        RuntimeError
            If the verb is applied to the object already, or the handle already stands for a change.
        """
        target = self.model if of is None else of
        done = _CHANGES.setdefault(target, set())
        if self._undo is not None or (verb, key) in done:
            raise RuntimeError(
                f"{verb} can be applied once, and is applied to this {type(target).__name__} already"
                if self._undo is None
                else f"{verb} cannot be applied: this handle is in use; call its remove() first"
            )
        with ExitStack() as undo:
            done.add((verb, key))
            undo.callback(done.discard, (verb, key))
            yield undo
            self._undo, self._verb = undo.pop_all(), verb

    def remove(self) -> None:
        """Take the change back; after that, do nothing."""
        undo, self._undo = self._undo, None
        if undo is not None:
            undo.close()

    def __repr__(self) -> str:
        if type(self) is not Handle:  # what derives from it has contents of its own
            return super().__repr__()
        verb, state = self._verb or "no change", "taken back" if self._undo is None else "in force"
        return f"<{verb} on {type(self.model).__name__}{f': {state}' if self._verb else ''}; .model, .remove()>"

    if not TYPE_CHECKING:  # for which every name would be an attribute

        def __getattr__(self, name: str) -> NoReturn:
            told = f"{type(self).__name__!r} object has no attribute {name!r}"
            if type(self) is Handle and not name.startswith("_") and hasattr(vars(self).get("model"), name):
                told += f": it belongs to the model, use handle.model.{name}"
            raise AttributeError(told, name=name, obj=self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.remove()
