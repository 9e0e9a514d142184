"""Running a study: from its name to a finished folder, for the command line and for Python."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import os
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches
from numbers import Integral, Real
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from kexue.extras import MissingExtraError, missing_extras
from kexue.progress import Progress, StandardErrorProgress
from kexue.runs.catalogue import UnknownNameError, load_catalogue
from kexue.runs.record import Record
from kexue.runs.run import Run, run_directory
from kexue.storage import StorageError, write_text

__all__ = ["VERDICTS", "CallError", "StudyError", "StudyRun", "built", "load_study", "preset_config", "run"]

VERDICTS = Path(__file__).parent / "verdicts"
"""Folder of the verdicts that ship with the package."""


class CallError(ValueError):
    """The words of a call are wrong; the message is one line with the nearest right one."""


def did_you_mean(word: Any, known: Iterable[Any], otherwise: str = "") -> str:
    """A wrong word as a message quotes it, with the nearest right one where one is near."""
    near = get_close_matches(str(word), [str(one) for one in known], n=1)
    return f"{word!r}; did you mean {near[0]!r}?" if near else f"{word!r}{otherwise}"


class StudyError(RuntimeError):
    """A study failed; the message is one line that says why and where the log is."""


class StudyRun(Run):
    """A run that shows itself: its verdicts when it is printed, with its figures in a notebook."""

    def __str__(self) -> str:
        """What it found, a line each."""
        from kexue.studies.listing import outcome

        return outcome(self)

    def _repr_html_(self) -> str:
        from kexue.report.page import run_fragment

        return run_fragment(self)


def built() -> list[str]:
    """Names of the studies of the catalogue that can be run, in its order; nothing heavy is imported.

    Returns
    -------
    list of str
        The names.

    Examples
    --------
    >>> "maxent" in built()
    True
    """
    folder = Path(__file__).parent
    return [study.name for study in load_catalogue().studies if (folder / f"{_module(study.name)}.py").exists()]


def _module(name: str) -> str:
    return name.replace("-", "_")


def load_study(key: str | int) -> tuple[str, ModuleType]:
    """The study of a name, an article's slug or an article's archive id.

    Parameters
    ----------
    key : str or int
        For instance ``"maxent"`` or ``3534``.

    Returns
    -------
    tuple of str and module
        The study's name and its module, which holds ``Config``, ``PRESETS`` and ``run``.

    Raises
    ------
    CallError
        If there is no such study, or it is planned and not built yet.

    Examples
    --------
    >>> load_study(3534)[0]
    'maxent'
    """
    catalogue = load_catalogue()
    try:
        name = catalogue.study(key).name
    except UnknownNameError as error:
        # Of an article's several studies, the only one that can be run is meant.
        several = next((a.studies for a in catalogue.articles if str(key) in (a.slug, str(a.archive))), ())
        ready = [study for study in several if study in built()]
        if len(ready) != 1:
            raise CallError(str(error)) from None
        name = ready[0]
    if name not in built():
        raise CallError(f"the study {name!r} is planned and not built yet; built are: {', '.join(built())}")
    return name, importlib.import_module(f"kexue.studies.{_module(name)}")


def _checksums(config: Any, data_dir: str | Path | None) -> Iterator[str]:
    """Of the study's data set or sets, and of every known set that another field of its configuration names."""
    from kexue.data import fingerprint, known_sets

    known = {one.name for one in known_sets()}
    for name, value in dataclasses.asdict(config).items():
        for word in value if isinstance(value, tuple | list) else [value]:
            if isinstance(word, str) and (name == "dataset" or word in known):
                yield fingerprint(word, data_dir=data_dir)


def preset_config(name: str, module: ModuleType, preset: str) -> Any:
    """The configuration of a preset.

    Parameters
    ----------
    name : str
        Name of the study, for the message.
    module : module
        The study.
    preset : str
        Name of the preset.

    Returns
    -------
    dataclass
        The configuration.

    Raises
    ------
    CallError
        If the study has no such preset.
    """
    if preset not in module.PRESETS:
        raise CallError(
            f"{name} has the presets {', '.join(module.PRESETS)}, got {did_you_mean(preset, module.PRESETS)}"
        )
    return module.PRESETS[preset]


