"""The page of a run: whole, escaped, closed to the outside, in both languages."""

from __future__ import annotations

import json
import re
import shutil
from html import unescape
from pathlib import Path

import pytest

import kexue.report
from kexue.report import run_fragment, write_run_page
from kexue.report.page import run_page
from kexue.report.phrases import PHRASES, SOURCES, STATUSES, VERDICTS
from kexue.runs import Run, StorageError
from kexue.runs.catalogue import load_catalogue

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg/onload=alert(1)>",
    "javascript:alert(1)",
    "{{ 7*7 }}{% raw %}{# x #}",
    "</style></title></textarea><b>",
    "]]><!-- --!>",
    "&lt;b&gt;&amp;",
    "熵\u202e<i>\u00a0",
]


def is_table(element):
    """A table to be saved: a link that the browser does not open."""
    link, name = element.attributes["href"], element.attributes.get("download", "")
    return bool(re.fullmatch(r"data:text/csv;base64,[\w+/]+=*", link) and re.fullmatch(r"[\w-]+-\d+\.csv", name))


@pytest.fixture(scope="module")
def harmless(make, tmp_path_factory):
    return run_page(make.filled(tmp_path_factory.mktemp("harmless"), "harmless"))


@pytest.fixture(scope="module")
def ordinary(make, tmp_path_factory):
    return make.ordinary(tmp_path_factory.mktemp("ordinary"))


@pytest.fixture
def run(ordinary, tmp_path):
    """A run of one's own, to be damaged."""
    return Run(shutil.copytree(ordinary.directory, tmp_path / "maxent" / "standard-s1-00000000"))


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_from_outside_stays_text(make, parse, tmp_path, harmless, text):
    page = parse(run_page(make.filled(tmp_path, text)))
    assert page.shape == parse(harmless).shape
    shown = page.text()

    def times(word):
        return shown.count(re.sub(r"[\s\xa0]+", " ", word).strip())

    # As often as the harmless word: captions, claim, note, scale, cells, command, data set, versions, machine, …
    assert times(text) + times(json.dumps(text, ensure_ascii=False)[1:-1]) >= parse(harmless).text().count("harmless")
    assert times(f"中{text}") >= 5
    assert page.all("img")[0].attributes["alt"] == text
    assert "49" not in re.sub(r"[0-9a-f.-]{5,}", "", shown)
    for element in page.elements:
        assert not [name for name in element.attributes if name.startswith("on")]
        link = element.attributes.get("href") or ""
        assert not link.lower().startswith(("javascript", "data")) or is_table(element)


def test_the_page_of_an_ordinary_run(ordinary, parse):
    text = run_page(ordinary)
    page = parse(text)
    assert text.startswith("<!DOCTYPE html>")
    assert [element.tag for element in page.elements[:2]] == ["html", "head"]
    headings = [element.attributes["id"] for element in page.all("h2")]
    assert headings == ["verdicts", "idea", "figures", "tables", "reproduce", "citation"]
    assert len(page.all("li", class_="claim")) == len(ordinary.claims) == 4
    assert [badge.classes[1] for badge in page.all("span", class_="badge")[:3]] == [
        verdict.replace(" ", "-") for verdict in VERDICTS
    ]
    assert page.all("math")
    words = page.text()
    for phrase in (
        "ten numbers",
        "scale: 规模： ten numbers 十个数",
        "kexue run maxent standard",
        "steps = 3",
        "BSD-3-Clause",
        "@misc{",
    ):
        assert phrase in words
    # Every seed's figure, and those of paired bounds; every seed of the run.
    assert "every seed: 各随机种子： 0.5, 1.5, 0.6, 1.4, 0.9" in words
    assert "bound: 界限： 1, 1.1, 1.2, 1.3, 1.4" in words
    assert "1, 2, 3, 4, 5" in words
    assert "indicative" not in words


def test_ids_are_unique_and_links_have_targets(ordinary, parse):
    page = parse(run_page(ordinary))
    assert len(page.ids) == len(set(page.ids))
    assert {"claim-1", "claim-4", "figure-1", "table-1"} <= set(page.ids)
    targets = [link.attributes["href"] for link in page.all("a")]
    inside = {target.removeprefix("#") for target in targets if target.startswith("#")}
    assert inside <= set(page.ids)
    # Each section, claim, figure and table can be linked to from where it stands.
    assert {
        element.attributes["id"] for element in [*page.all("h2"), *page.all("figure"), *page.all("li", class_="claim")]
    } <= inside
    for label in page.all("label"):
        assert label.attributes["for"] in page.ids


