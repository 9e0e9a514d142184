"""Feature maps of linear attention: what queries and keys become so that their inner product is a similarity."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from kexue.extras import require

require("torch", "torch", "kexue.attention.feature_maps")

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn.functional import normalize  # noqa: E402

from kexue.validation import check_integer, is_eager  # noqa: E402

__all__ = ["FeatureMap", "FeatureMapLike", "RandomFeatures", "feature_map_of", "positive_random_features"]

Map = Callable[[Tensor], Tensor]

FeatureMapLike = Literal["elu", "relu", "softmax", "cosine", "taylor2"] | Map | tuple[Map, Map]
"""Name of a feature map, a function of (..., d) that gives (..., features), or one for queries and one for keys."""

_LOG2_E = math.log2(math.e)

# Key features of a normal size stay below it by far; it keeps the sums of any number of keys finite in float32.
_LARGEST_EXPONENT = 60.0


class FeatureMap(NamedTuple):
    """The two functions of a feature map, and what is known of their similarity; see `feature_map_of`."""

    query: Map
    """Maps queries of shape (..., d) to features of shape (..., features)."""
    key: Map
    """Maps keys in the same way."""
    positive: bool
    """Whether all features are known to be non-negative: then nothing cancels in a sum of similarities."""

    def quotient(self, numerator: Tensor, denominator: Tensor, eps: float) -> Tensor:
        """Sums of values, weighted with similarities, over the sums of the similarities.

        Parameters
        ----------
        numerator : torch.Tensor, shape (..., d_v)
            Weighted sums of values.
        denominator : torch.Tensor, shape (..., 1)
            Sums of weights.
        eps : float
            The smallest denominator where terms can cancel.

        Returns
        -------
        torch.Tensor, shape (..., d_v)
            The quotient; 0 where both are.
        """
        # A sum of non-negative terms has all its digits; what is left is room for the gradient.
        least = torch.finfo(denominator.dtype).tiny * 1e8 if self.positive else eps
        return numerator * denominator.clamp_min(least).reciprocal()


def feature_map_of(feature_map: FeatureMapLike) -> FeatureMap:
    r"""The functions that a feature map stands for.

    .. math:: \operatorname{sim}(q, k) = \varphi(q)^\top \psi(k)

    ============  ======================================================  ===========================================
    name          :math:`\varphi = \psi`                                  similarity
    ============  ======================================================  ===========================================
    ``elu``       x + 1 above 0, :math:`e^x` below                        positive
    ``relu``      max(x, 0) + 0.001                                       positive
    ``softmax``   softmax over the features                               positive, at most 1
    ``cosine``    :math:`[1, x / \lVert x \rVert]`                        1 + cos, in [0, 2]: the article's own
    ``taylor2``   all monomials of :math:`d^{-1/4} x` up to degree two    1 + s + s²/2 ≥ ½ with :math:`s = qk/\sqrt d`
    ============  ======================================================  ===========================================

    Parameters
    ----------
    feature_map : str, callable or pair of callables
        A name of the table; a function for both queries and keys; one for each; or what `positive_random_features`
        returns.

    Returns
    -------
    FeatureMap
        The functions.

    Raises
    ------
    TypeError
        If it is none of these.
    ValueError
        If the name is unknown.

    References
    ----------
    线性Attention的探索：Attention必须有个Softmax吗？, https://kexue.fm/archives/7546.
    Katharopoulos, Vyas, Pappas and Fleuret, Transformers are RNNs, arXiv 2006.16236: ``elu``.
    Arora et al., Simple linear attention language models balance the recall-throughput tradeoff, arXiv 2402.18668:
    ``taylor2``.

    Examples
    --------
    >>> import torch
    >>> phi = feature_map_of("cosine")
    >>> phi.query(torch.tensor([3.0, 4.0])) @ phi.key(torch.tensor([-4.0, 3.0]))
    tensor(1.)
    """
    if isinstance(feature_map, str):
        found = _NAMED.get(feature_map)
        if found is None:
            advice = "; positive_random_features draws those of Performer" if feature_map == "favor" else ""
            raise ValueError(f"feature_map must be one of {', '.join(_NAMED)} or callable, got {feature_map!r}{advice}")
        return found
    if isinstance(feature_map, RandomFeatures):
        return FeatureMap(feature_map.query, feature_map.key, positive=True)
    pair = feature_map if isinstance(feature_map, tuple) else (feature_map, feature_map)
    if len(pair) != 2 or not all(callable(one) for one in pair):
        raise TypeError(f"feature_map must be a name, a callable or a pair of callables, got {feature_map!r}")
    return FeatureMap(*pair, positive=False)


def _elu(x: Tensor) -> Tensor:
    if is_eager():
        return _Elu.apply(x)
    return (x.clamp(max=0) * _LOG2_E).exp2() + x.relu()


class _Elu(torch.autograd.Function):
    """elu(x) + 1 with all digits of e^x, which the rounding of 1 would take; and its slope, without a branch.

    It is exp2 because exp takes a processor three times as long; the rounding of its argument is that of x.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        result = x.clamp(max=0).mul_(_LOG2_E).exp2_().add_(x.relu())
        ctx.save_for_backward(result)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (result,) = ctx.saved_tensors
        return gradients[0] * result.clamp(max=1)  # e^x below 0, and 1 above it


