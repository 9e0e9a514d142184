"""The gallery: every article with its state, verdicts, key figure and time, and a page for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kexue.report.content import article_views, claim_views, how_to_repeat, picture_view, render
from kexue.report.page import run_page
from kexue.report.phrases import PHRASES
from kexue.runs.catalogue import Article, Catalogue, load_catalogue
from kexue.runs.claims import headline
from kexue.runs.run import Run
from kexue.runs.shipped import Shipped
from kexue.runs.storage import write_text

__all__ = ["build_gallery"]


def build_gallery(out: Path, runs: Sequence[Run], shipped: Mapping[str, Shipped], *, built: Sequence[str]) -> Path:
    """Write the gallery: an index, a page an article, and a page for each finished run.

    Parameters
    ----------
    out : Path
        Folder of the pages; files of the same names are replaced.
    runs : sequence of Run
        The user's runs, oldest first; those that have finished are shown.
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
    finished = [run for run in runs if run.status == "finished"]
    links: dict[str, list[dict[str, str]]] = {}
    for run in finished:
        file = f"runs/{run.study}-{run.directory.name}.html"
        write_text(out / file, run_page(run, home="../index.html"))
        links.setdefault(run.study, []).append({"href": f"../{file}", "label": f"{run.study} {run.directory.name}"})
    latest = {run.study: run for run in finished}
    cards = {}
    for article in catalogue.articles:
        studies = [_study_view(catalogue, name, shipped, latest, links, built) for name in article.studies]
        write_text(out / "articles" / f"{article.slug}.html", _article_page(catalogue, article, studies))
        cards[article.slug] = _card(article, studies)
    return _index(out, catalogue, cards)


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
        "quick": None,
        "figure": None,
        "how": None,
        "runs": links.get(name, []),
    }
    if name in shipped:
        verdict = shipped[name]
        quick = verdict.quick_seconds
        figure = verdict.figure and picture_view(verdict.figure, verdict.folder)
        claims, facts = verdict.claims, verdict.facts
    elif name in latest:
        run = latest[name]
        quick = run.seconds if run.preset == "quick" else None
        figure = picture_view(run.figures[0], run.directory) if run.figures else None
        claims, facts = run.claims, run.facts
    else:
        return view
    view |= {
        "claims": claim_views(claims),
        "headline": headline(claims),
        "quick": None if quick is None else f"{quick:.0f}",
        "figure": figure,
        "how": how_to_repeat(facts),
    }
    return view


def _article_page(catalogue: Catalogue, article: Article, studies: Sequence[Mapping[str, Any]]) -> str:
    views = article_views([article])
    return render(
        "article.html",
        home="../index.html",
        title=article.title,
        article=article,
        category=catalogue.category(article.category).title,
        studies=studies,
        formula=views[0]["formula"],
        citations=views,
    )


def _card(article: Article, studies: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    with_claims = [study for study in studies if study["claims"]]
    counts: dict[str, int] = {}
    for study in with_claims:
        for verdict, count in study["headline"].items():
            counts[verdict] = counts.get(verdict, 0) + count
    words = [article.slug, article.title.en, article.title.zh, article.summary.en, article.summary.zh]
    words += [str(article.archive or ""), str(article.date), *article.studies, *article.parts]
    seconds = [float(study["quick"]) for study in with_claims if study["quick"] is not None]
    return {
        "article": article,
        "href": f"articles/{article.slug}.html",
        "state": studies[0]["state"] if studies else article.kind,
        "headline": counts,
        "figure": next((study["figure"] for study in with_claims if study["figure"]), None),
        "quick": f"{sum(seconds):.0f}" if seconds else None,
        "index": " ".join(words).lower(),
    }


def _index(out: Path, catalogue: Catalogue, cards: Mapping[str, dict[str, Any]]) -> Path:
    total: dict[str, int] = {}
    for card in cards.values():
        for verdict, count in card["headline"].items():
            total[verdict] = total.get(verdict, 0) + count
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
            headline=total,
            planned=sum(card["state"] == "planned" for card in cards.values()),
            groups=groups,
            by_date=sorted(cards.values(), key=lambda card: card["article"].date, reverse=True),
        ),
    )
    return path