def test_nothing_comes_from_outside(ordinary, parse):
    text = run_page(ordinary, home="../index.html")
    page = parse(text)
    catalogue = load_catalogue()
    article = catalogue.article("maximum-entropy")
    for element in page.elements:
        assert element.tag not in (
            "link",
            "iframe",
            "object",
            "embed",
            "base",
            "form",
            "audio",
            "video",
            "use",
            "image",
        )
        assert not {"srcset", "action", "formaction", "poster", "xlink:href", "background"} & set(element.attributes)
        if "src" in element.attributes:
            assert element.tag == "img"
            assert re.match(r"data:image/(svg\+xml|png);base64,[A-Za-z0-9+/]+=*$", element.attributes["src"])
        if "href" in element.attributes:
            assert element.tag == "a"
            inside = re.match(r"#[\w.-]+$", element.attributes["href"]) or is_table(element)
            assert inside or element.attributes["href"] in (article.url, "../index.html")
    style = "".join(page.all("style")[0].texts)
    assert "url(" not in style
    assert "@import" not in style
    policy = page.all("meta", **{"http-equiv": "Content-Security-Policy"})[0].attributes["content"]
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert len(page.all("img")) == 1
    for image in page.all("img"):
        assert image.attributes["alt"] == "A line that rises"


NEUTRAL = ("pre", "code", "dd", "td", "th", "math", "time", "strong", "svg", "style", "script", "title")


def untold(page):
    """Texts in a language of which nobody says which it is."""
    found = []
    for element in page.elements:
        text = " ".join(element.texts)
        if element.inside(*NEUTRAL):
            continue
        if re.search(r"[\u4e00-\u9fff]", text) and element.language != "zh" and "only" not in element.classes:
            found.append(text)
        # A single word may be a name: of a study, a preset, this package.
        if re.search(r"[A-Za-z]{2,} +[A-Za-z]{2,}", text) and element.language not in ("en", "zh"):
            found.append(text)
    return found


def test_every_text_says_its_language_and_has_its_other(ordinary, parse):
    page = parse(run_page(ordinary))
    assert page.elements[0].attributes["lang"] == "en"
    assert untold(page) == []
    spoken = [element for element in page.all("span") if "lang" in element.attributes]
    assert len(spoken) > 100
    following = iter(spoken)
    for element in following:
        if "only" not in element.classes:
            assert (element.attributes["lang"], next(following).attributes["lang"]) == ("en", "zh")
        assert "".join(element.texts).strip()
    captions = [page.text(caption) for caption in page.all("figcaption")]
    assert captions == ["# A line. 一条线。", "# Two. 两个。 CSV"]


def test_a_text_in_one_language_shows_in_both(make, parse, tmp_path):
    with make.begin(tmp_path) as record:
        record.claim("English alone", source="ours", measured=1.0, relation="<", bound=2.0, scale="one")
        record.figure("line", make.figure(), caption={"zh": "只有中文", "en": ""})
        record.finish()
    page = parse(run_page(Run(record.directory)))
    for text, language in (("English alone", "en"), ("只有中文", "zh")):
        (element,) = [element for element in page.all("span") if text in element.texts]
        assert element.attributes == {"class": "only", "lang": language}
    # The switch passes over what has no other language.
    assert '[lang="zh"]:not(.only)' in "".join(page.all("style")[0].texts)


def test_untold_texts_would_be_found(parse):
    page = parse('<html lang="en"><p>two words</p><p>中文</p><p lang="en">two words</p><code>two words</code></html>')
    assert untold(page) == ["two words", "中文"]


@pytest.mark.parametrize(
    "file",
    [
        "../../secret.svg",
        "figures/../../../secret.svg",
        "secret.txt",
        "report.html",
        "figures/line.SVG",
        "figures",
        "",
        3,
        None,
        "a\0.svg",
    ],
)
def test_a_figure_from_elsewhere_is_refused(make, run, tmp_path, file):
    for name in ("secret.svg", "secret.txt"):
        (tmp_path / name).write_text("<svg/>", encoding="utf-8")
        (run.directory / name).write_text("<svg/>", encoding="utf-8")
    (entry,) = run.facts["figures"]
    with pytest.raises(StorageError, match="is not a file of this run"):
        run_page(make.change(run, figures=[{**entry, "file": file}]))


