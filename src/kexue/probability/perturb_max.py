"""Perturb-Max: the law of the argmax of noisy scores, its potential, its loss, and the distribution."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

from kexue.extras import require

require("torch", "torch", "kexue.probability.perturb_max")

import torch  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.distributions import Distribution, constraints  # noqa: E402

from kexue.probability.perturb_max_integrals import expected_maximum, log_winning, winning  # noqa: E402
from kexue.probability.perturb_max_noises import as_noise  # noqa: E402
from kexue.validation import (  # noqa: E402
    check_floating,
    check_integer,
    check_states,
    promote_half,
    should_check_values,
)

__all__ = ["PerturbMax", "expected_max", "perturb_max", "perturb_max_log_prob", "perturb_max_loss"]

NoiseName = Literal["gumbel", "normal", "logistic", "laplace", "exponential", "uniform"]

# Excluded states are placed so far below all others, in units of the noise: no named law has mass at that distance.
_FAR = -1e4


def perturb_max(
    mu: Tensor,
    noise: NoiseName | Distribution = "normal",
    scale: float | Tensor = 1.0,
    dim: int = -1,
    *,
    nodes: int | None = None,
    validate: bool | None = None,
) -> Tensor:
    r"""Probability of each state to have the largest score after independent noise has been added.

    .. math::

        p_i = P\left[\operatorname{argmax}_j (\mu_j + s \varepsilon_j) = i\right]
            = \int \varphi(t - \mu_i) \prod_{j \ne i} \Phi(t - \mu_j)\, dt \quad (s = 1)

    A softmax for Gumbel noise. Whatever the noise, the order of the scores is kept, equal scores get equal
    probabilities, and adding a number to all scores changes nothing.

    Parameters
    ----------
    mu : torch.Tensor, shape (..., n)
        Scores; ``-inf`` excludes a state.
    noise : str or torch.distributions.Distribution
        ``"gumbel"``, ``"normal"``, ``"logistic"`` or ``"laplace"`` in their standard forms, ``"exponential"`` with rate
        1 on (0, inf), ``"uniform"`` on (-1/2, 1/2); or a continuous distribution with ``cdf``, ``icdf`` and
        ``log_prob``.
    scale : float or torch.Tensor, shape (...)
        Factor s of the noise, its temperature: towards 0 the result becomes one-hot.
    dim : int
        The dimension that holds the n states.
    nodes : int, optional
        Number of quadrature nodes (of each panel for Laplace and uniform noise) instead of the default, which is right
        to rounding; Gumbel noise is integrated only if it is given.
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    torch.Tensor, shape (..., n)
        Probabilities. Half precision is computed in single precision.

    Raises
    ------
    TypeError
        If ``mu`` or ``scale`` is not of floating-point numbers, or ``noise`` is neither a name nor such a distribution.
    ValueError
        If there is no noise of that name; a score is nan or ``+inf``, or a row is excluded as a whole; ``scale`` is not
        positive, or does not broadcast; or ``nodes`` are too few for the probabilities to sum to one.
    IndexError
        If there is no dimension ``dim``.

    Notes
    -----
    With :math:`W(t) = \prod_j \Phi(t - \mu_j)` and :math:`r_i = \varphi/\Phi` at :math:`t - \mu_i`, all states share
    the nodes of :math:`p_i = \int W r_i\,dt`. The Jacobian :math:`\partial p_i/\partial\mu_j = -\int W r_i r_j\,dt` is
    symmetric with zero row sums, so that a gradient g goes back in as many operations,
    :math:`\int W r_j (g_j \sum_i r_i - \sum_i g_i r_i)\,dt`, and nothing but ``mu`` is kept for it.

    Uniform noise gives exact zeros: to the states that are 1 (times ``scale``) or more below the maximum.

    References
    ----------
    从重参数的角度看离散概率分布的构建, https://kexue.fm/archives/9085.
    McKenna and Sheldon, Permute-and-Flip, https://arxiv.org/abs/2010.12603 (exponential noise).
    Berthet et al., Learning with Differentiable Perturbed Optimizers, https://arxiv.org/abs/2002.08676.

    Examples
    --------
    >>> import torch
    >>> mu = torch.tensor([1.2, 0.5, -0.3, 2.0, 0.0])
    >>> perturb_max(mu)
    tensor([0.2377, 0.0826, 0.0185, 0.6276, 0.0337])
    >>> perturb_max(mu, "uniform")
    tensor([0.0200, 0.0000, 0.0000, 0.9800, 0.0000])
    """
    scores = _Scores(mu, noise, scale, dim, nodes, validate)
    return scores.of_last_dim(scores.probabilities())


def perturb_max_log_prob(
    mu: Tensor,
    index: Tensor | int,
    noise: NoiseName | Distribution = "normal",
    scale: float | Tensor = 1.0,
    *,
    nodes: int | None = None,
    validate: bool | None = None,
) -> Tensor:
    r"""Logarithm of one state's probability, however small that is.

    .. math:: \log p_i = \log \int \varphi(t - \mu_i) \prod_{j \ne i} \Phi(t - \mu_j)\, dt

    Parameters
    ----------
    mu : torch.Tensor, shape (..., n)
        Scores along the last dimension; ``-inf`` excludes a state.
    index : int or torch.Tensor of int, shape (...)
        The state, of a shape that broadcasts with the batch of ``mu``.
    noise : str or torch.distributions.Distribution
        As in `perturb_max`.
    scale : float or torch.Tensor, shape (...)
        Factor of the noise.
    nodes : int, optional
        As in `perturb_max`.
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    torch.Tensor, shape (...)
        Log-probabilities in nats; ``-inf``, with gradient 0, for a state that cannot win.

    Raises
    ------
    TypeError, IndexError
        As in `perturb_max`; or if ``index`` holds no integers.
    ValueError
        As in `perturb_max`; or if ``index`` is outside 0 … n-1, or does not broadcast.

    Notes
    -----
    The integral is a log-sum-exp over nodes that lie where the mass of this state's integrand is. A distribution that
    is given instead of a name has the logarithm of `perturb_max`, which knows no probability below about 1e-16. The
    gradient cannot be differentiated again.

    References
    ----------
    从重参数的角度看离散概率分布的构建, https://kexue.fm/archives/9085.

    Examples
    --------
    >>> import torch
    >>> mu = torch.tensor([0.0, 30.0], dtype=torch.float64)
    >>> perturb_max_log_prob(mu, 0)  # log of the normal distribution function at -30/sqrt(2)
    tensor(-228.9758, dtype=torch.float64)
    """
    scores = _Scores(mu, noise, scale, -1, nodes, validate)
    index = _as_index(index, "index", mu, validate)
    return scores.log_prob(index).to(mu.dtype)


def expected_max(
    mu: Tensor,
    noise: NoiseName | Distribution = "normal",
    scale: float | Tensor = 1.0,
    dim: int = -1,
    *,
    nodes: int | None = None,
    validate: bool | None = None,
) -> Tensor:
    r"""The expected largest score after independent noise has been added, whose gradient is `perturb_max`.

    .. math:: G(\mu) = E \max_j (\mu_j + s \varepsilon_j), \qquad \nabla G = p

    A convex, smooth maximum; for Gumbel noise the log-sum-exp plus Euler's constant.

    Parameters
    ----------
    mu : torch.Tensor, shape (..., n)
        Scores; ``-inf`` excludes a state.
    noise : str or torch.distributions.Distribution
        As in `perturb_max`, of finite mean.
    scale : float or torch.Tensor, shape (...)
        Factor s of the noise.
    dim : int
        The dimension that holds the n states.
    nodes : int, optional
        As in `perturb_max`.
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    torch.Tensor, shape (...)
        Expectations.

    Raises
    ------
    TypeError, IndexError
        As in `perturb_max`.
    ValueError
        As in `perturb_max`; or if the mean of the noise is not finite.

    References
    ----------
    McFadden, Econometric Models of Probabilistic Choice, in Structural Analysis of Discrete Data, 1981.
    从重参数的角度看离散概率分布的构建, https://kexue.fm/archives/9085.

    Examples
    --------
    >>> import torch
    >>> expected_max(torch.zeros(2))  # of two standard normal numbers: 1/sqrt(pi)
    tensor(0.5642)
    """
    return _Scores(mu, noise, scale, dim, nodes, validate).expected_max().to(mu.dtype)


def perturb_max_loss(
    mu: Tensor,
    target: Tensor | int,
    noise: NoiseName | Distribution = "normal",
    scale: float | Tensor = 1.0,
    *,
    reduction: Literal["mean", "sum", "none"] = "mean",
    nodes: int | None = None,
    validate: bool | None = None,
) -> Tensor:
    r"""Convex loss whose gradient is p minus the one-hot target: cross-entropy for Gumbel noise, its kin for others.

    .. math:: L(\mu, y) = E \max_j (\mu_j + s \varepsilon_j) - \mu_y - s E[\varepsilon] \ge 0

    Parameters
    ----------
    mu : torch.Tensor, shape (..., n)
        Scores along the last dimension.
    target : int or torch.Tensor of int, shape (...)
        The right states, of a shape that broadcasts with the batch of ``mu``.
    noise : str or torch.distributions.Distribution
        As in `perturb_max`, of finite mean.
    scale : float or torch.Tensor, shape (...)
        Factor s of the noise.
    reduction : {"mean", "sum", "none"}
        What to make of the batch.
    nodes : int, optional
        As in `perturb_max`.
    validate : bool, optional
        Whether to check the values; by default on eager CPU tensors only.

    Returns
    -------
    torch.Tensor, shape () or (...)
        The loss; ``inf`` for a target that is excluded.

    Raises
    ------
    TypeError, IndexError
        As in `perturb_max`; or if ``target`` holds no integers.
    ValueError
        As in `expected_max`; or if ``target`` is outside 0 … n-1 or does not broadcast, or ``reduction`` is another
        word.

    References
    ----------
    Berthet et al., Learning with Differentiable Perturbed Optimizers, https://arxiv.org/abs/2002.08676.
    从重参数的角度看离散概率分布的构建, https://kexue.fm/archives/9085.

    Examples
    --------
    >>> import torch
    >>> mu = torch.tensor([[1.2, 0.5, -0.3]])
    >>> perturb_max_loss(mu, torch.tensor([0]), "gumbel"), torch.nn.functional.cross_entropy(mu, torch.tensor([0]))
    (tensor(0.5422), tensor(0.5422))
    """
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f'reduction must be "mean", "sum" or "none", got {reduction!r}')
    scores = _Scores(mu, noise, scale, -1, nodes, validate)
    loss = scores.loss(_as_index(target, "target", mu, validate))
    if reduction != "none":
        loss = loss.mean() if reduction == "mean" else loss.sum()
    return loss.to(mu.dtype)


class PerturbMax(Distribution):
    r"""The law of :math:`\operatorname{argmax}_j (\mu_j + s \varepsilon_j)`, a distribution of states 0 … n-1.

    Parameters
    ----------
    mu : torch.Tensor, shape (..., n)
        Scores; ``-inf`` excludes a state. Half precision is taken to float32.
    noise : str or torch.distributions.Distribution
        As in `perturb_max`.
    scale : float or torch.Tensor, shape (...)
        Factor s of the noise.
    validate_args : bool, optional
        Whether to check the values; ``None`` checks eager CPU tensors only.

    Raises
    ------
    TypeError, ValueError, IndexError
        As in `perturb_max`.

    References
    ----------
    从重参数的角度看离散概率分布的构建, https://kexue.fm/archives/9085.

    Examples
    --------
    >>> import torch
    >>> choice = PerturbMax(torch.tensor([1.2, 0.5, -0.3, 2.0, 0.0]), "exponential")
    >>> choice.probs
    tensor([0.1927, 0.0882, 0.0382, 0.6288, 0.0521])
    >>> choice.sample((3,), generator=torch.Generator().manual_seed(0))
    tensor([3, 3, 3])
    """

    arg_constraints = {"mu": constraints.independent(constraints.real, 1)}  # noqa: RUF012  # as in torch
    has_enumerate_support = True

    def __init__(
        self,
        mu: Tensor,
        noise: NoiseName | Distribution = "normal",
        scale: float | Tensor = 1.0,
        *,
        validate_args: bool | None = None,
    ) -> None:
        validate = False if validate_args is None and not type(self)._validate_args else validate_args
        self._scores = _Scores(mu, noise, scale, -1, None, validate)
        self.mu, self.noise, self.scale = promote_half(mu), noise, scale
        self._law = as_noise(noise)
        self._validate = validate
        super().__init__(self._scores.shape, validate_args=False)  # -inf is no real number, and allowed here

    @property
    def probs(self) -> Tensor:
        """Probabilities of the states, shape (..., n)."""
        return self._scores.probabilities()

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> constraints.Constraint:
        """The integers from 0 to n-1."""
        return constraints.integer_interval(0, self.mu.shape[-1] - 1)

    @property
    def mode(self) -> Tensor:
        """The state of the largest score, of the batch shape."""
        return self.mu.argmax(-1).expand(self.batch_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Logarithm of the probability of states.

        Parameters
        ----------
        value : torch.Tensor of int, shape (...)
            States, of a shape that broadcasts with the batch shape.

        Returns
        -------
        torch.Tensor, shape (...)
            Log-probabilities in nats.

        Raises
        ------
        TypeError, ValueError
            As in `perturb_max_log_prob`.

        References
        ----------
        从重参数的角度看离散概率分布的构建, https://kexue.fm/archives/9085.

        Examples
        --------
        >>> import torch
        >>> PerturbMax(torch.tensor([0.0, 2.0]), "laplace").log_prob(torch.tensor([0, 1]))
        tensor([-2.0000, -0.1454])
        """
        n = self.mu.shape[-1]
        value = _as_index(value, "value", self.mu, self._validate)
        if value.numel() <= n * self.batch_shape.numel():
            return self._scores.log_prob(value)
        states = torch.arange(n, device=self.mu.device).reshape(n, *(1 for _ in self.batch_shape))
        table = self._scores.log_prob(states).movedim(0, -1)  # each state once, not each value
        shape = torch.broadcast_shapes(value.shape, table.shape[:-1])
        table = table.expand(*shape, n)
        return table.gather(-1, value.expand(shape).unsqueeze(-1)).squeeze(-1)

    def entropy(self) -> Tensor:
        r"""Entropy :math:`-\sum_i p_i \log p_i` in nats.

        Returns
        -------
        torch.Tensor, shape (...)
            Entropies.

        References
        ----------
        从重参数的角度看离散概率分布的构建, https://kexue.fm/archives/9085.

        Examples
        --------
        >>> import torch
        >>> PerturbMax(torch.zeros(4)).entropy()  # log 4
        tensor(1.3863)
        """
        from kexue.probability.entropy import entropy

        return entropy(self.probs, validate=False)

    def sample(self, sample_shape: Sequence[int] = torch.Size(), *, generator: torch.Generator | None = None) -> Tensor:
        """Draw states: noise is added, and the largest score wins.

        Parameters
        ----------
        sample_shape : sequence of int
            Shape of the draws, in front of the batch shape.
        generator : torch.Generator, optional
            Source of the noise; the global one by default.

        Returns
        -------
        torch.Tensor of int64, shape (*sample_shape, ...)
            States.

        References
        ----------
        从重参数的角度看离散概率分布的构建, https://kexue.fm/archives/9085.

        Examples
        --------
        >>> import torch
        >>> PerturbMax(torch.tensor([0.0, 50.0])).sample((4,))
        tensor([1, 1, 1, 1])
        """
        with torch.no_grad():
            return self._noisy(sample_shape, generator).argmax(-1)

    def rsample(
        self,
        sample_shape: Sequence[int] = torch.Size(),
        *,
        temperature: float = 1.0,
        hard: bool = False,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        r"""Draw relaxed one-hot vectors, through which gradients reach the scores.

        .. math:: \operatorname{softmax}\left(\frac{\mu + s \varepsilon}{s \tau}\right)

        Parameters
        ----------
        sample_shape : sequence of int
            Shape of the draws, in front of the batch shape.
        temperature : float
            :math:`\tau > 0`; towards 0 the vectors become one-hot.
        hard : bool
            Whether to return one-hot vectors that have the gradient of the relaxed ones (straight-through).
        generator : torch.Generator, optional
            Source of the noise; the global one by default.

        Returns
        -------
        torch.Tensor, shape (*sample_shape, ..., n)
            Points of the simplex. For Gumbel noise they follow ``torch.distributions.RelaxedOneHotCategorical``.

        Raises
        ------
        ValueError
            If ``temperature`` is not positive and finite.

        References
        ----------
        漫谈重参数：从正态分布到Gumbel Softmax, https://kexue.fm/archives/6705.

        Examples
        --------
        >>> import torch
        >>> PerturbMax(torch.tensor([0.0, 50.0])).rsample((2,), hard=True)
        tensor([[0., 1.],
                [0., 1.]])
        """
        if isinstance(temperature, bool) or not 0 < temperature < math.inf:
            raise ValueError(f"temperature must be a positive, finite number, got {temperature!r}")
        noisy = self._noisy(sample_shape, generator)
        relaxed = (noisy / temperature).softmax(-1)
        if not hard:
            return relaxed
        one_hot = torch.zeros_like(relaxed).scatter_(-1, noisy.argmax(-1, keepdim=True), 1.0)
        return one_hot + (relaxed - relaxed.detach())

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All states, along a new first dimension.

        Parameters
        ----------
        expand : bool
            Whether to repeat them over the batch shape, or leave dimensions of size one.

        Returns
        -------
        torch.Tensor of int64, shape (n, ...)
            The numbers 0 … n-1.

        References
        ----------
        torch.distributions.Distribution.enumerate_support.

        Examples
        --------
        >>> import torch
        >>> PerturbMax(torch.zeros(3)).enumerate_support()
        tensor([0, 1, 2])
        """
        n = self.mu.shape[-1]
        states = torch.arange(n, device=self.mu.device).reshape(n, *(1 for _ in self.batch_shape))
        return states.expand(n, *self.batch_shape) if expand else states

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> PerturbMax:
        """Repeat the distribution without copying its scores.

        Parameters
        ----------
        batch_shape : sequence of int
            The new batch shape, to which the present one broadcasts.
        _instance : PerturbMax, optional
            The instance to fill, for subclasses.

        Returns
        -------
        PerturbMax
            The distribution with that batch shape.

        References
        ----------
        torch.distributions.Distribution.expand.

        Examples
        --------
        >>> import torch
        >>> PerturbMax(torch.zeros(3)).expand((2,)).batch_shape
        torch.Size([2])
        """
        new = self._get_checked_instance(PerturbMax, _instance)
        shape = torch.Size(batch_shape)
        scale = self.scale.expand(shape) if isinstance(self.scale, Tensor) else self.scale
        PerturbMax.__init__(new, self.mu.expand(*shape, -1), self.noise, scale, validate_args=False)
        new._validate = self._validate
        return new

    def _noisy(self, sample_shape: Sequence[int], generator: torch.Generator | None) -> Tensor:
        """Noisy scores in units of the noise."""
        centred = self._scores.centred
        shape = torch.Size(sample_shape) + centred.shape
        if self._law.name == "normal":
            return centred + torch.randn(shape, dtype=centred.dtype, device=centred.device, generator=generator)
        u = torch.rand(shape, dtype=centred.dtype, device=centred.device, generator=generator)
        limits = torch.finfo(centred.dtype)
        return centred + self._law.quantile(u.clamp(limits.tiny, 1 - limits.eps / 2))


class _Scores:
    """Scores in units of the noise, below their maximum, states last; the law of the noise; how to integrate."""

    def __init__(
        self,
        mu: Tensor,
        noise: str | Distribution,
        scale: float | Tensor,
        dim: int,
        nodes: int | None,
        validate: bool | None,
    ) -> None:
        check_floating(mu, "mu")
        check_states(mu, dim, "mu")
        self._law = as_noise(noise)
        self._nodes = None if nodes is None else check_integer(nodes, "nodes", minimum=2)
        self._dtype, self._dim = mu.dtype, dim - mu.ndim if dim >= 0 else dim
        x = promote_half(mu).movedim(dim, -1)
        self._checks = should_check_values(mu, validate)
        self._scale = _as_scale(scale, x, check=self._checks)
        if self._checks:
            _check_scores(x)
        self._top = x.detach().amax(-1)
        # Adding to all scores changes no probability: the maximum is a constant here.
        self.centred = (x - self._top.unsqueeze(-1)) / self._scale.unsqueeze(-1)
        self.shape = self.centred.shape[:-1]

    def of_last_dim(self, values: Tensor) -> Tensor:
        """The dtype and the order of dimensions of what was given."""
        return values.to(self._dtype).movedim(-1, self._dim)

    def probabilities(self) -> Tensor:
        if self._law.name == "gumbel" and self._nodes is None:
            return self.centred.softmax(-1)
        scores, back = self._compressed()
        p = winning(scores, self._law, self._nodes)
        total = p.detach().sum(-1, keepdim=True)
        if self._checks:
            self._check_total(total)
        return back(p / total)

    def log_prob(self, index: Tensor) -> Tensor:
        shape = torch.broadcast_shapes(self.shape, index.shape)
        scores, place = self._finite().expand(*shape, -1), index.expand(shape).unsqueeze(-1)
        if self._law.name == "gumbel" and self._nodes is None:
            return self.centred.log_softmax(-1).expand(*shape, -1).gather(-1, place).squeeze(-1)
        if self._law.name == "custom":
            return self.probabilities().log().expand(*shape, -1).gather(-1, place).squeeze(-1)
        value = log_winning(scores, place, self._law, self._nodes)
        excluded = self.centred.expand(*shape, -1).gather(-1, place).squeeze(-1) == -math.inf
        return torch.where(excluded, -math.inf, value)

    def expected_max(self) -> Tensor:
        if not math.isfinite(self._law.mean):
            raise ValueError("noise must have a finite mean for its expected maximum")
        if self._law.name == "gumbel" and self._nodes is None:
            value = self.centred.logsumexp(-1) + self._law.mean
        else:
            scores, _ = self._compressed()
            value = expected_maximum(scores, self._law, self._nodes)
        return self._top + self._scale * value

    def loss(self, target: Tensor) -> Tensor:
        shape = torch.broadcast_shapes(self.shape, target.shape)
        own = self.centred.expand(*shape, -1).gather(-1, target.expand(shape).unsqueeze(-1)).squeeze(-1)
        # All in units of the noise, where the maximum drops out.
        loss = (self.expected_max() - self._top) / self._scale - own - self._law.mean
        # Round-off below zero becomes zero, and the gradient stays what it is.
        return self._scale * (loss + torch.where(loss < 0, -loss, 0.0).detach())

    def _finite(self) -> Tensor:
        """Scores with excluded states at a distance at which the named laws have no mass."""
        if self._law.name == "custom":
            return self.centred
        excluded = self.centred == -math.inf
        lowest = torch.where(excluded, 0.0, self.centred.detach()).amin(-1, keepdim=True)
        return torch.where(excluded, lowest + _FAR, self.centred)

    def _compressed(self) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """The scores that can win, where one may look which these are, and the way back to all."""
        scores = self._finite()
        if self._law.name != "uniform" or not should_check_values(scores) or not scores.numel():
            return scores, lambda p: p
        width = int((scores.detach() > -1).sum(-1).amax())
        if 2 * width > scores.shape[-1] or not width:
            return scores, lambda p: p
        best = scores.topk(width, -1)
        return best.values, lambda p: torch.zeros_like(scores).scatter(-1, best.indices, p)

    def _check_total(self, total: Tensor) -> None:
        tolerance = 1e-9 if total.dtype == torch.float64 and self._law.name != "custom" else 1e-4
        worst = (total - 1).abs().amax().item() if total.numel() else 0.0
        if not worst <= tolerance:
            raise ValueError(
                f"nodes must be enough for the probabilities to sum to 1 within {tolerance:g}, got {self._nodes} nodes "
                f"and a sum that is off by {worst:.1e}"
            )


def _as_scale(scale: float | Tensor, x: Tensor, *, check: bool) -> Tensor:
    if isinstance(scale, Tensor):
        check_floating(scale, "scale")
        try:
            torch.broadcast_shapes(scale.shape, x.shape[:-1])
        except RuntimeError:
            raise ValueError(
                f"scale must broadcast with the batch of mu, got shapes {tuple(scale.shape)} and {tuple(x.shape[:-1])}"
            ) from None
        if check and not ((scale > 0) & (scale < math.inf)).all():
            raise ValueError(f"scale must be positive and finite, got a minimum of {scale.amin().item():g}")
        return scale.to(x)
    if isinstance(scale, bool) or not isinstance(scale, int | float):
        raise TypeError(f"scale must be a number or a tensor, got {scale!r}")
    if not 0 < scale < math.inf:
        raise ValueError(f"scale must be positive and finite, got {scale!r}")
    return torch.full((), scale, dtype=x.dtype, device=x.device)


def _check_scores(x: Tensor) -> None:
    top = x.detach().amax(-1)  # nan wins a maximum
    good = (top > -math.inf) & (top < math.inf)
    if not good.all():
        row = (~good).nonzero()[0].tolist()
        place = f" in row {row[0] if len(row) == 1 else tuple(row)}" if row else ""
        found = top[tuple(row)].item()
        raise ValueError(f"mu must be finite or -inf, and not all -inf, got a maximum of {found:g}{place}")


def _as_index(index: Tensor | int, name: str, mu: Tensor, validate: bool | None) -> Tensor:
    n, batch = mu.shape[-1], mu.shape[:-1]
    if not isinstance(index, Tensor):
        if isinstance(index, bool) or not isinstance(index, int):
            raise TypeError(f"{name} must be an integer or a tensor of them, got {index!r}")
        if not 0 <= index < n:
            raise ValueError(f"{name} must lie in 0 … {n - 1}, got {index}")
        return torch.full((), index, dtype=torch.int64, device=mu.device)
    if index.is_floating_point() or index.is_complex() or index.dtype == torch.bool:
        raise TypeError(f"{name} must be a tensor of integers, got dtype {index.dtype}")
    try:
        torch.broadcast_shapes(index.shape, batch)
    except RuntimeError:
        raise ValueError(
            f"{name} must broadcast with the batch of mu, got shapes {tuple(index.shape)} and {tuple(batch)}"
        ) from None
    if should_check_values(index, validate):
        wrong = (index < 0) | (index >= n)
        if wrong.any():
            raise ValueError(f"{name} must lie in 0 … {n - 1}, got {index[wrong][0].item()}")
    return index.long()
