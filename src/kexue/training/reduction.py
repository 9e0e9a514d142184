"""What several processes owe one another: equal starts, mean gradients, and the rows of the whole batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from kexue.extras import require

require("torch", "torch", "kexue.training.reduction")

import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402
from torch import Tensor, nn  # noqa: E402

__all__ = [
    "broadcast",
    "broadcast_integers",
    "check_batch_norm",
    "gather_batch",
    "gather_bytes",
    "mean_over_processes",
    "prepare",
    "process_count",
    "process_rank",
    "reduce_gradients",
]


def process_count() -> int:
    """How many processes train together.

    Returns
    -------
    int
        1 where ``torch.distributed`` is not at work.

    Examples
    --------
    >>> process_count()
    1
    """
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def process_rank() -> int:
    """Which of the processes this one is.

    Returns
    -------
    int
        Between 0, the one that writes files, and `process_count` − 1.

    Examples
    --------
    >>> process_rank()
    0
    """
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def prepare(module: nn.Module, device: torch.device) -> None:
    """Bring a module to its device, with equal weights and a common batch norm in all processes.

    Parameters
    ----------
    module : torch.nn.Module
        The same module in every process; changed in place, not wrapped.
    device : torch.device
        Where it is trained.

    Raises
    ------
    ValueError
        As in `check_batch_norm`.

    Examples
    --------
    >>> prepare(nn.Linear(2, 1), torch.device("cpu"))
    """
    check_batch_norm(module, device, processes=process_count())
    module.to(device)
    broadcast(module)


@torch.no_grad()
def broadcast(module: nn.Module) -> None:
    """Give every process the parameters and buffers of rank 0.

    Parameters
    ----------
    module : torch.nn.Module
        The same module in every process; changed in place.

    Examples
    --------
    >>> broadcast(nn.Linear(2, 1))  # one process: nothing to do
    """
    if process_count() == 1:
        return
    for tensor in (*module.parameters(), *module.buffers()):
        whole = tensor.detach().contiguous()
        dist.broadcast(whole, src=0)
        tensor.detach().copy_(whole)


def broadcast_integers(values: Sequence[int], device: torch.device) -> list[int]:
    """What rank 0 has, in every process.

    Parameters
    ----------
    values : sequence of int
        As many in every process, from -2⁶³ to 2⁶⁴ - 1.
    device : torch.device
        Where the processes exchange tensors.

    Returns
    -------
    list of int
        The integers of rank 0.

    Examples
    --------
    >>> broadcast_integers([2**64 - 1, -2], torch.device("cpu"))
    [18446744073709551615, -2]
    """
    if process_count() == 1:
        return list(values)
    halves = torch.tensor([half for value in values for half in divmod(value, 2**32)], device=device)
    dist.broadcast(halves, src=0)
    whole = halves.tolist()
    return [high * 2**32 + low for high, low in zip(whole[::2], whole[1::2], strict=True)]


def check_batch_norm(module: nn.Module, device: torch.device, *, processes: int) -> None:
    """Let batch norm see the whole batch, where several processes have a share each.

    Parameters
    ----------
    module : torch.nn.Module
        Its batch norms become ``SyncBatchNorm`` on GPUs, with the same parameters and state; changed in place.
    device : torch.device
        Where it is trained.
    processes : int
        How many processes train it.

    Raises
    ------
    ValueError
        If it has batch norm and several processes train it on CPUs, where torch has no synchronised one: each would
        normalise its own share, and two processes would not take the steps of one.

    Examples
    --------
    >>> check_batch_norm(nn.BatchNorm1d(2), torch.device("cpu"), processes=1)
    """
    norms = [name for name, part in module.named_modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    if processes == 1 or not norms:
        return
    if device.type != "cuda":
        raise ValueError(
            f"batch norm (here {norms[0] or type(module).__name__!r}) needs the whole batch, and several processes on "
            f"{device.type} have no synchronised one: train in one process, or on GPUs"
        )
    nn.SyncBatchNorm.convert_sync_batchnorm(module)


@torch.no_grad()
def mean_over_processes(tensor: Tensor) -> Tensor:
    """The mean of a tensor over the processes.

    Parameters
    ----------
    tensor : torch.Tensor
        Floating; of the same shape in every process.

    Returns
    -------
    torch.Tensor
        The mean, without gradient; the tensor itself where there is one process.

    Examples
    --------
    >>> mean_over_processes(torch.tensor(2.0))
    tensor(2.)
    """
    count = process_count()
    if count == 1:
        return tensor
    whole = tensor.detach().clone()
    dist.all_reduce(whole)
    return whole / count


@torch.no_grad()
def gather_bytes(content: bytes, *, device: torch.device | str = "cpu") -> list[Tensor]:
    """What every process has, of any length, as it stands.

    Parameters
    ----------
    content : bytes
        That of this process.
    device : torch.device or str, default "cpu"
        Where the processes exchange it.

    Returns
    -------
    list of torch.Tensor
        Bytes (uint8) on the CPU, in the order of the ranks.

    Examples
    --------
    >>> gather_bytes(b"ab")
    [tensor([97, 98], dtype=torch.uint8)]
    """
    mine = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    if process_count() == 1:
        return [mine]
    lengths = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(process_count())]
    dist.all_gather(lengths, torch.tensor([len(mine)], device=device))
    padded = torch.zeros(max(int(length) for length in lengths), dtype=torch.uint8, device=device)
    padded[: len(mine)] = mine.to(device)
    parts = [torch.empty_like(padded) for _ in lengths]
    dist.all_gather(parts, padded)
    return [part[: int(length)].cpu() for part, length in zip(parts, lengths, strict=True)]


@torch.no_grad()
def reduce_gradients(parameters: Iterable[Tensor]) -> None:
    r"""Replace each gradient by its mean over the processes, in one all-reduce for each device and dtype.

    .. math:: g \leftarrow \frac{1}{W} \sum_{r=0}^{W-1} g_r

    Parameters
    ----------
    parameters : iterable of torch.Tensor
        The same parameters, in the same order, in every process. A gradient that is missing in some processes counts
        as zero there; one that is missing in all stays missing, so that the optimiser passes over it as it would in
        one process.

    Notes
    -----
    The models are not wrapped: a wrapped module gives wrong gradients where the backward pass of a step does not reach
    all its parameters, as that of a gradient penalty alone.

    Examples
    --------
    >>> weight = torch.zeros(1, requires_grad=True)
    >>> (3 * weight).sum().backward()
    >>> reduce_gradients([weight])
    >>> weight.grad
    tensor([3.])
    """
    count = process_count()
    if count == 1:
        return
    alike: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    for parameter in parameters:
        if parameter.requires_grad:
            alike.setdefault((parameter.device, parameter.dtype), []).append(parameter)
    for group in alike.values():
        present = group[0].new_tensor([float(parameter.grad is not None) for parameter in group])
        flat = torch.cat([present, *(_gradient(parameter).reshape(-1) for parameter in group)])
        dist.all_reduce(flat)
        anywhere = (flat[: len(group)] > 0).tolist()
        means = flat[len(group) :].div_(count).split([parameter.numel() for parameter in group])
        for parameter, mean, there in zip(group, means, anywhere, strict=True):
            if not there:
                continue
            if parameter.grad is None:
                parameter.grad = torch.empty_like(parameter)
            parameter.grad.copy_(mean.view_as(parameter))


def _gradient(parameter: Tensor) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


class _GatherBatch(torch.autograd.Function):
    """Forward: the rows of all processes. Backward: the own rows of the gradients of all processes, added."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.rows = x.shape[0]
        parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(process_count())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        whole = gradient.contiguous().clone()
        dist.all_reduce(whole)
        return whole[process_rank() * ctx.rows :][: ctx.rows]


def gather_batch(x: Tensor) -> Tensor:
    r"""The rows of a tensor from all processes, in the order of the ranks, with gradients.

    For methods that need statistics of the whole batch, such as its entropy. Let every process compute the same
    :math:`f` of the gathered rows and add it to its own loss: after `reduce_gradients`, which takes means, the
    gradient is that of one process with the whole batch, because the backward pass here adds what all processes send
    back.

    Parameters
    ----------
    x : torch.Tensor
        Of shape (n, …), the same in every process.

    Returns
    -------
    torch.Tensor
        Of shape (processes · n, …); `x` itself where there is one process.

    Notes
    -----
    Every process must call this, and its backward pass, equally often.

    Examples
    --------
    >>> gather_batch(torch.ones(2, 3)).shape
    torch.Size([2, 3])
    """
    if process_count() == 1:
        return x
    gathered: Tensor = _GatherBatch.apply(x)
    return gathered
