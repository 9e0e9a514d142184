"""What the documentation takes from the catalogue and the source: articles, rooms, verdicts, the gallery."""

from __future__ import annotations

import importlib
import re
import shutil
from functools import cache
from html import escape
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import kexue
from kexue.report import build_gallery
from kexue.report.phrases import PHRASES, VERDICTS
from kexue.runs.catalogue import Article, Study, Text, is_built, load_catalogue
from kexue.runs.shipped import Shipped, read_shipped
from kexue.studies import built
from kexue.studies.runner import VERDICTS as SHIPPED

__all__ = ["setup"]

_SOURCE = Path(kexue.__file__).parent
_TAGS = {"en": "en", "zh": "zh-Hans"}
_STAR = re.compile(r"(?<=[( ])\*(?=\w+[,)])")
_ROUTING = re.compile("set_[a-z_]+_request")


class Articles(SphinxDirective):
    """Every article by category: number, title, verdicts, three lines, when to use it and what to prefer."""

    option_spec: ClassVar = {"language": lambda value: directives.choice(value, ("en", "zh"))}

    def run(self) -> list[nodes.Node]:
        """Write the index."""
        self.env.note_dependency(str(_SOURCE / "runs" / "catalogue.toml"))
        language = self.options.get("language", "en")
        up = "../" * self.env.docname.count("/")
        return self.parse_text_to_nodes(_index(language, up), allow_section_headings=True)


class Room(SphinxDirective):
    """Every module of a room that has public names, with the line that says what it is, and all that it holds."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Write the modules one after the other."""
        return self.parse_text_to_nodes(_room(self.arguments[0]), allow_section_headings=True)


@cache
def _shipped() -> dict[str, Shipped]:
    return read_shipped(SHIPPED)


def _say(key: str, language: str) -> str:
    english, chinese = PHRASES[key]
    return english if language == "en" else chinese


def _in(language: str, text: Text) -> str:
    return escape(str(getattr(text, language)), quote=False)


def _verdicts(study: Study, language: str) -> str:
    """The verdicts of a study as badges, the words beside the marks."""
    shipped = _shipped().get(study.name)
    if shipped is None:
        return f'<span class="badge">{_say("no_verdict", language)}</span>'
    counts = {verdict: count for verdict, count in shipped.headline.items() if count}
    if not counts:
        return f'<span class="badge">{_say("only_ours", language)}</span>'
    return " ".join(
        f'<span class="badge {verdict.replace(" ", "-")}">{VERDICTS[verdict][0]} {count} '
        f"{VERDICTS[verdict][1 if language == 'en' else 2]}</span>"
        for verdict, count in counts.items()
    )


def _index(language: str, up: str) -> str:
    catalogue = load_catalogue()
    can_run = built()
    lines = []
    for category in catalogue.categories:
        members = sorted(
            (article for article in catalogue.articles if article.category == category.slug),
            key=lambda article: article.date,
            reverse=True,
        )
        here = [a for a in members if a.kind != "study" or any(name in can_run for name in a.studies)]
        lines += [f"## {_in(language, category.title)}", ""]
        for article in here:
            lines += _entry(article, [catalogue.study(name) for name in article.studies], language, up)
        planned = [article for article in members if article not in here]
        if planned:
            names = [f"{_number(article)}{_in(language, article.title)}" for article in planned]
            lines += [f"*{_say('planned', language)}*: " + ("; " if language == "en" else "；").join(names), ""]
    return "\n".join(lines)


def _number(article: Article) -> str:
    return "" if article.archive is None else f"{article.archive} · "


def _entry(article: Article, studies: list[Study], language: str, up: str) -> list[str]:
    page = f"{up}gallery/articles/{article.slug}.html"
    other = "zh" if language == "en" else "en"
    source = f'<span lang="{_TAGS[other]}">{_in(other, article.title)}</span>'
    source = f'<a href="{article.url}">{source}</a>' if article.url else source
    # Ids of our own: the same in both languages, and short enough to be sent to somebody.
    lines = [
        f"({language}-{article.archive or article.slug})=",
        f"### {_number(article)}{_in(language, article.title)}",
        "",
        f'<p class="soft">{source} · {article.date} · <a href="{page}">{_say("verdicts", language)}</a></p>',
        "",
    ]
    if not studies:
        return [*lines, _in(language, article.summary), ""]
    for study in studies:
        title = _in(language, study.title)
        lines += [f"<p><strong>{title}</strong> (<code>{study.name}</code>): {_verdicts(study, language)}</p>", ""]
        if study.three_lines:
            lines += ["```python", study.three_lines.strip(), "```", ""]
        lines += [f"**{_say('use_when', language)}.** {_in(language, study.use_when)}", ""]
        lines += [f"**{_say('prefer_instead', language)}.** {_in(language, study.prefer_instead)}", ""]
    return lines