def run(
    study: str | int,
    preset: str = "quick",
    *,
    seed: int = 1,
    out: str | Path = "runs",
    fresh: bool = False,
    threads: int = 1,
    data_dir: str | Path | None = None,
    track: str | None = None,
    progress: Progress | None = None,
    **fields: Any,
) -> StudyRun:
    """Run a study, or go on with it, or read it where it has finished.

    Parameters
    ----------
    study : str or int
        Name of the study, or slug or archive id of its article.
    preset : str, default "quick"
        Name of a preset of the study.
    seed : int, default 1
        First seed.
    out : str or Path, default "runs"
        Folder of all runs.
    fresh : bool, default False
        Whether to start over where there is such a run.
    threads : int, default 1
        Threads for numerical libraries. One gives the same figures on every machine.
    data_dir : str or Path, optional
        Where data sets are looked for first.
    track : str, optional
        A tracker that is told what trainings log, for instance ``"tensorboard"``.
    progress : Progress, optional
        Who shows how far the run is; standard error if left out.
    **fields
        Fields of the study's configuration that differ from the preset.

    Returns
    -------
    StudyRun
        The finished run: `claims`, `metrics`, `figures`; in a notebook it shows itself.

    Raises
    ------
    CallError
        If a name, a preset, a field or a value is wrong.
    MissingExtraError
        If the study needs packages that are not installed.
    StudyError
        If the study failed.
    DataError
        If the data set has an unknown name, or is missing or damaged.
    LockedError, OtherConditionsError, StorageError
        If the run's folder is in use, was begun under other conditions, or cannot be written.
    """
    name, module = load_study(study)
    config = preset_config(name, module, preset)
    known = [field.name for field in dataclasses.fields(config)]
    for field in fields:
        if field not in known:
            raise CallError(f"{name} has the fields {', '.join(known)}, got {did_you_mean(field, known)}")
    expected = get_type_hints(type(config))
    for field, value in fields.items():
        fields[field] = _checked(f"{name}: {field}", value, expected[field])
    try:
        config = dataclasses.replace(config, **fields)
    except (TypeError, ValueError) as error:
        raise CallError(f"{name}: {error}") from None
    return execute(
        name,
        module,
        preset,
        config,
        seed=seed,
        out=Path(out),
        fresh=fresh,
        threads=threads,
        data_dir=None if data_dir is None else Path(data_dir),
        track=track,
        progress=progress,
    )


def _checked(what: str, value: Any, expected: Any) -> Any:
    """The value as a configuration holds it, if it is of the expected kind."""
    if get_origin(expected) is Literal:
        choices = get_args(expected)
        if value not in choices:
            got = did_you_mean(value, choices)
            raise CallError(f"{what} must be one of {', '.join(map(repr, choices))}, got {got}")
    elif get_origin(expected) is tuple:
        if not isinstance(value, tuple | list):
            raise CallError(f"{what} must be a list or a tuple, got {value!r}")
        return tuple(_checked(what, item, get_args(expected)[0]) for item in value)
    elif expected in _KINDS:
        kind, words = _KINDS[expected]
        if not isinstance(value, kind) or (isinstance(value, bool) and expected is not bool):
            raise CallError(f"{what} must be {words}, got {value!r}")
        return expected(value)  # numpy's numbers become plain ones
    return value


_KINDS: dict[Any, tuple[type, str]] = {
    bool: (bool, "True or False"),
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
    str: (str, "a text"),
}


