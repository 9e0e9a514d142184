"""The pages in Chromium: on a phone, without a script, in Chinese, in the dark, by keyboard and on paper."""

from __future__ import annotations

import re
import shutil
import subprocess
from contextlib import contextmanager

import pytest

pytestmark = pytest.mark.chromium

PAGES = ["index", "article", "wide_article", "wide_run"]
PHONE = {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def windows(chromium):
    """Windows by their options: to open one takes longer than most of what is done in it."""
    opened = {}

    def window(**options):
        key = tuple(sorted(options.items()))
        if key not in opened:
            opened[key] = chromium.new_context(**{"viewport": PHONE, "locale": "en-US", **options}).new_page()
        return opened[key]

    yield window
    for page in opened.values():
        page.context.close()


@pytest.fixture
def visit(windows, site):
    """Open a page, as if for the first time; nothing may be asked of the outside, and nothing may fail."""

    @contextmanager
    def opened(name, **options):
        page = windows(**options)
        page.set_viewport_size(PHONE)
        requests, complaints = [], []
        listeners = {
            "request": lambda request: requests.append(request.url),
            "console": lambda message: complaints.append(message.text),
            "pageerror": lambda error: complaints.append(str(error)),
        }
        for event, listener in listeners.items():
            page.on(event, listener)
        try:
            page.goto(getattr(site, name).as_uri())
            yield page
            assert requests
            assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
            assert complaints == []
        finally:
            for event, listener in listeners.items():
                page.remove_listener(event, listener)
            page.evaluate("() => localStorage.clear()")
            page.emulate_media(media="screen", color_scheme=options.get("color_scheme", "light"))

    return opened


def spoken(page):
    """The languages in which the heading of the page is shown."""
    spans = page.locator("h1 [lang]")
    return spans.evaluate_all("all => all.filter(one => one.getClientRects().length).map(one => one.lang)")


@pytest.mark.parametrize("name", PAGES)
def test_no_page_scrolls_sideways_on_a_phone(visit, name):
    with visit(name) as page:
        # Nor when everything that folds is open.
        page.evaluate("() => document.querySelectorAll('details').forEach(element => { element.open = true; })")
        for language in ("en", "zh"):
            page.locator(f"label[for=lang-{language}]").click()
            widths, outside = page.evaluate(
                """() => [[document.documentElement.scrollWidth, document.documentElement.clientWidth],
                   // And nothing lies cut off outside of the window, except in a box that scrolls.
                   [...document.querySelectorAll("main *, header *, footer *")].filter(element =>
                     !element.closest(".scroll, pre, math, svg") && element.getBoundingClientRect().right > 360.5
                   ).map(element => element.outerHTML.slice(0, 80))]"""
            )
            assert widths == [360, 360], language
            assert outside == [], language


def test_what_is_wide_scrolls_in_its_own_box(visit):
    with visit("wide_run") as page:
        wide = page.evaluate(
            """() => Object.fromEntries([".formula", "#table-1 .scroll", "#figure-1 .scroll", "pre"].map(name => {
                 const box = document.querySelector(name);
                 return [name, box.scrollWidth > box.clientWidth && getComputedStyle(box).overflowX === "auto"
                   && box.tabIndex === 0];
               }))"""
        )
        assert wide == {".formula": True, "#table-1 .scroll": True, "#figure-1 .scroll": True, "pre": True}


def test_pictures_shrink_as_far_as_they_can_be_read(visit):
    width = "() => document.querySelector('#figure-1 img').getBoundingClientRect().width"
    with visit("wide_run") as page:
        assert page.evaluate(width) == pytest.approx(26 * 16, abs=1)
        page.set_viewport_size({"width": 1280, "height": 800})
        assert 26 * 17 < page.evaluate(width) <= page.locator("#figure-1 .scroll").bounding_box()["width"]


@pytest.mark.parametrize("name", ["article", "wide_run"])
def test_formulas_and_pictures_are_drawn(visit, name):
    with visit(name) as page:
        for language in ("en", "zh"):
            page.locator(f"label[for=lang-{language}]").click()
            formula, fonts, pictures = page.evaluate(
                """() => [document.querySelector("math").getBoundingClientRect(),
                   ["math", "pre code"].map(name => getComputedStyle(document.querySelector(name)).fontFamily),
                   [...document.images].map(one => one.complete && one.naturalWidth > 0
                                                   && one.getBoundingClientRect().height > 100)]"""
            )
            assert formula["width"] > 100
            assert formula["height"] > 20
            # Letters of formulas keep their font in both languages, and so does code.
            assert "STIX Two Math" in fonts[0]
            assert "Menlo" in fonts[1]
            assert pictures == [True]


@pytest.mark.parametrize("script", [True, False])
@pytest.mark.parametrize("name", ["index", "run"])
def test_the_language_is_switched_with_and_without_a_script(visit, name, script):
    with visit(name, java_script_enabled=script) as page:
        for language, other in (("en", "zh"), ("zh", "en"), ("en", "zh")):
            if spoken(page) != [language]:
                page.locator(f"label[for=lang-{language}]").click()
            assert spoken(page) == [language]
            drawn = page.evaluate(
                """() => ["en", "zh"].map(language =>
                     [...document.querySelectorAll(`.page [lang=${language}]:not(.only)`)]
                       .filter(span => span.getClientRects().length > 0).length)"""
            )
            drawn = dict(zip(("en", "zh"), drawn, strict=True))
            assert drawn[language] > 20
            assert drawn[other] == 0


def test_the_language_is_switched_by_keyboard_and_focus_is_seen(visit):
    with visit("run") as page:
        page.keyboard.press("Tab")
        assert page.evaluate("() => document.activeElement.id") == "lang-en"
        assert page.locator(".languages").evaluate("box => getComputedStyle(box).outlineStyle") == "solid"
        page.keyboard.press("ArrowRight")
        assert spoken(page) == ["zh"]
        assert page.evaluate("() => document.documentElement.lang") == "zh"
        page.keyboard.press("ArrowLeft")
        assert spoken(page) == ["en"]


@pytest.mark.parametrize("name", ["index", "run"])
def test_focus_is_seen_on_everything_that_takes_it(visit, name):
    with visit(name) as page:
        page.keyboard.press("Tab")
        seen = set()
        for _ in range(9):
            page.keyboard.press("Tab")
            tag, style, width, left = page.evaluate(
                """() => { const one = document.activeElement, style = getComputedStyle(one);
                     return [one.tagName + "." + one.className, style.outlineStyle, parseFloat(style.outlineWidth),
                             one.getBoundingClientRect().left]; }"""
            )
            assert (style, width >= 2, left >= 0) == ("solid", True, True), tag
            seen.add(tag)
        assert "A.skip" in seen
        assert len(seen) > 2


def test_the_language_is_remembered_from_page_to_page(visit):
    with visit("index") as page:
        page.locator("label[for=lang-zh]").click()
        page.locator(".card a").first.click()
        page.wait_for_url("**/articles/*.html")
        assert page.evaluate("() => document.documentElement.lang") == "zh"
        assert spoken(page) == ["zh"]
        page.locator("label[for=lang-en]").click()
        page.locator("header a").click()
        page.wait_for_url("**/index.html")
        assert spoken(page) == ["en"]


@pytest.mark.parametrize(("locale", "chinese"), [("zh-CN", True), ("de-DE", False)])
def test_the_first_language_is_the_reader_s(visit, locale, chinese):
    with visit("run", locale=locale) as page:
        assert spoken(page) == ["zh" if chinese else "en"]
        assert page.evaluate("() => document.documentElement.lang") == ("zh" if chinese else "en")


CONTRASTS = """() => {
  const parse = color => color.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
  const ground = one => { for (; one; one = one.parentElement) {
    const color = parse(getComputedStyle(one).backgroundColor);
    if (color.length < 4 || color[3] === 1) return color;
  } throw new Error("no ground"); };
  const worst = {};
  for (const one of document.querySelectorAll("body *")) {
    const says = [...one.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    if (!says || one.closest("script, style") || !one.getClientRects().length) continue;
    const [a, b] = [light(parse(getComputedStyle(one).color)), light(ground(one))].sort((x, y) => y - x);
    const box = one.closest(".badge, .soft, .banner, a, label, pre, dt, th, figcaption, math") || one;
    const kind = box.tagName.toLowerCase() + (box.getAttribute("class") ? "." + box.getAttribute("class") : "");
    worst[kind] = Math.min(worst[kind] || 99, (a + .05) / (b + .05));
  }
  return [worst, light(parse(getComputedStyle(document.body).backgroundColor))];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_contrast(visit, scheme):
    kinds = set()
    for name in ("index", "run", "wide_run"):
        with visit(name, color_scheme=scheme) as page:
            worst, ground = page.evaluate(CONTRASTS)
            assert (ground < 0.02) if scheme == "dark" else (ground > 0.9)
            assert {kind: ratio for kind, ratio in worst.items() if ratio < 4.5} == {}
            kinds |= set(worst)
    for kind in (
        "a",
        "pre",
        "dt",
        "th",
        "figcaption",
        "math",
        "label.only",
        "p.banner",
        "p.small soft",
        "span.badge reproduced",
        "span.badge not-reproduced",
        "span.badge undecided",
        "span.badge planned",
        "span.badge reproduced indicative",
    ):
        assert kind in kinds, sorted(kinds)


def visible_cards(page):
    return page.locator(".card:not([hidden]) h3 a").evaluate_all("links => links.map(a => a.getAttribute('href'))")


def test_search_finds_by_title_id_and_study(visit):
    with visit("index") as page:
        box = page.locator("#search")
        assert box.is_visible()
        assert len(visible_cards(page)) == 36
        for words, slug in (
            ("最大熵原理", "maximum-entropy"),
            ("3534", "maximum-entropy"),
            ("MaxEnt", "maximum-entropy"),
            ("  maximum-entropy   PRINCIPLE ", "maximum-entropy"),
            ("knn-entropy", "entropic-autoencoder"),
        ):
            box.fill(words)
            assert visible_cards(page) == [f"articles/{slug}.html"], words
            assert page.locator("tr:visible").count() == 1
            assert page.locator("h2:visible").count() == 2
            assert not page.locator("#nothing").is_visible()
        box.fill("maxent xyzzy")
        assert visible_cards(page) == []
        assert page.locator("#nothing").inner_text() == "Nothing matches."
        assert page.locator("h2:visible").count() == 0
        box.fill("")
        assert len(visible_cards(page)) == 36
        assert not page.locator("#nothing").is_visible()
    with visit("index", locale="zh-CN") as page:
        page.locator("#search").fill("没有的词")
        assert page.locator("#nothing").inner_text() == "没有匹配的文章。"


def test_without_a_script_there_is_no_search_box_and_all_is_there(visit):
    with visit("index", java_script_enabled=False) as page:
        assert not page.locator("#search").is_visible()
        assert not page.locator("#search-label").is_visible()
        assert not page.locator("#nothing").is_visible()
        assert page.locator(".card:visible").count() == 36


def test_on_paper(visit, tmp_path):
    with visit("wide_run") as page:
        code = page.locator("pre").first
        assert code.evaluate("box => box.scrollWidth > box.clientWidth")
        page.emulate_media(media="print", color_scheme="dark")
        for name in (".languages", ".contents", ".skip"):
            assert page.locator(name).is_hidden(), name
        style = code.evaluate("box => [getComputedStyle(box).whiteSpace, box.scrollWidth <= box.clientWidth]")
        assert style == ["pre-wrap", True]
        # Paper is white, whatever the screen.
        assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        for box in ("figure", ".claim"):
            assert page.locator(box).first.evaluate("one => getComputedStyle(one).breakInside") == "avoid"
    with visit("run") as page:
        path = tmp_path / "page.pdf"
        page.pdf(path=path, format="A4")
        assert path.read_bytes().startswith(b"%PDF")
        if shutil.which("pdftotext"):
            command = ["pdftotext", "-enc", "UTF-8", str(path), "-"]
            words = re.sub(r"\s+", " ", subprocess.run(command, capture_output=True, check=True).stdout.decode("utf-8"))
            assert "It is below one" in words
            assert "kexue run maxent standard" in words
            assert "小于一" not in words


def test_what_is_folded_is_printed(visit):
    with visit("article") as page:
        command = page.locator("details pre").first
        assert not command.is_visible()
        page.emulate_media(media="print")
        assert command.bounding_box()["height"] > 10


def test_the_frame_of_a_notebook_shows_the_page(chromium, make, tmp_path):
    from kexue.report import run_fragment

    context = chromium.new_context()
    try:
        page = context.new_page()
        page.set_content(f"<!DOCTYPE html><body>{run_fragment(make.ordinary(tmp_path))}</body>")
        frame = page.frame_locator("iframe")
        assert frame.locator("h1").is_visible()
        frame.locator("label[for=lang-zh]").click()
        assert frame.get_by_text("结论").first.is_visible()
    finally:
        context.close()
