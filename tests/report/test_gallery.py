"""The gallery: every article, its state, its verdicts, and pages that hang together."""

from __future__ import annotations

import json
import re
import shutil
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import pytest

from kexue.report import build_gallery
from kexue.runs import Run
from kexue.runs.catalogue import load_catalogue
from kexue.runs.shipped import read_shipped, ship

NAMES = ["index.html", "articles/maximum-entropy.html", "runs/maxent-standard-s1-00000000.html"]
BUILT = ["maxent", "knn-entropy", "mle-to-em"]


@pytest.fixture(scope="module")
def catalogue():
    return load_catalogue()


@pytest.fixture(scope="module")
def runs(make, tmp_path_factory):
    """Finished runs of two studies, one of them of two articles."""
    root = tmp_path_factory.mktemp("runs")
    return SimpleNamespace(
        quick=make.ordinary(root, preset="quick", indicative=True),
        standard=make.ordinary(root),
        pair=make.ordinary(root, study="mle-to-em"),
    )


@pytest.fixture(scope="module")
def shipped(runs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("verdicts")
    ship(runs.standard, folder, quick_seconds=3.6)
    ship(runs.pair, folder, quick_seconds=None)
    return read_shipped(folder)


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    return build_gallery(tmp_path_factory.mktemp("empty"), [], {}, built=BUILT)


@pytest.fixture(scope="module")
def full(runs, shipped, tmp_path_factory):
    return build_gallery(tmp_path_factory.mktemp("full"), [runs.quick, runs.standard, runs.pair], shipped, built=BUILT)


def read(parse, path):
    return parse(path.read_text(encoding="utf-8"))


def cards(page):
    """Each card by the slug of its article, in the order of the page."""
    found = {}
    for card in page.all("li", class_="card"):
        link = next(link for link in page.all("a") if card in link.parents)
        found[link.attributes["href"].removeprefix("articles/").removesuffix(".html")] = card
    return found


def test_every_article_has_a_card_a_line_and_a_page(parse, empty, catalogue):
    page = read(parse, empty)
    slugs = [article.slug for article in catalogue.articles]
    assert len(slugs) == 36
    assert sorted(cards(page)) == sorted(slugs)
    rows = [row for row in page.all("tr") if "data-index" in row.attributes]
    assert len(rows) == 36
    for article in catalogue.articles:
        own = read(parse, empty.parent / "articles" / f"{article.slug}.html")
        words = own.text()
        for text in (article.title.en, article.title.zh, article.summary.en, article.summary.zh):
            assert re.sub(r"\s+", " ", text).strip() in words
        assert str(article.date) in words
        assert bool(own.all("math")) is (article.formula is not None)
        assert all(part in re.sub(r"\. ", ".", words) for part in article.parts)
        assert not article.url or article.url in [link.attributes["href"] for link in own.all("a")]
        for study in article.studies:
            assert f"study-{study}" in own.ids


def test_what_has_no_verdict_says_what_it_is(parse, empty, catalogue):
    found = cards(page := read(parse, empty))
    states = {
        "maximum-entropy": "built, no shipped verdict yet",
        # One of its studies is built, the other is planned.
        "entropic-autoencoder": "built, no shipped verdict yet",
        "word-vectors": "planned",
    }
    kinds = {"example": "an example, without a study", "design": "the design of these pages"}
    states |= {article.slug: kinds[article.kind] for article in catalogue.articles if not article.studies}
    assert len(states) > 3
    for slug, state in states.items():
        assert f"{state} " in page.text(found[slug])
        own = read(parse, empty.parent / "articles" / f"{slug}.html")
        assert state in own.text()
    counted = sum(" planned " in f"{page.text(card)} ".replace("计划中", "") for card in found.values())
    assert f"{counted} planned {counted} 篇计划中" in page.text()
    assert counted > 20


def test_cards_by_category_verdicts_first_then_the_latest(parse, full, catalogue):
    page = read(parse, full)
    order = list(cards(page))
    expected = []
    for category in catalogue.categories:
        members = [article for article in catalogue.articles if article.category == category.slug]
        judged = {"maximum-entropy", "likelihood-to-em", "gradient-descent-and-em"}
        members.sort(key=lambda article: article.date, reverse=True)
        members.sort(key=lambda article: article.slug not in judged)
        expected += [article.slug for article in members]
    assert order == expected
    # Without its verdict the oldest article of a category is not its first.
    assert order[0] == "maximum-entropy"
    headings = [heading.attributes["id"] for heading in page.all("h2")]
    assert headings == [*(category.slug for category in catalogue.categories), "by-date"]
    dates = [
        page.text(cell) for cell in page.all("td", class_="number") if re.fullmatch(r"\d{4}-\d\d-\d\d", page.text(cell))
    ]
    assert dates == sorted((str(article.date) for article in catalogue.articles), reverse=True)


def test_the_search_index_holds_what_people_look_for(parse, empty, catalogue):
    found = cards(read(parse, empty))
    for article in catalogue.articles:
        index = found[article.slug].attributes["data-index"]
        assert index == index.lower()
        wanted = [
            article.slug,
            article.title.en,
            article.title.zh,
            article.summary.zh,
            str(article.date),
            *article.studies,
        ]
        wanted += [str(article.archive)] if article.archive else []
        wanted += [paper.arxiv for paper in article.papers if paper.arxiv]
        for words in wanted:
            assert words.lower() in index
    rows = [row for row in read(parse, empty).all("tr") if "data-index" in row.attributes]
    assert {row.attributes["data-index"] for row in rows} == {card.attributes["data-index"] for card in found.values()}


def test_links_go_to_what_was_written(parse, full):
    pages = {path: read(parse, path) for path in full.parent.rglob("*.html")}
    assert len(pages) == 1 + 36 + 3
    inside = downloads = 0
    for path, page in pages.items():
        assert len(page.ids) == len(set(page.ids)), path
        for link in page.all("a"):
            address = urlsplit(link.attributes["href"])
            if address.scheme == "data":
                assert link.attributes["href"].startswith("data:text/csv;base64,")
                assert link.attributes["download"].endswith(".csv")
                downloads += 1
                continue
            if address.scheme:
                assert address.scheme == "https"
                continue
            inside += 1
            target = (path.parent / unquote(address.path)).resolve() if address.path else path
            assert target in pages, f"{path}: {address}"
            assert not address.fragment or address.fragment in pages[target].ids, f"{path}: {address}"
    assert inside > 200
    assert downloads > 0


def test_shipped_verdicts_are_shown(parse, full, shipped):
    index = read(parse, full)
    found = cards(index)
    words = index.text(found["maximum-entropy"])
    assert "✓ 1 reproduced 1 项已复现 ✗ 1 not reproduced 1 项未复现 ? 1 undecided 1 项未定" in words
    assert "quick takes quick 用时 4 s 秒" in words
    assert "indicative" not in words
    (image,) = [image for image in index.all("img") if found["maximum-entropy"] in image.parents]
    assert image.attributes["alt"] == "A line that rises"
    page = read(parse, full.parent / "articles" / "maximum-entropy.html")
    words = page.text()
    assert "Shipped verdict 随包发布的结论 · preset 预设 standard" in words
    for claim in shipped["maxent"].claims:
        assert claim.claim in words
    assert len(page.all("li", class_="claim")) == 4
    assert page.all("figure", id="maxent-figure")
    assert "kexue run maxent standard" in words
    # The runs of the user are there besides.
    assert [link.attributes["href"] for link in page.all("a") if "../runs/" in link.attributes["href"]] == [
        "../runs/maxent-quick-s1-00000000.html",
        "../runs/maxent-standard-s1-00000000.html",
    ]
    (home,) = [link for link in page.all("a") if any(parent.tag == "header" for parent in link.parents)]
    assert home.attributes["href"] == "../index.html"


def test_a_study_of_two_articles_counts_once(parse, full, catalogue):
    assert len(catalogue.study("mle-to-em").articles) == 2
    index = read(parse, full)
    total = next(element for element in index.all("p") if index.text(element).startswith("✓"))
    assert index.text(total).startswith("✓ 2 reproduced 2 项已复现 ✗ 2 not reproduced")


def test_without_a_shipped_verdict_the_run_that_decides_is_shown(parse, runs, tmp_path):
    for number, order in enumerate(([runs.quick, runs.standard], [runs.standard, runs.quick])):
        index = build_gallery(tmp_path / str(number), order, {}, built=BUILT)
        words = read(parse, index.parent / "articles" / "maximum-entropy.html").text()
        assert "Your own run 你自己的运行 · preset 预设 standard" in words
        assert "indicative" not in words


def test_a_quick_run_is_shown_as_one_that_decides_nothing(parse, runs, tmp_path):
    index = read(parse, path := build_gallery(tmp_path, [runs.quick], {}, built=BUILT))
    words = index.text(cards(index)["maximum-entropy"])
    assert "✓ indicative: 参考： 1 reproduced" in words
    # It is not counted among what was found.
    lead = next(element for element in index.all("p") if "planned" in index.text(element))
    assert "reproduced" not in index.text(lead)
    assert "decides nothing" in read(parse, path.parent / "articles" / "maximum-entropy.html").text()


def test_an_article_with_our_own_bounds_only(make, parse, tmp_path):
    with make.begin(tmp_path) as record:
        record.claim("c", source="ours", measured=1.0, relation="<", bound=2.0, scale="s")
        record.finish()
    path = build_gallery(tmp_path / "out", [Run(record.directory)], {}, built=BUILT)
    index = read(parse, path)
    assert "our own bounds only 仅有本库自设的界限" in index.text(cards(index)["maximum-entropy"])
    assert "our own bounds only" in read(parse, path.parent / "articles" / "maximum-entropy.html").text()


def test_figures_that_may_not_be_printed_are_on_no_page(make, parse, runs, tmp_path):
    run = Run(shutil.copytree(runs.standard.directory, tmp_path / "maxent" / "run"))
    run = make.change(run, figures=[{**run.facts["figures"][0], "prints": "att-faces-300"}])
    path = build_gallery(tmp_path / "out", [run], {}, built=BUILT)
    for page in path.parent.rglob("*.html"):
        assert not read(parse, page).all("img"), page
    assert "licence does not let" in read(parse, path.parent / "articles" / "maximum-entropy.html").text()


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>{{ 7*7 }}</style>'])
def test_a_text_from_outside_stays_text_in_the_gallery(make, parse, tmp_path, text):
    shapes = []
    for number, word in enumerate(("harmless", text)):
        path = build_gallery(tmp_path / f"out-{number}", [make.filled(tmp_path / str(number), word)], {}, built=BUILT)
        pages = [read(parse, path.parent / name) for name in NAMES]
        shapes.append([page.shape for page in pages])
        assert [word in page.text() for page in pages] == [False, True, True]
        assert [image.attributes["alt"] for page in pages for image in page.all("img")] == [word] * 3
    assert shapes[0] == shapes[1]


def test_folders_with_odd_names_are_linked(make, parse, runs, tmp_path):
    odd = "quick #1 %41 熵 'a' & b"
    run = Run(shutil.copytree(runs.quick.directory, tmp_path / "maxent" / odd))
    path = build_gallery(tmp_path / "out", [run], {}, built=BUILT)
    page = read(parse, path.parent / "articles" / "maximum-entropy.html")
    (link,) = [link for link in page.all("a") if "../runs/" in link.attributes["href"]]
    assert page.text(link) == f"maxent-{odd}"
    assert (path.parent / "articles" / unquote(urlsplit(link.attributes["href"]).path)).resolve().is_file()


def test_two_copies_of_a_run_have_a_page_each(runs, tmp_path):
    copies = [Run(shutil.copytree(runs.quick.directory, tmp_path / name / "quick")) for name in ("maxent", "older")]
    path = build_gallery(tmp_path / "out", copies, {}, built=BUILT)
    assert sorted(page.name for page in (path.parent / "runs").iterdir()) == ["maxent-quick.html", "older-quick.html"]


def test_runs_that_have_not_finished_or_are_unknown_are_passed_over(make, runs, tmp_path):
    unfinished = make.change(Run(shutil.copytree(runs.quick.directory, tmp_path / "maxent" / "a")), status="failed")
    unknown = make.change(Run(shutil.copytree(runs.quick.directory, tmp_path / "other" / "b")), study="../../other")
    path = build_gallery(tmp_path / "out", [unfinished, unknown], {}, built=BUILT)
    assert not (path.parent / "runs").exists()
    assert not (tmp_path / "other.html").exists()


def test_building_again_gives_the_same_bytes(runs, shipped, full, tmp_path):
    def content(folder):
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    first = content(full.parent)
    again = build_gallery(tmp_path, [runs.quick, runs.standard, runs.pair], shipped, built=BUILT)
    assert content(again.parent) == first
    build_gallery(tmp_path, [runs.quick, runs.standard, runs.pair], shipped, built=BUILT)
    assert content(again.parent) == first


def test_a_damaged_shipped_verdict_is_told(runs, tmp_path):
    ship(runs.standard, tmp_path, quick_seconds=None)
    path = tmp_path / "maxent.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | {"facts": {}}), encoding="utf-8")
    with pytest.raises(RuntimeError, match=r"maxent\.json is damaged: .*seed"):
        build_gallery(tmp_path / "out", [], read_shipped(tmp_path), built=BUILT)