def _relu(x: Tensor) -> Tensor:
    return x.relu() + 1e-3


def _softmax(x: Tensor) -> Tensor:
    return x.softmax(-1)


def _cosine(x: Tensor) -> Tensor:
    return torch.cat([torch.ones_like(x[..., :1]), normalize(x, dim=-1, eps=1e-12)], -1)


def _taylor2(x: Tensor) -> Tensor:
    d = x.shape[-1]
    first, second = torch.triu_indices(d, d, device=x.device)
    weight = 1 + (first == second).to(x.dtype) * (math.sqrt(0.5) - 1)
    x = x * d**-0.25
    return torch.cat([torch.ones_like(x[..., :1]), x, x[..., first] * x[..., second] * weight], -1)


_NAMED = {
    "elu": FeatureMap(_elu, _elu, positive=True),
    "relu": FeatureMap(_relu, _relu, positive=True),
    "softmax": FeatureMap(_softmax, _softmax, positive=True),
    "cosine": FeatureMap(_cosine, _cosine, positive=False),
    "taylor2": FeatureMap(_taylor2, _taylor2, positive=False),
}


class RandomFeatures(nn.Module):
    r"""Positive features whose inner product has the expectation :math:`\exp(q^\top k / \sqrt d)`.

    .. math:: \phi(x) = \frac{1}{\sqrt m} \exp\left( \Omega \hat x - \tfrac12 \lVert \hat x \rVert^2 \right),
              \qquad \hat x = d^{-1/4} x

    `positive_random_features` makes them. It is a module: its directions move with ``to`` and are saved with the model
    that holds it.

    Parameters
    ----------
    directions : torch.Tensor, shape (m, d)
        The matrix :math:`\Omega`.
    orthogonal : bool
        Whether `redraw` draws orthogonal directions.

    References
    ----------
    Choromanski et al., Rethinking Attention with Performers, arXiv 2009.14794.

    Examples
    --------
    >>> import torch
    >>> features = RandomFeatures(torch.tensor([[2.0]]), orthogonal=False)
    >>> features(torch.tensor([[0.0], [1.0]])).log()
    tensor([[0.0000],
            [1.5000]])
    """

    directions: Tensor

    def __init__(self, directions: Tensor, orthogonal: bool) -> None:
        super().__init__()
        self.register_buffer("directions", directions)
        self.orthogonal = orthogonal

    def redraw(self, *, generator: torch.Generator | None = None) -> None:
        """Draw the directions anew.

        Parameters
        ----------
        generator : torch.Generator, optional
            Source of randomness, on the CPU.
        """
        features, dim = self.directions.shape
        self.directions.copy_(_draw(features, dim, self.orthogonal, generator))

    def _exponent(self, x: Tensor) -> Tensor:
        if x.shape[-1] != self.directions.shape[-1]:
            raise ValueError(f"the features are for vectors of {self.directions.shape[-1]} numbers, got {x.shape[-1]}")
        x = x * x.shape[-1] ** -0.25
        directions = self.directions.to(x.device, x.dtype)
        return x @ directions.mT - x.square().sum(-1, keepdim=True) / 2 - math.log(len(directions)) / 2

    def forward(self, x: Tensor) -> Tensor:
        """The features as they are defined.

        Parameters
        ----------
        x : torch.Tensor, shape (..., d)
            Queries or keys.

        Returns
        -------
        torch.Tensor, shape (..., m)
            Positive features.
        """
        return self._exponent(x).exp()

    def query(self, x: Tensor) -> Tensor:
        """The features of queries up to a factor of each, which cancels in attention: the largest is 1.

        Parameters
        ----------
        x : torch.Tensor, shape (..., d)
            Queries.

        Returns
        -------
        torch.Tensor, shape (..., m)
            Positive features.
        """
        exponent = self._exponent(x)
        return (exponent - exponent.detach().amax(-1, keepdim=True)).exp()

    def key(self, x: Tensor) -> Tensor:
        """The features of keys: those of the definition, kept from overflowing.

        A factor that depends on the keys, such as the largest of their features, would cancel too; but keys that come
        later would change it, and a state that is carried on could not follow.

        Parameters
        ----------
        x : torch.Tensor, shape (..., d)
            Keys.

        Returns
        -------
        torch.Tensor, shape (..., m)
            Positive features.
        """
        return self._exponent(x).clamp(max=_LARGEST_EXPONENT).exp()

    def extra_repr(self) -> str:
        """What ``repr`` shows.

        Returns
        -------
        str
            Sizes and kind.
        """
        features, dim = self.directions.shape
        return f"head_dim={dim}, num_features={features}, orthogonal={self.orthogonal}"


