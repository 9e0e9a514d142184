"""The command line: list, show, run, report, data, words, vectors, cite."""

from __future__ import annotations

import dataclasses
import importlib
import os
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import tyro

from kexue.commands.code_pages import UnshownError, no_word_lost, speak_any_code_page
from kexue.data import DataError, UnknownDataSetError
from kexue.extras import MissingExtraError
from kexue.runs.catalogue import CatalogueError, UnknownNameError, load_catalogue
from kexue.runs.citing import bibtex, software
from kexue.runs.lock import LockedError
from kexue.runs.record import OtherConditionsError
from kexue.runs.run import Run, find_runs
from kexue.runs.shipped import ShipError, read_shipped, ship
from kexue.storage import StorageError, plain
from kexue.studies.runner import (
    VERDICTS,
    CallError,
    StudyError,
    built,
    did_you_mean,
    execute,
    load_study,
    main_process,
    preset_config,
)

__all__ = ["main"]

OK, FAILED, WRONG_WORDS, NOT_REPRODUCED, INTERRUPTED = 0, 1, 2, 3, 130


# -- the verbs


@dataclass(frozen=True)
class List:
    """Every study: name, archive id, article, verdicts on claims of articles and papers, time of quick, last result."""

    out: Path = Path("runs")
    """Folder of your runs."""
    planned: bool = False
    """Name the studies that are not built yet, too."""

    def __call__(self) -> int:
        from kexue.studies.listing import listing

        print(listing(self.out, planned=self.planned))
        return OK


@dataclass(frozen=True)
class Show:
    """An article in brief: verdicts, the part in three lines, when to use it, what to prefer instead."""

    name: tyro.conf.Positional[str]
    """Name of a study, or slug or archive id of an article."""
    out: Path = Path("runs")
    """Folder of your runs."""

    def __call__(self) -> int:
        from kexue.studies.listing import brief

        print(brief(self.name, self.out))
        return OK


@dataclass(frozen=True)
class Options:
    """Options of every run."""

    seed: int = 1
    """First seed."""
    out: Path = Path("runs")
    """Folder of all runs."""
    fresh: bool = False
    """Start over where there is such a run."""
    threads: int = 1
    """Threads for numerical libraries; one gives the same figures on every machine."""
    strict: bool = False
    """Exit with 3 if a claim of the article or its papers does not reproduce."""
    data_dir: Path | None = None
    """Folder where data sets are looked for first."""
    track: str | None = None
    """A tracker that is told what trainings log, for instance tensorboard."""


@dataclass(frozen=True)
class Report:
    """Static pages of your runs and of the shipped verdicts; prints the path of index.html."""

    runs: tyro.conf.Positional[Path] = Path("runs")
    """Folder of your runs."""
    out: Path = Path("gallery")
    """Folder of the pages."""
    ship: bool = False
    """Write the verdicts of finished standard runs into the package (in a checkout of it)."""

    def __call__(self) -> int:
        from kexue.report.gallery import build_gallery

        found = _whole_runs(self.runs)
        if self.ship:
            _ship(found)
        if not found and self.runs != Path("runs"):
            print(f"kexue: no run in {plain(str(self.runs))}: the pages show the shipped verdicts", file=sys.stderr)
        print(build_gallery(self.out, found, read_shipped(VERDICTS), built=built()))
        return OK


@dataclass(frozen=True)
class Cite:
    """BibTeX of an article and its papers."""

    name: tyro.conf.Positional[str]
    """Name of a study, or slug, archive id or address of an article; kexue, for this package itself."""

    def __call__(self) -> int:
        if self.name == "kexue":
            print(software().strip())
            return OK
        catalogue = load_catalogue()
        try:
            articles = [catalogue.article(self.name)]
        except UnknownNameError:
            slugs = catalogue.study(self.name).articles
            articles = [catalogue.article(slug) for slug in slugs]
        print(bibtex(articles).strip())
        return OK


_VERBS: dict[str, type | None] = {
    "list": List,
    "show": Show,
    "run": None,  # reads the study's name and preset itself
    "report": Report,
    "data": None,  # these three have verbs of their own
    "words": None,
    "vectors": None,
    "cite": Cite,
}

