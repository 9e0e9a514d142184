"""What pages show, made ready for the templates: claims with their figures, pictures, commands, citations."""

from __future__ import annotations

import base64
import csv
import functools
import io
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from kexue import __version__
from kexue.data import known_sets
from kexue.extras import require
from kexue.plots.tokens import coloured_tokens
from kexue.report.mathml import mathml
from kexue.report.phrases import PHRASES, SOURCES, VERDICTS
from kexue.runs.catalogue import Article
from kexue.runs.citing import bibtex, citation
from kexue.runs.claims import Claim
from kexue.runs.run import ColouredText, Figure, Run, Table
from kexue.storage import StorageError

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["article_views", "claim_views", "how_to_repeat", "picture_view", "render", "table_views", "text_views"]

_TYPES = {".svg": "image/svg+xml", ".png": "image/png"}


@functools.cache
def _environment() -> Any:
    jinja2 = require("jinja2", "report", "a page")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("kexue.report"),
        autoescape=True,  # every text from outside is escaped; what is markup says so itself
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    css = (Path(__file__).parent / "templates" / "style.css").read_text(encoding="utf-8")
    environment.globals |= {"phrases": PHRASES, "verdicts": VERDICTS, "sources": SOURCES, "version": __version__}
    environment.globals["css"] = _markup(css)
    return environment


def render(template: str, **context: Any) -> str:
    """Fill a template of this package in.

    Parameters
    ----------
    template : str
        Its file name.
    **context
        What it shows; text is escaped.

    Returns
    -------
    str
        The page.
    """
    text: str = _environment().get_template(template).render({"wide": False, "home": None, **context})
    return text


def _markup(text: str) -> Markup:
    markup: Markup = require("markupsafe", "report", "a page").Markup(text)
    return markup


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_RELATIONS = {"<": "<", "<=": "≤", ">": ">", ">=": "≥"}


def _number(value: float) -> str:
    digits, _, power = f"{value:.4g}".partition("e")
    digits = digits.replace("-", "−")
    # Spaces that do not break: a figure stays in one line.
    return f"{digits}\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}10{str(int(power)).translate(_RAISED)}" if power else digits


def claim_views(claims: Sequence[Claim]) -> list[dict[str, Any]]:
    """Claims with their figures as text and as a strip of dots.

    Parameters
    ----------
    claims : sequence of Claim
        The claims.

    Returns
    -------
    list of dict
        What the templates show.
    """
    return [_claim_view(claim) for claim in claims]


def _claim_view(claim: Claim) -> dict[str, Any]:
    several = len(claim.measured) > 1
    difference = ""
    if several and claim.interval is not None:
        low, high = (_number(end) for end in claim.interval)
        difference = f"{_number(claim.mean)} [{low}, {high}]"
    paired = ", ".join(_number(bound) for bound in claim.bounds) if isinstance(claim.bound, list) else ""
    return {
        "claim": claim,
        "text": {"en": claim.claim, "zh": claim.zh.get("claim", "")},
        "note": {"en": claim.note, "zh": claim.zh.get("note", "")},
        "scale": {"en": claim.scale, "zh": claim.zh.get("scale", "")},
        "relation": _RELATIONS.get(claim.relation, ""),
        "measured": _number(sum(claim.measured) / len(claim.measured)) if claim.measured else "",
        "bound": _number(sum(claim.bounds) / len(claim.bounds)) if claim.measured else "",
        "seeds": ", ".join(_number(value) for value in claim.measured) if several else "",
        "paired": paired if several else "",
        "difference": difference,
        "strip": _strip(claim) if several else "",
    }