def test_a_figure_that_is_absolute_or_behind_a_link_is_refused(make, run, tmp_path):
    secret = tmp_path / "secret.svg"
    secret.write_text("<svg/>", encoding="utf-8")
    (entry,) = run.facts["figures"]
    with pytest.raises(StorageError, match="is not a file of this run"):
        run_page(make.change(run, figures=[{**entry, "file": str(secret)}]))
    try:
        (run.directory / "figures" / "link.svg").symlink_to(secret)
    except OSError:
        pytest.skip("this system lets no symbolic link be made")
    with pytest.raises(StorageError, match="is not a file of this run"):
        run_page(make.change(run, figures=[{**entry, "file": "figures/link.svg"}]))


def test_a_table_from_elsewhere_is_refused(make, run, tmp_path):
    (tmp_path / "secret.csv").write_text("a\n", encoding="utf-8")
    (entry,) = run.facts["tables"]
    with pytest.raises(StorageError, match="is not a file of this run"):
        run_page(make.change(run, tables=[{**entry, "file": "../../secret.csv"}]))


def test_a_file_that_is_missing_is_named(run):
    (run.directory / "figures" / "line.svg").unlink()
    with pytest.raises(StorageError, match=r"cannot read .*line\.svg: No such file"):
        run_page(run)


@pytest.mark.parametrize(
    ("prints", "shown"), [(None, True), ("digits", True), ("att-faces-300", False), ("unheard-of", False), ("", False)]
)
def test_pages_print_only_what_a_licence_allows(make, run, parse, prints, shown):
    (entry,) = run.facts["figures"]
    page = parse(run_page(make.change(run, figures=[{**entry, "prints": prints}])))
    assert bool(page.all("img")) is shown
    assert ("licence does not let pages print them" in page.text()) is not shown
    # The caption stays.
    assert "A line." in page.text()


def test_a_withheld_figure_need_not_be_read(make, run):
    (entry,) = run.facts["figures"]
    (run.directory / entry["file"]).unlink()
    run_page(make.change(run, figures=[{**entry, "prints": "att-faces-300"}]))


def coloured(make, root, label="harmless", tokens=("好", "不"), prints=None):
    with make.begin(root) as record:
        record.text("reviews", [(label, list(tokens), [1.0, -0.5])], caption="Texts.", prints=prints)
        record.finish()
    return Run(record.directory)


def test_texts_are_shown_on_the_colours_of_their_scores(make, parse, tmp_path):
    page = parse(run_page(coloured(make, tmp_path, label={"en": "good", "zh": "好评"})))
    (figure,) = page.all("figure", id="text-1")
    assert page.text(figure) == "good 好评 好 不 # Texts."
    spans = [element for element in page.all("span") if "title" in element.attributes]
    assert [span.attributes["title"] for span in spans] == ["+1", "-0.5"]
    assert "background:rgba(61,127,217,0.6)" in spans[0].attributes["style"]
    assert [element.attributes["id"] for element in page.all("h2")][:3] == ["verdicts", "idea", "figures"]
    assert page.all("a", href="#figures")


@pytest.mark.parametrize("text", [*HOSTILE, "\u202etxet"])
def test_texts_of_tokens_stay_texts(make, parse, tmp_path, text):
    page = parse(run_page(coloured(make, tmp_path / "a", text, (text, text[::-1]))))
    assert len(page.elements) >= len(parse(run_page(coloured(make, tmp_path / "b"))).elements)
    for element in page.elements:
        assert not [name for name in element.attributes if name.startswith("on")]
    (figure,) = page.all("figure", id="text-1")
    inside = {element.tag for element in page.elements if figure in element.parents}
    assert inside <= {"p", "div", "span", "br", "wbr", "figcaption", "a"}
    assert "\u202e" not in "".join(
        data
        for element, data in page.stream
        if element.inside("div") and figure in element.parents and "title" in element.attributes
    )


