"""Runs with every kind of content, and pages read as a browser would read them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest

from kexue.plots import panels, style
from kexue.report import build_gallery, write_run_page
from kexue.runs import Record, Run

VOID = {"br", "hr", "img", "input", "link", "meta", "wbr"}


@dataclass(eq=False)
class Element:
    """One element of a page."""

    tag: str
    attributes: dict
    parents: list
    texts: list = field(default_factory=list)

    @property
    def classes(self):
        return (self.attributes.get("class") or "").split()

    @property
    def language(self):
        """The language that is said of the element, below the page's own."""
        said = [element.attributes["lang"] for element in [*self.parents, self] if "lang" in element.attributes]
        return said[-1] if len(said) > 1 else None

    def inside(self, *tags):
        return any(element.tag in tags for element in [*self.parents, self])


class Page(HTMLParser):
    """A page as a tree; tags that do not match are an error."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.open, self.stream = [], [], []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {[element.tag for element in self.open]}"

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice: {names}"
        element = Element(tag, dict(attrs), list(self.open))
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.elements.append(Element(tag, dict(attrs), list(self.open)))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1].tag == tag, f"<{self.open[-1].tag}> is closed by </{tag}>"
        self.open.pop()

    def handle_data(self, data):
        if self.open:
            self.open[-1].texts.append(data)
            self.stream.append((self.open[-1], data))

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data}")

    def unknown_decl(self, data):
        raise AssertionError(f"a declaration: {data}")

    def all(self, tag=None, **attributes):
        """Elements of a tag, with attributes (class_ for one class)."""
        wanted = attributes.pop("class_", None)
        return [
            element
            for element in self.elements
            if tag in (None, element.tag)
            and (wanted is None or wanted in element.classes)
            and all(element.attributes.get(key) == value for key, value in attributes.items())
        ]

    def text(self, element=None):
        """What stands in an element, or on the page, one space for any blank."""
        parts = [
            text
            for other, text in self.stream
            if (element is None or other is element or any(parent is element for parent in other.parents))
            and not other.inside("style", "script")
        ]
        return re.sub(r"[\s\xa0]+", " ", " ".join(parts)).strip()

    @property
    def ids(self):
        return [element.attributes["id"] for element in self.elements if "id" in element.attributes]

    @property
    def shape(self):
        """Tags and names of attributes in their order: what a text must never change."""
        return [(element.tag, tuple(element.attributes)) for element in self.elements]


@pytest.fixture(scope="session")
def parse():
    return Page


def line_figure(values=(0.0, 1.0), columns=1):
    with style():
        figure, axes = panels(1, columns)
        for axis in axes:
            axis.plot(list(values))
            axis.set_axis_off()  # to draw the ticks would take most of the time of these tests
    return figure


def begin(root, **changes):
    settings = {
        "study": "maxent",
        "preset": "standard",
        "config": {"steps": 3, "dataset": "digits"},
        "seed": 1,
        "seeds": 5,
        "threads": 1,
        "command": "kexue run maxent standard",
    }
    settings |= changes
    folder = settings.pop("folder", f"{settings['preset']}-s1-00000000")
    return Record(root / settings["study"] / folder, **settings)


def change(run, **facts):
    """Write other facts into ``run.json``, as somebody else could."""
    path = run.directory / "run.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | facts), encoding="utf-8")
    return Run(run.directory)


def ordinary(root, **changes):
    """A run with the three verdicts, a figure and a table."""
    with begin(root, **changes) as record:
        record.scale = {"en": "ten numbers", "zh": "十个数"}
        for text, measured in (
            ({"en": "It is below one", "zh": "小于一"}, [0.1, 0.2, 0.3, 0.2, 0.1]),
            ({"en": "It is above one", "zh": "大于一"}, [0.1, 0.2, 0.3, 0.2, 0.2]),
            ({"en": "It is about one", "zh": "约等于一"}, [0.5, 1.5, 0.6, 1.4, 0.9]),
        ):
            relation = ">" if "above" in text["en"] else "<"
            record.claim(text, source="article", measured=measured, relation=relation, bound=1.0)
        record.claim("Ours", source="ours", measured=[2.0] * 5, relation="<", bound=[1.0, 1.1, 1.2, 1.3, 1.4])
        record.figure("line", line_figure(), caption={"en": "A line.", "zh": "一条线。"}, alt="A line that rises")
        record.table("values", ["name", "value"], [["a", 0.5], ["b", 1e-7]], caption={"en": "Two.", "zh": "两个。"})
        record.finish()
    return Run(record.directory)


def filled(root, text, **changes):
    """A run in which every text that can come from outside is ``text``."""
    both = {"en": text, "zh": f"中{text}"}
    with begin(root, config={"steps": text, "key": text, "dataset": text}, command=text, **changes) as record:
        record.claim(both, source="paper", measured=[1, 2, 1, 2, 1], relation="<", bound=3, note=both, scale=both)
        record.figure("line", line_figure(), caption=both, alt=text)
        record.figure("hidden", line_figure(), caption=both, alt=text, prints=text)
        record.table("values", ["head", text], [[text, 1]], caption=both)
        record.finish()
    run = Run(record.directory)
    figures, tables = run.facts["figures"], run.facts["tables"]
    for entry in (*figures, *tables):
        # The name of a file has no slash on any system, nor some other marks on one of them.
        odd = re.sub(r'[/<>:"\\|?*]', "'", text) + entry["file"].rpartition("/")[2]
        folder = entry["file"].partition("/")[0]
        (run.directory / entry["file"]).rename(run.directory / folder / odd)
        entry |= {"name": text, "file": f"{folder}/{odd}"}
    return change(
        run,
        figures=figures,
        tables=tables,
        versions={text: text},
        machine={"system": text, "processor": text, "cores": text},
        threads=text,
        started=text,
    )


@pytest.fixture(scope="session")
def make():
    """Ways to make runs."""
    return SimpleNamespace(begin=begin, ordinary=ordinary, filled=filled, change=change, figure=line_figure)


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """A gallery of a run with ordinary content and of one whose content is as wide as can be."""
    root = tmp_path_factory.mktemp("site")
    long = "unbroken" * 40
    both = {"en": f"Wide {long}", "zh": f"很宽{long}"}
    ordinary_run = ordinary(root / "runs")
    with begin(
        root / "runs",
        study="knn-entropy",
        preset="quick",
        config={"dataset": long, "steps": [10**9] * 60},
        command=f"kexue run knn-entropy quick --dataset {long}",
        indicative=True,
    ) as record:
        record.claim(both, source="article", measured=[1 / 3] * 40, relation="<", bound=3, note=both, scale=both)
        record.figure("wide", line_figure(columns=3), caption=both)
        record.figure("withheld", line_figure(), caption="Faces.", prints="att-faces-300")
        columns = [f"column {number}" for number in range(30)]
        record.table("wide", columns, [[f"{long}{c}" for c in columns], [1e-9] * 30], caption=both)
        record.finish()
    wide_run = Run(record.directory)
    index = build_gallery(root / "gallery", [ordinary_run, wide_run], {}, built=["maxent", "knn-entropy"])
    return SimpleNamespace(
        index=index,
        article=index.parent / "articles" / "maximum-entropy.html",
        wide_article=index.parent / "articles" / "entropic-autoencoder.html",
        run=write_run_page(ordinary_run),
        wide_run=write_run_page(wide_run),
    )