def _strip(claim: Claim) -> Markup | str:
    """The seeds' differences to the bound as dots, with a line at zero."""
    differences = [m - b for m, b in zip(claim.measured, claim.bounds, strict=True)]
    if not all(abs(d) < float("inf") for d in differences):
        return ""
    low, high = min(0.0, *differences), max(0.0, *differences)
    width = (high - low) or 1.0

    def place(value: float) -> float:
        return round(12 + 376 * (value - low) / width, 1)

    dots = "".join(f'<circle cx="{place(d)}" cy="12" r="4"/>' for d in differences)
    zero = place(0.0)
    return _markup(
        '<svg class="strip" viewBox="0 0 400 24" preserveAspectRatio="xMinYMid meet" role="img" '
        'aria-label="measured minus bound, a dot for each seed; the upright line is zero">'
        f'<line x1="6" y1="12" x2="394" y2="12"/><line class="bound" x1="{zero}" y1="2" x2="{zero}" y2="22"/>'
        f"{dots}</svg>"
    )


def picture_view(figure: Figure, folder: Path) -> dict[str, Any]:
    """A figure as a data URI, or without one where its data may not be printed.

    Parameters
    ----------
    figure : Figure
        The figure.
    folder : Path
        The folder that its file is relative to.

    Returns
    -------
    dict
        What the templates show; "uri" is None where a licence forbids it.

    Raises
    ------
    StorageError
        If the file is missing, is no picture, or lies outside of the folder.
    """
    return {
        "caption": _caption(figure),
        "alt": figure.alt,
        "uri": _picture_uri(folder, figure.file) if figure.printable else None,
    }


def _caption(item: Figure | ColouredText | Table) -> dict[str, str]:
    return {language: item.caption.get(language, "") for language in ("en", "zh")}


def _picture_uri(folder: Path, file: str) -> str:
    content = _read_inside(folder, file, tuple(_TYPES))
    return _data_uri(_TYPES[PurePosixPath(file).suffix], content)


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _read_inside(folder: Path, file: str, endings: tuple[str, ...]) -> bytes:
    """What a run's file holds; a run that somebody else wrote must not reach out of its folder."""
    refusal = StorageError(f"{folder}: {file!r} is not a file of this run that a page can show")
    try:
        path = (folder / file).resolve()
    except (OSError, TypeError, ValueError):  # no text, or one that no file can be named by
        raise refusal from None
    if PurePosixPath(file).suffix not in endings or not path.is_relative_to(folder.resolve()):
        raise refusal
    try:
        return path.read_bytes()
    except OSError as error:
        raise StorageError(f"cannot read {folder / file}: {error.strerror or error}") from error


def text_views(run: Run) -> list[dict[str, Any]]:
    """The coloured texts of a run.

    Parameters
    ----------
    run : Run
        The run.

    Returns
    -------
    list of dict
        Caption, and rows of a label and its text as HTML; "rows" is None where a licence forbids it.

    Raises
    ------
    StorageError
        If a file is missing, is no list of tokens with scores, or lies outside of the run's folder.
    """
    views = []
    for text in run.texts:
        rows = None
        if text.printable:
            content = _read_inside(run.directory, text.file, (".json",))
            try:
                rows = [
                    {
                        "label": {key: str(row["label"].get(key, "")) for key in ("en", "zh")},
                        "html": _markup(coloured_tokens(row["tokens"], row["scores"])),
                    }
                    for row in json.loads(content.decode("utf-8"))
                ]
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise StorageError(f"{run.directory / text.file} is damaged: {error}; {_FRESH}") from None
        views.append({"caption": _caption(text), "rows": rows})
    return views


def table_views(run: Run) -> list[dict[str, Any]]:
    """The tables of a run.

    Parameters
    ----------
    run : Run
        The run.

    Returns
    -------
    list of dict
        Caption, head, and rows of cells: text, and whether it is a number.

    Raises
    ------
    StorageError
        If a file is missing, is no CSV in UTF-8, or lies outside of the run's folder.
    """
    views = []
    for table in run.tables:
        content = _read_inside(run.directory, table.file, (".csv",))
        try:
            head, *rows = list(csv.reader(io.StringIO(content.decode("utf-8"), newline=""))) or [[]]
        except (UnicodeDecodeError, csv.Error) as error:
            raise StorageError(f"{run.directory / table.file} is damaged: {error}; {_FRESH}") from None
        views.append(
            {
                "caption": _caption(table),
                "head": head,
                "rows": [[_cell(cell) for cell in row] for row in rows],
                "uri": _data_uri("text/csv", content),
            }
        )
    return views


