"""The documentation builds without a warning and without a network, and holds what it promises."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from kexue.runs.catalogue import load_catalogue
from kexue.runs.shipped import read_shipped
from kexue.studies import built
from kexue.studies.runner import VERDICTS

DOCS = Path(__file__).parents[2] / "docs"
ARTICLES = [a for a in load_catalogue().articles if a.kind != "study" or any(name in built() for name in a.studies)]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    outcome = subprocess.run(
        [*command, "-d", str(folder / "doctrees"), str(DOCS), str(folder / "html")],
        capture_output=True,
        text=True,
        encoding="utf-8",
        # A proxy that is not there: whatever asks for the network fails.
        env={
            **os.environ,
            "PYTHONWARNINGS": "",
            "https_proxy": "http://127.0.0.1:9",
            "http_proxy": "http://127.0.0.1:9",
        },
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    return folder / "html"


class Links(HTMLParser):
    """What a page loads or points to, and its anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if found.get("id"):
            self.anchors.add(found["id"])
        if tag in ("script", "img") and found.get("src"):
            self.loads.append(found["src"])
        if tag == "link" and "stylesheet" in found.get("rel", ""):
            self.loads.append(found["href"])
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def test_no_page_loads_anything_from_elsewhere_and_no_link_is_dead(site):
    pages = {page: Links(text_of(page)) for page in site.rglob("*.html")}
    assert len(pages) > 60
    for page, links in pages.items():
        for target in links.loads:
            assert not urlsplit(target).scheme or target.startswith("data:"), f"{page.name} loads {target}"
        for target in links.links:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            goal = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            assert goal.is_file(), f"{page.relative_to(site)} points to {target}"
            if parts.fragment and goal.suffix == ".html" and goal in pages:
                assert unquote(parts.fragment) in pages[goal].anchors, f"{page.relative_to(site)}: {target}"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_index_has_every_article(site, language):
    page = text_of(site / ("index.html" if language == "en" else "zh/index.html"))
    shown = html.unescape(re.sub("<[^>]+>", "", page))
    assert f'lang="{"en" if language == "en" else "zh-Hans"}"' in page
    for article in ARTICLES:
        assert getattr(article.title, language) in shown
        assert f'id="{language}-{article.archive or article.slug}"' in page
        for name in article.studies:
            study = load_catalogue().study(name)
            assert getattr(study.use_when, language) in shown
            assert getattr(study.prefer_instead, language) in shown
            for line in (study.three_lines or "").splitlines():
                assert line.strip() in shown


def test_the_reference_has_every_part_with_its_verdict(site):
    anchors, verdicts = set(), 0
    for page in (site / "api").glob("*.html"):
        text = text_of(page)
        anchors |= Links(text).anchors
        verdicts += len(re.findall(r'<div class="verdict', text))
        assert "<math" in text or page.stem not in ("probability", "attention", "relaxation")
    shipped = read_shipped(VERDICTS)
    parts = {part for a in ARTICLES if any(name in shipped for name in a.studies) for part in a.parts}
    missing = {part for part in parts if part not in anchors and f"module-{part}" not in anchors}
    assert not missing
    assert verdicts >= len(parts & anchors) > 60


@pytest.mark.parametrize("name", ["glossary", "guide/model", "zh/model"])
def test_parts_that_are_named_are_links(site, name):
    named = re.findall(r"{py:\w+}`[^`]*?(kexue\.[.\w]+)>?`", text_of(DOCS / f"{name}.md"))
    page = text_of(site / f"{name}.html")
    assert len(named) > (30 if name == "glossary" else 0)
    for part in named:
        assert f'#{part}"' in page or f'#module-{part}"' in page, part


def test_the_benchmarks_are_all_there(site):
    rows = re.findall(r"^\| (?!part |---)", text_of(DOCS.parent / "benchmarks" / "RESULTS.md"), flags=re.MULTILINE)
    page = text_of(site / "benchmarks.html")
    assert page.count("<tr") - page.count("<thead>") == len(rows) > 100


@pytest.mark.chromium
def test_no_page_scrolls_sideways_on_a_phone(site, chromium):
    window = chromium.new_context(viewport={"width": 360, "height": 800}, java_script_enabled=False).new_page()
    for page in sorted(site.rglob("*.html")):
        if "gallery" not in page.parts:  # those have tests of their own
            window.goto(page.as_uri())
            assert window.evaluate("document.documentElement.scrollWidth") <= 360, page.name
