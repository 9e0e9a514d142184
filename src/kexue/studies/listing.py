"""What the terminal says of studies, runs and data sets."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

from kexue.runs.catalogue import Article, Text, UnknownNameError, is_built, load_catalogue
from kexue.runs.claims import Claim
from kexue.runs.run import Run, find_runs
from kexue.runs.shipped import read_shipped
from kexue.storage import StorageError
from kexue.studies.runner import VERDICTS, built

__all__ = ["brief", "data_check", "data_listing", "listing", "outcome"]

_MARKS = {"reproduced": "✓", "not reproduced": "✗", "undecided": "?"}


def listing(out: Path, *, planned: bool = False) -> str:
    """Every study that can be run: name, archive ids, article, shipped verdicts, time of quick, the last result.

    Parameters
    ----------
    out : Path
        Folder of the user's runs.
    planned : bool, default False
        Whether studies that are not built yet are named, too.

    Returns
    -------
    str
        A table; tab-separated lines where standard output is no terminal.
    """
    catalogue = load_catalogue()
    shipped = read_shipped(VERDICTS)
    last = {run.study: run for run in find_runs(out)}
    can_run = built()
    rows = []
    for study in catalogue.studies:
        if study.name not in can_run and not planned:
            continue
        articles = [catalogue.article(slug) for slug in study.articles]
        verdict = shipped.get(study.name)
        seconds = verdict.quick_seconds if verdict else None
        rows.append(
            [
                study.name,
                " ".join(str(article.archive) for article in articles if article.archive is not None),
                in_language(articles[0].title) if articles else "",
                (_counts(verdict.headline) if verdict else "–") if study.name in can_run else "planned",
                "–" if seconds is None else f"{seconds:.0f} s",
                _last(last.get(study.name)),
            ]
        )
    text = _table(["study", "archive", "article", "article's verdicts", "quick", "your last result"], rows)
    if not planned:
        text += f"\n{len(catalogue.studies) - len(rows)} more studies are planned: kexue list --planned"
    return text


def _last(run: Run | None) -> str:
    if run is None:
        return "–"
    if run.status != "finished":
        return f"{run.preset}, {run.status}"
    try:
        return f"{run.preset}, {_counts(run.headline)}"
    except StorageError:
        return f"{run.preset}, damaged"


def _counts(counts: dict[str, int]) -> str:
    return " ".join(f"{_MARKS[verdict]}{count}" for verdict, count in counts.items() if count) or "none"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not sys.stdout.isatty():
        return "\n".join("\t".join(cells) for cells in [columns, *rows])
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text as Cell

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Cell(cell) for cell in row))
    text = StringIO()
    width = os.get_terminal_size(sys.stdout.fileno()).columns
    Console(file=text, width=width or 80).print(table)
    return text.getvalue().rstrip("\n")


def in_language(text: Text) -> str:
    """The text in the language of the user's environment: Chinese where that is Chinese, English elsewhere."""
    language = next((os.environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if os.environ.get(name)), "")
    return text.zh if language.lower().startswith("zh") else text.en


def brief(name: str, out: Path) -> str:
    """An article in brief: what it is about, verdicts, the part in three lines, when to use it.

    Parameters
    ----------
    name : str
        Name of a study or part, or slug or archive id of an article.
    out : Path
        Folder of the user's runs.

    Returns
    -------
    str
        Several paragraphs.

    Raises
    ------
    UnknownNameError
        If there is no such study, article or part.
    """
    catalogue = load_catalogue()
    articles = [
        article
        for article in catalogue.articles
        if name.casefold() in {part.rpartition(".")[2].casefold() for part in article.parts if is_built(part)}
    ]
    studies = [catalogue.study(study) for article in articles for study in article.studies]
    if not articles:
        try:
            articles = [catalogue.article(name)]
            studies = [catalogue.study(study) for study in articles[0].studies]
        except UnknownNameError:
            try:
                studies = [catalogue.study(name)]
            except UnknownNameError:
                modules = _modules_citing(name)
                if not modules:
                    raise
                raise UnknownNameError(
                    f"no study is about article {name}; it is the source of parts in {', '.join(modules)}: "
                    "their documentation says which"
                ) from None
            articles = [catalogue.article(slug) for slug in studies[0].articles]
    shipped = read_shipped(VERDICTS)
    last = {run.study: run for run in find_runs(out)}
    can_run = built()
    paragraphs = [_about(article) for article in articles]
    for study in studies:
        lines = [
            f"study {study.name}: {in_language(study.title)}",
            f"  use when: {in_language(study.use_when)}",
            f"  prefer instead: {in_language(study.prefer_instead)}",
        ]
        if study.three_lines and study.name in can_run:
            lines += ["", *(f"    {line}" for line in study.three_lines.strip().splitlines()), ""]
        if study.name not in can_run:
            lines.append("  planned, not built yet")
        elif study.name in shipped:
            lines += _claims(shipped[study.name].claims)
        elif study.name in last and last[study.name].status == "finished":
            lines += ["  no shipped verdict yet; of your last run:", *_claims(last[study.name].claims)]
        else:
            lines.append(f"  no verdict yet: kexue run {study.name}")
        paragraphs.append("\n".join(lines))
    return "\n\n".join(paragraphs)