_FRESH = "run the study again with --fresh"
# What Python writes for a float; `float` itself would also take words such as "infinity" and "1_000".
_FLOAT = re.compile(r"-?([0-9]+\.[0-9]+(e[+-]?[0-9]+)?|[0-9]+e[+-]?[0-9]+)")
_OTHER_NUMBER = re.compile(r"-?[0-9]+|nan|-?inf")


def _cell(cell: str) -> dict[str, Any]:
    if _FLOAT.fullmatch(cell):
        return {"text": _number(float(cell)), "number": True}
    return {"text": cell, "number": _OTHER_NUMBER.fullmatch(cell) is not None}


def how_to_repeat(facts: dict[str, Any], where: Path) -> dict[str, Any]:
    """The command, configuration and conditions of a run.

    Parameters
    ----------
    facts : dict
        As ``run.json`` holds them.
    where : Path
        The file that holds them, for messages.

    Returns
    -------
    dict
        "command", "config", and "rows" of phrase key and text (in both languages where it is in one at all).

    Raises
    ------
    StorageError
        If they are not as a run writes them.
    """
    try:
        return _how_to_repeat(facts)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise StorageError(f"{where} is damaged: {error!r}; {_FRESH}") from None


def _how_to_repeat(facts: dict[str, Any]) -> dict[str, Any]:
    seed, seeds = int(facts["seed"]), int(facts.get("seeds", 1))
    rows: list[tuple[str, str | dict[str, str]]] = [
        ("seeds", ", ".join(str(number) for number in range(seed, seed + seeds))),
        ("versions", ", ".join(f"{name} {version}" for name, version in facts.get("versions", {}).items())),
        ("machine", _machine(facts.get("machine", {}), facts.get("threads", 1))),
        ("started", _moment(facts.get("started", ""))),
        ("took", {key: f"{float(facts.get('seconds', 0)):.0f}\N{NO-BREAK SPACE}{unit}" for key, unit in _SECONDS}),
    ]
    dataset = facts["config"].get("dataset")
    if dataset:
        known = next((entry for entry in known_sets() if entry.name == dataset), None)
        rows.insert(0, ("data", f"{known.name}: {known.title} ({known.licence})" if known else str(dataset)))
    return {
        "command": str(facts.get("command", "")),
        "config": "\n".join(
            f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in facts["config"].items()
        ),
        "rows": rows,
    }


_SECONDS = (("en", PHRASES["seconds"][0]), ("zh", PHRASES["seconds"][1]))


def _machine(machine: dict[str, Any], threads: Any) -> dict[str, str]:
    words = [str(machine[key]) for key in ("system", "processor") if machine.get(key)]
    cores = machine.get("cores", "?")
    many = "" if str(cores) == "1" else "s"
    strings = "" if str(threads) == "1" else "s"
    return {
        "en": ", ".join([*words, f"{cores} core{many}", f"{threads} thread{strings}"]),
        "zh": "，".join([*words, f"{cores} 核", f"{threads} 线程"]),
    }


def _moment(text: Any) -> str:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return str(text)
    # A moment without a zone is one of ours, and those are UTC.
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def article_views(articles: Sequence[Article]) -> list[dict[str, Any]]:
    """Articles with their formula as MathML and their citation.

    Parameters
    ----------
    articles : sequence of Article
        The articles.

    Returns
    -------
    list of dict
        What the templates show.
    """
    return [
        {
            "article": article,
            "formula": _markup(mathml(article.formula)) if article.formula else None,
            "citation": citation(article),
            "bibtex": bibtex(article).strip(),
        }
        for article in articles
    ]
