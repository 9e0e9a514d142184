"""How sharply a loss is curved along the path of an optimiser, and the law that clipping rests on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import NamedTuple, Self

from kexue.extras import require

require("torch", "torch", "kexue.optim.smoothness")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from numpy.typing import ArrayLike  # noqa: E402
from torch import Tensor  # noqa: E402

from kexue.validation import check_integer  # noqa: E402

__all__ = ["SmoothnessFit", "SmoothnessProbe", "SmoothnessRecord", "fit_smoothness"]


class SmoothnessRecord(NamedTuple):
    """What `SmoothnessProbe` measures at one step."""

    grad_norm: float
    """Norm of the gradient before the step."""
    smoothness: float
    """Largest change of the gradient along the step, for each unit of length."""
    loss: float
    """Loss before the step."""


class SmoothnessProbe:
    r"""Measures the smoothness of a loss along the steps that an optimiser takes.

    .. math::
        \hat L = \max_{\delta \in \{\frac{1}{m+1}, \dots, \frac{m}{m+1}\}}
        \frac{\|\nabla f(\theta + \delta d) - \nabla f(\theta)\|}{\delta \|d\|}, \qquad d = \theta^+ - \theta

    Use it as a context around ``optimizer.step()``, as often as wanted. It evaluates the loss m + 1 times, and leaves
    weights (bit for bit), gradients, the state of the optimiser and the random state as they are.

    Parameters
    ----------
    params : iterable of torch.Tensor
        The parameters that the optimiser moves. Those that do not require a gradient are left out.
    closure : callable
        Returns the loss, a scalar tensor, at the parameters as they are, and does not call ``backward``. It should
        always see the same data: the batch of the step, or a large fixed one. Dropout draws the same mask each time.
    points : int
        The number m of points on the step, 1 or more.
    every : int
        Measure at every k-th step only.

    Attributes
    ----------
    records : list of SmoothnessRecord
        A named tuple ``(grad_norm, smoothness, loss)`` for each step measured. A step that moves nothing has none.

    Raises
    ------
    TypeError
        If ``closure`` cannot be called, or ``points`` or ``every`` is not an integer.
    ValueError
        If no parameter requires a gradient, or an integer is below 1.

    Notes
    -----
    Buffers that a forward changes, as the statistics of batch norm, are the closure's affair.

    References
    ----------
    为什么梯度裁剪能加速训练过程？一个简明的分析, https://kexue.fm/archives/7469.

    Zhang, He, Sra and Jadbabaie, Why Gradient Clipping Accelerates Training, arXiv 1905.11881, section 5.

    Examples
    --------
    >>> x = torch.tensor([3.0], requires_grad=True)
    >>> optimizer = torch.optim.SGD([x], lr=0.25)
    >>> probe = SmoothnessProbe([x], lambda: x.square().sum())
    >>> x.square().sum().backward()
    >>> with probe:
    ...     optimizer.step()
    >>> probe.records
    [SmoothnessRecord(grad_norm=6.0, smoothness=2.0, loss=9.0)]
    """

    def __init__(
        self, params: Iterable[Tensor], closure: Callable[[], Tensor], *, points: int = 1, every: int = 1
    ) -> None:
        if not callable(closure):
            raise TypeError(f"closure must be callable, got {type(closure).__name__}")
        self._params = [parameter for parameter in params if parameter.requires_grad]
        if not self._params:
            raise ValueError("params must hold a parameter that requires a gradient")
        self._closure = closure
        self._points = check_integer(points, "points")
        self._every = check_integer(every, "every")
        self._steps = 0
        self._before: _Before | None = None
        self._entered = False
        self.records: list[SmoothnessRecord] = []

    def __enter__(self) -> Self:
        if self._entered:
            raise RuntimeError("this probe is around a step already")
        self._steps += 1
        self._before = None
        if self._steps % self._every == 0:
            states = _random_states(self._params)
            loss, gradient = self._gradient(states)
            start = [parameter.detach().clone() for parameter in self._params]
            self._before = _Before(start, loss, gradient, states)
        self._entered = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._entered = False
        before, self._before = self._before, None
        if before is not None and error is None:
            self._measure(before)

    @torch.no_grad()
    def _measure(self, before: _Before) -> None:
        end = [parameter.detach().clone() for parameter in self._params]
        step = torch._foreach_sub(end, before.start)
        length = _norm(step)
        if length == 0:
            return
        largest = 0.0
        try:
            for point in range(1, self._points + 1):
                fraction = point / (self._points + 1)
                for parameter, start, along in zip(self._params, before.start, step, strict=True):
                    torch.add(start, along, alpha=fraction, out=parameter.detach())
                _, gradient = self._gradient(before.states)
                change = _norm(torch._foreach_sub(gradient, before.gradient))
                largest = max(change / (fraction * length), largest)
        finally:
            for parameter, kept in zip(self._params, end, strict=True):
                parameter.copy_(kept)
        self.records.append(SmoothnessRecord(_norm(before.gradient), largest, before.loss))

    def _gradient(self, states: dict[torch.device, Tensor]) -> tuple[float, list[Tensor]]:
        """Loss and gradient where the parameters are, by the random numbers of that state."""
        with _drawing_from(states), torch.enable_grad():
            loss = self._closure()
            if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.requires_grad:
                found = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
                raise ValueError(f"closure must return a scalar tensor with its graph, got {found}")
            gradient = torch.autograd.grad(loss.sum(), self._params, allow_unused=True)
        pairs = zip(gradient, self._params, strict=True)
        return loss.item(), [torch.zeros_like(p) if g is None else g.detach().clone() for g, p in pairs]


class _Before(NamedTuple):
    start: list[Tensor]
    loss: float
    gradient: list[Tensor]
    states: dict[torch.device, Tensor]


def _norm(tensors: Iterable[Tensor]) -> float:
    return math.hypot(*(torch.linalg.vector_norm(tensor).item() for tensor in tensors))


def _random_states(tensors: Iterable[Tensor]) -> dict[torch.device, Tensor]:
    devices = {torch.device("cpu")} | {tensor.device for tensor in tensors}
    return {device: _state(device) for device in devices}


def _state(device: torch.device) -> Tensor:
    if device.type == "cpu":
        return torch.get_rng_state()
    return torch.get_device_module(device).get_rng_state(device)


def _set_state(device: torch.device, state: Tensor) -> None:
    if device.type == "cpu":
        torch.set_rng_state(state)
    else:
        torch.get_device_module(device).set_rng_state(state, device)


@contextmanager
def _drawing_from(states: dict[torch.device, Tensor]) -> Iterator[None]:
    """Random states for a block; those before it are restored."""
    outer = {device: _state(device) for device in states}
    for device, state in states.items():
        _set_state(device, state)
    try:
        yield
    finally:
        for device, state in outer.items():
            _set_state(device, state)


class SmoothnessFit(NamedTuple):
    """What `fit_smoothness` finds."""

    l0: float
    """The smoothness where the gradient vanishes."""
    l1: float
    """How much it grows for each unit of the gradient's norm."""
    r: float
    """Correlation of the logarithms of norm and smoothness; nan where one of them does not vary."""
    suggested_lr: float
    """1/l0; infinite where l0 is 0."""
    suggested_gamma: float
    """l0/l1; infinite where l1 is 0: then nothing needs to be clipped."""