def _modules_citing(archive: str) -> list[str]:
    """Modules of parts whose documentation names an article."""
    if not archive.isdecimal():
        return []
    package = Path(__file__).parents[1]
    return [
        ".".join(["kexue", *path.relative_to(package).with_suffix("").parts])
        for path in sorted(package.rglob("*.py"))
        if re.search(rf"archives/{archive}\b", path.read_text(encoding="utf-8"))
    ]


def _about(article: Article) -> str:
    head = f"{article.title.zh}\n{article.title.en}\n{article.date}"
    if article.url is not None:
        head += f"  {article.url}"
    named = [part if is_built(part) else f"{part} (planned)" for part in article.parts]
    parts = f"\nparts: {', '.join(named)}" if named else ""
    return f"{head}\n\n{in_language(article.summary)}{parts}"


def _claims(claims: Sequence[Claim]) -> list[str]:
    lines, before = [], None
    for claim in sorted(claims, key=lambda claim: claim.source == "ours"):
        # A long set-up that many claims share is read once.
        line = claim.line.removesuffix(claim.scale) + "same scale" if claim.scale == before else claim.line
        lines.append(f"  {_MARKS[claim.verdict]} {line}")
        before = claim.scale
    if any(claim.verdict == "undecided" for claim in claims):
        lines.append("  undecided: by the seeds, the difference may be on either side (95 % interval)")
    return lines


def outcome(run: Run) -> str:
    """What a finished run found: its claims, a line each, and where its page is.

    Parameters
    ----------
    run : Run
        The run.

    Returns
    -------
    str
        Several lines.
    """
    lines = [f"{run.study} {run.preset}: {run.status} in {run.seconds:.0f} s"]
    lines += _claims(run.claims)
    lines.append(f"verdicts of the article and its papers: {_counts(run.headline)}")
    if any(claim.indicative for claim in run.claims):
        lines.append(f"{run.preset} shows, and decides nothing: kexue run {run.study} standard decides")
        shipped = read_shipped(VERDICTS).get(run.study)
        if shipped is not None:
            minutes = max(1, round(float(shipped.facts["seconds"]) / 60))
            lines[-1] += f"; it took {minutes} min for the verdict of this package: kexue show {run.study}"
    lines.append(str(run.directory / "report.html"))
    return "\n".join(lines)


def data_listing(data_dir: Path | None) -> str:
    """Known data sets: name, size, licence, whether it is there, and where.

    Parameters
    ----------
    data_dir : Path or None
        Folder where they are looked for first.

    Returns
    -------
    str
        A table; tab-separated lines where standard output is no terminal.
    """
    from kexue.data import describe

    columns = ["name", "title", "size", "licence", "fetch", "state", "folder"]
    return _table(columns, [[row[column] for column in columns] for row in describe(data_dir)])


def data_check(names: Sequence[str], data_dir: Path | None) -> tuple[str, bool]:
    """Compare data sets with their checksums.

    Parameters
    ----------
    names : sequence of str
        Names of data sets; all that are there if empty.
    data_dir : Path or None
        Folder where they are looked for first.

    Returns
    -------
    tuple of str and bool
        A table, a line a file; and whether every file is right.
    """
    from kexue.data import check, known_sets, locate

    there = [entry.name for entry in known_sets() if locate(entry, data_dir=data_dir).state != "missing"]
    rows = []
    right = True
    for name in names or there:
        for file in check(name, data_dir=data_dir):
            right = right and file.state == "ok"
            detail = f"expected {file.expected}, got {file.got}" if file.state == "corrupted" else str(file.path or "")
            rows.append([name, file.name, file.state, detail])
    return _table(["set", "file", "state", "detail"], rows), right