def test_texts_are_printed_only_where_a_licence_allows(make, parse, tmp_path):
    run = coloured(make, tmp_path, prints="chn-hotel")
    (run.directory / "texts" / "reviews.json").unlink()  # and need not be read
    page = parse(run_page(run))
    assert "licence does not let pages print them" in page.text()
    assert "Texts." in page.text()
    assert "好" not in page.text(page.all("figure", id="text-1")[0])


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[3]",
        '[{"label": {}}]',
        '[{"label": "a", "tokens": ["b"], "scores": [1]}]',
        '[{"label": {}, "tokens": ["b"], "scores": ["much"]}]',
        '[{"label": {}, "tokens": [], "scores": []}]',
        "\xff",
    ],
)
def test_damaged_texts_are_told(make, tmp_path, content):
    run = coloured(make, tmp_path)
    (run.directory / "texts" / "reviews.json").write_text(content, encoding="latin-1")
    with pytest.raises(StorageError, match="reviews.json is damaged: .*run the study again with --fresh"):
        run_page(run)
    (entry,) = run.facts["texts"]
    with pytest.raises(StorageError, match="is not a file of this run"):
        run_page(make.change(run, texts=[{**entry, "file": "../run.json"}]))


def test_the_strip_has_a_dot_a_seed(ordinary, parse):
    page = parse(run_page(ordinary))
    strips = page.all("svg", class_="strip")
    assert len(strips) == 4
    for strip in strips:
        dots = [element for element in page.all("circle") if strip in element.parents]
        assert len(dots) == 5
        assert all(0 <= float(dot.attributes["cx"]) <= 400 for dot in dots)
        assert strip.attributes["role"] == "img"
        assert "upright line is zero" in strip.attributes["aria-label"]
    # Below one: every dot is left of the line; the bound lies where no difference is.
    left = [float(element.attributes["cx"]) for element in page.all("circle") if strips[0] in element.parents]
    (line,) = [element for element in page.all("line", class_="bound") if strips[0] in element.parents]
    assert max(left) < float(line.attributes["x1"]) == 388


def test_figures_that_are_no_numbers(make, parse, tmp_path):
    nan, inf = float("nan"), float("inf")
    with make.begin(tmp_path) as record:
        record.scale = "none"
        record.claim("a", source="article", measured=[1.0, nan, inf, 1.0, 1.0], relation="<", bound=1.0)
        record.claim("b", source="article", measured=inf, relation="<", bound=1.0)
        record.claim("c", source="article", measured=[1.0] * 5, relation="<", bound=[-inf, inf, nan, 1.0, 1.0])
        record.claim("d", source="article", measured=[3.0] * 5, relation=">=", bound=3.0)
        record.table("odd", ["x"], [[nan], [-inf], [-12.5], [7], ["1_000"], ["Infinity"], [1e300]], caption="Odd.")
        record.finish()
    page = parse(run_page(Run(record.directory)))
    assert len(page.all("svg")) == 1
    assert "every seed: 各随机种子： 1, nan, inf, 1, 1" in page.text()
    cells = [(page.text(cell), "number" in cell.classes) for cell in page.all("td")]
    # A word that Python would read as a number stays the word it is.
    assert cells == [
        ("nan", True),
        ("-inf", True),
        ("−12.5", True),
        ("7", True),
        ("1_000", False),
        ("Infinity", False),
        ("1 × 10³⁰⁰", True),
    ]


def test_what_was_not_measured_has_no_figures(make, parse, tmp_path):
    with make.begin(tmp_path) as record:
        record.unmeasured("It may hold", source="article", why={"en": "No model.", "zh": "没有模型。"}, scale="s")
        record.finish()
    page = parse(run_page(Run(record.directory)))
    (item,) = page.all("li", class_="undecided")
    text = page.text(item)
    assert "not measured 未测量 No model. 没有模型。" in text
    assert "bound" not in text


def test_a_run_without_anything(make, parse, tmp_path):
    with make.begin(tmp_path, preset="quick", seeds=1) as record:
        record.finish()
    page = parse(run_page(Run(record.directory)))
    assert [element.attributes["id"] for element in page.all("h2")] == ["verdicts", "idea", "reproduce", "citation"]
    assert not page.all("ol", class_="claims")
    assert "This run has no verdicts. 这次运行没有结论。" in page.text()
    assert not page.all("table")


def test_an_empty_table(make, parse, run):
    (entry,) = run.facts["tables"]
    (run.directory / entry["file"]).write_text("", encoding="utf-8")
    page = parse(run_page(run))
    assert page.all("table")
    assert not page.all("td")