# What the verbs of each group in kexue.commands are called with.
_GROUPS = {
    "data": "list | get NAME | check [NAME …]",
    "words": "discover FILE … | segment FILE … | terms FILE … --general FILE …",
    "vectors": "train FILE … | similar VECTORS WORD | related VECTORS WORD | analogy VECTORS A B C",
}

_HELP = """\
usage: kexue VERB …        (kexue VERB --help says more)

  list                     every study: article, shipped verdicts, time of quick, your last result
  show NAME|ID             the article in brief: verdicts, three lines of code, when to use it
  run NAME|ID [quick|standard|full] [--field VALUE …] [--seed N] [--out runs] [--fresh] [--threads N]
                           [--strict] [--track T]
  run --all [quick]        one study after another
  report [runs]            static pages; prints the path of index.html
  data list|get|check      known data sets
  words discover|segment|terms FILE …       new words of raw text, text cut into words, the terms of a field
  vectors train|similar|related|analogy …   word vectors of raw text, and what they say
  cite NAME|ID             BibTeX of an article and its papers

  --version                the version"""


# -- run

_PRESETS = ("quick", "standard", "full")


def _run(words: Sequence[str]) -> int:
    if "--all" in words:
        return _run_all([word for word in words if word != "--all"])
    if not words or words[0] in ("-h", "--help"):
        print("usage: kexue run NAME|ID [PRESET] [--field VALUE …] [options]\n")
        print(f"studies: {', '.join(built())}\n")
        print("kexue run NAME --help lists the fields of a study.")
        return OK if words else WRONG_WORDS
    name_at = _name_position(words)
    if name_at is None:
        raise CallError(f"run needs the name of a study ({', '.join(built())}) or the archive id of an article")
    name, module = load_study(words[name_at])
    rest = [word for at, word in enumerate(words) if at != name_at]
    preset, flags = _take_preset(rest, {**_kinds(Options), **_kinds(module.Config)})
    default = preset_config(name, module, preset)
    config, options = _parse_fields(name, preset, default, flags)
    return _execute(name, module, preset, config, options)


def _run_all(words: Sequence[str]) -> int:
    """Every study, one after another; one that fails does not stop the others."""
    preset, flags = _take_preset(words, _kinds(Options))
    options = tyro.cli(Options, args=flags, prog="kexue run --all")
    modules = [load_study(name) for name in built()]
    for name, module in modules:
        preset_config(name, module, preset)
    worst = OK
    for name, module in modules:
        try:
            code = _execute(name, module, preset, module.PRESETS[preset], options)
        except _FAILURES as error:
            print(f"kexue: {name}: {_one_line(error)}", file=sys.stderr)
            code = FAILED
        # A failure matters more than a claim that does not reproduce.
        worst = FAILED if FAILED in (code, worst) else max(worst, code)
    return worst


def _execute(name: str, module: Any, preset: str, config: Any, options: Options) -> int:
    from kexue.studies.listing import outcome

    run = execute(
        name,
        module,
        preset,
        config,
        seed=options.seed,
        out=options.out,
        fresh=options.fresh,
        threads=options.threads,
        data_dir=options.data_dir,
        track=options.track,
        progress=None,
    )
    if main_process():
        print(outcome(run))
    return NOT_REPRODUCED if options.strict and run.headline["not reproduced"] else OK


def _name_position(words: Sequence[str]) -> int | None:
    """Which word names the study: options may stand before it, with values of their own."""
    kinds = _kinds(Options)
    candidates, free = [], []
    for at, word in enumerate(words):
        before = words[at - 1] if at else ""
        if word.startswith("-") or kinds.get(before) == "one":
            continue
        candidates.append(at)
        # A word behind an option that is not known here may be its value.
        if not before.startswith("--") or "=" in before or before in kinds:
            free.append(at)
    if not candidates:
        return None

    def known(word: str) -> bool:
        try:
            load_study(word)
        except CallError:
            return False
        return True

    order = [*free, *candidates]
    no_preset = [at for at in order if words[at] not in _PRESETS]
    return next((at for at in order if known(words[at])), (no_preset or order)[0])


