"""Integrated gradients: the change of an output from a baseline to an input, divided among the parts of the input."""

from __future__ import annotations

import functools
import math
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kexue.extras import require
from kexue.interpret.embedded_model import EmbeddedModel
from kexue.interpret.quadrature import quadrature_rule
from kexue.plots.images import as_numbers
from kexue.plots.style import COLORS
from kexue.validation import check_floating, check_integer, promote_half

require("torch", "torch", "kexue.interpret")

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

__all__ = ["Attribution", "attribution_heatmap", "callers_level", "integrated_gradients", "rounding"]

Method = Literal["gausslegendre", "midpoint", "left", "right", "trapezoid"]
Path = Callable[[Tensor, Tensor, Tensor], Tensor]

_STEPS = 32
_FIRST_STEPS = 8  # where a tolerance decides how many there will be
# So many numbers of the inputs are in one call by default: more do not stay in the caches of a processor, and fewer do
# not fill it. Large inputs come in batches of this many rows all the same.
_NUMBERS, _FEWEST_ROWS = 2**17, 8


@dataclass(frozen=True, eq=False)
class Attribution:
    """What the parts of the inputs contribute to the change of the output.

    Attributes
    ----------
    values : torch.Tensor or tuple of torch.Tensor
        The signed share of every number of the inputs, in the shape of the inputs; at least float32.
    delta : torch.Tensor of shape (B,)
        The sum of a sample's shares minus the change of its output: the error of the quadrature.
    steps : torch.Tensor of shape (B,)
        Nodes on the path of each sample; of several baselines, those of the path that took most.
    prediction : torch.Tensor of shape (B,)
        The output at the inputs.
    baseline_prediction : torch.Tensor of shape (B,)
        The output at the baselines, the mean over several: of an uninformative baseline it decides for no class.
    """

    values: Tensor | tuple[Tensor, ...]
    delta: Tensor
    steps: Tensor
    prediction: Tensor
    baseline_prediction: Tensor


