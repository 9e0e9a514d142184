"""Gradient clipping in two forms, for any optimiser and loop, and gradient descent that consists of it."""

from __future__ import annotations

import bisect
import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from typing import Any, Literal, TypeVar, get_args

from kexue.extras import require

require("torch", "torch", "kexue.optim.clipping")

import torch  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.optim import Optimizer  # noqa: E402

from kexue.nn.handles import Handle  # noqa: E402
from kexue.validation import check_integer, promote_half, should_check_values  # noqa: E402

__all__ = ["AutoClip", "ClippedGD", "Clipping", "attach_clipping", "clip_coefficient", "clip_gradients_"]

Form = Literal["min", "soft"]
Norm = TypeVar("Norm", float, Tensor)


def clip_coefficient(norm: Norm, gamma: float | Tensor, *, form: Form = "min") -> Norm:
    r"""The factor by which clipping multiplies a gradient.

    .. math:: c_{\min} = \min\{1, \gamma / \|g\|\}, \qquad c_{\text{soft}} = \frac{\gamma}{\|g\| + \gamma}

    They agree within a factor of two, :math:`\tfrac12 c_{\min} \le c_{\text{soft}} \le c_{\min}`.

    Parameters
    ----------
    norm : float or torch.Tensor
        The norm :math:`\|g\|` of the gradient.
    gamma : float or torch.Tensor
        The threshold :math:`\gamma > 0`; an infinite one clips nothing.
    form : {"min", "soft"}
        ``"min"`` leaves gradients below the threshold as they are; ``"soft"`` shrinks all, and approaches 1 only where
        the gradient vanishes.

    Returns
    -------
    float or torch.Tensor
        The factor, in [0, 1]: a number for a number, a tensor for a tensor. 1 of a gradient that is zero.

    Raises
    ------
    ValueError
        If ``gamma`` is not positive, a norm is negative, or the form is unknown.

    Notes
    -----
    A loss is :math:`(L_0, L_1)`-smooth where :math:`\|\nabla^2 f\| \le L_0 + L_1 \|\nabla f\|`. The step that the bound
    recommends is :math:`1/(L_0 + L_1 \|g\|)`, which is the soft form with learning rate :math:`\eta = 1/L_0` and
    :math:`\gamma = L_0/L_1`: no step is longer than :math:`\eta\gamma = 1/L_1`. The condition as differences of
    gradients, :math:`\|\nabla f(x + \Delta) - \nabla f(x)\| \le (A L_0 + B L_1 \|\nabla f(x)\|) \|\Delta\|`, holds for
    :math:`\|\Delta\| \le c/L_1` only, with :math:`A = 1 + e^c - (e^c - 1)/c` and :math:`B = (e^c - 1)/c`; for all Δ it
    would fail for :math:`x^4` at 0, which is :math:`(16/L_1^2, L_1)`-smooth for every :math:`L_1 > 0`.

    References
    ----------
    为什么梯度裁剪能加速训练过程？一个简明的分析, https://kexue.fm/archives/7469.

    Zhang, He, Sra and Jadbabaie, Why Gradient Clipping Accelerates Training, arXiv 1905.11881.

    Zhang, Jin, Fang and Wang, Improved Analysis of Clipping Algorithms for Non-convex Optimization, arXiv 2010.02519.

    Examples
    --------
    >>> clip_coefficient(5.0, 1.0), clip_coefficient(5.0, 10.0), clip_coefficient(5.0, 5.0, form="soft")
    (0.2, 1.0, 0.5)
    """
    _check_form(form)
    _check_gamma(gamma)
    negative: bool | Tensor = norm < 0
    if isinstance(negative, Tensor):
        negative = should_check_values(negative) and bool(negative.any())
    if negative:
        raise ValueError(f"norm must not be negative, got {norm!r}")
    # By the ratio, so that an infinite norm gives 0, and an infinite threshold 1.
    ratio: Any = norm / gamma
    # In this order, max hands nan on.
    at_least_one: Any = ratio.clamp(min=1) if isinstance(ratio, Tensor) else max(ratio, 1.0)
    factor: Norm = 1 / (1 + ratio if form == "soft" else at_least_one)
    return factor


