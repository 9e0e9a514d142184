"""Attention whose entropy does not depend on the length: scores that grow with the logarithm of the number of keys."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from kexue.extras import require

require("torch", "torch", "kexue.attention.length")

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn.functional import scaled_dot_product_attention  # noqa: E402

from kexue.attention.attended import attended_keys, count_attended  # noqa: E402
from kexue.attention.position_embeddings import position_tables  # noqa: E402
from kexue.attention.register import AttentionChange, AttentionFunction, change_attention  # noqa: E402
from kexue.attention.rows import blockwise, score_rows, shifted  # noqa: E402
from kexue.probability.entropy_normalization import entropy_exponent  # noqa: E402
from kexue.validation import check_integer, promote_half  # noqa: E402

if TYPE_CHECKING:
    from kexue.nn.handles import Handle

__all__ = [
    "LearnableLengthScale",
    "enable_length_scaling",
    "length_factor",
    "length_scaled_attention",
    "length_score_mod",
    "scale_for_entropy",
    "softmax_entropy",
]

Law = Literal["log", "sphere"] | float
"""How the scale grows with the number of keys, or a constant factor."""


_LAWS = ("log", "sphere")


# -- the entropy of rows


def softmax_entropy(
    scores: Tensor, scale: float | Tensor = 1.0, *, mask: Tensor | None = None, dim: int = -1
) -> Tensor:
    r"""Entropy of a scaled softmax, row by row.

    .. math:: H = \log \sum_i e^{\lambda s_i} - \lambda \sum_i p_i s_i, \qquad
              \frac{\partial H}{\partial \lambda} = -\lambda \operatorname{Var}_p(s)

    Parameters
    ----------
    scores : torch.Tensor, shape (..., n)
        Scores; ``-inf`` hides a position.
    scale : float or torch.Tensor
        The factor :math:`\lambda`; a tensor broadcasts against the shape of ``scores`` without ``dim``.
    mask : torch.Tensor, optional
        Boolean, broadcasts against ``scores``: True attends.
    dim : int
        The softmax axis.

    Returns
    -------
    torch.Tensor, shape (...)
        Entropies in nats, in [0, log n]; 0 for a row without any position.

    Raises
    ------
    TypeError
        If ``scores`` is not a floating-point tensor, ``mask`` no boolean one, or ``scale`` neither a number nor a
        floating-point tensor.
    IndexError
        If ``scores`` has no dimension ``dim``.
    ValueError
        If there is nothing along ``dim``, or the shapes do not broadcast.

    Notes
    -----
    Long contexts are worked through in blocks, and computed again for the gradient: besides the scores, and their
    gradient, nothing of their size is held.

    References
    ----------
    从熵不变性看Attention的Scale操作, https://kexue.fm/archives/8823.

    Examples
    --------
    >>> import torch
    >>> softmax_entropy(torch.zeros(2, 512), mask=torch.arange(512) < torch.tensor([[512], [64]])).exp()
    tensor([512.,  64.])
    """
    rows, hidden, factor = score_rows(scores, scale, mask=mask, dim=dim)
    return blockwise(_entropy, rows, hidden, factor).to(scores.dtype)


def _entropy(rows: Tensor, hidden: Tensor, factor: Tensor) -> Tensor:
    low = shifted(rows, hidden, factor)
    mass = low.exp()
    total = mass.sum(-1)
    total = torch.where(total > 0, total, 1.0)  # a row that is hidden as a whole
    return total.log() - (mass * low).sum(-1) / total  # neither term is negative: nothing cancels


def scale_for_entropy(scores: Tensor, entropy: float | Tensor, *, mask: Tensor | None = None, dim: int = -1) -> Tensor:
    r"""The scale of each row at which its softmax has a prescribed entropy.

    .. math:: H(\operatorname{softmax}(\lambda s)) = H^*

    Parameters
    ----------
    scores : torch.Tensor, shape (..., n)
        Scores; ``-inf`` hides a position.
    entropy : float or torch.Tensor, shape (...)
        The entropy in nats; a tensor broadcasts against the shape of ``scores`` without ``dim``.
    mask : torch.Tensor, optional
        Boolean, broadcasts against ``scores``: True attends.
    dim : int
        The softmax axis.

    Returns
    -------
    torch.Tensor, shape (...)
        Scales: scores times the scale are attention of that entropy. 0 where the entropy of n equal scores is asked
        for, or more, and inf for that of the m that are tied at the maximum, or less.

    Raises
    ------
    TypeError
        If ``scores`` is not a floating-point tensor, ``mask`` no boolean one, or ``entropy`` no number.
    IndexError
        If ``scores`` has no dimension ``dim``.
    ValueError
        If there is nothing along ``dim``, the shapes do not broadcast, a value is nan, or a row is hidden as a whole.

    References
    ----------
    从熵不变性看Attention的Scale操作, https://kexue.fm/archives/8823.
    概率分布的熵归一化（Entropy Normalization）, https://kexue.fm/archives/8829.

    Examples
    --------
    >>> import torch
    >>> scores = torch.randn(3, 100, generator=torch.Generator().manual_seed(0))
    >>> softmax_entropy(scores, scale_for_entropy(scores, 2.5))
    tensor([2.5000, 2.5000, 2.5000])
    """
    rows, hidden, _ = score_rows(scores, mask=mask, dim=dim)
    return entropy_exponent(rows.masked_fill(hidden, -math.inf), entropy, unreachable="clamp").to(scores.dtype)


# -- the factor


def length_factor(
    n: int | float | Tensor,
    *,
    base_length: float = 512,
    law: Law = "log",
    head_dim: int | None = None,
    floor: bool = False,
) -> Any:
    r"""What scores are multiplied by where n keys are attended, besides the usual :math:`1/\sqrt d`.

    .. math:: c_{\log}(n) = \frac{\log n}{\log n_0}, \qquad
              c_{\text{sphere}}(n) = \sqrt d\, \frac{t}{1 - t^2}, \quad t^2 = 1 - e^{-2 (\log n - H_0) / d}

    where :math:`H_0 = \log n_0 + \tfrac d2 \log(1 - t_0^2)` is the entropy of :math:`n_0` keys at the usual scale
    :math:`\lambda_0 = 1/\sqrt d`, with :math:`t_0 = (\sqrt{1 + 4 \lambda_0^2} - 1) / (2 \lambda_0)`.

    Parameters
    ----------
    n : int, float or torch.Tensor
        How many keys are attended.
    base_length : float
        The number :math:`n_0` for which the factor is 1: the length in training.
    law : {"log", "sphere"} or float
        The article's law, which keeps both the entropy of a row and the weight of one key that stands out; or the law
        that keeps the entropy of scores without any structure, those of keys all over a sphere. It grows much faster,
        and is for analysis. Or a number: the factor itself, the same for any number of keys.
    head_dim : int, optional
        Dimension d of the queries, for ``"sphere"``.
    floor : bool
        Whether the factor is 1 up to ``base_length`` keys: for models that were trained without it, of which only
        queries beyond are to change. The factor of a law is then never below 1.

    Returns
    -------
    float or torch.Tensor
        The factor, by a law 0 for one key or none; float32 for integers.

    Raises
    ------
    TypeError
        If ``n`` is neither a number nor a tensor.
    ValueError
        If ``base_length`` is not above 1, ``n`` is negative, ``law`` is unknown or a factor that is not positive, or
        ``head_dim`` is missing.

    References
    ----------
    从熵不变性看Attention的Scale操作, https://kexue.fm/archives/8823.
    熵不变性Softmax的一个快速推导, https://kexue.fm/archives/9034.
    从JL引理看熵不变性Attention, https://kexue.fm/archives/9588.
    Chiang and Cholak, Overcoming a Theoretical Limitation of Self-Attention, arXiv 2202.12172: ``base_length=math.e``.

    Examples
    --------
    >>> import torch
    >>> length_factor(4096, base_length=64), length_factor(torch.tensor([1, 64, 512]), base_length=64)
    (2.0, tensor([0.0000, 1.0000, 1.5000]))
    >>> round(length_factor(512, base_length=64, law="sphere", head_dim=64), 2)
    2.41
    >>> length_factor(torch.tensor([1, 64, 512]), base_length=64, law=1.25, floor=True)
    tensor([1.0000, 1.0000, 1.2500])
    """
    _check_settings(base_length, law)
    if law == "sphere" and (head_dim is None or check_integer(head_dim, "head_dim") < 1):
        raise ValueError("head_dim must be given for the law 'sphere'")
    least = 1.0 if floor else 0.0
    if not isinstance(n, Tensor):
        if isinstance(n, bool) or not isinstance(n, int | float):
            raise TypeError(f"n must be a number or a tensor, got {type(n).__name__}")
        if not n >= 0:
            raise ValueError(f"n must not be negative, got {n}")
        if not isinstance(law, str):
            return 1.0 if floor and n <= base_length else float(law)
        if n <= 1:
            return least
        if head_dim is None or law == "log":
            return max(math.log(n) / math.log(base_length), least)
        return max(_sphere(torch.tensor(float(n), dtype=torch.float64), base_length, head_dim).item(), least)
    if n.is_complex() or n.dtype == torch.bool:
        raise TypeError(f"n must hold numbers of keys, got dtype {n.dtype}")
    count = (promote_half(n) if n.is_floating_point() else n.to(torch.float32)).clamp(min=1.0)
    if not isinstance(law, str):
        factor = torch.full_like(count, law)
        if floor:
            factor = torch.where(count > base_length, factor, 1.0)
        return factor.to(n.dtype) if n.is_floating_point() else factor
    if head_dim is None or law == "log":
        # Written so that it is exactly 1 at the base length, in single precision and on every device.
        factor = (count / base_length).log() / math.log(base_length) + 1.0
    else:
        wide = count if count.device.type == "mps" else count.double()
        factor = _sphere(wide, base_length, head_dim).to(count.dtype)
    factor = factor.clamp(min=least)
    return factor.to(n.dtype) if n.is_floating_point() else factor


def _check_settings(base_length: float, law: Law) -> None:
    if isinstance(base_length, bool) or not isinstance(base_length, int | float) or not 1 < base_length < math.inf:
        raise ValueError(f"base_length must be a number above 1, got {base_length!r}")
    if isinstance(law, bool) or not isinstance(law, str | int | float) or (isinstance(law, str) and law not in _LAWS):
        raise ValueError(f"law must be 'log', 'sphere' or a number, got {law!r}")
    if not isinstance(law, str) and not 0 < law < math.inf:
        raise ValueError(f"law must be positive where it is a constant factor, got {law!r}")


def _sphere(n: Tensor, base_length: float, head_dim: int) -> Tensor:
    usual = 1 / math.sqrt(head_dim)
    overlap = (math.sqrt(1 + 4 * usual**2) - 1) / (2 * usual)
    above = (n / base_length).log() - 0.5 * head_dim * math.log1p(-(overlap**2))  # log n - H₀
    exponent = 2 * above / head_dim
    reached = exponent > 0
    exponent = torch.where(reached, exponent, 1.0)
    # t / (1 - t²) with t² = 1 - e^(-exponent)
    value = math.sqrt(head_dim) * (-torch.expm1(-exponent)).sqrt() * exponent.exp()
    return torch.where(reached, value, 0.0)


class LearnableLengthScale(nn.Module):
    r"""A factor :math:`\kappa_h \log n` of the queries with one learnable number for each head.

    Parameters
    ----------
    num_heads : int
        Number of heads.
    init : float, optional
        What :math:`\kappa` begins with: 1/log 512 if left out, so that 512 keys begin with the factor 1.

    Raises
    ------
    TypeError, ValueError
        If ``num_heads`` is not a positive integer.

    References
    ----------
    Nakanishi, Scalable-Softmax Is Superior for Attention, arXiv 2501.19399.

    Examples
    --------
    >>> import torch
    >>> scale = LearnableLengthScale(4)
    >>> query = torch.ones(2, 4, 3, 8)
    >>> scale(query, torch.tensor([1, 512, 512**2]))[0, 0, :, 0]
    tensor([0., 1., 2.], grad_fn=<SelectBackward0>)
    """

    def __init__(self, num_heads: int, init: float | None = None) -> None:
        super().__init__()
        check_integer(num_heads, "num_heads")
        self.kappa = nn.Parameter(torch.full((num_heads,), 1 / math.log(512) if init is None else float(init)))

    def forward(self, query: Tensor, n: int | Tensor) -> Tensor:
        """Multiply queries by the factor.

        Parameters
        ----------
        query : torch.Tensor, shape (..., heads, L, d)
            The queries.
        n : int or torch.Tensor, shape (..., L)
            How many keys each attends to; broadcasts against (..., heads, L).

        Returns
        -------
        torch.Tensor
            Of the shape of ``query``.
        """
        count = torch.as_tensor(n, device=query.device).clamp(min=1)
        factor = self.kappa[:, None] * count.to(self.kappa.dtype).log()
        return query * factor.to(query.dtype)[..., None]


# -- attention


def length_scaled_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    base_length: float = 512,
    law: Law = "log",
    floor: bool = False,
    scale: float | None = None,
    dropout_p: float = 0.0,
    enable_gqa: bool = False,
) -> Tensor:
    r"""Attention with scores that grow with the number of keys that a query attends to.

    .. math:: \operatorname{softmax}\left( c(n)\, \frac{q k^\top}{\sqrt d} \right) v

    with the factor c of `length_factor`, and n counted for each query: what a mask hides does not count.

    Parameters
    ----------
    query : torch.Tensor, shape (..., L, d)
        Queries.
    key, value : torch.Tensor, shape (..., S, d)
        Keys and values.
    attn_mask : torch.Tensor, optional
        Boolean, True attends; or added to the scores after they are scaled, where half of the smallest number of its
        dtype, or less, hides a key.
    is_causal : bool
        Whether query i sees the keys up to i alone, from the upper left corner as in PyTorch.
    base_length : float
        The number of keys for which this is ordinary attention.
    law : {"log", "sphere"} or float
        How the scale grows, or a constant factor.
    floor : bool
        Whether the factor is 1 up to ``base_length`` keys.
    scale : float, optional
        Takes the place of :math:`1/\sqrt d`.
    dropout_p : float
        Probability of dropping a weight.
    enable_gqa : bool
        Whether there are more heads of queries than of keys.

    Returns
    -------
    torch.Tensor, shape (..., L, d)
        The output, 0 for a query that attends to nothing.

    Raises
    ------
    TypeError
        If the mask is neither boolean nor of floating-point numbers.
    ValueError
        If a mask is given with ``is_causal``, or a setting is wrong.

    Notes
    -----
    The work is done by ``torch.nn.functional.scaled_dot_product_attention`` with all its kernels: the factor goes into
    its ``scale`` where it is the same for all queries, and into the queries elsewhere.

    References
    ----------
    从熵不变性看Attention的Scale操作, https://kexue.fm/archives/8823.

    Examples
    --------
    >>> import torch
    >>> query, key, value = torch.randn(3, 2, 4, 1024, 16, generator=torch.Generator().manual_seed(0)).unbind()
    >>> length_scaled_attention(query, key, value, is_causal=True).shape
    torch.Size([2, 4, 1024, 16])
    """
    if attn_mask is not None and is_causal:
        raise ValueError("attn_mask must be left out where is_causal is set")
    n: int | Tensor = key.shape[-2]
    if attn_mask is not None:
        n = count_attended(attn_mask, key.shape[-2])
    elif is_causal:
        n = torch.arange(1, query.shape[-2] + 1, device=query.device).clamp(max=key.shape[-2])
    query, scale = _scaled(query, scale, n, base_length=base_length, law=law, floor=floor)
    output = scaled_dot_product_attention(
        query, key, value, attn_mask, dropout_p=dropout_p, is_causal=is_causal, scale=scale, enable_gqa=enable_gqa
    )
    return _without_keys(output, n, attn_mask)


def _scaled(
    query: Tensor, scale: float | None, n: int | Tensor, *, base_length: float, law: Law, floor: bool
) -> tuple[Tensor, float | None]:
    """The queries, or else the scale, times the factor."""
    dtype = torch.promote_types(query.dtype, torch.float32)
    if isinstance(n, Tensor):
        n = n.to(dtype)
    elif torch.compiler.is_compiling():  # a number would become part of the graph, which then fits one length alone
        n = torch.full((1,), n, dtype=dtype, device=query.device)
    factor = length_factor(n, base_length=base_length, law=law, head_dim=query.shape[-1], floor=floor)
    if isinstance(factor, Tensor):
        return query * factor.to(query.dtype)[..., None], scale
    if factor == 1.0:
        return query, scale
    return query, (query.shape[-1] ** -0.5 if scale is None else scale) * factor


def _without_keys(output: Tensor, n: int | Tensor, mask: Any) -> Tensor:
    """An additive mask that hides every key leaves a mean of all values: make it 0, as a boolean one does."""
    if isinstance(n, Tensor) and isinstance(mask, Tensor) and mask.is_floating_point():
        return output.masked_fill((n == 0)[..., None], 0.0)
    return output


def length_score_mod(
    attended: Tensor,
    *,
    base_length: float = 512,
    law: Law = "log",
    head_dim: int | None = None,
    floor: bool = False,
) -> Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]:
    """The factor of `length_factor` as a ``score_mod`` of FlexAttention.

    Parameters
    ----------
    attended : torch.Tensor, shape (B, L)
        How many keys each query attends to.
    base_length, law, head_dim, floor
        As in `length_factor`.

    Returns
    -------
    callable
        Multiplies a score inside the kernel. What is to be added to the scores must come after it.

    Raises
    ------
    ValueError
        If ``attended`` has not two dimensions, or a setting is wrong.

    References
    ----------
    从熵不变性看Attention的Scale操作, https://kexue.fm/archives/8823.

    Examples
    --------
    >>> import torch
    >>> modify = length_score_mod(torch.tensor([[64, 4096]]), base_length=64)
    >>> modify(torch.tensor(3.0), torch.tensor(0), torch.tensor(0), torch.tensor(1), torch.tensor(7))
    tensor(6.)
    """
    if attended.ndim != 2:
        raise ValueError(f"attended must have the shape (batch, queries), got {tuple(attended.shape)}")
    factor = length_factor(attended, base_length=base_length, law=law, head_dim=head_dim, floor=floor)

    def modify(score: Tensor, batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return score * factor[batch, query]

    return modify


# -- models of transformers


def enable_length_scaling(
    model: nn.Module,
    base_length: float | None = None,
    *,
    law: Law = "log",
    floor: bool = True,
    backend: str | None = None,
) -> Handle[Any]:
    """Scale the attention of a model of transformers with the number of keys, until the handle takes it back.

    Every query of every layer is multiplied by the factor of `length_factor` for the keys that it attends to: padding
    and later tokens do not count, those in a cache do, and so do those of a window. Biases of relative positions are
    not multiplied.

    Parameters
    ----------
    model : torch.nn.Module
        A model of transformers, or a module that contains some.
    base_length : float, optional
        The length in training; ``max_position_embeddings`` of the model's configuration if left out. Give it where the
        model was trained on shorter texts than it can read, or its table of positions has been extended.
    law : {"log", "sphere"} or float
        How the scale grows; or a number, the factor itself, where some long texts are at hand to choose it by: that
        of a few, such as 1, 1.25, 1.5 and 2, with which the model predicts them best.
    floor : bool
        Whether queries that attend to at most ``base_length`` keys are left as they are, bit for bit, and only those
        beyond are scaled: right for a model that was trained without it, which also attends to fewer keys in padded
        rows and at the beginning of a causal text. False is the formula of `length_factor` as it stands, for a model
        that was trained with it; a constant factor is then that of all queries.
    backend : str, optional
        The attention implementation to use, for instance ``"sdpa"``; the model's own if left out.

    Returns
    -------
    Handle
        A context manager; its ``remove`` takes the scale back.

    Raises
    ------
    MissingExtraError
        If transformers is not installed.
    TypeError
        If it is no model of transformers, or its class does not look up its attention by name.
    NotImplementedError
        If code of its class asks for the name of its attention implementation.
    RuntimeError
        If the model is scaled already.
    ValueError
        If a setting is wrong, or ``base_length`` is left out and the configuration does not say it.

    Warns
    -----
    UserWarning
        If the model looks its positions up in a table that ends at ``base_length`` or before.

    Notes
    -----
    Models whose positions are rotary, ALiBi or a relative bias can be given longer texts. BERT, GPT-2 and others with a
    table of absolute positions cannot read beyond ``max_position_embeddings``, whatever the scale: make their table
    longer with `kexue.attention.extend_position_embeddings`, and give ``base_length``, the length that they were
    trained on. With ``base_length`` left out, or not below the length of the table, the floor never ends, and nothing
    changes.

    See `kexue.attention.register.change_attention` for models that share a configuration, copies, and calls of
    ``set_attn_implementation`` in between.

    References
    ----------
    从熵不变性看Attention的Scale操作, https://kexue.fm/archives/8823.

    Examples
    --------
    >>> from transformers import BertConfig, BertModel
    >>> config = BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    >>> model = BertModel(config)
    >>> with enable_length_scaling(model, base_length=64):
    ...     model.config._attn_implementation
    'kexue_length_log_64_floor+sdpa'
    >>> with enable_length_scaling(model, base_length=64, law=1.25):  # beyond 64 keys, and 1 up to them
    ...     model.config._attn_implementation
    'kexue_length_1.25_64_floor+sdpa'
    """
    if base_length is None:
        base_length = _training_length(model)
    _check_settings(base_length, law)
    _check_backend(backend)
    handle = change_attention(model, _length_change(base_length, law, floor, backend))
    table = _table_length(model)
    everywhere = not isinstance(law, str) and not floor
    if table is not None and table <= base_length and not everywhere:
        warnings.warn(
            f"the table of absolute positions of this model ends at {table}: it reads no text longer than "
            f"base_length={base_length:g}, beyond which the scale matters. Extend the table with "
            "kexue.attention.extend_position_embeddings, or give base_length the length in training if that was "
            "shorter",
            stacklevel=2,
        )
    return handle


def _table_length(model: nn.Module) -> int | None:
    """How many positions the longest table of absolute ones has; None where there is no table."""
    found = []
    for part in model.modules():
        config: Any = getattr(part, "config", None)
        if not hasattr(config, "get_text_config"):
            continue
        length = getattr(config.get_text_config(), "max_position_embeddings", None)
        if length is None or getattr(config, "position_embedding_type", "absolute") not in ("absolute", None):
            continue
        found += [length for table in position_tables(part).values() if table.num_embeddings >= length]
    return max(found, default=None)


def _check_backend(backend: str | None) -> None:
    if backend is None:
        return
    transformers: Any = require("transformers", "transformers", "enable_length_scaling")
    known = [name for name in transformers.AttentionMaskInterface() if not name.startswith("kexue")]
    if backend not in known and not str(backend).startswith("kexue"):
        raise ValueError(
            f"backend must name an implementation that makes masks ({', '.join(sorted(known))}), got {backend!r}"
        )


def _training_length(model: nn.Module) -> float:
    for part in model.modules() if isinstance(model, nn.Module) else ():
        config: Any = getattr(part, "config", None)
        if hasattr(config, "get_text_config"):
            length = getattr(config.get_text_config(), "max_position_embeddings", None)
            if length is None:
                raise ValueError(f"base_length must be given: {type(config).__name__} has no max_position_embeddings")
            return float(length)
    raise TypeError(f"model must be a model of transformers, or contain some, got {type(model).__name__}")


@cache
def _length_change(base_length: float, law: Law, floor: bool, backend: str | None) -> AttentionChange:
    def wrap(attend: AttentionFunction, backend: str) -> AttentionFunction:
        def attention(
            module: nn.Module,
            query: Tensor,
            key: Tensor,
            value: Tensor,
            attention_mask: Any,
            scaling: float | None = None,
            **options: Any,
        ) -> tuple[Tensor, Any]:
            n = attended_keys(module, query, key, attention_mask, backend=backend, **options)
            query, scaling = _scaled(query, scaling, n, base_length=base_length, law=law, floor=floor)
            output, weights = attend(module, query, key, value, attention_mask, scaling=scaling, **options)
            # The output has the heads last but one, the numbers have them first.
            output = _without_keys(output.transpose(1, 2), n, attention_mask).transpose(1, 2)
            return output, weights

        return attention

    spelled = law if isinstance(law, str) else f"{law:g}".replace("+", "")
    name = f"length_{spelled}_{base_length:g}{'_floor' if floor else ''}"
    return AttentionChange("enable_length_scaling", name, wrap, backend=backend)