def _take_preset(words: Sequence[str], kinds: dict[str, str]) -> tuple[str, list[str]]:
    """Divide the words into the preset and the options with their values."""
    preset: str | None = None
    flags: list[str] = []
    kind = "none"  # of the option whose values the next words may be
    for word in words:
        if word.startswith("-") and not _is_number(word):
            flags.append(word)
            kind = "none" if "=" in word else kinds.get(word.replace("_", "-"), "one")
        elif kind == "one":
            flags.append(word)
            kind = "none"
        elif (kind == "numbers" and _is_number(word)) or (kind == "many" and word not in _PRESETS):
            flags.append(word)
        elif preset is None:
            preset = word
        else:
            raise CallError(f"run takes one study and one preset, got the word {word!r} besides {preset!r}")
    return preset or "quick", flags


def _kinds(config: type) -> dict[str, str]:
    """What each option takes: none, one, many words, or many numbers."""
    kinds = {}
    for entry in dataclasses.fields(config):
        flag = f"--{entry.name.replace('_', '-')}"
        kind = str(entry.type)
        many = "numbers" if kind.startswith(("tuple[int", "tuple[float")) else "many"
        kinds[flag] = "none" if kind in ("bool", "<class 'bool'>") else many if "tuple" in kind else "one"
        if kinds[flag] == "none":
            kinds[f"--no-{flag[2:]}"] = "none"
    return kinds


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _parse_fields(name: str, preset: str, default: Any, flags: Sequence[str]) -> tuple[Any, Options]:
    call = dataclasses.make_dataclass(
        "Call",
        [
            ("study", tyro.conf.OmitArgPrefixes[type(default)], field(default=default)),  # type: ignore[misc]
            ("run", tyro.conf.OmitArgPrefixes[Options], field(default_factory=Options)),
        ],
        frozen=True,
    )
    try:
        parsed: Any = tyro.cli(call, args=list(flags), prog=f"kexue run {name} {preset}", description=_about(name))
    except (TypeError, ValueError) as error:  # a configuration may check its own values
        raise CallError(f"{name}: {error}") from None
    return parsed.study, parsed.run


def _about(name: str) -> str:
    return load_catalogue().study(name).title.en


# -- report and data


def _whole_runs(folder: Path) -> list[Run]:
    """The runs of a folder; of each that is damaged, a line on standard error says that it is passed over."""

    def damaged(error: BaseException) -> None:
        print(f"kexue: passed over: {_one_line(error)}", file=sys.stderr)

    whole = []
    for run in find_runs(folder, damaged=damaged):
        try:
            _ = run.claims
        except StorageError as error:
            damaged(error)
        else:
            whole.append(run)
    return whole


def _ship(runs: Sequence[Run]) -> None:
    if not (VERDICTS.parents[3] / "pyproject.toml").exists():
        raise ShipError("--ship writes into the source of the package: install it from a checkout with pip install -e")
    finished = [run for run in runs if run.status == "finished" and _as_preset(run)]
    latest = {run.study: run for run in finished if run.preset == "standard"}
    quick = {run.study: run.seconds for run in finished if run.preset == "quick"}
    if not latest:
        raise ShipError("--ship needs a finished standard run with no field changed: kexue run NAME standard")
    for name, run in latest.items():
        print(f"shipped {ship(run, VERDICTS, quick_seconds=quick.get(name))}", file=sys.stderr)


def _as_preset(run: Run) -> bool:
    """Whether no field of a run's configuration was changed."""
    try:
        preset = load_study(run.study)[1].PRESETS[run.preset]
    except (CallError, KeyError):
        return False
    return run.config == plain(dataclasses.asdict(preset))


# -- the way in