def clip_gradients_(
    params: Tensor | Iterable[Tensor],
    gamma: float | Tensor | Callable[[Tensor], float | Tensor],
    *,
    form: Form = "min",
    error_if_nonfinite: bool | None = None,
) -> Tensor:
    """Multiply the gradients of parameters by the factor of clipping, in place.

    Parameters
    ----------
    params : torch.Tensor or iterable of torch.Tensor
        The parameters, whose gradients are taken as one vector. Those without a gradient are left out; of a ``DTensor``
        the norm is that of the whole.
    gamma : float, torch.Tensor or callable
        The threshold of the norm; or a function of the norm that gives it, such as `AutoClip`.
    form : {"min", "soft"}
        See `clip_coefficient`.
    error_if_nonfinite : bool, optional
        Whether a norm that is infinite or nan is an error; else such gradients are left as they are. By default, on a
        CPU: an accelerator would have to wait for the answer.

    Returns
    -------
    torch.Tensor
        The norm before clipping, in single precision at least; 0 where there is no gradient.

    Raises
    ------
    ValueError
        If ``gamma`` is not positive, or the form is unknown.
    TypeError
        If ``params`` holds something else than tensors.
    RuntimeError
        If the norm is not finite; the gradients are as they were.

    References
    ----------
    为什么梯度裁剪能加速训练过程？一个简明的分析, https://kexue.fm/archives/7469.

    Examples
    --------
    >>> weight = torch.zeros(2, requires_grad=True)
    >>> weight.grad = torch.tensor([3.0, 4.0])
    >>> clip_gradients_(weight, 1.0), weight.grad
    (tensor(5.), tensor([0.6000, 0.8000]))
    """
    _check_form(form)
    if not callable(gamma):
        _check_gamma(gamma)
    norm, _ = _clip(params, gamma, form, error_if_nonfinite)
    return norm