def fit_smoothness(grad_norm: ArrayLike, smoothness: ArrayLike) -> SmoothnessFit:
    r"""Fit the law that curvature grows at most linearly with the norm of the gradient.

    .. math:: \hat L \approx L_0 + L_1 \|g\|, \qquad L_0, L_1 \ge 0, \qquad \eta = 1/L_0, \quad \gamma = L_0/L_1

    Parameters
    ----------
    grad_norm : array-like, shape (n,)
        Norms of gradients.
    smoothness : array-like, shape (n,)
        Smoothness there, as `SmoothnessProbe` records it.

    Returns
    -------
    SmoothnessFit
        The two constants by least squares, the correlation of the logarithms, and the learning rate and threshold of
        the soft form of clipping that follow; a named tuple.

    Raises
    ------
    ValueError
        If the shapes differ, there are fewer than two values, or one is negative or not finite.

    Notes
    -----
    The correlation leaves out pairs in which a value is 0.

    References
    ----------
    为什么梯度裁剪能加速训练过程？一个简明的分析, https://kexue.fm/archives/7469.

    Examples
    --------
    >>> fit = fit_smoothness([1.0, 2.0, 3.0], [5.0, 7.0, 9.0])
    >>> round(fit.l0, 6), round(fit.l1, 6), round(fit.suggested_gamma, 6)
    (3.0, 2.0, 1.5)
    """
    from scipy.optimize import nnls

    x, y = np.asarray(grad_norm, dtype=np.float64), np.asarray(smoothness, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape or len(x) < 2:
        raise ValueError(
            f"grad_norm and smoothness must have one shape (n,) with n >= 2, got {tuple(x.shape)} and {tuple(y.shape)}"
        )
    for name, values in (("grad_norm", x), ("smoothness", y)):
        if not (np.isfinite(values).all() and (values >= 0).all()):
            worst = values[~(np.isfinite(values) & (values >= 0))][0]
            raise ValueError(f"{name} must hold finite numbers that are not negative, got {worst}")
    # In units of their own size, so that neither column is lost in the rounding.
    sizes = float(np.abs(x).max()) or 1.0, float(np.abs(y).max()) or 1.0
    (constant, slope), _ = nnls(np.stack([np.ones_like(x), x / sizes[0]], 1), y / sizes[1])
    l0, l1 = float(constant * sizes[1]), float(slope * sizes[1] / sizes[0])
    positive = (x > 0) & (y > 0)
    log_x, log_y = np.log(x[positive]), np.log(y[positive])
    varies = len(log_x) > 1 and np.ptp(log_x) > 0 and np.ptp(log_y) > 0
    return SmoothnessFit(
        l0,
        l1,
        float(np.corrcoef(log_x, log_y)[0, 1]) if varies else math.nan,
        1 / l0 if l0 else math.inf,
        l0 / l1 if l1 else math.inf,
    )
