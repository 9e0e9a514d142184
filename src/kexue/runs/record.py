"""What a study writes to: figures measured, tables, pictures and claims, and the memory of what had finished."""

from __future__ import annotations

import contextlib
import csv
import io
import math
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from kexue.progress import NullProgress, Progress
from kexue.runs.claims import Claim, complete, judge, unmeasured
from kexue.runs.lock import Lock
from kexue.runs.run import Run, machine, read_metrics, versions
from kexue.storage import (
    StorageError,
    append_line,
    plain,
    read_json,
    remove_unfinished,
    write_bytes,
    write_json,
    write_text,
)

if TYPE_CHECKING:
    from kexue.training.named import Training

__all__ = ["OtherConditionsError", "Record", "Texts"]

T = TypeVar("T")

Texts = str | dict[str, str]
"""A text in English, or in both languages under "en" and "zh"."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._=,+-]*(/[a-z0-9][a-z0-9._=,+-]*)*", re.IGNORECASE)


# What a run writes. run.json goes first when it is cleared: a folder that is half cleared must not look like a run.
_FILES = ("run.json", "metrics.jsonl", "claims.json", "report.html", "log.txt")
_FOLDERS = ("finished", "tables", "figures", "texts", "models", "tracking")
_OURS = {"lock", *_FILES, *_FOLDERS}


class OtherConditionsError(RuntimeError):
    """An unfinished run was begun with other versions or threads; the message says what to do."""


def _both(texts: Texts) -> dict[str, str]:
    return {"en": texts} if isinstance(texts, str) else dict(texts)


class Record:
    """The folder of one run, open for writing.

    A study calls `metric`, `once`, `table`, `figure`, `text` and `claim`; whoever runs the study enters the record as a
    context and calls `finish`. Everything is on disk as soon as the call returns. When an unfinished run goes on,
    the study is read from the top again: what `once` had finished is read back, and metrics that stand in the file
    are not written twice.

    Parameters
    ----------
    directory : Path
        Folder of the run.
    study, preset : str
        Names.
    config : dict
        The configuration as it is written to ``run.json``.
    seed : int
        First seed.
    seeds : int
        Number of seeds.
    threads : int
        Threads that the run may use.
    command : str
        The exact command that repeats the run.
    data_dir : Path or None
        Where the user keeps data sets.
    indicative : bool
        Whether the run decides nothing, as quick presets do not.
    fresh : bool
        Whether a run that stands there is removed first.
    progress : Progress
        Who shows how far the run is.
    main : bool
        Whether this process writes the files: of several that work on one run, one does.
    wait : callable
        Returns when every process of the run has called it.

    Raises
    ------
    LockedError
        On entering, if another process works on the run.
    OtherConditionsError
        On entering, if the run is unfinished and was begun with other versions or threads.
    StorageError
        On entering, if the folder cannot be made or read.
    """

    def __init__(
        self,
        directory: Path,
        *,
        study: str,
        preset: str,
        config: dict[str, Any],
        seed: int,
        seeds: int,
        threads: int,
        command: str,
        data_dir: Path | None = None,
        indicative: bool = False,
        fresh: bool = False,
        progress: Progress | None = None,
        main: bool = True,
        wait: Callable[[], object] | None = None,
    ) -> None:
        self.directory = directory
        self.data_dir = data_dir
        self.scale: Texts = ""
        """At which scale the claims are measured; every claim ends with it."""
        self.first_seed = seed
        self.seeds = list(range(seed, seed + seeds))
        """The seeds of the run, the first one as the user gave it."""
        self.finished = False
        """Whether the run had finished before."""
        self._progress = progress if progress is not None and main else NullProgress()
        self._main = main
        self._wait = wait
        self._there: frozenset[str] = frozenset()  # what had been computed when several processes began
        self._indicative = indicative
        self._fresh = fresh
        self._lock = Lock(directory / "lock")
        self._known: set[tuple[str, float | None, int | None]] = set()
        self._replayed: set[tuple[str, float | None, int | None]] = set()
        self._claims: list[Claim] = []
        self._spent = 0.0
        self._entered = 0.0
        self._facts: dict[str, Any] = {
            "status": "running",
            "study": study,
            "preset": preset,
            "config": config,
            "seed": seed,
            "seeds": seeds,
            "threads": threads,
            "command": command,
            "versions": versions(),
            "machine": machine(),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": 0.0,
            "figures": [],
            "texts": [],
            "tables": [],
        }

    # -- the life of a run ------------------------------------------------------------------------------------------

    def __enter__(self) -> Record:
        try:
            if self._main:
                self.directory.mkdir(parents=True, exist_ok=True)
                self._lock.__enter__()
                self._begin()
            if self._wait is not None:
                self._meet(self._wait)
        except OSError as error:
            self._lock.__exit__(None, None, None)
            raise StorageError(f"cannot write {self.directory}: {error.strerror or error}") from error
        except BaseException:
            self._lock.__exit__(None, None, None)
            raise
        return self

    def _begin(self) -> None:
        there = (self.directory / "run.json").exists()
        if self._fresh and not there and any(path.name not in _OURS for path in self.directory.glob("[!.]*")):
            raise StorageError(f"{self.directory} holds no run.json, so it is no run of ours and is not cleared")
        if self._fresh or not there:  # without run.json, the rest is what a --fresh has left that was interrupted
            self._clear()
        else:
            self._look_back()
        remove_unfinished(self.directory)
        if self.finished:
            return
        (self.directory / "log.txt").unlink(missing_ok=True)
        self._entered = time.monotonic()
        self._write_facts()

    def _meet(self, wait: Callable[[], object]) -> None:
        """All processes look at the same folder before one of them goes on writing."""
        wait()
        if not self._main:
            self._look_back()
            self._entered = time.monotonic()
        self._there = frozenset(path.name for path in self.directory.glob("finished/*.json"))
        wait()

    def _look_back(self) -> None:
        """Learn from the folder what had been done before."""
        try:
            before = Run(self.directory)
            if before.facts["status"] == "finished":
                self.finished = True
                return
            self._refuse_other_conditions(before)
            metrics = read_metrics(self.directory / "metrics.jsonl", repair=self._main)
        except StorageError as error:
            raise StorageError(f"{error}; start over with --fresh") from None
        self._known.update((entry["name"], entry["step"], entry["seed"]) for entry in metrics)
        self._facts["started"] = before.facts.get("started", self._facts["started"])
        self._spent = before.seconds

    def _refuse_other_conditions(self, before: Run) -> None:
        then = {**_texts(before.facts.get("versions")), "threads": str(before.facts.get("threads"))}
        now = {**self._facts["versions"], "threads": str(self._facts["threads"])}
        differing = [
            f"{key} {then.get(key, 'absent')} then, {now.get(key, 'absent')} now"
            for key in sorted({*then, *now})
            if then.get(key) != now.get(key)
        ]
        if differing:
            raise OtherConditionsError(
                f"the unfinished run {self.directory} was begun under other conditions ({'; '.join(differing)}): "
                "go on under those, or start over with --fresh"
            )

    def _clear(self) -> None:
        """Remove what a run writes, and nothing else."""
        for name in _FILES:
            (self.directory / name).unlink(missing_ok=True)
        for name in _FOLDERS:
            if (self.directory / name).is_dir():
                shutil.rmtree(self.directory / name)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        try:
            if not self.finished and self._facts["status"] == "running":
                interrupted = kind is not None and issubclass(kind, KeyboardInterrupt)
                self._facts["status"] = "interrupted" if interrupted else "failed"
                with contextlib.suppress(StorageError):  # the error under way matters more than this one
                    self._write_facts()
        finally:
            self._lock.__exit__(None, None, None)

    def finish(self) -> None:
        """Mark the run as finished."""
        self._facts["status"] = "finished"
        try:
            self._write_facts()
        except StorageError:
            self._facts["status"] = "running"
            raise
        self.finished = True

    def _write_facts(self) -> None:
        if not self._main:
            return
        self._facts["seconds"] = round(self._spent + time.monotonic() - self._entered, 3)
        write_json(self.directory / "run.json", self._facts)

    # -- what a study calls -----------------------------------------------------------------------------------------

    def metric(self, name: str, value: float, *, step: float | None = None, seed: int | None = None) -> None:
        """Write one measured figure.

        Parameters
        ----------
        name : str
            What was measured, in parts divided by "/", for instance ``"frechet/eae"``.
        value : float
            The figure; not-a-number and infinities are kept.
        step : float, optional
            Where it was measured: a training step, an iteration, a point of a grid.
        seed : int, optional
            The seed it belongs to.

        Raises
        ------
        ValueError
            If the name has other characters than letters, digits and ``._=,+-/``, or the same figure is written
            twice by one reading of the study.
        StorageError
            If the disk refuses.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(f"name must be letters, digits and ._=,+- in parts divided by '/', got {name!r}")
        key = (name, step, seed)
        if key in self._replayed:
            raise ValueError(f"the metric {name!r} (step {step}, seed {seed}) is written twice")
        self._replayed.add(key)
        if key in self._known:
            return
        self._known.add(key)
        if not self._main:
            return
        append_line(self.directory / "metrics.jsonl", {"name": name, "step": step, "seed": seed, "value": float(value)})

    def metrics(self, name: str, values: Sequence[float | Mapping[str, float]]) -> list[Any]:
        """Write a figure, or several, of each seed.

        Parameters
        ----------
        name : str
            What was measured; where each seed has several figures, what stands before their names, or nothing.
        values : sequence of float or of mappings
            For each seed in order the figure, or the figures by name.

        Returns
        -------
        list
            The values.

        Raises
        ------
        ValueError
            If there are not as many values as seeds, or as in `metric`.
        StorageError
            If the disk refuses.
        """
        if len(values) != len(self.seeds):
            raise ValueError(
                f"{name or 'metrics'} must have a value for each of {len(self.seeds)} seeds, got {len(values)}"
            )
        for seed, value in zip(self.seeds, values, strict=True):
            if isinstance(value, Mapping):
                for part, figure in value.items():
                    self.metric(f"{name}/{part}" if name else part, figure, seed=seed)
            else:
                self.metric(name, value, seed=seed)
        return list(values)

    def curve(
        self, name: str, values: Iterable[float], *, steps: Iterable[float] | None = None, seed: int | None = None
    ) -> None:
        """Write a series of figures, one a step.

        Parameters
        ----------
        name : str
            As in `metric`.
        values : iterable of float
            The figures.
        steps : iterable of float, optional
            Where they were measured; 1, 2, 3, … if left out.
        seed : int, optional
            The seed they belong to.

        Raises
        ------
        ValueError
            As in `metric`, or if there are not as many steps as values.
        """
        figures = list(values)
        places = list(steps) if steps is not None else list(range(1, len(figures) + 1))
        for step, value in zip(places, figures, strict=True):
            self.metric(name, value, step=step, seed=seed)

    def once(self, name: str, function: Callable[..., Any], *arguments: Any, seed: int | None = None) -> Any:
        """Compute something once in the life of a run.

        The result is kept on disk; when an interrupted run goes on, or is read again, it is read back
        instead of being computed. So the function must return all that the study needs from it.

        Parameters
        ----------
        name : str
            What is computed.
        function : callable
            Returns numbers, texts, arrays, lists and dictionaries of them.
        *arguments
            What the function is called with.
        seed : int, optional
            The seed that the result belongs to.

        Returns
        -------
        object
            The result as JSON keeps it: arrays as lists, non-finite numbers as strings that ``float`` reads.

        Raises
        ------
        ValueError
            If the name has other characters than letters, digits and ``._=,+-/``.
        StorageError
            If the disk refuses.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(f"name must be letters, digits and ._=,+- in parts divided by '/', got {name!r}")
        suffix = "" if seed is None else f"-s{seed}"
        path = self.directory / "finished" / f"{name.replace('/', '--')}{suffix}.json"
        # Several processes must agree on what is to be computed, although one of them writes meanwhile.
        if path.exists() if self._wait is None else path.name in self._there:
            with contextlib.suppress(StorageError):  # a damaged memory is computed again
                return read_json(path)
        result = plain(function(*arguments))
        if not self._main:
            return result
        write_json(path, result)
        self._write_facts()
        return result

    def for_each_seed(self, name: str, function: Callable[..., Any], *arguments: Any, about: str = "") -> list[Any]:
        """Compute something once for each seed, and show how many seeds are done.

        A result that is a number is written as the seed's metric of the same name.

        Parameters
        ----------
        name : str
            What is computed.
        function : callable
            Called with the arguments and, last, the seed; see `once`.
        *arguments
            What the function is called with before the seed.
        about : str, optional
            What is shown meanwhile; the name if left out.

        Returns
        -------
        list
            The results, in the order of the seeds.

        Raises
        ------
        ValueError, StorageError
            As in `once`.
        """
        results = []
        for seed in self.progress(self.seeds, about or name):
            result = self.once(name, function, *arguments, seed, seed=seed)
            if isinstance(result, int | float):
                self.metric(name, result, seed=seed)
            results.append(result)
        return results

    def progress(self, items: Iterable[T], description: str, *, total: int | None = None) -> Iterator[T]:
        """Go through items and show on standard error how many are done.

        Parameters
        ----------
        items : iterable
            What to go through.
        description : str
            A few words.
        total : int, optional
            How many there are, where ``len`` does not tell.

        Returns
        -------
        iterator
            The items.
        """
        if total is None and isinstance(items, Sequence):
            total = len(items)
        return self._progress.track(items, description, total)

    @contextlib.contextmanager
    def training(self, name: str, *, seed: int) -> Iterator[Training]:
        """Give a training of this run its seeds and its folder ``models/<name>-s<seed>/`` for a ``with`` block.

        See `kexue.training.training`: everything random is seeded from seed and name before the model is built, and
        restored at the end.

        Parameters
        ----------
        name : str
            Name of the training: letters, digits and ``._=,+-``.
        seed : int
            The seed that it belongs to.

        Yields
        ------
        Training
            Its ``directory`` is for the ``Trainer``.

        Raises
        ------
        ValueError
            If the name has other characters.
        StorageError
            If the disk refuses.
        """
        from kexue.training.named import training

        directory = self.directory / "models" / f"{name}-s{seed}"
        with training(name, seed=seed, directory=directory, progress=self._progress) as run:
            yield run
        self._write_facts()

    def table(self, name: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, caption: Texts) -> None:
        """Write a table as CSV.

        Parameters
        ----------
        name : str
            Name of the file, without its ending.
        columns : sequence of str
            Heads of the columns.
        rows : iterable of sequences
            The cells.
        caption : str or dict
            What the table shows, in English or in both languages.

        Raises
        ------
        ValueError
            If the name is not letters, digits and ``._=,+-``, or a row has not as many cells as there are columns.
        StorageError
            If the disk refuses.
        """
        file = self._file("tables", name, "csv")
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            if len(row) != len(columns):
                raise ValueError(f"each row must have {len(columns)} cells, got {len(row)}")
            writer.writerow(row)
        if self._main:
            write_text(self.directory / file, text.getvalue())
        self._list("tables", {"name": name, "file": file, "caption": _both(caption)})

    def figure(
        self, name: str, figure: Any, *, caption: Texts, alt: str | None = None, prints: str | None = None
    ) -> None:
        """Save a figure and close it.

        Parameters
        ----------
        name : str
            Name of the file, without its ending.
        figure : matplotlib.figure.Figure
            The figure; `kexue.plots.style` says which form it takes on disk.
        caption : str or dict
            What the figure shows, in English or in both languages.
        alt : str, optional
            A text for those who cannot see it; the English caption if left out.
        prints : str, optional
            Name of the data set whose items the figure shows: pages print it only if the licence allows that.

        Raises
        ------
        ValueError
            If the name is not letters, digits and ``._=,+-``.
        StorageError
            If the disk refuses.
        """
        from kexue.plots.style import encode

        self._file("figures", name, "svg")
        if not self._main:
            return
        content, ending = encode(figure, name=name)
        file = self._file("figures", name, ending)
        write_bytes(self.directory / file, content)
        captions = _both(caption)
        self._list(
            "figures", {"name": name, "file": file, "caption": captions, "alt": alt or captions["en"], "prints": prints}
        )

    def text(
        self,
        name: str,
        rows: Iterable[tuple[Texts, Sequence[str], Sequence[float]]],
        *,
        caption: Texts,
        prints: str | None = None,
    ) -> None:
        """Write texts whose tokens have scores; pages show each token on the colour of its score.

        Parameters
        ----------
        name : str
            Name of the file, without its ending.
        rows : iterable of (label, tokens, scores)
            The texts: what stands before each, its tokens, and a signed score for every token. The largest score of a
            text has the full colour.
        caption : str or dict
            What the texts show, in English or in both languages.
        prints : str, optional
            Name of the data set that they are from: pages print them only if the licence allows that.

        Raises
        ------
        ValueError
            If the name is not letters, digits and ``._=,+-``, or a text has no tokens, or not one finite score each.
        StorageError
            If the disk refuses.
        """
        file = self._file("texts", name, "json")
        content = []
        for label, tokens, scores in rows:
            numbers = [float(score) for score in scores]
            if not tokens or len(tokens) != len(numbers) or not all(map(math.isfinite, numbers)):
                raise ValueError(f"each text must have tokens and a finite score for each, got {numbers} for {tokens}")
            content.append({"label": _both(label), "tokens": [str(token) for token in tokens], "scores": numbers})
        if self._main:
            write_json(self.directory / file, content)
        self._list("texts", {"name": name, "file": file, "caption": _both(caption), "prints": prints})

    def claim(
        self,
        claim: Texts,
        *,
        source: str,
        measured: float | Sequence[float],
        relation: str,
        bound: float | Sequence[float],
        note: Texts = "",
        scale: Texts | None = None,
    ) -> Claim:
        """Compare what was measured with what is claimed, and write the verdict.

        Parameters
        ----------
        claim : str or dict
            The claim as its source made it, in English or in both languages.
        source : {"article", "paper", "ours"}
            Who claims it.
        measured : float or sequence of float
            One number where nothing is random; else one a seed.
        relation : {"<", "<=", ">", ">="}
            The relation that the figures should have to the bound.
        bound : float or sequence of float
            One number, or one a seed (paired).
        note : str or dict, optional
            What the reader should know besides.
        scale : str or dict, optional
            At which scale it was measured; `scale` of the record if left out.

        Returns
        -------
        Claim
            The claim with its verdict; see `kexue.runs.claims.judge` for the rule.

        Raises
        ------
        ValueError
            If a text, the source or the relation is missing or unknown, or bounds and figures do not match.
        StorageError
            If the disk refuses.
        """
        one_a_seed = isinstance(measured, Iterable)
        figures = [float(value) for value in measured] if isinstance(measured, Iterable) else [float(measured)]
        # One figure a seed, and a single seed: shown, not decided.
        single = one_a_seed and len(figures) == 1
        return self._judged(judge(figures, relation, bound), claim, source, note, scale, indicative=single)

    def unmeasured(self, claim: Texts, *, source: str, why: Texts, scale: Texts | None = None) -> Claim:
        """Write a claim that this run cannot measure, for want of a model or of data: its verdict is undecided.

        Parameters
        ----------
        claim : str or dict
            The claim as its source made it, in English or in both languages.
        source : {"article", "paper", "ours"}
            Who claims it.
        why : str or dict
            What is missing, and how the reader can measure it.
        scale : str or dict, optional
            What was at hand; `scale` of the record if left out.

        Returns
        -------
        Claim
            The claim, without figures.

        Raises
        ------
        ValueError
            If a text or the source is missing or unknown.
        StorageError
            If the disk refuses.
        """
        if not _both(why).get("en", "").strip():
            raise ValueError("why must say what is missing, got an empty text")
        return self._judged(unmeasured(), claim, source, why, scale)

    def _judged(
        self, judged: Claim, claim: Texts, source: str, note: Texts, scale: Texts | None, *, indicative: bool = False
    ) -> Claim:
        texts, scales, notes = _both(claim), _both(self.scale if scale is None else scale), _both(note)
        completed = complete(
            judged,
            claim=texts.get("en", ""),
            source=source,
            scale=scales.get("en", ""),
            note=notes.get("en", ""),
            zh={"claim": texts.get("zh", ""), "scale": scales.get("zh", ""), "note": notes.get("zh", "")},
            indicative=self._indicative or indicative,
        )
        self._claims.append(completed)
        if self._main:
            write_json(self.directory / "claims.json", [vars(entry) for entry in self._claims])
        return completed

    def _file(self, folder: str, name: str, ending: str) -> str:
        if not _NAME.fullmatch(name) or "/" in name:
            raise ValueError(f"name must be letters, digits and ._=,+-, got {name!r}")
        return f"{folder}/{name}.{ending}"

    def _list(self, kind: str, entry: dict[str, Any]) -> None:
        self._facts[kind] = [other for other in self._facts[kind] if other["name"] != entry["name"]] + [entry]
        self._write_facts()


def _texts(value: Any) -> dict[str, str]:
    return {str(key): str(item) for key, item in value.items()} if isinstance(value, dict) else {}