def test_a_run_that_only_shows_says_so(make, parse, tmp_path):
    page = parse(run_page(make.ordinary(tmp_path, preset="quick", indicative=True)))
    headline = page.all("span", class_="badge")[0]
    assert "indicative" in headline.classes
    assert page.text(headline) == "✓ indicative: 参考： 1 reproduced 1 项已复现"
    assert all("indicative" in badge.classes for badge in page.all("span", class_="badge"))
    assert "decides nothing" in page.text()


@pytest.mark.parametrize("status", list(STATUSES))
def test_the_state_of_a_run_is_told(make, run, parse, status):
    words = parse(run_page(make.change(run, status=status))).text()
    # Nobody holds the lock of this run, so that it cannot be running.
    english, chinese = STATUSES["interrupted" if status == "running" else status]
    assert f"preset 预设 standard · {english} {chinese}" in words


def test_moments_are_told_in_universal_time(make, run, parse):
    for started in ("2026-03-01T10:00:00+00:00", "2026-03-01T18:00:00+08:00", "2026-03-01T10:00:00"):
        assert "2026-03-01 10:00 UTC" in parse(run_page(make.change(run, started=started))).text()


def test_one_is_one_and_two_are_two(make, run, parse):
    facts = {"machine": {"system": "Linux", "processor": "", "cores": 1}, "threads": 2, "seconds": 7.4}
    words = parse(run_page(make.change(run, **facts))).text()
    assert "Linux, 1 core, 2 threads Linux，1 核，2 线程" in words
    assert "7 s 7 秒" in words


@pytest.mark.parametrize("content", ["{", "{}", '[{"claim": 1}]', "[]x", '"text"'])
def test_damaged_claims_say_what_to_do(run, content):
    (run.directory / "claims.json").write_text(content, encoding="utf-8")
    with pytest.raises(StorageError, match=r"claims\.json.*--fresh"):
        run_page(run)


@pytest.mark.parametrize(
    "facts",
    [
        {"seed": "one"},
        {"seed": None},
        {"config": [1]},
        {"config": None},
        {"machine": "a computer"},
        {"versions": ["3.11"]},
        {"seconds": "long"},
        {"seconds": [1]},
        {"status": "asleep"},
    ],
)
def test_damaged_facts_are_told(make, run, facts):
    with pytest.raises(StorageError, match=r"run\.json is damaged: [^\n]+$"):
        run_page(make.change(run, **facts))


def test_a_damaged_table_is_told(run):
    (entry,) = run.facts["tables"]
    (run.directory / entry["file"]).write_bytes(b"\xff\xfe,1\n")
    with pytest.raises(StorageError, match=r"values\.csv is damaged: .*--fresh"):
        run_page(run)


def test_a_run_of_a_study_that_is_not_known(make, run):
    with pytest.raises(StorageError, match=r"run\.json: .*maxemt"):
        run_page(make.change(run, study="maxemt"))


def test_the_page_is_written_into_the_run_and_is_the_same_each_time(run):
    path = write_run_page(run)
    assert path == run.directory / "report.html"
    first = path.read_bytes()
    assert first.decode("utf-8") == run_page(run)
    assert write_run_page(run).read_bytes() == first


def test_in_a_notebook_the_page_is_in_a_frame(run, parse):
    text = run_fragment(run)
    (frame,) = parse(text).elements
    assert frame.tag == "iframe"
    assert frame.attributes["srcdoc"] == run_page(run)
    assert frame.attributes["sandbox"] == "allow-scripts"
    assert unescape(text).count("<!DOCTYPE html>") == 1


def test_phrases_are_whole_and_every_one_is_used():
    for texts in (
        *PHRASES.values(),
        *STATUSES.values(),
        *SOURCES.values(),
        *(entry[1:] for entry in VERDICTS.values()),
    ):
        english, chinese = texts
        assert english.strip()
        assert not re.search(r"[\u4e00-\u9fff]", english.replace("科学空间", ""))
        assert re.search(r"[\u4e00-\u9fff]", chinese)
        assert not chinese.endswith((".", ",", ":")), "Chinese has marks of its own"
    folder = Path(kexue.report.__file__).parent
    sources = [path.read_text(encoding="utf-8") for path in [*folder.glob("*.py"), *folder.glob("templates/*.html")]]
    keys = set(re.findall(r"\"(\w+)\"", "\n".join(text for text in sources if "PHRASES: dict" not in text)))
    kinds = {article.kind for article in load_catalogue().articles}
    assert set(PHRASES) - keys - kinds == set()
