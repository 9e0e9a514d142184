"""An exponential moving average of the weights, which leaves the optimiser's path as it is."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, Self, get_args

from kexue.extras import require

require("torch", "torch", "kexue.optim.averaging")

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn.parameter import is_lazy  # noqa: E402
from torch.optim import Optimizer  # noqa: E402

from kexue.nn.handles import Handle  # noqa: E402
from kexue.validation import check_integer  # noqa: E402

__all__ = ["EMA", "decay_for_half_life"]

Buffers = Literal["copy", "ema", "ignore"]

# Weights of another dtype or device are converted this many at a time: few calls, little memory.
_CHUNK = 1 << 24

# No parameter of a module can have such a name.
_STEP, _PRODUCT = ".step", ".decay_product"


def decay_for_half_life(steps: float) -> float:
    r"""The decay with which the weight of a step halves every so many steps.

    .. math:: \alpha = 2^{-1/h}

    Parameters
    ----------
    steps : float
        The half-life h, in optimiser steps.

    Returns
    -------
    float
        The decay, in (0, 1).

    Raises
    ------
    ValueError
        If ``steps`` is not a positive finite number.

    References
    ----------
    “让Keras更酷一些！”：中间变量、权重滑动和安全生成器, https://kexue.fm/archives/6575.

    Examples
    --------
    >>> decay_for_half_life(1)
    0.5
    >>> round(decay_for_half_life(693), 4)
    0.999
    """
    if not 0 < steps < float("inf"):
        raise ValueError(f"steps must be a positive finite number, got {steps!r}")
    return float(2 ** (-1 / steps))


class EMA(Handle[nn.Module | None]):
    r"""An exponential moving average of weights, beside the training.

    .. math:: \Theta_t = \alpha_t \Theta_{t-1} + (1 - \alpha_t)\, \theta_t, \qquad \Theta_0 = \theta_0

    `attach` it to the optimiser, train as before, and evaluate inside ``with ema.average():``. The weights that are
    trained are read, never written, so that the optimiser takes bit for bit the steps that it would take without.
    The ``with`` block of the object itself, ``with EMA(model).attach(optimizer) as ema:``, is one to train in, and
    detaches it at its end; entered after updates it is refused.

    Parameters
    ----------
    model_or_params : torch.nn.Module or iterable
        The model; or parameters, or pairs of name and parameter, which have no buffers.
    decay : float
        The decay :math:`\alpha` in [0, 1), see `decay_for_half_life`.
    warmup : bool
        Whether short trainings forget their start sooner: :math:`\alpha_t = \min(\alpha, (1 + t) / (10 + t))`.
    zero_init : bool
        Start at :math:`\Theta_0 = 0` and give :math:`\Theta_t / (1 - \prod_{s \le t} \alpha_s)`, in which the initial
        weights have no part. Before the first update, the weights themselves are given.
    buffers : {"copy", "ema", "ignore"}
        What goes with the averaged weights. ``"copy"``: the model's buffers as they are. ``"ema"``: averages of its
        finite floating-point buffers that belong to the ``state_dict``, and the others as they are. ``"ignore"``:
        nothing; they are never read, written or restored.
    dtype : torch.dtype
        The coarsest dtype of the averages; a parameter of higher precision is averaged in its own.
    device : torch.device or str, optional
        Where the averages are kept, for instance ``"cpu"``; by default beside each parameter.
    every : int
        Update at every k-th step only, with :math:`\alpha_t^k`.

    Attributes
    ----------
    model : torch.nn.Module or None
        The model, if one was given.

    Raises
    ------
    TypeError
        If ``model_or_params``, ``decay`` or ``dtype`` is something else, or ``every`` is not an integer.
    ValueError
        If an argument is outside its range; if parameters are uninitialised, have the same name or a name that begins
        with a dot; if no parameter requires a gradient; or if buffers are to be averaged without a model.

    Notes
    -----
    Half precision cannot hold an average: a step of relative size :math:`1 - \alpha` is lost in the rounding. So the
    averages are in float32, and are rounded only where they are put into the model.

    Parameters that do not require a gradient are neither averaged nor stored. One that is unfrozen later is averaged
    from then on; one that is frozen later is averaged still, towards its final value. Tied parameters are averaged
    once. Between processes nothing is exchanged: equal weights have equal averages, and of a ``DTensor`` each process
    averages its own shard.

    Batch norm: averaged running statistics belong to no model. Prefer ``buffers="copy"``, and recompute the
    statistics with the averaged weights inside `average`, which restores the buffers when it ends.

    References
    ----------
    “让Keras更酷一些！”：中间变量、权重滑动和安全生成器, https://kexue.fm/archives/6575.

    Polyak and Juditsky, Acceleration of Stochastic Approximation by Averaging, SIAM J. Control Optim. 30, 1992.

    Examples
    --------
    >>> import torch
    >>> model = torch.nn.Linear(1, 1, bias=False)
    >>> torch.nn.init.zeros_(model.weight).requires_grad
    True
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    >>> ema = EMA(model, decay=0.5).attach(optimizer)
    >>> for _ in range(2):
    ...     model(torch.tensor([[-1.0]])).sum().backward()  # the gradient is -1
    ...     optimizer.step()
    ...     optimizer.zero_grad()
    >>> with ema.average():
    ...     model.weight.item()  # 1/4 of 0, 1/4 of 1, 1/2 of 2
    1.25
    >>> ema
    <EMA decay=0.5 of 1 parameters, 2 updates, attached>
    >>> saved = ema.averaged_state_dict()  # for a model; what goes on averaging saves ema.state_dict()
    >>> saved["weight"].item()
    1.25
    >>> model.weight.item()
    2.0
    >>> ema.remove()
    """

    def __init__(
        self,
        model_or_params: nn.Module | Iterable[Tensor] | Iterable[tuple[str, Tensor]],
        decay: float = 0.999,
        *,
        warmup: bool = False,
        zero_init: bool = False,
        buffers: Buffers = "copy",
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
        every: int = 1,
    ) -> None:
        if not hasattr(decay, "__float__"):
            raise TypeError(f"decay must be a number in [0, 1), got {decay!r}")
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be in [0, 1), got {decay!r}")
        if buffers not in get_args(Buffers):
            raise ValueError(f"buffers must be one of {get_args(Buffers)}, got {buffers!r}")
        if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
            raise TypeError(f"dtype must be a floating-point torch.dtype, got {dtype!r}")
        super().__init__(model_or_params if isinstance(model_or_params, nn.Module) else None)
        if self.model is None and buffers == "ema":
            raise ValueError('buffers="ema" needs a model: parameters alone have no buffers')
        self.decay = float(decay)
        self.warmup = warmup
        self.zero_init = zero_init
        self.buffers = buffers
        self.dtype = dtype
        self.device = None if device is None else torch.device(device)
        self.every = check_integer(every, "every")
        self._step = 0
        self._updated = False  # since it was attached
        self._product = 1.0  # of the decays so far: what the start still weighs
        self._backup: _Backup | None = None
        self._parameters = _named_parameters(model_or_params)
        if not any(p.requires_grad for p in self._parameters.values()):
            raise ValueError("model_or_params must have a parameter that requires a gradient: nothing to average")
        self._owners = self._owners_of_averaged_buffers()
        self._averages: dict[str, Tensor] = {}
        with torch.no_grad():
            self._adopt(self._trained())

    def __repr__(self) -> str:
        attached = "not attached" if self._undo is None else "attached"
        return f"<EMA decay={self.decay} of {len(self._parameters)} parameters, {self._step} updates, {attached}>"

    @torch.no_grad()
    def update(self) -> None:
        """Count a step, and average the present weights in; `attach` calls this after each step of the optimiser.

        Raises
        ------
        RuntimeError
            If the model holds the averaged weights at the moment.
        """
        self._refuse_averaged("update")
        self._step += 1
        self._updated = True
        if self._step % self.every:
            return
        trained = self._trained()
        self._adopt(trained)
        decay = self.decay
        if self.warmup:
            decay = min(decay, (1 + self._step) / (10 + self._step))
        decay **= self.every
        self._product *= decay
        alike: dict[tuple[torch.device, torch.dtype], tuple[list[Tensor], list[Tensor]]] = {}
        other: dict[tuple[torch.device, torch.dtype], tuple[list[Tensor], list[Tensor]]] = {}
        for name, weight in trained.items():
            average = self._averages[name]
            if self.device is None and average.device != weight.device:  # the model has moved
                average = self._averages[name] = average.to(weight.device)
            average, weight = _local(average), _local(weight)
            key = average.device, average.dtype
            averages, weights = (alike if key == (weight.device, weight.dtype) else other).setdefault(key, ([], []))
            averages.append(average)
            weights.append(weight)
        for averages, weights in alike.values():
            torch._foreach_lerp_(averages, weights, 1 - decay)
        for averages, weights in other.values():
            for chunk in _chunks(averages):
                converted = [torch.empty_like(average) for average in averages[chunk]]
                torch._foreach_copy_(converted, weights[chunk])
                torch._foreach_lerp_(averages[chunk], converted, 1 - decay)

    def attach(self, optimizer: Optimizer) -> Self:
        """Update after each step that an optimiser takes, until `remove` is called; the training loop stays as it is.

        Parameters
        ----------
        optimizer : torch.optim.Optimizer
            The optimiser that trains the parameters; of several, the one that steps last. One that ``accelerate``
            has prepared will do.

        Returns
        -------
        EMA
            This object, which is also the handle of the change.

        Raises
        ------
        TypeError
            If ``optimizer`` is not an optimiser.
        ValueError
            If it trains none of the averaged parameters.
        RuntimeError
            If this average is attached already, or one of the same parameters with the same settings is attached to
            this optimiser.
        """
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"optimizer must be a torch.optim.Optimizer, got {type(optimizer).__name__}")
        stepping: Optimizer = getattr(optimizer, "optimizer", optimizer)  # accelerate's holds the one that has hooks
        ids = tuple(map(id, self._parameters.values()))
        if not set(ids) & {id(p) for group in stepping.param_groups for p in group["params"]}:
            raise ValueError("optimizer must train the averaged parameters, got one that trains none of them")
        settings = (self.decay, self.warmup, self.zero_init, self.buffers, self.dtype, self.device, self.every)
        with self.change(f"EMA(decay={self.decay:g}).attach", of=stepping, key=(settings, ids)) as undo:
            undo.callback(stepping.register_step_post_hook(lambda *_: self.update()).remove)
            self._updated = False
        return self

    def __enter__(self) -> Self:
        if self._updated:
            raise RuntimeError(
                "with ema: would leave the model its own weights, and detach the average at its end; "
                "with ema.average(): evaluates the averaged weights"
            )
        return self

    @contextmanager
    def average(self) -> Iterator[nn.Module | None]:
        """Put the averaged weights into the model for a ``with`` block, then restore weights and buffers bit for bit.

        Yields
        ------
        torch.nn.Module or None
            The model.

        Raises
        ------
        RuntimeError
            If the model holds the averaged weights already.

        Warns
        -----
        UserWarning
            If nothing has been averaged yet, although the weights have changed.
        """
        if self._step == 0 and self._moved():
            warnings.warn(
                "there is no update yet, so the averages are the initial weights: attach it to the optimiser, or call "
                "update() after each step",
                stacklevel=3,
            )
        self.copy_to()
        try:
            yield self.model
        finally:
            self.restore()

    @torch.no_grad()
    def copy_to(self, model: nn.Module | None = None) -> None:
        """Put the averaged weights into the model, until `restore`; or into another one, for good.

        Parameters
        ----------
        model : torch.nn.Module, optional
            Another model with the same ``state_dict`` keys; by default the model that is averaged.

        Raises
        ------
        RuntimeError
            If the model holds the averaged weights already, if its parameters are no longer those that are averaged,
            or if the other model has other keys or shapes.
        """
        if model is not None and model is not self.model:
            state = self.averaged_state_dict()
            if self.buffers == "ignore":
                buffers = {id(buffer) for buffer in model.buffers()}
                own = model.state_dict(keep_vars=True).items()
                state |= {name: value for name, value in own if id(value) in buffers}
            model.load_state_dict(state)
            return
        self._refuse_averaged("copy_to")
        self._refuse_replaced()
        trained = self._trained()
        corrected = self._corrected()
        names = [name for name in trained if name in corrected]
        kept = None if self.buffers == "ignore" else self.model
        self._backup = _Backup([trained[name] for name in names], kept)
        try:
            if names:  # none before the first update of a start at zero
                torch._foreach_copy_(
                    [_local(trained[name]) for name in names], [_local(corrected[name]) for name in names]
                )
        except BaseException:
            self.restore()
            raise

    def restore(self) -> None:
        """Give the model its own weights and buffers back, bit for bit, after `copy_to`.

        Raises
        ------
        RuntimeError
            If the model does not hold the averaged weights.
        """
        if self._backup is None:
            raise RuntimeError("restore: the model holds its own weights, there is nothing to restore")
        backup, self._backup = self._backup, None
        self._reshard()
        backup.restore()

    def state_dict(self) -> dict[str, Tensor]:
        """What another `EMA` needs to go on exactly: the averages by name of the parameter, and the counters.

        Returns
        -------
        dict of str to torch.Tensor
            The averages as they are stored, without correction, not copied; under ``".step"`` the number of steps;
            and with ``zero_init`` the product of the decays under ``".decay_product"``.
        """
        counters = {_STEP: torch.tensor(self._step)}
        if self.zero_init:
            counters[_PRODUCT] = torch.tensor(self._product, dtype=torch.float64)
        return counters | self._averages

    @torch.no_grad()
    def load_state_dict(self, state_dict: Mapping[str, Tensor]) -> None:
        """Go on where `state_dict` was taken; the tensors are copied.

        Parameters
        ----------
        state_dict : mapping of str to torch.Tensor
            What `state_dict` returned, from an average of the same parameters and buffers.

        Raises
        ------
        RuntimeError
            If the model holds the averaged weights at the moment.
        ValueError
            If names or shapes are not those of this average; nothing is changed then.
        """
        self._refuse_averaged("load_state_dict")
        expected = {_STEP, *self._averages} | ({_PRODUCT} if self.zero_init else set())
        # A parameter that was unfrozen in the meantime has an average there, and none here yet.
        known = expected | self._parameters.keys()
        if missing := sorted(expected - state_dict.keys()):
            hint = ": what averaged_state_dict() gives goes into a model" if _STEP in missing else ""
            raise ValueError(f"state_dict must hold the averages of these parameters, it lacks {_some(missing)}{hint}")
        if unexpected := sorted(state_dict.keys() - known):
            raise ValueError(f"state_dict must hold the averages of these parameters, not {_some(unexpected)}")
        current = self._parameters | self._trained()
        loaded = {name: value for name, value in state_dict.items() if name not in (_STEP, _PRODUCT)}
        for name, value in loaded.items():
            if value.shape != current[name].shape:
                shapes = tuple(current[name].shape), tuple(value.shape)
                raise ValueError(f"state_dict must hold {name} with shape {shapes[0]}, got {shapes[1]}")
        for name, value in loaded.items():
            if name not in self._averages:
                self._averages[name] = self._like(current[name])
            self._averages[name].copy_(value)
        self._step = int(state_dict[_STEP])
        if self.zero_init:
            self._product = float(state_dict[_PRODUCT])

    @torch.no_grad()
    def averaged_state_dict(self) -> dict[str, Any]:
        """The ``state_dict`` of the model with the averaged weights, to save or to load into a model.

        Returns
        -------
        dict
            Copies, in the dtypes and on the devices of the model; frozen parameters, and buffers unless
            ``buffers="ignore"``, are included. Without a model: the averages of the parameters by name.

        Raises
        ------
        RuntimeError
            If the parameters of the model are no longer those that are averaged.
        """
        self._refuse_replaced()
        trained = self._trained()
        corrected = {id(trained[name]): value for name, value in self._corrected().items() if name in trained}
        left_out = {id(b) for b in self.model.buffers()} if self.model and self.buffers == "ignore" else set()
        state: Mapping[str, Any] = self._parameters if self.model is None else self.model.state_dict(keep_vars=True)
        result = {}
        for name, value in state.items():
            if id(value) in left_out:
                continue
            if isinstance(value, Tensor):  # a module may put anything into its state_dict
                source = corrected.get(id(value), value.detach())
                value = source.to(device=value.device, dtype=value.dtype, copy=True)
            result[name] = value
        return result

    def _moved(self) -> bool:
        """Whether any weight is no longer what it was when the averages began; at their start these are the same."""
        trained, corrected = self._trained(), self._corrected()
        return any(
            not torch.equal(_local(corrected[name]).to(_local(weight)), _local(weight.detach()))
            for name, weight in trained.items()
            if name in corrected
        )

    def _trained(self) -> dict[str, Tensor]:
        """What is averaged, as it is now: trained parameters, those with an average, and buffers."""
        named = self._parameters.items()
        trained = {name: p for name, p in named if p.requires_grad or name in self._averages}
        for name, (module, key) in self._owners.items():
            buffer = module._buffers[key]
            if buffer is not None:
                trained[name] = buffer
        return trained

    def _adopt(self, trained: Mapping[str, Tensor]) -> None:
        """Start averages where there are none: at the weight, times what it would weigh."""
        for name, weight in trained.items():
            if name not in self._averages:
                self._averages[name] = self._like(weight)
                if self.zero_init:
                    self._averages[name].mul_(1 - self._product)

    def _like(self, weight: Tensor) -> Tensor:
        dtype = torch.promote_types(weight.dtype, self.dtype)
        return weight.detach().to(device=self.device or weight.device, dtype=dtype, copy=True)

    def _corrected(self) -> dict[str, Tensor]:
        """The averages without the part of a start at zero."""
        if not self.zero_init:
            return self._averages
        if self._product == 1:
            return {}
        return {name: average / (1 - self._product) for name, average in self._averages.items()}

    def _owners_of_averaged_buffers(self) -> dict[str, tuple[nn.Module, str]]:
        if self.model is None or self.buffers != "ema":
            return {}
        saved = {id(value) for value in self.model.state_dict(keep_vars=True).values()}
        owners = {}
        for name, buffer in self.model.named_buffers():
            # An infinity, as in an additive mask, would become nan.
            if id(buffer) in saved and buffer.is_floating_point() and bool(buffer.isfinite().all()):
                path, _, key = name.rpartition(".")
                owners[name] = self.model.get_submodule(path), key
        return owners

    def _reshard(self) -> None:
        """Drop what FSDP has gathered, before shards are written: its next forward would go on with it."""
        if self.model is None or not any(hasattr(p, "to_local") for p in self._parameters.values()):
            return
        from torch.distributed.fsdp import FSDPModule

        for module in self.model.modules():
            if isinstance(module, FSDPModule):
                module.reshard()

    def _refuse_averaged(self, verb: str) -> None:
        if self._backup is not None:
            raise RuntimeError(f"{verb}: the model holds the averaged weights; leave average() or call restore() first")

    def _refuse_replaced(self) -> None:
        if self.model is not None:
            self._reshard()
            now = {name: id(p) for name, p in self.model.named_parameters()}
            if now != {name: id(p) for name, p in self._parameters.items()}:
                raise RuntimeError("model has other parameters than it had when EMA(model) was made: make a new one")


class _Backup:
    """Weights, and buffers of a model, as they were."""

    def __init__(self, weights: list[Tensor], model: nn.Module | None) -> None:
        buffers = [] if model is None else [(m._buffers, key) for m in model.modules() for key in m._buffers]
        self._slots = [(holder, key, holder[key]) for holder, key in buffers]
        tensors = weights + [buffer for _, _, buffer in self._slots if buffer is not None]
        self._tensors = {id(tensor): tensor for tensor in tensors}
        self._values = {key: tensor.detach().clone() for key, tensor in self._tensors.items()}

    @torch.no_grad()
    def restore(self) -> None:
        for key, tensor in self._tensors.items():
            tensor.copy_(self._values[key])
        for holder, name, buffer in self._slots:  # a module may have put a new tensor in its place
            holder[name] = buffer


def _named_parameters(source: nn.Module | Iterable[Tensor] | Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    """Each parameter once, by its name."""
    if isinstance(source, nn.Module):
        pairs: list[Any] = list(source.named_parameters())
    elif isinstance(source, Iterable) and not isinstance(source, (Tensor, Mapping, str)):
        pairs = [item if isinstance(item, tuple) else (str(i), item) for i, item in enumerate(source)]
    else:
        raise TypeError(f"model_or_params must be a module or an iterable of parameters, got {type(source).__name__}")
    named: dict[str, Tensor] = {}
    seen = set()
    for pair in pairs:
        match pair:
            case (str(name), Tensor() as weight):
                pass
            case _:
                raise TypeError(f"model_or_params must hold parameters, or pairs of name and parameter, got {pair!r}")
        if id(weight) in seen:
            continue
        if name in named or name.startswith("."):
            raise ValueError(f"model_or_params must have distinct names that begin with no dot, got {name!r}")
        if is_lazy(weight):
            raise ValueError(f"model_or_params must be initialised, got the uninitialised {name}: run the model once")
        seen.add(id(weight))
        named[name] = weight
    return named


def _local(tensor: Tensor) -> Tensor:
    """The shard of this process, if the tensor is a ``DTensor``."""
    to_local = getattr(tensor, "to_local", None)
    return tensor if to_local is None else to_local()


def _chunks(tensors: list[Tensor]) -> Iterator[slice]:
    """Runs of tensors that together have a bounded number of elements, or are one tensor."""
    start = size = 0
    for stop, tensor in enumerate(tensors):
        if size and size + tensor.numel() > _CHUNK:
            yield slice(start, stop)
            start, size = stop, 0
        size += tensor.numel()
    yield slice(start, len(tensors))


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