def _room(room: str) -> str:
    folder = _SOURCE.joinpath(*room.split("."))
    paths = sorted(folder.glob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]
    places = {path: ".".join(("kexue", *path.relative_to(_SOURCE).with_suffix("").parts)) for path in paths}
    lines = []
    for path, place in places.items():
        module = importlib.import_module(place.removesuffix(".__init__"))
        is_room = path.name == "__init__.py"
        shown = _shown_names(module)
        if not shown and not is_room:
            continue
        name = module.__name__
        if len(paths) > 1:
            lines += [f"## {name if is_room else name.removeprefix('kexue.')}", ""]
        lines += ["```{eval-rst}", f".. py:module:: {name}", "```", ""]
        lines += [(module.__doc__ or "").replace("``", "`"), ""]
        if is_room and module.__all__ and not shown:
            links = (f"{{py:obj}}`{one} <{_home(getattr(module, one))}.{one}>`" for one in module.__all__)
            lines += [f"From here one imports {', '.join(links)}.", ""]
        lines += ["```{eval-rst}"]
        for one in shown:
            kind = "autoclass" if isinstance(getattr(module, one), type) else "autofunction"
            lines.append(f".. {kind}:: {name}.{one}")
        lines += ["```", ""]
    return "\n".join(lines)


def _shown_names(module: ModuleType) -> list[str]:
    """The public names that the module defines, but for those that the catalogue knows from another module."""
    return [name for name in module.__all__ if _home(getattr(module, name)) == module.__name__]


def _home(value: object) -> str:
    """The module under whose name a public object is shown."""
    return _homes().get(id(value)) or getattr(value, "__module__", None) or ""


@cache
def _homes() -> dict[int, str]:
    homes = {}
    for part in (part for article in load_catalogue().articles for part in article.parts if is_built(part)):
        module, _, name = part.rpartition(".")
        homes[id(getattr(importlib.import_module(module), name))] = module
    return homes


def _add_verdicts(app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]) -> None:
    """Say below the summary of a part what was found of its articles."""
    catalogue = load_catalogue()
    added = []
    for article in catalogue.articles:
        if name not in article.parts:
            continue
        for study in (catalogue.study(one) for one in article.studies):
            shipped = _shipped().get(study.name)
            if shipped is None:
                continue
            found = ", ".join(f"{VERDICTS[verdict][0]} {n} {verdict}" for verdict, n in shipped.headline.items() if n)
            page = f"../gallery/articles/{article.slug}.html#study-{study.name}"
            added.append(
                f"Article {article.archive}, study `{study.name} <{page}>`__: {found or 'our own bounds only'}."
            )
    if added:
        summary_ends = next((at for at, line in enumerate(lines) if not line.strip()), len(lines))
        lines[summary_ends:summary_ends] = ["", ".. container:: verdict", "", *[f"   | {line}" for line in added], ""]


def _keep_stars(app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]) -> None:
    """Shapes such as (*batch, n) are no emphasis."""
    lines[:] = [_STAR.sub(r"\\*", line) for line in lines]


def _leave_out(app: Sphinx, what: str, name: str, value: object, skip: bool, options: object) -> bool | None:
    """Methods that scikit-learn adds to every estimator are described there."""
    return True if _ROUTING.fullmatch(name) else None


def _mark_language(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: object) -> None:
    """Say of the Chinese pages that they are Chinese."""
    if page.startswith("zh/"):
        context["language"] = _TAGS["zh"]


def _build_gallery(app: Sphinx) -> None:
    """Put the gallery of shipped verdicts beside the pages; nothing is run."""
    folder = Path(app.doctreedir) / "extra"
    shutil.rmtree(folder, ignore_errors=True)
    build_gallery(folder / "gallery", [], _shipped(), built=built())
    app.config.html_extra_path = [str(folder)]


def setup(app: Sphinx) -> dict[str, bool]:
    """Give Sphinx the directives and the gallery."""
    app.add_directive("articles", Articles)
    app.add_directive("room", Room)
    app.connect("builder-inited", _build_gallery)
    app.connect("html-page-context", _mark_language)
    app.connect("autodoc-skip-member", _leave_out)
    app.connect("autodoc-process-docstring", _keep_stars, priority=100)
    app.connect("autodoc-process-docstring", _add_verdicts, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
