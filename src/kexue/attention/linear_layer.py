"""A layer of linear attention with several heads, whose parameters have the names of torch's."""

from __future__ import annotations

from typing import Literal, overload

from kexue.extras import require

require("torch", "torch", "kexue.attention.linear_layer")

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn.functional import linear  # noqa: E402

from kexue.attention.feature_maps import FeatureMapLike, feature_map_of  # noqa: E402
from kexue.attention.linear import LinearAttentionState, linear_attention  # noqa: E402
from kexue.validation import check_integer  # noqa: E402

__all__ = ["LinearAttention"]


class LinearAttention(nn.Module):
    r"""Linear attention with several heads, projections before and one after it.

    .. math:: \operatorname{head}_h = \operatorname{attention}(x_q W_h^Q, x_k W_h^K, x_v W_h^V), \qquad
              y = [\operatorname{head}_1, \dots, \operatorname{head}_H]\, W^O

    with `kexue.attention.linear_attention`. The parameters have the names and shapes of those of
    ``torch.nn.MultiheadAttention``, so that its ``state_dict`` can be loaded. The batch comes first.

    Parameters
    ----------
    embed_dim : int
        Size of the inputs and of the outputs.
    num_heads : int
        Number of heads; it divides ``embed_dim``.
    feature_map : str, callable or pair of callables
        As in `kexue.attention.linear_attention`. A module, such as the features of
        `kexue.attention.positive_random_features` for ``embed_dim // num_heads``, becomes a part of this one.
    bias : bool
        Whether the projections have one.
    chunk_size : int
        As in `kexue.attention.linear_attention`.

    Raises
    ------
    TypeError
        If a size is not an integer, or the feature map is none.
    ValueError
        If a size is below 1, ``num_heads`` does not divide ``embed_dim``, or the feature map's name is unknown.

    References
    ----------
    线性Attention的探索：Attention必须有个Softmax吗？, https://kexue.fm/archives/7546.
    Katharopoulos, Vyas, Pappas and Fleuret, Transformers are RNNs, arXiv 2006.16236.

    Examples
    --------
    >>> import torch
    >>> layer = LinearAttention(32, 4)
    >>> _ = layer.load_state_dict(torch.nn.MultiheadAttention(32, 4).state_dict())
    >>> x = torch.randn(2, 100, 32, generator=torch.Generator().manual_seed(0))
    >>> whole = layer(x, is_causal=True)
    >>> state, tokens = None, []
    >>> for token in x.split(1, dim=1):
    ...     output, state = layer(token, is_causal=True, initial_state=state, return_state=True)
    ...     tokens.append(output)
    >>> torch.allclose(torch.cat(tokens, 1), whole, atol=1e-5)
    True
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *,
        feature_map: FeatureMapLike = "elu",
        bias: bool = True,
        chunk_size: int = 64,
    ) -> None:
        super().__init__()
        check_integer(embed_dim, "embed_dim")
        check_integer(num_heads, "num_heads")
        check_integer(chunk_size, "chunk_size")
        if embed_dim % num_heads:
            raise ValueError(f"num_heads must divide embed_dim, got {num_heads} and {embed_dim}")
        feature_map_of(feature_map)
        self.embed_dim, self.num_heads, self.chunk_size = embed_dim, num_heads, chunk_size
        self.feature_map = feature_map
        self.in_proj_weight = nn.Parameter(torch.empty(3 * embed_dim, embed_dim))
        if bias:
            self.in_proj_bias = nn.Parameter(torch.zeros(3 * embed_dim))
        else:
            self.register_parameter("in_proj_bias", None)
        self.out_proj = nn.Linear(embed_dim, embed_dim, bias=bias)
        nn.init.xavier_uniform_(self.in_proj_weight)
        if bias:
            nn.init.zeros_(self.out_proj.bias)

    @overload
    def forward(
        self,
        query: Tensor,
        key: Tensor | None = ...,
        value: Tensor | None = ...,
        *,
        key_padding_mask: Tensor | None = ...,
        is_causal: bool = ...,
        initial_state: LinearAttentionState | None = ...,
        return_state: Literal[False] = ...,
    ) -> Tensor: ...

    @overload
    def forward(
        self,
        query: Tensor,
        key: Tensor | None = ...,
        value: Tensor | None = ...,
        *,
        key_padding_mask: Tensor | None = ...,
        is_causal: bool = ...,
        initial_state: LinearAttentionState | None = ...,
        return_state: Literal[True],
    ) -> tuple[Tensor, LinearAttentionState]: ...

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        *,
        key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
        initial_state: LinearAttentionState | None = None,
        return_state: bool = False,
    ) -> Tensor | tuple[Tensor, LinearAttentionState]:
        """Attend.

        Parameters
        ----------
        query : torch.Tensor, shape (..., L, embed_dim)
            What asks.
        key : torch.Tensor, shape (..., S, embed_dim), optional
            What is asked: ``query`` itself if left out.
        value : torch.Tensor, shape (..., S, embed_dim), optional
            What is answered: ``key`` if left out.
        key_padding_mask : torch.Tensor, shape (..., S), optional
            Boolean, True attends. (In ``torch.nn.MultiheadAttention`` it is the other way round.)
        is_causal : bool
            Whether later keys are hidden.
        initial_state : LinearAttentionState, optional
            The state of all that came before.
        return_state : bool
            Whether to return the state after the last key too.

        Returns
        -------
        torch.Tensor, shape (..., L, embed_dim)
            The output; with the state, whose leading axes are those of the input and the heads, if ``return_state`` is
            set.

        Raises
        ------
        ValueError
            If the last axis of an input is not ``embed_dim``, or the shapes do not fit otherwise.
        """
        inputs = [query]
        if key is not None or value is not None:
            key = query if key is None else key
            inputs += [key, key if value is None else value]
        for name, one in zip(("query", "key", "value"), inputs, strict=False):
            if one.ndim < 2 or one.shape[-1] != self.embed_dim:
                raise ValueError(f"{name} must have the shape (..., length, {self.embed_dim}), got {tuple(one.shape)}")
        if len(inputs) == 1:
            projected = linear(query, self.in_proj_weight, self.in_proj_bias).chunk(3, -1)
        else:
            weights = self.in_proj_weight.chunk(3)
            biases = (None,) * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
            projected = tuple(linear(*each) for each in zip(inputs, weights, biases, strict=True))
        q, k, v = (x.unflatten(-1, (self.num_heads, -1)).transpose(-2, -3) for x in projected)
        output, state = linear_attention(
            q,
            k,
            v,
            feature_map=self.feature_map,
            is_causal=is_causal,
            key_padding_mask=key_padding_mask,
            chunk_size=self.chunk_size,
            initial_state=initial_state,
            return_state=True,
        )
        output = self.out_proj(output.transpose(-2, -3).flatten(-2))
        return (output, state) if return_state else output

    def extra_repr(self) -> str:
        """What ``repr`` shows.

        Returns
        -------
        str
            Sizes and feature map.
        """
        own = "" if isinstance(self.feature_map, nn.Module) else f", feature_map={self.feature_map!r}"
        return f"embed_dim={self.embed_dim}, num_heads={self.num_heads}{own}"