@torch.no_grad()
def _clip(
    params: Tensor | Iterable[Tensor],
    gamma: float | Tensor | Callable[[Tensor], float | Tensor],
    form: Form,
    error_if_nonfinite: bool | None,
    scale: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Norm and factor; ``scale`` is what the gradients are still to be divided by."""
    gradients = _gradients([params] if isinstance(params, Tensor) else params)
    groups = _alike(_local(gradient) for gradient in gradients)
    norm = _total_norm(gradients, groups)
    if scale is not None:
        norm = norm / scale.to(norm.device)
    at_hand = should_check_values(norm)  # then numbers are quicker than tensors
    if error_if_nonfinite or (at_hand and error_if_nonfinite is None):
        number = norm.item()
        if not math.isfinite(number):
            raise RuntimeError(f"the norm of the gradients is {number}, so they cannot be clipped")
    threshold = gamma(norm) if callable(gamma) else gamma
    if at_hand:
        number = norm.item()
        factor = clip_coefficient(number, float(threshold), form=form) if math.isfinite(number) else 1.0
        coefficient = torch.tensor(factor, dtype=norm.dtype)
        if factor == 1:
            return norm, coefficient  # to multiply by 1 would be another pass over the memory
    else:
        coefficient = torch.where(norm.isfinite(), clip_coefficient(norm, threshold, form=form), 1.0)
    for (device, _), group in groups.items():
        # Backwards: the last ones that the norm has read may still be in the cache.
        torch._foreach_mul_(group[::-1], coefficient.to(device))
    return norm, coefficient


def _gradients(params: Iterable[Tensor]) -> list[Tensor]:
    found = []
    for parameter in params:
        if not isinstance(parameter, Tensor):
            raise TypeError(f"params must hold tensors, got {type(parameter).__name__}")
        gradient = parameter.grad
        if gradient is not None:
            found.append(gradient)
    return found


Groups = dict[tuple[torch.device, torch.dtype], list[Tensor]]


def _alike(tensors: Iterable[Tensor]) -> Groups:
    groups: Groups = {}
    for tensor in tensors:
        groups.setdefault((tensor.device, tensor.dtype), []).append(tensor)
    return groups


def _local(gradient: Tensor) -> Tensor:
    """What is multiplied: the values of a sparse gradient, the shard of this process."""
    if gradient.is_sparse:
        return gradient._values()
    return gradient.to_local() if hasattr(gradient, "to_local") else gradient


def _total_norm(gradients: list[Tensor], groups: Groups) -> Tensor:
    if not gradients:
        return torch.tensor(0.0)
    if any(hasattr(gradient, "to_local") for gradient in gradients):
        total: Any = torch.nn.utils.get_total_norm(gradients)
        return promote_half(total.full_tensor() if hasattr(total, "full_tensor") else total)
    if any(gradient.is_sparse for gradient in gradients):
        # Values at the same place add up before the norm is taken.
        groups = _alike(gradient.coalesce()._values() if gradient.is_sparse else gradient for gradient in gradients)
    norms: list[Tensor] = []
    device = gradients[0].device
    for (where, dtype), group in groups.items():
        # A norm in half precision would overflow, and have three digits.
        found = torch._foreach_norm(group, 2, dtype=torch.float32 if dtype.itemsize < 4 else None)
        norms += found if where == device else [norm.to(device) for norm in found]
    return torch.linalg.vector_norm(torch.stack(norms))


def _check_form(form: str) -> None:
    if form not in get_args(Form):
        raise ValueError(f"form must be one of {get_args(Form)}, got {form!r}")


def _check_gamma(gamma: float | Tensor) -> None:
    if isinstance(gamma, Tensor):
        good = not should_check_values(gamma) or bool((gamma > 0).all())
    else:
        good = isinstance(gamma, Real) and gamma > 0
    if not good:
        raise ValueError(f"gamma must be a positive number, got {gamma!r}")


class AutoClip:
    r"""A threshold of clipping that follows the norms of the training: a percentile of those before.

    It is a function of the norm, for ``gamma=`` of `attach_clipping` (where ``"auto"`` is one with these defaults) and
    of `clip_gradients_`. While fewer norms than ``warmup`` have been seen, the threshold is infinite.

    Parameters
    ----------
    percentile : float
        Which one, in [0, 100]. With 10, nine steps in ten are clipped.
    warmup : int
        Norms to have been seen before the first clipping, 1 or more.
    history : int
        Norms that are remembered, ``warmup`` or more; the oldest is forgotten.

    Raises
    ------
    TypeError
        If ``warmup`` or ``history`` is not an integer.
    ValueError
        If an argument is outside its range.

    Notes
    -----
    The percentile is exact, with linear interpolation as in ``numpy.percentile``. Norms that are not finite are not
    remembered. A norm is read when the next one comes, so that an accelerator has it ready.

    References
    ----------
    Seetharaman, Wichern, Pardo and Le Roux, AutoClip: Adaptive Gradient Clipping for Source Separation Networks, arXiv
    2007.14469.

    Examples
    --------
    >>> threshold = AutoClip(50, warmup=2)
    >>> [threshold(torch.tensor(norm)) for norm in (1.0, 3.0, 7.0, 100.0)]
    [inf, inf, 2.0, 3.0]
    """

    def __init__(self, percentile: float = 10, *, warmup: int = 100, history: int = 10_000) -> None:
        if not 0 <= percentile <= 100:
            raise ValueError(f"percentile must be in [0, 100], got {percentile!r}")
        self.percentile = float(percentile)
        self.warmup = check_integer(warmup, "warmup")
        self.history = check_integer(history, "history", minimum=self.warmup)
        self._pending: Tensor | float | None = None
        self._order: deque[float] = deque()
        self._sorted: list[float] = []

    def __call__(self, norm: Tensor | float) -> float:
        """The threshold for a gradient, by the norms of the gradients before it; this one is remembered.

        Parameters
        ----------
        norm : torch.Tensor or float
            Its norm.

        Returns
        -------
        float
            The threshold, infinite during the warm-up; the smallest normal number where it would be zero.
        """
        self._remember()
        self._pending = norm
        count = len(self._sorted)
        if count < self.warmup:
            return math.inf
        position = (count - 1) * self.percentile / 100
        below = int(position)
        low, high = self._sorted[below], self._sorted[min(below + 1, count - 1)]
        return max(low + (position - below) * (high - low), torch.finfo(torch.float32).tiny)

    def _remember(self) -> None:
        pending, self._pending = self._pending, None
        if pending is None or not math.isfinite(value := float(pending)):
            return
        self._order.append(value)
        bisect.insort(self._sorted, value)
        if len(self._order) > self.history:
            del self._sorted[bisect.bisect_left(self._sorted, self._order.popleft())]

    def state_dict(self) -> dict[str, Tensor]:
        """What another `AutoClip` needs to go on exactly.

        Returns
        -------
        dict of str to torch.Tensor
            The norms in the order in which they came, under ``"norms"``.
        """
        self._remember()
        return {"norms": torch.tensor(list(self._order), dtype=torch.float64)}

    def load_state_dict(self, state_dict: Mapping[str, Tensor]) -> None:
        """Go on where `state_dict` was taken.

        Parameters
        ----------
        state_dict : mapping of str to torch.Tensor
            What `state_dict` returned; of more norms than are remembered here, the last ones count.

        Raises
        ------
        ValueError
            If it holds no norms.
        """
        if "norms" not in state_dict:
            raise ValueError(f"state_dict must hold norms, got {sorted(state_dict)}")
        self._pending = None
        self._order = deque(state_dict["norms"].tolist()[-self.history :])
        self._sorted = sorted(self._order)


class Clipping(Handle[Optimizer]):
    """What `attach_clipping` returns: the handle, and what was clipped last.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        The optimiser.
    gamma : float or callable
        The threshold, or a function of the norm that gives it.
    form, error_if_nonfinite
        See `attach_clipping`.

    Attributes
    ----------
    model : torch.optim.Optimizer
        The optimiser.
    gamma : float or callable
        The threshold; a new one holds from the next step on.
    last_norm, last_coefficient : torch.Tensor or None
        Norm before clipping, and the factor, of the last step; None before the first one.

    References
    ----------
    为什么梯度裁剪能加速训练过程？一个简明的分析, https://kexue.fm/archives/7469.

    Examples
    --------
    >>> weight = torch.zeros(2, requires_grad=True)
    >>> clipping = attach_clipping(torch.optim.SGD([weight], lr=1.0), 1.0)
    >>> weight.grad = torch.tensor([3.0, 4.0])
    >>> clipping.model.step()
    >>> clipping.last_norm, clipping.last_coefficient
    (tensor(5.), tensor(0.2000))
    """

    def __init__(
        self,
        optimizer: Optimizer,
        gamma: float | Callable[[Tensor], float | Tensor],
        *,
        form: Form,
        error_if_nonfinite: bool | None,
    ) -> None:
        super().__init__(optimizer)
        self.gamma, self._form, self._error_if_nonfinite = gamma, form, error_if_nonfinite
        self.last_norm: Tensor | None = None
        self.last_coefficient: Tensor | None = None
        stepping: Optimizer = getattr(optimizer, "optimizer", optimizer)  # accelerate's holds the one that has hooks
        with self.change("attach_clipping", of=stepping) as undo:
            undo.callback(stepping.register_step_pre_hook(self._before_step).remove)

    def _before_step(self, optimizer: Optimizer, args: Any, options: Any) -> tuple[Any, Any] | None:
        closure = options.get("closure") if "closure" in options else args[1] if len(args) > 1 else None
        if closure is None:
            self._clip(optimizer)
            return None

        def clipped() -> Any:
            with torch.enable_grad():
                loss = closure()
            self._clip(optimizer)
            return loss

        if "closure" in options:
            return args, options | {"closure": clipped}
        return (args[0], clipped, *args[2:]), options

    def _clip(self, optimizer: Optimizer) -> None:
        params = (parameter for group in optimizer.param_groups for parameter in group["params"])
        # A GradScaler leaves it to a fused optimiser to divide by the scale, and to skip the step of an overflow.
        scale = getattr(optimizer, "grad_scale", None)
        check = False if getattr(optimizer, "found_inf", None) is not None else self._error_if_nonfinite
        self.last_norm, self.last_coefficient = _clip(params, self.gamma, self._form, check, scale)

    def state_dict(self) -> dict[str, Tensor]:
        """What another one needs to go on exactly.

        Returns
        -------
        dict of str to torch.Tensor
            The state of the threshold, if that has one; else nothing.
        """
        return dict(self.gamma.state_dict()) if hasattr(self.gamma, "state_dict") else {}

    def load_state_dict(self, state_dict: Mapping[str, Tensor]) -> None:
        """Go on where `state_dict` was taken.

        Parameters
        ----------
        state_dict : mapping of str to torch.Tensor
            What `state_dict` returned.

        Raises
        ------
        ValueError
            If it holds a state, and the threshold takes none.
        """
        if hasattr(self.gamma, "load_state_dict"):
            self.gamma.load_state_dict(state_dict)
        elif state_dict:
            raise ValueError(f"state_dict must be empty, as gamma has no state, got {sorted(state_dict)}")


def attach_clipping(
    optimizer: Optimizer,
    gamma: float | Literal["auto"] | Callable[[Tensor], float | Tensor],
    *,
    form: Form = "min",
    error_if_nonfinite: bool | None = None,
) -> Clipping:
    """Clip the gradients before each step that an optimiser takes, until the handle takes it back.

    The training loop stays as it is, gradient accumulation and ``torch.amp.GradScaler`` included: what is clipped is
    the gradient that the step would use, without its scale.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        The optimiser, whose parameters together are clipped. One that ``accelerate`` has prepared, or is going to,
        will do.
    gamma : float, "auto" or callable
        The threshold of the norm; ``"auto"`` is `AutoClip`; or a function of the norm, a tensor, that gives it.
    form : {"min", "soft"}
        See `clip_coefficient`.
    error_if_nonfinite : bool, optional
        Whether a norm that is infinite or nan is an error; else such gradients are left as they are. By default, on a
        CPU: an accelerator would have to wait for the answer.

    Returns
    -------
    Clipping
        The handle, with ``last_norm`` and ``last_coefficient``.

    Raises
    ------
    TypeError
        If ``optimizer`` is not an optimiser.
    ValueError
        If ``gamma`` is not positive, or the form is unknown.
    RuntimeError
        If the optimiser's gradients are clipped so already.

    Notes
    -----
    A step with a closure, as LBFGS takes, computes its gradients itself: they are clipped each time.

    References
    ----------
    为什么梯度裁剪能加速训练过程？一个简明的分析, https://kexue.fm/archives/7469.

    Examples
    --------
    >>> weight = torch.zeros(2, requires_grad=True)
    >>> optimizer = torch.optim.SGD([weight], lr=1.0)
    >>> with attach_clipping(optimizer, 1.0) as clipping:
    ...     (weight @ torch.tensor([-3.0, -4.0])).backward()
    ...     optimizer.step()
    >>> weight
    tensor([0.6000, 0.8000], requires_grad=True)
    """
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer must be a torch.optim.Optimizer, got {type(optimizer).__name__}")
    _check_form(form)
    threshold = AutoClip() if isinstance(gamma, str) and gamma == "auto" else gamma
    if not callable(threshold):
        _check_gamma(threshold)
    return Clipping(optimizer, threshold, form=form, error_if_nonfinite=error_if_nonfinite)


class ClippedGD(Optimizer):
    r"""Gradient descent with a clipped gradient.

    .. math:: \theta \leftarrow \theta - \eta\, c(\|g\|)\, g

    Parameters
    ----------
    params : iterable
        Parameters, or dictionaries of groups, as any optimiser takes them. The norm is that of all groups together.
    lr : float
        The step :math:`\eta`, positive.
    gamma : float
        The threshold :math:`\gamma`, positive; an infinite one makes plain gradient descent.
    form : {"min", "soft"}
        See `clip_coefficient`.

    Raises
    ------
    ValueError
        If ``lr`` or ``gamma`` is not positive, or the form is unknown.

    Notes
    -----
    For a loss with :math:`\|\nabla^2 f\| \le L_0 + L_1 \|\nabla f\|`, the step :math:`1/(L_0 + L_1 \|g\|)` is
    ``lr=1/L0, gamma=L0/L1, form="soft"``.

    References
    ----------
    为什么梯度裁剪能加速训练过程？一个简明的分析, https://kexue.fm/archives/7469.

    Zhang, He, Sra and Jadbabaie, Why Gradient Clipping Accelerates Training, arXiv 1905.11881.

    Examples
    --------
    >>> x = torch.tensor([5.0], requires_grad=True)
    >>> optimizer = ClippedGD([x], lr=1.0, gamma=1.0)
    >>> for _ in range(5):
    ...     optimizer.zero_grad()
    ...     torch.cosh(x).sum().backward()
    ...     optimizer.step()
    >>> abs(x.item()) < 1e-6
    True
    """

    def __init__(self, params: Any, lr: float, gamma: float, *, form: Form = "min") -> None:
        super().__init__(params, {"lr": lr, "gamma": gamma, "form": form})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with settings of their own; each is checked.

        Parameters
        ----------
        param_group : dict
            ``"params"``, and what differs from the optimiser's settings.

        Raises
        ------
        ValueError
            If a setting is outside its range.
        """
        settings = self.defaults | param_group
        if not settings["lr"] > 0:
            raise ValueError(f"lr must be a positive number, got {settings['lr']!r}")
        _check_form(settings["form"])
        _check_gamma(settings["gamma"])
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step.

        Parameters
        ----------
        closure : callable, optional
            Computes the loss and its gradients.

        Returns
        -------
        object
            What the closure returned, if it was given.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        gradients = _gradients(parameter for group in self.param_groups for parameter in group["params"])
        norm = _total_norm(gradients, _alike(map(_local, gradients)))
        for group in self.param_groups:
            factor = clip_coefficient(norm, group["gamma"], form=group["form"])
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.sub_((group["lr"] * factor).to(parameter.device) * parameter.grad)
        return loss