def execute(
    name: str,
    module: ModuleType,
    preset: str,
    config: Any,
    *,
    seed: int,
    out: Path,
    fresh: bool,
    threads: int,
    data_dir: Path | None,
    track: str | None,
    progress: Progress | None,
) -> StudyRun:
    """Run a study whose name, preset and configuration are known to be right."""
    if _checked("seed", seed, int) < 0:
        raise CallError(f"seed must be 0 or more, got {seed}")
    if _checked("threads", threads, int) < 1:
        raise CallError(f"threads must be 1 or more, got {threads}")
    if getattr(config, "seeds", 1) < 1:
        raise CallError(f"seeds must be 1 or more, got {config.seeds}")
    missing = missing_extras(list(load_catalogue().study(name).extras))
    if missing:
        raise MissingExtraError(f'the study {name} needs more packages: pip install "kexue[{",".join(missing)}]"')
    if track is not None:
        _check_tracker(track)
    checksum = "".join(_checksums(config, data_dir))
    directory = run_directory(out, name, preset, seed, config, checksum)
    record = Record(
        directory,
        study=name,
        preset=preset,
        config=dataclasses.asdict(config),
        seed=seed,
        seeds=getattr(config, "seeds", 1),
        threads=threads,
        command=_command(name, module, preset, config, seed=seed, threads=threads),
        data_dir=data_dir,
        indicative=preset == "quick",
        fresh=fresh,
        progress=progress or StandardErrorProgress(),
        main=main_process(),
        wait=_together(),
    )
    with _one_way_to_stop(), _limited_threads(threads), record:
        if not record.finished:
            try:
                with _tracked(track, name, directory, config):
                    module.run(config, record)
            except (StorageError, MissingExtraError):
                raise
            except (Exception, SystemExit) as error:  # a study must not end the caller's process
                raise StudyError(_log(directory, error)) from error
            record.finish()
        if main_process() and not (directory / "report.html").exists():
            _write_report(directory)
    return StudyRun(directory)


def main_process() -> bool:
    """Whether this process is the one, of those that ``torchrun`` has started, that writes and prints."""
    return int(os.environ.get("RANK", "0")) == 0


def _together() -> Callable[[], object] | None:
    """Where ``torchrun`` has started several processes: what lets each wait for the others."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return None
    from kexue.training.process import accelerator

    wait: Callable[[], object] = accelerator().wait_for_everyone
    return wait


def _check_tracker(track: str) -> None:
    from kexue.training.process import check_tracker

    try:
        check_tracker(track)
    except ValueError as error:
        raise CallError(str(error)) from None


@contextmanager
def _tracked(track: str | None, name: str, directory: Path, config: Any) -> Iterator[None]:
    if track is None:
        yield
        return
    from kexue.training.process import tracking

    with tracking(track, name=name, directory=directory / "tracking", config=dataclasses.asdict(config)):
        yield


def _command(name: str, module: ModuleType, preset: str, config: Any, *, seed: int, threads: int) -> str:
    """The words that repeat the run: only what differs from the preset is named."""
    words = ["kexue", "run", name, preset]
    default = module.PRESETS[preset]
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if value == getattr(default, field.name):
            continue
        flag = field.name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words += [f"--{flag}", *(str(item) for item in (value if isinstance(value, tuple | list) else (value,)))]
    if seed != 1:
        words += ["--seed", str(seed)]
    if threads != 1:
        words += ["--threads", str(threads)]
    return shlex.join(words)


_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


@contextmanager
def _limited_threads(threads: int) -> Iterator[None]:
    """Libraries that are loaded meanwhile read the environment; those that are there already are told."""
    torch = sys.modules.get("torch")
    torch_threads = None if torch is None else torch.get_num_threads()
    environment = {variable: os.environ.get(variable) for variable in _THREADS}
    with ExitStack() as stack:
        if importlib.util.find_spec("threadpoolctl") is not None:
            from threadpoolctl import threadpool_limits

            stack.enter_context(threadpool_limits(limits=threads))
        os.environ.update(dict.fromkeys(_THREADS, str(threads)))
        if torch is not None:
            torch.set_num_threads(threads)
        try:
            yield
        finally:
            if torch is not None:
                torch.set_num_threads(torch_threads)
            for variable, value in environment.items():
                if value is None:
                    del os.environ[variable]
                else:
                    os.environ[variable] = value


def _log(directory: Path, error: BaseException) -> str:
    path = directory / "log.txt"
    lines = str(error).strip().splitlines()
    reason = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    if not main_process():
        return f"{reason} (in the process {os.environ['RANK']})"
    try:
        write_text(path, "".join(traceback.format_exception(error)))
    except StorageError as refused:
        return f"{reason} (no log: {refused})"
    return f"{reason}; the log is {path}"


def _write_report(directory: Path) -> None:
    from kexue.report.page import write_run_page

    write_run_page(Run(directory))


@contextmanager
def _one_way_to_stop() -> Iterator[None]:
    """Let a polite request to end (SIGTERM) take the way of Ctrl-C, so that the run's state is written."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