def positive_random_features(
    head_dim: int, num_features: int, *, orthogonal: bool = True, generator: torch.Generator | None = None
) -> RandomFeatures:
    r"""Draw the features with which linear attention approximates softmax attention.

    .. math:: \operatorname{E}\left[ \phi(q)^\top \phi(k) \right] = \exp\left( q^\top k / \sqrt d \right)

    Parameters
    ----------
    head_dim : int
        Dimension d of queries and keys.
    num_features : int
        Number m of features. The error falls like :math:`m^{-1/2}`, and grows exponentially with
        :math:`\lVert q + k \rVert^2 / \sqrt d`: it is heavy-tailed over draws, so compare medians.
    orthogonal : bool
        Whether the directions are orthogonal to one another, d at a time, with the lengths of normal vectors; the
        expectation is the same, and the error smaller.
    generator : torch.Generator, optional
        Source of randomness, on the CPU.

    Returns
    -------
    RandomFeatures
        A feature map for ``feature_map=``, and a module; its ``redraw`` draws anew.

    Raises
    ------
    TypeError, ValueError
        If a size is not a positive integer.

    References
    ----------
    Choromanski et al., Rethinking Attention with Performers, arXiv 2009.14794.

    Examples
    --------
    >>> import torch
    >>> from kexue.attention import linear_attention
    >>> generator = torch.Generator().manual_seed(0)
    >>> query, key, value = torch.randn(3, 50, 8, generator=generator).unbind()
    >>> query, key = query / 2, key / 2
    >>> features = positive_random_features(8, 256, generator=generator)
    >>> error = linear_attention(query, key, value, feature_map=features)
    >>> error -= torch.nn.functional.scaled_dot_product_attention(query, key, value)
    >>> bool(error.abs().mean() < 0.03)
    True
    """
    check_integer(head_dim, "head_dim")
    check_integer(num_features, "num_features")
    return RandomFeatures(_draw(num_features, head_dim, orthogonal, generator), orthogonal)


def _draw(features: int, dim: int, orthogonal: bool, generator: torch.Generator | None) -> Tensor:
    normal = torch.randn(features, dim, generator=generator, dtype=torch.float64)
    if not orthogonal:
        return normal.float()
    lengths = normal.norm(dim=-1, keepdim=True)
    blocks = []
    for _ in range(0, features, dim):
        q, r = torch.linalg.qr(torch.randn(dim, dim, generator=generator, dtype=torch.float64))
        blocks.append(q * r.diagonal().sign())  # without the signs, the rotation would not be uniform
    return (torch.cat(blocks)[:features] * lengths).float()
