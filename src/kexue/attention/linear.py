"""Attention whose cost is linear in the length: similarities that are inner products of features, and its contrasts."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from typing import Any, Literal, NamedTuple, overload

from kexue.extras import require

require("torch", "torch", "kexue.attention.linear")

import torch  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.nn.functional import pad, scaled_dot_product_attention  # noqa: E402

from kexue.attention.feature_maps import FeatureMap, FeatureMapLike, feature_map_of  # noqa: E402
from kexue.validation import check_floating, check_integer, is_eager, promote_half  # noqa: E402

__all__ = [
    "LinearAttentionState",
    "efficient_attention",
    "linear_attention",
    "linear_attention_step",
    "linformer_attention",
]


# Bytes of the queries of one piece, and its least number of positions.
_PIECE_BYTES, _SHORTEST_PIECE = 1 << 20, 256


class LinearAttentionState(NamedTuple):
    """What linear attention keeps of all keys and values so far, in at least single precision."""

    kv: Tensor
    """Sum of the outer products of key features and values, of shape (..., features, d_v)."""
    k_sum: Tensor
    """Sum of the key features, of shape (..., features)."""


@overload
def linear_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    feature_map: FeatureMapLike = ...,
    is_causal: bool = ...,
    key_padding_mask: Tensor | None = ...,
    chunk_size: int = ...,
    initial_state: LinearAttentionState | None = ...,
    return_state: Literal[False] = ...,
    eps: float = ...,
) -> Tensor: ...


@overload
def linear_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    feature_map: FeatureMapLike = ...,
    is_causal: bool = ...,
    key_padding_mask: Tensor | None = ...,
    chunk_size: int = ...,
    initial_state: LinearAttentionState | None = ...,
    return_state: Literal[True],
    eps: float = ...,
) -> tuple[Tensor, LinearAttentionState]: ...


def linear_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    feature_map: FeatureMapLike = "elu",
    is_causal: bool = False,
    key_padding_mask: Tensor | None = None,
    chunk_size: int = 64,
    initial_state: LinearAttentionState | None = None,
    return_state: bool = False,
    eps: float = 1e-6,
) -> Tensor | tuple[Tensor, LinearAttentionState]:
    r"""Attention without the softmax, in time linear in the number of keys.

    .. math:: o_i = \frac{\sum_j \varphi(q_i)^\top \psi(k_j)\, v_j}{\sum_j \varphi(q_i)^\top \psi(k_j)}
                  = \frac{\varphi(q_i)^\top S}{\varphi(q_i)^\top z}, \qquad
              S = \sum_j \psi(k_j) v_j^\top, \quad z = \sum_j \psi(k_j)

    A causal model takes the sums over :math:`j \le i`. They are never held for each i: between chunks the state S goes
    on, and within a chunk the similarities are written out.

    Parameters
    ----------
    query : torch.Tensor, shape (..., L, d)
        Queries.
    key : torch.Tensor, shape (..., S, d)
        Keys. Leading axes broadcast: where G heads of queries share one of keys, give queries the axes
        (..., heads, G, L, d) and keys (..., heads, 1, S, d).
    value : torch.Tensor, shape (..., S, d_v)
        Values.
    feature_map : str, callable or pair of callables
        ``"elu"``, ``"relu"``, ``"softmax"``, ``"cosine"`` (the article's 1 + cos), ``"taylor2"`` (whose number of
        features is about d²/2), what `positive_random_features` returns, or functions of one's own; see
        `kexue.attention.feature_maps.feature_map_of`.
    is_causal : bool
        Whether query i sees the keys up to i alone. L and S must be equal, unless there is an initial state: then the
        last query sees the last key.
    key_padding_mask : torch.Tensor, optional
        Boolean, True attends, with S as its last axis; the axes before it are the first ones of ``key``, so that a mask
        of shape (batch, S) holds for all heads.
    chunk_size : int
        Length of a chunk of causal attention. The result does not depend on it.
    initial_state : LinearAttentionState, optional
        The state of all that came before: every query sees it.
    return_state : bool
        Whether to return the state after the last key too.
    eps : float
        The smallest denominator where its terms can cancel, which is so for ``"cosine"`` and may be so for functions of
        one's own. Those of the other feature maps are right however small they are.

    Returns
    -------
    torch.Tensor, shape (..., L, d_v)
        The output, 0 for a query that sees no key; with the state if ``return_state`` is set.

    Raises
    ------
    TypeError
        If an argument has a wrong type or dtype.
    ValueError
        If the shapes do not fit, or the feature map's name is unknown.

    Notes
    -----
    Features, sums and denominators are in single precision at least, also under autocast: sums in half precision
    overflow.

    References
    ----------
    线性Attention的探索：Attention必须有个Softmax吗？, https://kexue.fm/archives/7546.
    Katharopoulos, Vyas, Pappas and Fleuret, Transformers are RNNs, arXiv 2006.16236.

    Examples
    --------
    >>> import torch
    >>> query, key, value = torch.randn(3, 2, 4, 1000, 16, generator=torch.Generator().manual_seed(0)).unbind()
    >>> output = linear_attention(query, key, value, is_causal=True)
    >>> before, state = linear_attention(*(x[..., :300, :] for x in (query, key, value)), is_causal=True,
    ...                                  return_state=True)
    >>> after = linear_attention(*(x[..., 300:, :] for x in (query, key, value)), is_causal=True, initial_state=state)
    >>> torch.allclose(torch.cat([before, after], -2), output, atol=1e-5)
    True
    """
    _check_tensors(query, key, value)
    check_integer(chunk_size, "chunk_size")
    queries, keys = query.shape[-2], key.shape[-2]
    if is_causal and initial_state is None and queries != keys:
        raise ValueError(
            "with is_causal there must be as many queries as keys, or an initial_state for the queries to follow, got "
            f"{queries} queries and {keys} keys"
        )
    maps = feature_map_of(feature_map)
    dtype = value.dtype
    seen = _seen(key, key_padding_mask)
    causal = is_causal and queries > 1  # a single query sees all keys
    early = max(keys - queries, 0) if causal else keys  # keys that all queries see
    alone = max(queries - keys, 0) if causal else queries  # queries that see these and the state, and nothing else
    with torch.autocast(query.device.type, enabled=False):
        query, key, value = promote_half(query), promote_half(key), promote_half(value)
        sums = None if initial_state is None else _joined(initial_state, maps.key(key[..., :1, :]), value)
        step = _step(query, chunk_size)
        late = None if seen is None else seen[..., early:, :]
        outputs = []
        if early or not causal:
            seen = None if seen is None else seen[..., :early, :]
            for k, v, mask in _pieces(step, key[..., :early, :], value[..., :early, :], seen):
                piece = _summed(_masked(maps.key(k), mask), v)
                sums = piece if sums is None else sums + piece
        if alone or not causal:
            assert sums is not None
            for (q,) in _pieces(step, query[..., :alone, :]):
                outputs.append(_normalised(maps.query(q) @ sums, maps, eps).to(dtype))
        if causal and keys:
            for q, k, v, mask in _pieces(step, query[..., alone:, :], key[..., early:, :], value[..., early:, :], late):
                product, sums = _causal_product(maps.query(q), _masked(maps.key(k), mask), v, sums, chunk_size)
                outputs.append(_normalised(product, maps, eps).to(dtype))
        output = outputs[0] if len(outputs) == 1 else torch.cat(outputs, -2)
    if not return_state:
        return output
    assert sums is not None
    return output, LinearAttentionState(*_parted(sums))


def linear_attention_step(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    state: LinearAttentionState | None,
    *,
    feature_map: FeatureMapLike = "elu",
    eps: float = 1e-6,
) -> tuple[Tensor, LinearAttentionState]:
    r"""One token of causal linear attention, in time and memory that do not depend on how many came before.

    .. math:: S_i = S_{i-1} + \psi(k_i) v_i^\top, \qquad z_i = z_{i-1} + \psi(k_i), \qquad
              o_i = \frac{\varphi(q_i)^\top S_i}{\varphi(q_i)^\top z_i}

    Parameters
    ----------
    query, key : torch.Tensor, shape (..., d)
        Of the token.
    value : torch.Tensor, shape (..., d_v)
        Of the token.
    state : LinearAttentionState or None
        After the token before, from this function or `linear_attention`; None begins.
    feature_map, eps
        As in `linear_attention`.

    Returns
    -------
    tuple of torch.Tensor and LinearAttentionState
        The output of shape (..., d_v), and the state with this token.

    Raises
    ------
    TypeError
        If an argument has a wrong type or dtype.
    ValueError
        If the shapes do not fit, or the feature map's name is unknown.

    References
    ----------
    Katharopoulos, Vyas, Pappas and Fleuret, Transformers are RNNs, arXiv 2006.16236.

    Examples
    --------
    >>> import torch
    >>> state = None
    >>> for token in torch.eye(3):
    ...     output, state = linear_attention_step(token, token, token, state)
    >>> output
    tensor([0.3125, 0.3125, 0.3750])
    """
    _check_tensors(query, key, value, length=False)
    maps = feature_map_of(feature_map)
    dtype = value.dtype
    with torch.autocast(query.device.type, enabled=False):
        query, key, value = promote_half(query), promote_half(key), promote_half(value)
        q, k = maps.query(query), maps.key(key)
        total = k[..., :, None] * _with_ones(value)[..., None, :]
        if state is not None:
            total = _joined(state, k[..., None, :], value[..., None, :]) + total
        product = (q[..., None, :] @ total)[..., 0, :]
        return _normalised(product, maps, eps).to(dtype), LinearAttentionState(*_parted(total))


# -- the steps of the computation; the sums of values and of ones, S and z, are columns of one matrix


def _with_ones(value: Tensor) -> Tensor:
    return pad(value, (0, 1), value=1.0)


def _parted(sums: Tensor) -> tuple[Tensor, Tensor]:
    kv, k_sum = sums.split([sums.shape[-1] - 1, 1], -1)
    return kv, k_sum[..., 0]


def _summed(k: Tensor, value: Tensor) -> Tensor:
    kv, k_sum = k.mT @ value, k.sum(-2)[..., None]
    return torch.cat([kv, k_sum.expand(*kv.shape[:-1], 1)], -1)


def _normalised(product: Tensor, maps: FeatureMap, eps: float) -> Tensor:
    numerator, denominator = product.split([product.shape[-1] - 1, 1], -1)
    return maps.quotient(numerator, denominator, eps)


def _seen(key: Tensor, mask: Tensor | None) -> Tensor | None:
    """The mask of the keys, of shape (..., S, 1), its axes before the last in their places."""
    if mask is None:
        return None
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        got = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise TypeError(f"key_padding_mask must be a boolean tensor, True where a key is attended, got {got}")
    if not 1 <= mask.ndim < key.ndim or mask.shape[-1] != key.shape[-2]:
        raise ValueError(
            f"key_padding_mask must have the shape (..., {key.shape[-2]}) and at most {key.ndim - 1} axes, "
            f"got {tuple(mask.shape)}"
        )
    return mask.reshape(*mask.shape[:-1], *(1,) * (key.ndim - 1 - mask.ndim), mask.shape[-1], 1)


def _masked(k: Tensor, seen: Tensor | None, fill: float = 0.0) -> Tensor:
    """Features of 0 where keys are hidden: after the map, which need not map 0 to 0."""
    return k if seen is None else k.masked_fill(~seen, fill)


def _step(query: Tensor, chunk_size: int) -> int:
    """Length of the pieces that are worked through one by one: on a processor, those that fit into its cache."""
    length = max(query.shape[-2], 1)
    if query.device.type != "cpu" or not is_eager():
        return length
    chunks = _PIECE_BYTES * length // max(query.numel() * query.itemsize * chunk_size, 1)
    return chunk_size * max(chunks, -(-_SHORTEST_PIECE // chunk_size))


def _pieces(step: int, *tensors: Tensor | None) -> Iterator[tuple[Any, ...]]:
    """Tensors in pieces along the positions; None stays None."""
    return zip(*(repeat(None) if x is None else x.split(step, -2) for x in tensors), strict=False)


def _joined(state: LinearAttentionState, k: Tensor, value: Tensor) -> Tensor:
    if not isinstance(state, tuple) or len(state) != 2:
        raise TypeError(f"a state must be a LinearAttentionState, got {type(state).__name__}")
    kv, k_sum = state
    features = k.shape[-1]
    if kv.shape[-2:] != (features, value.shape[-1]) or k_sum.shape[-1:] != (features,):
        raise ValueError(
            f"the state must have the shapes (..., {features}, {value.shape[-1]}) and (..., {features}), "
            f"got {tuple(kv.shape)} and {tuple(k_sum.shape)}"
        )
    return torch.cat([kv, k_sum[..., None].expand(*kv.shape[:-1], 1)], -1).to(value.dtype)


def _causal_product(
    q: Tensor, k: Tensor, value: Tensor, state: Tensor | None, chunk_size: int
) -> tuple[Tensor, Tensor]:
    """Products of each query's features with the sums over the keys up to it, and the sums after the last key."""
    length = q.shape[-2]
    size = min(chunk_size, length)
    value = _with_ones(value)
    if length % size:  # features of 0 add nothing
        q, k, value = (pad(x, (0, 0, 0, -length % size)) for x in (q, k, value))
    q, k, value = (x.unflatten(-2, (-1, size)) for x in (q, k, value))
    sums = k.mT @ value
    before = _sums_before(sums)
    if state is not None:
        before = before + state[..., None, :, :]
    product = (q @ k.mT).tril() @ value + q @ before
    after = before[..., -1, :, :] + sums[..., -1, :, :]
    return product.flatten(-3, -2)[..., :length, :], after