def _dispatch(words: Sequence[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(_HELP)
        return OK if words else WRONG_WORDS
    if words[0] == "--version":
        from kexue import __version__

        print(__version__)
        return OK
    verb = words[0]
    if verb not in _VERBS:
        raise _no_verb(verb)
    if verb == "run":
        return _run(words[1:])
    if verb in _GROUPS:
        if len(words) < 2 or words[1] in ("-h", "--help"):
            print(f"usage: kexue {verb} {_GROUPS[verb]}        (kexue {verb} VERB --help says more)")
            return OK if len(words) > 1 else WRONG_WORDS
        table = _group(verb)
        inner = _nearest(words[1], table, f"{verb} verb")
        with _plain_failures():
            return _call(table[inner], words[2:], f"kexue {verb} {inner}", _INTO_A_FILE.get(verb))
    kind = _VERBS[verb]
    assert kind is not None
    return _call(kind, words[1:], f"kexue {verb}", _INTO_A_FILE.get(verb))


def _call(kind: type, words: Sequence[str], prog: str, into_a_file: str | None = None) -> int:
    verb: Callable[[], int] = tyro.cli(kind, args=list(words), prog=prog)
    if into_a_file is None:
        return verb()
    with no_word_lost(into_a_file):
        return verb()


def _group(name: str) -> dict[str, type]:
    """The verbs of a group."""
    verbs: dict[str, type] = importlib.import_module(f"kexue.commands.{name}").VERBS
    return verbs


def _no_verb(word: str) -> CallError:
    """With the nearest verb, which may be one of a group."""
    within = {inner: f"kexue {group} {inner}" for group in _GROUPS for inner in _group(group) if inner not in _VERBS}
    near = get_close_matches(word, [*_VERBS, *within], n=1)
    if near and near[0] in within:
        return CallError(f"there is no verb {word!r}; did you mean {within[near[0]]!r}?")
    return CallError(f"there is no verb {did_you_mean(word, _VERBS, otherwise='; there are ' + ', '.join(_VERBS))}")


def _nearest(word: str, known: dict[str, Any], what: str) -> str:
    if word in known:
        return word
    raise CallError(f"there is no {what} {did_you_mean(word, known, otherwise='; there are ' + ', '.join(known))}")


# Verbs and groups whose results hold words, and how these come into a file.
_INTO_A_FILE = {"words": "-o FILE", "vectors": "> FILE", "cite": "> FILE"}


class PartError(RuntimeError):
    """What a part of the package, called by a command, has to say of its input."""


@contextmanager
def _plain_failures() -> Iterator[None]:
    """What parts say of wrong input and of missing words is one line, as all failures are."""
    try:
        yield
    except (CallError, UnknownDataSetError):
        raise
    except (ValueError, KeyError, MemoryError) as error:
        raise PartError(error.args[0] if error.args else "out of memory") from error


_FAILURES = (
    PartError,
    UnshownError,
    StudyError,
    StorageError,
    LockedError,
    OtherConditionsError,
    MissingExtraError,
    CatalogueError,
    DataError,
    ShipError,
)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        The words after the program's name; those of the process if left out.

    Returns
    -------
    int
        0: it ran; 1: it failed; 2: the words are wrong; 3: with ``--strict``, a claim of the article or its papers
        did not reproduce; 130: interrupted.

    Examples
    --------
    >>> main(["--version"])
    0.1.0
    0
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    speak_any_code_page()
    try:
        with _plain_warnings():
            code = _dispatch(words)
        sys.stdout.flush()
        return code
    except (CallError, UnknownNameError, UnknownDataSetError) as error:
        print(f"kexue: {_one_line(error)}", file=sys.stderr)
        return WRONG_WORDS
    except _FAILURES as error:
        print(f"kexue: {_one_line(error)}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        again = f"; the same command goes on: {shlex.join(['kexue', *words])}" if words[:1] == ["run"] else ""
        print(f"\nkexue: interrupted{again}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has seen enough; nothing may be written to it any more, at exit neither.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except OSError as error:
        print(f"kexue: {_one_line(error)}", file=sys.stderr)
        return FAILED
    except SystemExit as stop:  # tyro's way to end after --help and after wrong words
        return stop.code if isinstance(stop.code, int) else FAILED


_PACKAGE = Path(__file__).parent


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Our own warnings are one line, as our errors are; those of others stay as they are."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def say(message: Warning | str, category: type[Warning], filename: str, *place: Any) -> None:
            # A plain warning that a part of the package gives says all in its words, too.
            inside = category is UserWarning and _PACKAGE in Path(filename).parents
            if inside or category.__module__.partition(".")[0] == "kexue":
                print(f"kexue: {_one_line(Exception(message))}", file=sys.stderr)
            else:
                show(message, category, filename, *place)

        warnings.showwarning = say  # type: ignore[assignment]
        yield
