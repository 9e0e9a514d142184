"""What must be the same for a training to be gone on from its checkpoint, and in words where it differs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kexue.extras import require

require("torch", "torch", "kexue.training.settings")

from torch import Tensor, nn  # noqa: E402
from torch.optim import Optimizer  # noqa: E402

__all__ = ["describe_models", "describe_optimizers", "differences"]

# What the places of settings mean, where their last word does not say it.
_WORDS = (
    (r"models\..+\.0", "class of the model"),
    (r"models\..+\.1", "number of parameters"),
    (r"optimizers\..+\.1\.\d+\.lr", "learning rate"),
    (r"optimizers\..+\.1\.\d+\.betas\.\d+", "beta"),
    (r"optimizers\..+\.1\.\d+\.(.+)", r"\1"),
    (r"optimizers\..+\.0", "class of the optimizer"),
    (r"average\..+", "decay of the averaged weights"),
    (r"clip\..+", "largest norm of the gradients"),
    (r"keep\.\d+", "what else is kept"),
    (r"items", "number of items in the data"),
    (r"processes", "number of processes"),
)


def describe_models(models: Mapping[str, nn.Module]) -> dict[str, Any]:
    """Class and number of parameters of models.

    Parameters
    ----------
    models : mapping of str to torch.nn.Module
        The models by name.

    Returns
    -------
    dict
        For `differences`.

    Examples
    --------
    >>> describe_models({"model": nn.Linear(2, 1)})
    {'model': ['Linear', 3]}
    """
    return {
        name: [type(model).__name__, sum(parameter.numel() for parameter in model.parameters())]
        for name, model in models.items()
    }


def describe_optimizers(optimizers: Mapping[str, Optimizer]) -> dict[str, Any]:
    """Class and settings of optimisers.

    Parameters
    ----------
    optimizers : mapping of str to torch.optim.Optimizer
        The optimisers by name.

    Returns
    -------
    dict
        For `differences`.

    Examples
    --------
    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=0.1)
    >>> describe_optimizers({"model": optimizer})["model"][1][0]["lr"]
    0.1
    """
    return {
        name: [
            type(optimizer).__name__,
            [
                {key: _plain(value) for key, value in group.items() if key not in ("params", "initial_lr")}
                for group in optimizer.param_groups
            ],
        ]
        for name, optimizer in optimizers.items()
    }


def differences(then: Any, now: Any) -> str:
    """Where two settings differ, each place in a few words.

    Parameters
    ----------
    then, now : object
        Numbers, texts and None in dictionaries and lists.

    Returns
    -------
    str
        Empty where nothing differs.

    Examples
    --------
    >>> differences({"steps": 10, "average": {}}, {"steps": 20, "average": {"model": 0.9}})
    'steps was 10 and is 20; decay of the averaged weights (average.model) was not given and is 0.9'
    """
    before, after = _leaves(then, ""), _leaves(now, "")
    return "; ".join(
        f"{_in_words(place)} was {before.get(place, 'not given')} and is {after.get(place, 'not given')}"
        for place in {**before, **after}
        if before.get(place) != after.get(place)
    )


def _leaves(value: Any, path: str) -> dict[str, str]:
    if not isinstance(value, Mapping | list | tuple):
        return {path: repr(value)}
    items = value.items() if isinstance(value, Mapping) else enumerate(value)
    return {
        place: leaf
        for key, item in items
        for place, leaf in _leaves(item, f"{path}.{key}" if path else str(key)).items()
    }


def _in_words(place: str) -> str:
    for pattern, words in _WORDS:
        found = re.fullmatch(pattern, place)
        if found:
            return f"{found.expand(words)} ({place})"
    return place


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.tolist()
    return list(value) if isinstance(value, tuple) else value