def _sums_before(sums: Tensor) -> Tensor:
    """Sums over all earlier entries along the third axis from the end."""
    if is_eager():
        return _SumsBefore.apply(sums, False)
    return pad(sums[..., :-1, :, :].cumsum(-3), (0, 0, 0, 0, 1, 0))


class _SumsBefore(torch.autograd.Function):
    """Entry by entry: ``cumsum`` along this axis walks through memory in long strides, also for the gradient."""

    @staticmethod
    def forward(ctx: Any, sums: Tensor, backwards: bool) -> Tensor:
        ctx.backwards = backwards
        result = torch.empty_like(sums)
        given, made = sums.unbind(-3), result.unbind(-3)
        if backwards:
            given, made = given[::-1], made[::-1]
        made[0].zero_()
        for earlier, last, here in zip(made, given, made[1:], strict=False):
            torch.add(earlier, last, out=here)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _SumsBefore.apply(gradients[0], not ctx.backwards), None


# -- the contrasts


def efficient_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    key_padding_mask: Tensor | None = None,
    is_causal: bool = False,
) -> Tensor:
    r"""Attention with one softmax over the features of each query and another over the positions of all keys.

    .. math:: \operatorname{softmax}_d(Q) \left( \operatorname{softmax}_n(K)^\top V \right)

    Its weights sum to one as they are, so that nothing is divided by. That makes it another function than
    `linear_attention` with the feature map ``"softmax"``.

    Parameters
    ----------
    query : torch.Tensor, shape (..., L, d)
        Queries.
    key : torch.Tensor, shape (..., S, d)
        Keys.
    value : torch.Tensor, shape (..., S, d_v)
        Values.
    key_padding_mask : torch.Tensor, optional
        As in `linear_attention`.
    is_causal : bool
        Must be False: the softmax of every key is over all positions, later ones too.

    Returns
    -------
    torch.Tensor, shape (..., L, d_v)
        The output, 0 where every key is hidden.

    Raises
    ------
    TypeError
        If an argument has a wrong type or dtype.
    ValueError
        If ``is_causal`` is set, or the shapes do not fit.

    References
    ----------
    Shen, Zhang, Zhao, Yi and Li, Efficient Attention: Attention with Linear Complexities, arXiv 1812.01243.
    线性Attention的探索：Attention必须有个Softmax吗？, https://kexue.fm/archives/7546.

    Examples
    --------
    >>> import torch
    >>> query, key, value = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0)).unbind()
    >>> efficient_attention(query, key, torch.full((5, 1), 0.5)).round(decimals=4).flatten()
    tensor([0.5000, 0.5000, 0.5000, 0.5000, 0.5000])
    """
    _check_tensors(query, key, value)
    if is_causal:
        raise ValueError(
            "efficient attention cannot be causal: the softmax over positions that every key goes through has later "
            "positions in its denominator"
        )
    dtype = value.dtype
    seen = _seen(key, key_padding_mask)
    with torch.autocast(query.device.type, enabled=False):
        query, key, value = promote_half(query), promote_half(key), promote_half(value)
        # With a number in place of -inf, and 0 after it, a row that is hidden as a whole is 0.
        weight = _masked(_masked(key, seen, torch.finfo(key.dtype).min).softmax(-2), seen)
        return (query.softmax(-1) @ (weight.mT @ value)).to(dtype)


