"""The gallery: every article with its state, verdicts, key figure and time, and a page for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kexue.report.content import article_views, claim_views, how_to_repeat, picture_view, render
from kexue.report.page import run_page
from kexue.report.phrases import PHRASES
from kexue.runs.catalogue import Article, Catalogue, is_built, load_catalogue
from kexue.runs.claims import headline
from kexue.runs.run import Run
from kexue.runs.shipped import Shipped
from kexue.storage import write_text

__all__ = ["build_gallery"]


def build_gallery(out: Path, runs: Sequence[Run], shipped: Mapping[str, Shipped], *, built: Sequence[str]) -> Path:
    """Write the gallery: an index, a page an article, and a page for each finished run.

    Parameters
    ----------
    out : Path
        Folder of the pages; files of the same names are replaced.
    runs : sequence of Run
        The user's runs, oldest first; those of studies of the catalogue that have finished are shown.
    shipped : mapping of str to Shipped
        Shipped verdicts by study.
    built : sequence of str
        Names of the studies that can be run; the others are shown as planned.

    Returns
    -------
    Path
        The index page.

    Raises
    ------
    StorageError
        If a file of a run is damaged, or the disk refuses.
    """
    catalogue = load_catalogue()
    known = {study.name for study in catalogue.studies}
    finished = [run for run in runs if run.status == "finished" and run.study in known]
    links: dict[str, list[dict[str, str]]] = {}
    for run in finished:
        folder = f"{run.directory.parent.name}-{run.directory.name}"
        write_text(out / "runs" / f"{folder}.html", run_page(run, home="../index.html"))
        links.setdefault(run.study, []).append({"href": f"../runs/{quote(folder)}.html", "label": folder})
    latest = _latest(finished)
    views = {name: _study_view(catalogue, name, shipped, latest, links, built) for name in sorted(known)}
    cards = {}
    for article in catalogue.articles:
        studies = [views[name] for name in article.studies]
        write_text(out / "articles" / f"{article.slug}.html", _article_page(catalogue, article, studies))
        cards[article.slug] = _card(article, studies)
    return _index(out, catalogue, cards, list(views.values()))


def _latest(runs: Sequence[Run]) -> dict[str, Run]:
    """The last run of each study; one that decides goes before one that only shows."""
    latest: dict[str, Run] = {}
    for run in runs:
        if run.preset != "quick" or run.study not in latest or latest[run.study].preset == "quick":
            latest[run.study] = run
    return latest


def _study_view(
    catalogue: Catalogue,
    name: str,
    shipped: Mapping[str, Shipped],
    latest: Mapping[str, Run],
    links: Mapping[str, list[dict[str, str]]],
    built: Sequence[str],
) -> dict[str, Any]:
    """One study as its article's page shows it: the shipped verdict, else the last run of the user."""
    view: dict[str, Any] = {
        "study": catalogue.study(name),
        "state": "no_verdict" if name in built else "planned",
        "claims": [],
        "headline": {},
        "indicative": False,
        "quick": None,
        "figure": None,
        "how": None,
        "runs": links.get(name, []),
    }
    if name in shipped:
        verdict = shipped[name]
        origin, preset, quick = "shipped_verdict", verdict.preset, verdict.quick_seconds
        figure = verdict.figure and picture_view(verdict.figure, verdict.folder)
        claims, facts, where = verdict.claims, verdict.facts, verdict.folder / f"{name}.json"
    elif name in latest:
        run = latest[name]
        origin, preset, quick = "your_run", run.preset, run.seconds if run.preset == "quick" else None
        figure = picture_view(run.figures[0], run.directory) if run.figures else None
        claims, facts, where = run.claims, run.facts, run.directory / "run.json"
    else:
        return view
    counts = headline(claims)
    view |= {
        "state": view["state"] if not claims or any(counts.values()) else "only_ours",
        "origin": origin,
        "preset": preset,
        "claims": claim_views(claims),
        "headline": counts,
        "indicative": any(claim.indicative for claim in claims),
        "quick": None if quick is None else f"{quick:.0f}",
        "figure": figure,
        "how": how_to_repeat(facts, where),
    }
    return view


def _article_page(catalogue: Catalogue, article: Article, studies: Sequence[Mapping[str, Any]]) -> str:
    views = article_views([article])
    return render(
        "article.html",
        home="../index.html",
        title=article.title,
        article=article,
        parts=[{"name": part, "built": is_built(part)} for part in article.parts],
        category=catalogue.category(article.category).title,
        studies=studies,
        formula=views[0]["formula"],
        citations=views,
    )


def _card(article: Article, studies: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    with_claims = [study for study in studies if study["claims"]]
    # What decides nothing is not counted together with what does.
    decided = [study for study in with_claims if not study["indicative"]]
    states = [study["state"] for study in studies]
    words = [article.slug, article.title.en, article.title.zh, article.summary.en, article.summary.zh]
    words += [str(article.archive or ""), str(article.date), *article.studies, *article.parts]
    words += [word for paper in article.papers for word in (paper.title, paper.arxiv or "", paper.doi or "")]
    seconds = [int(study["quick"]) for study in with_claims if study["quick"] is not None]
    return {
        "article": article,
        "href": f"articles/{article.slug}.html",
        "state": next((state for state in ("only_ours", "no_verdict", "planned") if state in states), article.kind),
        "headline": _sum(decided or with_claims),
        "indicative": not decided,
        "figure": next((study["figure"] for study in with_claims if study["figure"] and study["figure"]["uri"]), None),
        "quick": str(sum(seconds)) if seconds else None,
        "index": " ".join(words).lower(),
    }


def _sum(studies: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for study in studies:
        for verdict, count in study["headline"].items():
            total[verdict] = total.get(verdict, 0) + count
    return total


def _index(
    out: Path,
    catalogue: Catalogue,
    cards: Mapping[str, dict[str, Any]],
    studies: Sequence[Mapping[str, Any]],
) -> Path:
    groups = []
    for category in catalogue.categories:
        members = [cards[article.slug] for article in catalogue.articles if article.category == category.slug]
        # What has a verdict comes first.
        members.sort(key=lambda card: (not card["headline"], -card["article"].date.toordinal()))
        groups.append({"slug": category.slug, "title": category.title, "cards": members})
    path = out / "index.html"
    write_text(
        path,
        render(
            "gallery.html",
            wide=True,
            title={"en": PHRASES["gallery_title"][0], "zh": PHRASES["gallery_title"][1]},
            headline=_sum([study for study in studies if not study["indicative"]]),
            planned=sum(card["state"] == "planned" and not card["headline"] for card in cards.values()),
            groups=groups,
            by_date=sorted(cards.values(), key=lambda card: card["article"].date, reverse=True),
        ),
    )
    return path
