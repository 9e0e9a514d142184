"""The page of one run: verdicts first, then the idea, figures, tables, how to repeat it, and whom to cite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kexue.report.content import (
    article_views,
    claim_views,
    how_to_repeat,
    picture_view,
    render,
    table_views,
    text_views,
)
from kexue.report.phrases import STATUSES
from kexue.runs.catalogue import UnknownNameError, load_catalogue
from kexue.runs.run import Run
from kexue.storage import StorageError, write_text

__all__ = ["run_fragment", "run_page", "write_run_page"]


def run_page(run: Run, *, home: str | None = None) -> str:
    """The page of a run as HTML that needs nothing from outside.

    Parameters
    ----------
    run : Run
        The run.
    home : str, optional
        Address of the gallery that the page belongs to.

    Returns
    -------
    str
        The page.

    Raises
    ------
    StorageError
        If a file of the run is missing or damaged, or its study is not in the catalogue.
    """
    return render("run.html", home=home, **_view(run))


def _view(run: Run) -> dict[str, Any]:
    catalogue = load_catalogue()
    where = run.directory / "run.json"
    try:
        study = catalogue.study(run.study)
    except UnknownNameError as error:
        raise StorageError(f"{where}: {error}") from None
    if run.status not in STATUSES:
        raise StorageError(f"{where} is damaged: status must be one of {', '.join(STATUSES)}, got {run.status!r}")
    how = how_to_repeat(run.facts, where)
    claims = run.claims
    figures = [picture_view(figure, run.directory) for figure in run.figures]
    texts, tables = text_views(run), table_views(run)
    contents = ["verdicts", "idea", *(["figures"] if figures or texts else []), *(["tables"] if tables else [])]
    return {
        "title": study.title,
        "study": study,
        "preset": run.preset,
        "status": {"en": STATUSES[run.status][0], "zh": STATUSES[run.status][1]},
        "headline": run.headline,
        "indicative": any(claim.indicative for claim in claims),
        "claims": claim_views(claims),
        "articles": article_views([catalogue.article(slug) for slug in study.articles]),
        "figures": figures,
        "texts": texts,
        "tables": tables,
        "how": how,
        "contents": [(key, key) for key in [*contents, "reproduce", "citation"]],
    }


def run_fragment(run: Run) -> str:
    """The page of a run for a notebook: in a frame of its own, so that styles do not mix.

    Parameters
    ----------
    run : Run
        The run.

    Returns
    -------
    str
        An ``<iframe>`` that holds the page.

    Raises
    ------
    StorageError
        As `run_page`.
    """
    from html import escape

    return (
        f'<iframe srcdoc="{escape(run_page(run), quote=True)}" title="kexue {escape(run.study, quote=True)}" '
        'style="width:100%;height:40rem;border:0" sandbox="allow-scripts"></iframe>'
    )


def write_run_page(run: Run) -> Path:
    """Write ``report.html`` into the folder of a run.

    Parameters
    ----------
    run : Run
        The run.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    StorageError
        If a file of the run is missing or damaged, or the disk refuses.
    """
    path = run.directory / "report.html"
    write_text(path, run_page(run))
    return path