def integrated_gradients(
    fn: Callable[..., Tensor],
    inputs: Tensor | tuple[Tensor, ...],
    baselines: float | Tensor | tuple[float | Tensor, ...] = 0.0,
    *,
    target: int | Tensor | None = None,
    steps: int | None = None,
    method: Method = "gausslegendre",
    path: Path | None = None,
    tol: float | None = None,
    max_steps: int = 512,
    max_batch: int | None = None,
    args: tuple[Any, ...] = (),
) -> Attribution:
    r"""Divide the change of an output between a baseline and an input among the numbers of the input.

    .. math:: \operatorname{IG}_i(x) = (x_i - \bar x_i) \int_0^1
        \frac{\partial F}{\partial x_i}\left(\bar x + \alpha (x - \bar x)\right) d\alpha, \qquad
        \sum_i \operatorname{IG}_i(x) = F(x) - F(\bar x),

    and along any other path :math:`\gamma` from :math:`\gamma(0) = \bar x` to :math:`\gamma(1) = x`

    .. math:: \int_0^1 \frac{\partial F}{\partial x_i}(\gamma(\alpha))\, \gamma_i'(\alpha)\, d\alpha,

    whose sum is the same, while the division depends on the path.

    Parameters
    ----------
    fn : callable
        The function F: ``fn(*inputs, *args)`` returns shape (B,), or (B, C) together with `target`. Rows of a batch
        must not depend on each other.
    inputs : torch.Tensor or tuple of torch.Tensor
        Floating-point tensors of shape (B, …).
    baselines : float, torch.Tensor, or a tuple of one for each input
        Where the paths begin: a number, or a tensor that broadcasts to the input. With one dimension more, (K, B or
        1, …), it holds K baselines, and the shares are the means over them (expected gradients).
    target : int or torch.Tensor of shape (B,), optional
        The column of the output that is explained.
    steps : int, optional
        Nodes on each path: 32, or where `tol` is given, 8 to begin with.
    method : {"gausslegendre", "midpoint", "left", "right", "trapezoid"}
        Rule of the quadrature. Gauss–Legendre is exact where F along the path is a polynomial of degree 2·steps, and
        converges geometrically where F is smooth; with kinks (ReLU) the error of every rule falls like 1/steps.
    path : callable, optional
        Takes an input, its baseline and α of shape (rows, 1, …, 1), and returns γ(α); by default the straight line. It
        is called for each input, must lead from the one to the other, and be differentiable in α.
    tol : float, optional
        Double the steps of a sample until \|δ\| ≤ tol·max(\|F(x) − F(x̄)\|, 1e-6), or until it is as small as the
        rounding of F.
    max_steps : int
        Where doubling ends, with a warning.
    max_batch : int, optional
        The most rows of one call of `fn`; memory does not depend on the steps. By default as many rows as hold 131072
        numbers, and at least 8.
    args : tuple
        Further arguments of `fn`. A tensor with as many rows as the inputs is repeated with them.

    Returns
    -------
    Attribution
        Shares, δ, steps and both predictions.

    Raises
    ------
    TypeError
        If inputs or baselines are not floating-point tensors, `fn` returns no tensor, `path` is not callable, or
        another argument has a wrong type.
    ValueError
        If shapes do not fit, `target` is missing, superfluous or no column of the output, a path does not end where
        it should, or another argument is out of range.
    RuntimeError
        If F, or a share, is not finite.

    Warns
    -----
    UserWarning
        If `tol` is not reached with `max_steps`; if `fn` is a module that drops units or normalises over the batch
        because it is in training mode; or if the output changes without having a gradient.

    Notes
    -----
    A small δ is necessary for exact shares, and not sufficient: errors of single shares can cancel. Only gradients of
    the inputs are computed; ``grad`` of parameters is not touched. Where `fn` is a module, its parameters do not
    require gradients meanwhile, which saves half of the memory. Shares of half-precision inputs are summed in
    float32.

    References
    ----------
    "积分梯度：一种新颖的神经网络可视化方法", https://kexue.fm/archives/7533; Sundararajan, Taly, Yan, Axiomatic
    Attribution for Deep Networks, arXiv:1703.01365; over several baselines: Erion et al., arXiv:1906.10670.

    Examples
    --------
    >>> x = torch.tensor([[3.0, 5.0]])
    >>> integrated_gradients(lambda x: x[:, 0] * x[:, 1], x, torch.tensor([1.0, 2.0]), steps=1).values
    tensor([[7., 6.]])

    The gradient of a saturated unit is zero although the input matters:

    >>> found = integrated_gradients(lambda x: 1 - (1 - x[:, 0]).relu(), torch.tensor([[2.0]]))
    >>> round(found.values.item(), 2), found.prediction - found.baseline_prediction
    (1.0, tensor([1.]))
    """
    xs = inputs if isinstance(inputs, tuple) else (inputs,)
    batch = _check_inputs(xs)
    starts = _check_baselines(baselines, xs)
    if steps is None:
        steps = _STEPS if tol is None else _FIRST_STEPS
    count = check_integer(steps, "steps")
    quadrature_rule(method, count)
    if tol is not None:
        if not 0 < tol < math.inf:
            raise ValueError(f"tol must be a positive number or None, got {tol!r}")
        check_integer(max_steps, "max_steps", minimum=count)
    if path is not None and not callable(path):
        raise TypeError(f"path must be callable or None, got {type(path).__name__}")
    if max_batch is None:
        max_batch = max(_FEWEST_ROWS, _NUMBERS // max(1, sum(x[:1].numel() for x in xs)))
    rows = check_integer(max_batch, "max_batch")
    module = fn if isinstance(fn, nn.Module) else getattr(fn, "__self__", None)
    parts = list(module.modules()) if isinstance(module, nn.Module) else []
    _warn_of_training(fn, parts)
    with torch.inference_mode(False), _constant_parameters(parts):
        paths = _Paths(fn, xs, starts, target, args, path, rows)
        prediction, origin = paths.ends()
        values, delta, used = paths.divide(prediction[paths.sample] - origin, method, count, tol, max_steps)

    def of_samples(of_paths: Tensor) -> Tensor:
        return of_paths.reshape(batch, paths.baselines, *of_paths.shape[1:])

    shares = tuple(of_samples(value).mean(1) for value in values)
    return Attribution(
        values=shares if isinstance(inputs, tuple) else shares[0],
        delta=of_samples(delta).mean(1),
        steps=of_samples(used).amax(1),
        prediction=prediction.to(paths.dtype),
        baseline_prediction=of_samples(origin).mean(1).to(paths.dtype),
    )


def _check_inputs(xs: tuple[Tensor, ...]) -> int:
    if not xs:
        raise ValueError("inputs must be a tensor or a tuple of tensors, got an empty tuple")
    for x in xs:
        if isinstance(x, Tensor) and not x.is_floating_point():
            raise TypeError(
                f"inputs must be floating-point tensors, got dtype {x.dtype}; for token ids, explain_text integrates "
                "over their embeddings"
            )
        check_floating(x, "inputs")
        if x.ndim == 0 or len(x) != len(xs[0]):
            shapes = ", ".join(str(tuple(one.shape)) for one in xs)
            raise ValueError(f"inputs must have the batch as their first dimension, all the same, got shapes {shapes}")
    return len(xs[0])


def _check_baselines(baselines: Any, xs: tuple[Tensor, ...]) -> list[Tensor]:
    """The baselines as tensors of shape (B, K, …), without copies."""
    one_for_all = len(xs) if isinstance(baselines, int | float) else 1
    given = baselines if isinstance(baselines, tuple) else (baselines,) * one_for_all
    if len(given) != len(xs):
        raise ValueError(f"baselines must be one for each of the {len(xs)} inputs, got {len(given)}")
    found = []
    for x, baseline in zip(xs, given, strict=True):
        if isinstance(baseline, int | float):
            start = torch.full_like(x[:1], float(baseline)).expand_as(x).unsqueeze(1)
        else:
            check_floating(baseline, "baselines")
            try:
                if baseline.ndim == x.ndim + 1:
                    start = baseline.expand(len(baseline), *x.shape).transpose(0, 1)
                else:
                    start = baseline.expand_as(x).unsqueeze(1)
            except RuntimeError:
                raise ValueError(
                    f"baselines must broadcast to inputs of shape {tuple(x.shape)}, or hold several along one more "
                    f"dimension, got shape {tuple(baseline.shape)}"
                ) from None
        found.append(promote_half(start.detach()).to(x.device, promote_half(x[:0]).dtype))
    numbers = {start.shape[1] for start in found}
    if 0 in numbers or len(numbers - {1}) > 1:
        raise ValueError(f"baselines must be equally many for each input, got {sorted(numbers)}")
    return [start.expand(-1, max(numbers), *start.shape[2:]) for start in found]


@contextmanager
def _constant_parameters(parts: Iterable[nn.Module]) -> Iterator[None]:
    """Parameters need no gradient meanwhile: half of what a network keeps for its backward pass is for theirs."""
    own = [p for part in parts for p in part.parameters(recurse=False) if p.requires_grad and p.is_leaf]
    try:
        for parameter in own:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in own:
            parameter.requires_grad_(True)


def callers_level() -> int:
    """The ``stacklevel`` of a warning at the line outside of these modules that led to it.

    Returns
    -------
    int
        For ``warnings.warn`` in the function that asks.

    References
    ----------
    ``warnings.warn``, whose ``skip_file_prefixes`` does this for whole folders.

    Examples
    --------
    >>> callers_level() >= 1
    True
    """
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("kexue.interpret."):
        frame, level = frame.f_back, level + 1
    return level


def rounding(*dtypes: torch.dtype) -> float:
    """The relative error of an output below which no number of steps helps.

    Parameters
    ----------
    *dtypes : torch.dtype
        Of the inputs and of the output: the coarsest counts.

    Returns
    -------
    float
        Eight times its spacing at 1.

    References
    ----------
    ``torch.finfo``.

    Examples
    --------
    >>> rounding(torch.float32, torch.bfloat16)
    0.0625
    """
    return 8 * max(torch.finfo(dtype).eps for dtype in dtypes)


def _name_of(fn: Any) -> str:
    """What the caller calls the function."""
    return "model" if isinstance(fn, EmbeddedModel) else "fn"


def _warn_of_training(fn: Any, parts: Iterable[nn.Module]) -> None:
    for part in parts:
        rate = part.p if isinstance(part, nn.modules.dropout._DropoutNd) else 0.0
        if isinstance(part, nn.RNNBase):
            rate = part.dropout
        if part.training and (rate > 0 or isinstance(part, nn.modules.batchnorm._BatchNorm)):
            warnings.warn(
                f"{_name_of(fn)} is in training mode, and its {type(part).__name__} makes every call another function: "
                "call its eval() first",
                stacklevel=callers_level(),
            )
            return


def _warn_of_open(fn: Any, delta: Tensor, tol: float, steps: int) -> None:
    if len(delta) and not isinstance(fn, EmbeddedModel):  # of which explain_text tells
        warnings.warn(
            f"{len(delta)} path(s) did not reach tol={tol:g} with {steps} steps, the largest |δ| is "
            f"{delta.abs().max().item():.2g}; where fn has kinks, raise max_steps or tol",
            stacklevel=callers_level(),
        )


class _Paths:
    """Every path from a baseline to an input: as many for each sample as there are baselines."""

    def __init__(
        self,
        fn: Callable[..., Tensor],
        xs: tuple[Tensor, ...],
        starts: list[Tensor],
        target: int | Tensor | None,
        args: tuple[Any, ...],
        path: Path | None,
        rows: int,
    ) -> None:
        self.fn, self.args, self.path, self.rows = fn, args, path, rows
        self.kinds = [x.dtype for x in xs]
        self.xs = [promote_half(x.detach()) for x in xs]
        self.starts = starts
        self.batch, self.baselines = len(xs[0]), starts[0].shape[1]
        self.sample = torch.arange(self.batch, device=xs[0].device).repeat_interleave(self.baselines)
        self.baseline = torch.arange(self.baselines, device=xs[0].device).repeat(self.batch)
        self.target = target
        if isinstance(target, Tensor):
            if target.is_floating_point() or target.shape != (self.batch,):
                raise ValueError(
                    f"target must be an integer or integers of shape ({self.batch},), got {target.dtype} of shape "
                    f"{tuple(target.shape)}"
                )
            self.target = target.to(xs[0].device, torch.int64)
        elif target is not None:
            self.target = check_integer(target, "target", minimum=0)
        self.wide = torch.float32 if xs[0].device.type == "mps" else torch.float64
        self.dtype = torch.float32  # of the output
        self.noise = torch.zeros(len(self.sample), device=xs[0].device)
        self._has_gradient = False

    def ends(self) -> tuple[Tensor, Tensor]:
        """The output at each input, and at the beginning of each path, in high precision."""
        every = torch.arange(self.batch + len(self.sample), device=self.sample.device)
        parts = []
        with torch.no_grad():
            for chosen in every.split(self.rows):
                at, of = chosen[chosen < self.batch], chosen[chosen >= self.batch] - self.batch
                ends, starts = self._between(of)
                points = [torch.cat([x[at], start]) for x, start in zip(self.xs, starts, strict=True)]
                parts.append(self._call(points, torch.cat([at, self.sample[of]])))
                if self.path is not None:
                    self._check_path(ends, starts)
        values = torch.cat(parts) if parts else torch.zeros(0, device=self.sample.device)
        if not torch.isfinite(values).all():
            raise RuntimeError(
                f"{_name_of(self.fn)} must be finite, got {values[~torch.isfinite(values)][0].item()} at an input or a "
                "baseline"
            )
        self.dtype = promote_half(values).dtype
        at_inputs, at_starts = values.to(self.wide).split([self.batch, len(self.sample)])
        # Below the rounding of the output itself, no number of steps helps.
        size = torch.maximum(at_inputs[self.sample].abs(), at_starts.abs())
        self.noise = rounding(values.dtype, *self.kinds) * size
        return at_inputs, at_starts

    def divide(
        self, change: Tensor, method: str, count: int, tol: float | None, max_steps: int
    ) -> tuple[list[Tensor], Tensor, Tensor]:
        """The shares of each path with δ and steps, with more steps where a tolerance asks for them."""
        values = [torch.zeros(len(change), *x.shape[1:], dtype=x.dtype, device=x.device) for x in self.xs]
        delta, used = torch.zeros_like(change), torch.full_like(self.sample, count)
        todo = torch.arange(len(change), device=change.device)
        while len(todo):
            for value, found in zip(values, self._integrals(todo, *quadrature_rule(method, count)), strict=True):
                value[todo] = found
            used[todo] = count
            total = torch.stack([value[todo].flatten(1).sum(1, dtype=self.wide) for value in values]).sum(0)
            delta[todo] = total - change[todo]
            if not torch.isfinite(total).all():
                raise RuntimeError("the shares must be finite, got some that are not: a gradient overflows on the path")
            if tol is None:
                break
            bound = torch.maximum(tol * change.abs().clamp(min=1e-6), self.noise)
            todo = todo[delta[todo].abs() > bound[todo]]
            if count >= max_steps:
                _warn_of_open(self.fn, delta[todo], tol, count)
                break
            count = min(2 * count, max_steps)
        if not self._has_gradient and (change.abs() > self.noise).any():
            warnings.warn(
                f"the output changes between baselines and inputs but has no gradient: {_name_of(self.fn)} detaches "
                "it, or computes without gradients",
                stacklevel=callers_level(),
            )
        return values, delta, used

    def _integrals(self, chosen: Tensor, nodes: Sequence[float], weights: Sequence[float]) -> list[Tensor]:
        """The shares along the chosen paths, by a rule of quadrature."""
        totals = [torch.zeros(len(chosen), *x.shape[1:], dtype=x.dtype, device=x.device) for x in self.xs]
        alpha, weight = (torch.tensor(part, dtype=self.wide, device=chosen.device) for part in (nodes, weights))
        pieces, blocks = _division(len(chosen), len(nodes), self.rows)
        for group, *sums in zip(*(part.tensor_split(pieces) for part in (chosen, *totals)), strict=True):
            ends, starts = self._between(group)
            for a, w in zip(alpha.tensor_split(blocks), weight.tensor_split(blocks), strict=True):
                for total, found in zip(sums, self._shares(ends, starts, group, a, w), strict=True):
                    total += found
            if self.path is None:
                for total, end, start in zip(sums, ends, starts, strict=True):
                    total *= end - start
        return totals

    def _between(self, chosen: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        sample, baseline = self.sample[chosen], self.baseline[chosen]
        return [x[sample] for x in self.xs], [start[sample, baseline] for start in self.starts]

    def _shares(
        self, ends: list[Tensor], starts: list[Tensor], chosen: Tensor, alpha: Tensor, weight: Tensor
    ) -> Iterator[Tensor]:
        """Sums over the nodes: of gradients on the straight line, of gradients times velocity on any other path."""
        points, velocities = self._points(ends, starts, alpha)
        leaves = [point.flatten(0, 1).to(kind).requires_grad_() for point, kind in zip(points, self.kinds, strict=True)]
        with torch.enable_grad():
            output = self._call(leaves, self.sample[chosen].repeat(len(alpha)))
        gradients: Sequence[Tensor | None] = [None] * len(leaves)
        if output.requires_grad:
            self._has_gradient = True
            gradients = torch.autograd.grad(output.sum(), leaves, allow_unused=True)
        for gradient, end, velocity in zip(gradients, ends, velocities, strict=True):
            if gradient is None:
                yield torch.zeros_like(end)
                continue
            terms = promote_half(gradient).unflatten(0, (len(alpha), len(chosen)))
            if velocity is not None:
                terms = terms * velocity
            yield (weight.to(terms.dtype).reshape(-1, *[1] * end.ndim) * terms).sum(0)

    def _points(
        self, ends: list[Tensor], starts: list[Tensor], alpha: Tensor
    ) -> tuple[list[Tensor], list[Tensor | None]]:
        """Points of shape (nodes, paths, …), and on other paths than the straight line the velocity there."""
        points: list[Tensor] = []
        velocities: list[Tensor | None] = []
        for end, start in zip(ends, starts, strict=True):
            at = alpha.to(end.dtype).reshape(-1, *[1] * end.ndim)
            if self.path is None:
                points.append(torch.lerp(start, end, at))
                velocities.append(None)
                continue
            shape = (len(alpha), *end.shape)
            whole, begin = (part.expand(shape).flatten(0, 1) for part in (end, start))
            one_a_row = at.expand(len(alpha), len(end), *at.shape[2:]).flatten(0, 1).clone()
            point, velocity = _with_velocity(functools.partial(self.path, whole, begin), one_a_row)
            points.append(point.reshape(shape))
            velocities.append(velocity.reshape(shape))
        return points, velocities

    def _check_path(self, ends: list[Tensor], starts: list[Tensor]) -> None:
        assert self.path is not None
        for end, start in zip(ends, starts, strict=True):
            size = float((end - start).abs().max()) if end.numel() else 0.0
            for alpha, there in ((0.0, start), (1.0, end)):
                a = torch.full((len(end), *[1] * (end.ndim - 1)), alpha, dtype=end.dtype, device=end.device)
                found = self.path(end, start, a)
                if not isinstance(found, Tensor) or found.shape != end.shape:
                    raise ValueError(
                        f"path must return the shape of its input, {tuple(end.shape)}, got "
                        f"{tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__}"
                    )
                if not torch.allclose(found, there, rtol=1e-3, atol=1e-3 * size):
                    raise ValueError(
                        "path must lead from the baseline at 0 to the input at 1, got a distance of "
                        f"{float((found - there).abs().max()):.3g} at {alpha:g}"
                    )

    def _call(self, points: list[Tensor], sample: Tensor) -> Tensor:
        """One number for each row."""
        extra = (
            arg[sample] if isinstance(arg, Tensor) and arg.ndim and len(arg) == self.batch else arg for arg in self.args
        )
        output = self.fn(*(point.to(kind) for point, kind in zip(points, self.kinds, strict=True)), *extra)
        if not isinstance(output, Tensor):
            raise TypeError(
                f"fn must return a tensor, got {type(output).__name__}; give a function that takes the tensor out of it"
            )
        rows = len(sample)
        if output.shape == (rows,):
            if self.target is not None:
                raise ValueError(f"target must be None where fn returns one number a row, got {self.target}")
        elif output.ndim == 2 and len(output) == rows:
            output = self._column(output, sample)
        else:
            raise ValueError(
                f"fn must return shape ({rows},) or ({rows}, C) for {rows} rows, got {tuple(output.shape)}"
            )
        if not output.is_floating_point():
            raise TypeError(f"fn must return a floating-point tensor, got dtype {output.dtype}")
        return output

    def _column(self, output: Tensor, sample: Tensor) -> Tensor:
        classes = output.shape[1]
        if self.target is None:
            if classes != 1:
                raise ValueError(f"target must say which of the {classes} columns of the output is explained")
            return output[:, 0]
        if isinstance(self.target, int):
            if self.target >= classes:
                raise ValueError(f"target must be below {classes}, the columns of the output, got {self.target}")
            return output[:, self.target]
        wrong = self.target[(self.target < 0) | (self.target >= classes)]
        if len(wrong):
            raise ValueError(f"target must be from 0 to {classes - 1}, the columns of the output, got {int(wrong[0])}")
        return output.gather(1, self.target[sample, None])[:, 0]


def _with_velocity(path: Callable[[Tensor], Tensor], alpha: Tensor) -> tuple[Tensor, Tensor]:
    """Points of a path and its derivative: the gradient, in u, of the gradient of u·γ in α."""
    with torch.enable_grad():
        point = path(alpha.requires_grad_())
        if not point.requires_grad:
            return point, torch.zeros_like(point)
        u = torch.zeros_like(point, requires_grad=True)
        (along,) = torch.autograd.grad(point, alpha, u, create_graph=True)
    return point.detach(), torch.autograd.grad(along.sum(), u)[0]


def _division(paths: int, steps: int, rows: int) -> tuple[int, int]:
    """Into how many groups of paths and of steps the work is divided: as few calls as the rows allow."""
    choices = ((math.ceil(paths / max(1, rows // k)), math.ceil(steps / k)) for k in range(1, min(steps, rows) + 1))
    return min(choices, key=lambda pair: (pair[0] * pair[1], pair[1]))


def attribution_heatmap(
    values: Any,
    image: Any = None,
    *,
    percentile: float = 99.0,
    sign: Literal["all", "positive", "negative", "absolute"] = "all",
) -> NDArray[np.float32]:
    r"""Colour an image by the shares of its pixels: blue above zero, orange below.

    .. math:: s = \sum_c \operatorname{IG}_c, \qquad \text{strength} = \min(1, |s| / q)

    with q the percentile of :math:`|s|`.

    Parameters
    ----------
    values : array_like of shape (height, width) or (channels, height, width)
        The shares; those of the channels of a pixel are added.
    image : array_like of the same height and width, optional
        The image in [0, 1], as (height, width) or (channels, height, width): it is drawn faded and in grey below the
        colours. Without it the ground is white.
    percentile : float, default 99
        The share that has the full colour, as a percentile of their absolute values; more is drawn alike.
    sign : {"all", "positive", "negative", "absolute"}
        Which shares are coloured; ``"absolute"`` draws both signs in blue.

    Returns
    -------
    numpy.ndarray of float32, shape (height, width, 3)
        Colours in [0, 1], for ``axes.imshow`` or `kexue.plots.image_grid`.

    Raises
    ------
    TypeError
        If values or image are not real numbers.
    ValueError
        If shapes do not fit, a number is not finite, the image leaves [0, 1], or an option is unknown.

    References
    ----------
    "积分梯度：一种新颖的神经网络可视化方法", https://kexue.fm/archives/7533; Sundararajan, Taly, Yan,
    arXiv:1703.01365.

    Examples
    --------
    >>> print(attribution_heatmap([[1.0, 0.0, -1.0]]).round(2))
    [[[0.24 0.5  0.85]
      [1.   1.   1.  ]
      [0.85 0.4  0.17]]]
    """
    if sign not in ("all", "positive", "negative", "absolute"):
        raise ValueError(f"sign must be 'all', 'positive', 'negative' or 'absolute', got {sign!r}")
    if not 0 < percentile <= 100:
        raise ValueError(f"percentile must be above 0 and at most 100, got {percentile!r}")
    shares = as_numbers(values, "values", dims=(2, 3))
    shares = shares.sum(0) if shares.ndim == 3 else shares
    ground = np.ones(shares.shape)
    if image is not None:
        pixels = as_numbers(image, "image", dims=(2, 3))
        pixels = pixels.mean(0) if pixels.ndim == 3 else pixels
        if pixels.shape != shares.shape:
            raise ValueError(f"image must be {shares.shape} as the values are, got {pixels.shape}")
        if pixels.min() < 0 or pixels.max() > 1:
            raise ValueError(f"image must lie in [0, 1], got {pixels.min():g} to {pixels.max():g}")
        ground = 0.5 + 0.5 * pixels
    shares = {
        "all": lambda: shares,
        "positive": lambda: shares.clip(min=0),
        "negative": lambda: shares.clip(max=0),
        "absolute": lambda: np.abs(shares),
    }[sign]()
    # A percentile that falls among zeros would draw the few that are not alike.
    full = float(np.percentile(np.abs(shares), percentile, method="lower")) or float(np.abs(shares).max()) or 1.0
    strength = (np.abs(shares) / full).clip(max=1.0)[..., None]
    above, below = (np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]) for color in COLORS[:2])
    paint = np.where(shares[..., None] > 0, above, below)
    return (ground[..., None] * (1 - strength) + paint * strength).astype(np.float32)