def linformer_attention(
    query: Tensor, key: Tensor, value: Tensor, proj_k: Tensor, proj_v: Tensor, *, is_causal: bool = False
) -> Tensor:
    r"""Softmax attention to r mixtures of all keys instead of the keys themselves.

    .. math:: \operatorname{softmax}\left( \frac{Q (E K)^\top}{\sqrt d} \right) F V

    Parameters
    ----------
    query : torch.Tensor, shape (..., L, d)
        Queries.
    key : torch.Tensor, shape (..., S, d)
        Keys.
    value : torch.Tensor, shape (..., S, d_v)
        Values.
    proj_k, proj_v : torch.Tensor, shape (..., r, S)
        The matrices E and F, which are learnt for one number S of keys.
    is_causal : bool
        Must be False: every mixture holds later positions too.

    Returns
    -------
    torch.Tensor, shape (..., L, d_v)
        The output.

    Raises
    ------
    TypeError
        If an argument has a wrong type or dtype.
    ValueError
        If ``is_causal`` is set, or the shapes do not fit.

    References
    ----------
    Wang, Li, Khabsa, Fang and Ma, Linformer: Self-Attention with Linear Complexity, arXiv 2006.04768.
    线性Attention的探索：Attention必须有个Softmax吗？, https://kexue.fm/archives/7546.

    Examples
    --------
    >>> import torch
    >>> query, key, value = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0)).unbind()
    >>> whole = linformer_attention(query, key, value, torch.eye(5), torch.eye(5))
    >>> torch.allclose(whole, torch.nn.functional.scaled_dot_product_attention(query, key, value))
    True
    """
    _check_tensors(query, key, value)
    if is_causal:
        raise ValueError("Linformer cannot be causal: each of its mixtures of keys holds later positions too")
    for name, matrix in (("proj_k", proj_k), ("proj_v", proj_v)):
        check_floating(matrix, name)
        if matrix.ndim < 2 or matrix.shape[-1] != key.shape[-2]:
            raise ValueError(f"{name} must have the shape (..., r, {key.shape[-2]}), got {tuple(matrix.shape)}")
    if proj_k.shape[-2] != proj_v.shape[-2]:
        raise ValueError(f"proj_k and proj_v must have as many rows, got {proj_k.shape[-2]} and {proj_v.shape[-2]}")
    return scaled_dot_product_attention(query, proj_k @ key, proj_v @ value)


# -- checks


def _check_tensors(query: Tensor, key: Tensor, value: Tensor, *, length: bool = True) -> None:
    for name, tensor in (("query", query), ("key", key), ("value", value)):
        check_floating(tensor, name)
        if tensor.ndim < 1 + length:
            raise ValueError(f"{name} must have the shape (..., {'length, ' if length else ''}d), got {tensor.shape}")
    if not query.dtype == key.dtype == value.dtype:
        raise TypeError(f"query, key and value must have one dtype, got {query.dtype}, {key.dtype} and {value.dtype}")
    shapes = f"query {tuple(query.shape)}, key {tuple(key.shape)} and value {tuple(value.shape)}"
    if query.shape[-1] != key.shape[-1]:
        raise ValueError(f"queries and keys must have one dimension, got {shapes}")
    if length and key.shape[-2] != value.shape[-2]:
        raise ValueError(f"there must be as many keys as values, got {shapes}")
    lead = 1 + length
    try:
        torch.broadcast_shapes(*(tensor.shape[: tensor.ndim - lead] for tensor in (query, key, value)))
    except RuntimeError:
        raise ValueError(f"the leading axes do not broadcast: {shapes}") from None
