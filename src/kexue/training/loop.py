"""The training loop: the user writes it, and this does what every loop needs between its lines."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from kexue.extras import require

require("torch", "torch", "kexue.training.loop")

import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.optim import Optimizer  # noqa: E402

from kexue.optim.averaging import EMA  # noqa: E402
from kexue.progress import StandardErrorProgress  # noqa: E402
from kexue.storage import remove_unfinished  # noqa: E402
from kexue.training.checkpoints import CheckpointError, CheckpointFolder, pack, read_checkpoint, unpack  # noqa: E402
from kexue.training.history import History  # noqa: E402
from kexue.training.named import Training, current_training  # noqa: E402
from kexue.training.order import Data, batch_source, data_digest  # noqa: E402
from kexue.training.process import accelerator as own_accelerator  # noqa: E402
from kexue.training.reduction import (  # noqa: E402
    broadcast_integers,
    gather_bytes,
    prepare,
    process_count,
    process_rank,
    reduce_gradients,
)
from kexue.training.schedules import Schedule, schedule_factor  # noqa: E402
from kexue.training.seeding import is_seeded, random_state, seed_everything, set_random_state  # noqa: E402
from kexue.training.settings import describe_models, describe_optimizers, differences  # noqa: E402
from kexue.validation import check_integer  # noqa: E402

if TYPE_CHECKING:
    from accelerate import Accelerator

__all__ = ["Stateful", "Trainer"]

_FORMAT = 1
# Checkpoints are written so often, and seldom enough that writing them takes little of the time.
_SECONDS_BETWEEN_CHECKPOINTS = 30.0
_SHARE_OF_CHECKPOINTS = 0.02
_SKIPPED_AT_MOST = 50


class Stateful(Protocol):
    """Something with a state that a checkpoint keeps."""

    def state_dict(self) -> dict[str, Any]:
        """The state.

        Returns
        -------
        dict
            Tensors, numbers, texts, and dictionaries, lists and tuples of them.
        """
        ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any:
        """Take a state.

        Parameters
        ----------
        state_dict : dict
            What `state_dict` returned.

        Returns
        -------
        object
            Not used.
        """
        ...


class Trainer:
    r"""What an ordinary training loop needs besides the model: a loop of a few visible lines remains.

    ``for x in trainer.batches(…): trainer.step(model.loss(x))`` moves the models to the device, draws fresh
    permutations, shows how far it is, writes checkpoints, goes on where an earlier call was interrupted, and for each
    step: checks the loss, computes the gradients, averages them over the processes, clips them, sets the learning
    rate, updates, averages the weights, and logs.

    Parameters
    ----------
    models : torch.nn.Module or mapping of str to torch.nn.Module
        What is trained. They are moved to the device, and not wrapped.
    optimizers : torch.optim.Optimizer or mapping of str to torch.optim.Optimizer
        What trains it; several have names for `step`.
    directory : Path or str, optional
        Where checkpoints, ``metrics.jsonl`` and ``final.safetensors`` lie. Where a finished training lies, `batches`
        loads it and yields nothing. Without it nothing is written.
    schedule : {"constant", "linear", "cosine"} or callable, default "constant"
        Factor of the learning rates over the training; see `kexue.training.schedules.schedule_factor`. A scheduler of
        torch can be stepped in the loop and given to `keep`.
    warmup : int, default 0
        Steps in which the learning rates rise.
    clip : float or mapping of str to float, optional
        The norm to which the gradients of an optimiser's parameters are clipped.
    average : float or mapping of str to float, optional
        The decay of an average of the weights, with warm-up :math:`\min(\alpha, (1 + t) / (10 + t))`, for every
        model, or by the name of the model; see `averaged`.
    keep : mapping of str to object, optional
        What else belongs to a checkpoint: anything with ``state_dict`` and ``load_state_dict``.
    log_every : int, default 50
        Steps between two lines of ``metrics.jsonl``.
    save_every : int, optional
        Steps between two checkpoints; by default one is written about every 30 seconds.
    accelerator : accelerate.Accelerator, optional
        Device, processes and mixed precision; by default that of the process.

    Attributes
    ----------
    models : dict of str to torch.nn.Module
        By name; a single one is called ``"model"``.
    device : torch.device
        Where they are.
    step_number : int
        The step under way, from 1.

    Raises
    ------
    TypeError
        If a model, an optimiser or a number is something else.
    ValueError
        If a name or a number is outside its range; or if several processes on CPUs train a model with batch norm.

    Notes
    -----
    On a CPU, a training that was interrupted, or killed, goes on bit for bit as if nothing had happened: a checkpoint
    holds models, optimisers, averages, every random state and the position in the data. It is made of safetensors and
    JSON; nothing is ever unpickled. Non-persistent buffers are not part of it. That a training goes on, or was
    finished, is said in a line on standard error, or to the ``progress`` of `kexue.training.training`.

    To use the weights elsewhere, read ``final.safetensors`` with any reader of safetensors: the keys of a model's
    ``state_dict`` follow on ``models.NAME.`` (``models.model.`` for a single one), and ``averages.NAME.`` stands before
    the averaged parameters; see the second example.

    Inside `kexue.training.training` (a study: ``record.training``) the random streams follow from seed and name; else
    from ``torch.initial_seed()``. Where nobody has set a seed, a training that goes on takes that of its checkpoint;
    where one was set, the folder of a training with another is refused.

    `noise` and the order of the data are drawn for the whole batch and divided among the processes, so two processes
    take the steps of one; other streams (dropout) differ from process to process.
    Batch norm becomes ``SyncBatchNorm`` where several processes train on GPUs.

    References
    ----------
    The average: Polyak and Juditsky, Acceleration of Stochastic Approximation by Averaging, SIAM J. Control Optim.
    30, 1992.

    Examples
    --------
    >>> import torch
    >>> from kexue.training import training
    >>> x = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    >>> with training("line", seed=1):
    ...     model = nn.Linear(2, 1)
    ...     trainer = Trainer(model, torch.optim.Adam(model.parameters(), 0.1), schedule="cosine")
    ...     for batch in trainer.batches(x, batch_size=16, steps=300):
    ...         trainer.step((model(batch) - batch.sum(1, keepdim=True)).square().mean())
    >>> bool((model.weight - 1).abs().max() < 0.01)
    True

    The weights of a finished training in a model of another program:

    >>> import tempfile
    >>> from safetensors.torch import load_file
    >>> with tempfile.TemporaryDirectory() as folder, training("line", seed=1):
    ...     trainer = Trainer(model, torch.optim.Adam(model.parameters(), 0.1), directory=folder)
    ...     for batch in trainer.batches(x, batch_size=16, steps=3):
    ...         trainer.step((model(batch) - batch.sum(1, keepdim=True)).square().mean())
    ...     tensors = load_file(Path(folder, "final.safetensors"))
    >>> other, prefix = nn.Linear(2, 1), "models.model."
    >>> other.load_state_dict({k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)})
    <All keys matched successfully>
    >>> bool((other.weight == model.weight).all())
    True
    """

    def __init__(
        self,
        models: nn.Module | Mapping[str, nn.Module],
        optimizers: Optimizer | Mapping[str, Optimizer],
        *,
        directory: Path | str | None = None,
        schedule: Schedule = "constant",
        warmup: int = 0,
        clip: float | Mapping[str, float] | None = None,
        average: float | Mapping[str, float] | None = None,
        keep: Mapping[str, Stateful] | None = None,
        log_every: int = 50,
        save_every: int | None = None,
        accelerator: Accelerator | None = None,
    ) -> None:
        self.models = _named(models, nn.Module, "models", "model")
        self._optimizers = _named(optimizers, Optimizer, "optimizers", "model")
        self._several = isinstance(optimizers, Mapping)
        schedule_factor(schedule, steps=1, warmup=warmup)
        self._schedule, self._warmup = schedule, warmup
        self._clip = _by_name(clip, self._optimizers, "clip")
        if any(not norm > 0 for norm in self._clip.values()):
            raise ValueError(f"clip must be positive, got {clip!r}")
        self._keep = dict(keep or {})
        for name, kept in self._keep.items():
            if not (hasattr(kept, "state_dict") and hasattr(kept, "load_state_dict")):
                raise TypeError(f"keep[{name!r}] must have state_dict and load_state_dict, got {type(kept).__name__}")
        self._log_every = check_integer(log_every, "log_every")
        self._save_every = None if save_every is None else check_integer(save_every, "save_every")
        self.accelerator = accelerator or own_accelerator()
        self.device: torch.device = self.accelerator.device
        self._rank, self._processes = process_rank(), process_count()
        self.step_number = 0
        for model in self.models.values():
            prepare(model, self.device)
        self._averages = {
            name: EMA(self.models[name], decay, warmup=True)
            for name, decay in _by_name(average, self.models, "average").items()
        }
        self._trained = {
            name: [parameter for group in optimizer.param_groups for parameter in group["params"]]
            for name, optimizer in self._optimizers.items()
        }
        self._rates = {
            name: [float(group["lr"]) for group in optimizer.param_groups]
            for name, optimizer in self._optimizers.items()
        }
        self._attach_averages()
        run = current_training()
        # Without a common seed the processes would draw other orders of the data.
        own = torch.initial_seed(), int(run is None and not is_seeded())
        seed, self._any_seed = broadcast_integers(own, self.device)
        self._directory = None if directory is None else Path(directory)
        self._training = run or Training(
            self._directory.name if self._directory else "training",
            seed=seed,
            directory=self._directory,
            progress=StandardErrorProgress(lines=False),
        )
        self._folder = None if self._directory is None else CheckpointFolder(self._directory)
        path = None if self._directory is None else self._directory / "metrics.jsonl"
        self._history = History(path, self._training.seed, device=self.device)
        self._noise = self._training.generator("noise", device=self.device)
        self._settings: dict[str, Any] = {}
        self._digest = ""
        self._factor: Callable[[int], float] | None = None
        self._state = "new"
        self._said = ""
        self._saved_at, self._saving_took = time.monotonic(), 0.0
        self._skipped = 0

    def _attach_averages(self) -> None:
        for name, average in self._averages.items():
            ids = {id(parameter) for parameter in self.models[name].parameters()}
            mine = [key for key, trained in self._trained.items() if ids & set(map(id, trained))]
            if not mine:
                raise ValueError(f"average: no optimizer trains the model {name!r}")
            average.attach(self._optimizers[mine[-1]])

    # -- the loop ----------------------------------------------------------------------------------------------------

    def batches(self, data: Data, *, batch_size: int, steps: int, workers: int = 0) -> Iterator[Any]:
        """The batches of all steps that remain, on the device.

        Each epoch is a fresh permutation, and its last, partial batch is dropped. Where the training was interrupted,
        what remains of it is yielded; where it is finished, it is loaded and nothing is yielded. Leaving the loop
        early leaves the training unfinished.

        Parameters
        ----------
        data : torch.Tensor, array, several of them in a tuple, list or dict, or torch.utils.data.Dataset
            Tensors, with one item a row, are moved to the device as a whole.
        batch_size : int
            Items of a step, in all processes together.
        steps : int
            Steps of the whole training.
        workers : int, default 0
            Processes that load the items of a ``Dataset``. Random numbers that they draw are not part of a checkpoint.

        Returns
        -------
        iterator
            Batches in the form of the data.

        Raises
        ------
        TypeError, ValueError
            If the data or a number does not fit, or the folder holds a training with other settings.
        RuntimeError
            If it is called twice.
        KeyboardInterrupt
            While it is iterated: after Ctrl-C, between two steps, when the checkpoint is written.

        Warns
        -----
        UserWarning
            If the folder holds a training on other data, as far as some of their rows tell; not for a ``Dataset``.
        """
        if self._state != "new":
            raise RuntimeError("batches can be called once for each Trainer")
        check_integer(steps, "steps")
        run = self._training
        state = self._found()
        if state is not None and self._any_seed:  # nobody has asked for another seed than that of the checkpoint
            run.seed = self._history.seed = int(state["settings"]["seed"])
            self._noise = run.generator("noise", device=self.device)
        order, source = batch_source(
            data,
            batch_size=batch_size,
            seed=run.derived_seed("data"),
            device=self.device,
            rank=self._rank,
            processes=self._processes,
            workers=workers,
        )
        if self._schedule != "constant" or self._warmup:
            self._factor = schedule_factor(self._schedule, steps=steps, warmup=self._warmup)
        self._digest = data_digest(data)
        self._settings = self._describe(steps=steps, batch_size=batch_size, items=order.items)
        if self._rank:  # streams such as dropout's must differ from process to process
            seed_everything(run.derived_seed("rank", self._rank))
        if state is not None:
            self._resume(state)
            finished = state["finished"]
            if self._rank == 0:
                where = (
                    "finished, nothing to train" if finished else f"goes on at step {self.step_number + 1} of {steps}"
                )
                run.progress.say(f"{run.name}: {where}")
            if finished:
                self._end()
                return iter(())
        self._state = "ready"
        return self._loop(source, steps)

    def _loop(self, source: Callable[[int, int], Iterator[Any]], steps: int) -> Iterator[Any]:
        run, start = self._training, self.step_number
        self._saved_at = time.monotonic()
        self._state, run.looping = "looping", True
        batches = source(start, steps)
        shown = run.progress if self._rank == 0 else StandardErrorProgress(lines=False)
        try:
            for batch in shown.track(batches, run.name, steps, done=start, status=lambda: self._said):
                self.step_number += 1
                if self._factor is not None:
                    self._set_rates(self._factor(self.step_number - 1))
                yield batch
                if self.step_number % self._log_every == 0 or self.step_number == steps:
                    self._log()
                if self.step_number < steps:
                    self._pause()
        finally:
            run.looping = False
            self._state = "over"
        self._finish()

    def step(self, loss: Tensor | Mapping[str, Tensor], *, of: str | None = None) -> None:
        """Take a step of an optimiser: gradients, their mean over the processes, clipping, update, averages.

        Parameters
        ----------
        loss : torch.Tensor or mapping of str to torch.Tensor
            The scalar to minimise; or under ``"loss"`` that scalar, and what else is to be logged.
        of : str, optional
            Name of the optimiser, where there are several. Gradients of other optimisers' parameters are not
            computed.

        Raises
        ------
        FloatingPointError
            If the loss, or the norm of the gradients to be clipped, is not finite: on a CPU before the update; on
            other devices within ``log_every`` steps, and before any checkpoint.
        KeyError
            If there is no optimiser of that name.
        RuntimeError
            Outside of the loop over `batches`.
        TypeError
            If the loss is no tensor, or a mapping without one.
        ValueError
            If the loss is not a scalar that depends on parameters.
        """
        if self._state != "looping":
            raise RuntimeError("step must be called inside the loop over trainer.batches(…)")
        name = self._name_of(of)
        terms = loss if isinstance(loss, Mapping) else {"loss": loss}
        total = terms.get("loss")
        if not isinstance(total, Tensor):
            raise TypeError(f"loss must be a tensor, or a mapping with one under 'loss', got {type(loss).__name__}")
        if total.ndim or not total.requires_grad:
            raise ValueError(
                f"loss must be a scalar that depends on parameters, got shape {tuple(total.shape)}"
                f"{'' if total.requires_grad else ' without gradient'}"
            )
        of = name if self._several else ""
        self._history.add(self.step_number, of, terms)
        optimizer, trained, scaler = self._optimizers[name], self._trained[name], self.accelerator.scaler
        optimizer.zero_grad(set_to_none=True)
        scaled = total if scaler is None else scaler.scale(total)
        if len(self._optimizers) == 1:
            scaled.backward()
        else:
            scaled.backward(inputs=[parameter for parameter in trained if parameter.requires_grad])
        if self._processes > 1:
            reduce_gradients(trained)
        if name in self._clip:
            if scaler is not None:
                scaler.unscale_(optimizer)
            norm = nn.utils.clip_grad_norm_(trained, self._clip[name])
            self._history.add(self.step_number, of, {"gradient_norm": norm})
            if scaler is None and norm.device.type == "cpu" and not norm.isfinite():
                raise FloatingPointError(
                    f"the norm of the gradients{of and ' of the ' + of} is {float(norm)} at step {self.step_number}"
                )
        if scaler is None:
            optimizer.step()
        else:
            self._scaled_step(scaler, optimizer)

    def _scaled_step(self, scaler: Any, optimizer: Optimizer) -> None:
        before = scaler.get_scale()
        scaler.step(optimizer)
        scaler.update()
        self._skipped = self._skipped + 1 if scaler.get_scale() < before else 0
        if self._skipped > _SKIPPED_AT_MOST:
            raise FloatingPointError(
                f"the gradients overflowed in float16 in {self._skipped} steps on end, at step {self.step_number}"
            )

    # -- for the body of the loop ------------------------------------------------------------------------------------

    def every(self, k: int) -> bool:
        """Whether the step under way is a k-th one.

        Parameters
        ----------
        k : int
            1 or more.

        Returns
        -------
        bool
            True at the steps k, 2k, 3k, …
        """
        return self.step_number % k == 0

    def noise(self, n: int, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """Standard normal noise for this process's share of the batch, from a stream of the training's own.

        Parameters
        ----------
        n : int
            Items of this process.
        *shape : int
            Shape of each.
        dtype : torch.dtype, optional
            torch's default if left out.

        Returns
        -------
        torch.Tensor
            Of shape (n, *shape), on the device: this process's rows of the noise of the whole batch.
        """
        whole = torch.randn(n * self._processes, *shape, generator=self._noise, device=self.device, dtype=dtype)
        return whole[self._rank * n : (self._rank + 1) * n]

    def autocast(self) -> AbstractContextManager[None]:
        """Mixed precision, where the Accelerator was made with it, for a ``with`` block.

        Returns
        -------
        context manager
            Without mixed precision, it does nothing.
        """
        found: AbstractContextManager[None] = self.accelerator.autocast()
        return found

    @contextmanager
    def averaged(self, *names: str) -> Iterator[None]:
        """Put the averaged weights into the models for a ``with`` block.

        Parameters
        ----------
        *names : str
            Which models; all that are averaged if left out.

        Yields
        ------
        None

        Raises
        ------
        ValueError
            If a model is not averaged.
        """
        missing = [name for name in names if name not in self._averages]
        if missing or not self._averages:
            raise ValueError(f"average must be given to the Trainer for {missing[0] if missing else 'this'!r}")
        with ExitStack() as stack:
            for name in names or self._averages:
                stack.enter_context(self._averages[name].average())
            yield

    def curves(self) -> dict[str, tuple[list[int], list[float]]]:
        """What was logged: by name, the steps and the means since the logged step before.

        Returns
        -------
        dict of str to tuple of lists
            For instance ``{"loss": ([50, 100], [3.2, 1.7])}``.
        """
        return self._history.curves()

    # -- between two steps -------------------------------------------------------------------------------------------

    def _name_of(self, of: str | None) -> str:
        if of is None and len(self._optimizers) == 1:
            return next(iter(self._optimizers))
        if of not in self._optimizers:
            raise KeyError(f"of must be one of {', '.join(map(repr, self._optimizers))}, got {of!r}")
        return of

    def _set_rates(self, factor: float) -> None:
        for name, optimizer in self._optimizers.items():
            for group, rate in zip(optimizer.param_groups, self._rates[name], strict=True):
                if isinstance(group["lr"], Tensor):
                    group["lr"].fill_(rate * factor)
                else:
                    group["lr"] = rate * factor

    def _log(self) -> None:
        means = self._history.write(self.step_number, keep=self._rank == 0)
        self._said = ", ".join(f"{name} {value:.4g}" for name, value in list(means.items())[:4])
        if self.accelerator.trackers:
            prefix = f"{self._training.name}-s{self._training.seed}"
            self.accelerator.log({f"{prefix}/{name}": v for name, v in means.items()}, step=self.step_number)

    def _pause(self) -> None:
        """Between two steps: write a checkpoint where one is due, and stop where someone has asked for it."""
        if self._folder is None and not self._training.stopping and self._processes == 1:
            return
        due = self._due()
        stopping = self._training.stopping
        if self._processes > 1:
            if self.step_number % self._log_every and not (due and self._save_every):
                return  # the clock of one process is not that of another: they agree where they meet anyway
            votes = torch.tensor([due, stopping], device=self.device, dtype=torch.int32)
            dist.all_reduce(votes, dist.ReduceOp.MAX)
            due, stopping = (bool(vote) for vote in votes.tolist())
        if due or stopping:
            self._save()
        if stopping:
            raise KeyboardInterrupt

    def _due(self) -> bool:
        if self._folder is None:
            return False
        if self._save_every is not None:
            return self.step_number % self._save_every == 0
        pause = max(_SECONDS_BETWEEN_CHECKPOINTS, self._saving_took / _SHARE_OF_CHECKPOINTS)
        return time.monotonic() - self._saved_at >= pause

    # -- checkpoints -------------------------------------------------------------------------------------------------

    def _describe(self, **facts: int) -> dict[str, Any]:
        """What must be the same for a checkpoint to be gone on from."""
        return {
            **facts,
            "processes": self._processes,
            "name": self._training.name,
            "seed": self._training.seed,
            "models": describe_models(self.models),
            "optimizers": describe_optimizers(self._optimizers),
            "schedule": self._schedule if isinstance(self._schedule, str) else "function",
            "warmup": self._warmup,
            "clip": dict(self._clip),
            "average": {name: average.decay for name, average in self._averages.items()},
            "keep": sorted(self._keep),
            "precision": str(self.accelerator.mixed_precision),
        }

    def _save(self) -> None:
        self._history.check()
        if self._folder is None:
            return
        started = time.monotonic()
        state = self._snapshot(finished=False)
        state["optimizers"] = {name: optimizer.state_dict() for name, optimizer in self._optimizers.items()}
        state["noise"] = self._noise.get_state()
        state["scaler"] = None if self.accelerator.scaler is None else self.accelerator.scaler.state_dict()
        # The global streams of every process, each as it was packed there.
        state["random"] = dict(enumerate(gather_bytes(pack(random_state()), device=self.device)))
        if self._rank == 0:
            self._folder.save(self.step_number, state)
        self._saved_at = time.monotonic()
        self._saving_took = self._saved_at - started

    def _snapshot(self, *, finished: bool) -> dict[str, Any]:
        return {
            "format": _FORMAT,
            "finished": finished,
            "settings": self._settings,
            "data": self._digest,
            "step": self.step_number,
            "models": {name: model.state_dict() for name, model in self.models.items()},
            "averages": {name: average.state_dict() for name, average in self._averages.items()},
            "keep": {name: kept.state_dict() for name, kept in self._keep.items()},
            "history": self._history.state(),
        }

    def _resume(self, state: Any) -> None:
        changes = differences(state["settings"], self._settings)
        if changes:
            raise ValueError(f"{self._directory} holds a training with other settings ({changes}): use another folder")
        if self._rank == 0 and state.get("data", "") != self._digest:
            warnings.warn(
                f"{self._directory} holds a training on other data (as many items, with other values): it "
                f"{'is loaded' if state['finished'] else 'goes on'} all the same; to begin anew, use another folder",
                stacklevel=3,
            )
        for name, model in self.models.items():
            model.load_state_dict(state["models"][name])
        for name, average in self._averages.items():
            average.load_state_dict(state["averages"][name])
        for name, kept in self._keep.items():
            kept.load_state_dict(state["keep"][name])
        self.step_number = int(state["step"])
        if state["finished"]:
            return
        for name, optimizer in self._optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self._noise.set_state(state["noise"].cpu())
        set_random_state(unpack(state["random"][self._rank].numpy().tobytes()))

    def _found(self) -> Any:
        """The state to go on from, the same in every process; the history goes back to it."""
        state = None
        if self._folder is not None and self._rank == 0:
            remove_unfinished(self._folder.directory)
            state = self._folder.newest(self._accept)
            self._history.resume(None if state is None else state["history"])
        if self._folder is not None and self._processes > 1:
            own = -1 if state is None else -2 if state["finished"] else int(state["step"])
            (chosen,) = broadcast_integers([own], self.device)
            if self._rank and chosen != -1:
                state = read_checkpoint(self._folder.final if chosen == -2 else self._folder.path(chosen))
                self._history.resume(state["history"], cut=False)
        return state

    def _accept(self, state: Any) -> None:
        if not isinstance(state, dict) or state.get("format") != _FORMAT:
            raise CheckpointError(f"the checkpoint in {self._directory} is of another version of kexue")
        if not self._history.holds(state["history"]):
            raise CheckpointError(f"{self._directory}: metrics.jsonl has lost lines of the step {state['step']}")

    def _finish(self) -> None:
        if self._folder is not None:
            state = self._snapshot(finished=True)
            if self._rank == 0:
                self._folder.finish(state)
        self._end()

    def _end(self) -> None:
        self._state = "over"
        for optimizer in self._optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        if current_training() is self._training:
            self._training.start_evaluation()


def _named(given: Any, kind: type, argument: str, single: str) -> dict[str, Any]:
    items = dict(given) if isinstance(given, Mapping) else {single: given}
    if not items:
        raise ValueError(f"{argument} must hold at least one, got none")
    for name, item in items.items():
        # accelerate's optimisers are optimisers that hold one
        if not isinstance(item, kind):
            raise TypeError(f"{argument} must be {kind.__name__} objects, got {type(item).__name__} as {name!r}")
    return items


def _by_name(given: float | Mapping[str, float] | None, known: Mapping[str, Any], argument: str) -> dict[str, float]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        return {name: float(given) for name in known}
    unknown = [name for name in given if name not in known]
    if unknown:
        raise ValueError(f"{argument} must have names among {', '.join(map(repr, known))}, got {unknown[0]!r}")
    return {name: float(value) for name, value in given.items()}
