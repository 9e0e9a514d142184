"""The catalogue: which articles and studies there are, read strictly; and the nearest names."""

from __future__ import annotations

import ast
import re
import tomllib
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Any, Literal, NoReturn

__all__ = [
    "Article",
    "Catalogue",
    "CatalogueError",
    "Category",
    "Paper",
    "Study",
    "Text",
    "UnknownNameError",
    "is_built",
    "load_catalogue",
]

_EXTRAS = ("torch", "words", "estimators", "transformers", "report")
_KINDS = ("study", "example", "design")
_FILE = "catalogue.toml"
_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


class CatalogueError(ValueError):
    """A catalogue that does not hold together; the message is one line: file, entry, key, expected and got."""


class UnknownNameError(KeyError):
    """A name that no article or study has; ``str()`` is one line with the nearest right ones."""

    def __str__(self) -> str:
        """Return the message itself: the one of KeyError would put it in quotes."""
        return str(self.args[0]) if self.args else ""


@dataclass(frozen=True)
class Text:
    """A text in English and in Chinese.

    Attributes
    ----------
    en : str
        The English text.
    zh : str
        The Chinese text (simplified characters).
    """

    en: str
    zh: str


@dataclass(frozen=True)
class Category:
    """A group of articles; their order in the catalogue is the order of display.

    Attributes
    ----------
    slug : str
        The name by which articles refer to it.
    title : Text
        The heading.
    """

    slug: str
    title: Text


@dataclass(frozen=True)
class Paper:
    """A paper behind an article.

    Attributes
    ----------
    title : str
        Title as published.
    authors : tuple of str
        "Last, First" each, in the order of the paper.
    year : int
        Year of the venue, or of the preprint where there is no venue.
    arxiv, doi : str or None
        Identifiers without prefix, such as "1701.07875" and "10.1103/PhysRevE.69.066138".
    venue : str or None
        Journal or conference.
    """

    title: str
    authors: tuple[str, ...]
    year: int
    arxiv: str | None = None
    doi: str | None = None
    venue: str | None = None

    @property
    def key(self) -> str:
        """The BibTeX key: surname, year and first telling word of the title, in ASCII."""
        words = [_ascii(word) for word in re.split(r"[\s\-:/]+", self.title)]
        word = next((word for word in words if word and word not in {"a", "an", "the", "on", "in", "of"}), "")
        return f"{_ascii(self.authors[0].partition(',')[0]) or 'paper'}{self.year}{word}"

    @property
    def url(self) -> str | None:
        """Where to read it: arXiv, else the DOI, else None."""
        if self.arxiv is not None:
            return f"https://arxiv.org/abs/{self.arxiv}"
        return None if self.doi is None else f"https://doi.org/{self.doi}"


@dataclass(frozen=True)
class Article:
    """An article of the blog 科学空间 (Scientific Spaces).

    Attributes
    ----------
    slug : str
        Our stable name for it.
    archive : int or None
        Its number on the site, where it is known.
    date : datetime.date
        Day of publication.
    title, summary : Text
        The title with our translation, and what it is about in our own words.
    category : str
        Slug of its `Category`.
    kind : {"study", "example", "design"}
        Whether its claims are measured, it became an example, or it shaped the package.
    formula : str or None
        Its key formula in LaTeX, for display.
    parts : tuple of str
        Dotted public names of what this package has for it.
    studies : tuple of str
        Names of its studies.
    papers : tuple of Paper
        The papers behind it.
    """

    slug: str
    archive: int | None
    date: date
    title: Text
    summary: Text
    category: str
    kind: Literal["study", "example", "design"]
    formula: str | None
    parts: tuple[str, ...]
    studies: tuple[str, ...]
    papers: tuple[Paper, ...]

    @property
    def url(self) -> str | None:
        """Address of the article, None where its number is not known."""
        return None if self.archive is None else f"https://kexue.fm/archives/{self.archive}"


@dataclass(frozen=True)
class Study:
    """A study: claims of one or more articles, measured again.

    Attributes
    ----------
    name : str
        The name on the command line.
    title : Text
        The heading.
    articles : tuple of str
        Slugs of the articles whose claims it measures.
    extras : tuple of str
        Extras of this package that it needs.
    use_when, prefer_instead : Text
        When to use the method, and what to prefer in other cases.
    three_lines : str or None
        The part in at most three lines of code.
    """

    name: str
    title: Text
    articles: tuple[str, ...]
    extras: tuple[str, ...]
    use_when: Text
    prefer_instead: Text
    three_lines: str | None


@dataclass(frozen=True)
class Catalogue:
    """All categories, articles and studies, in the order of the file.

    Attributes
    ----------
    categories : tuple of Category
        In the order of display.
    articles : tuple of Article
        In the order of the file.
    studies : tuple of Study
        In the order of the file.
    """

    categories: tuple[Category, ...]
    articles: tuple[Article, ...]
    studies: tuple[Study, ...]

    def category(self, slug: str) -> Category:
        """Find a category by its slug.

        Parameters
        ----------
        slug : str
            For instance "probability".

        Returns
        -------
        Category
            The category.

        Raises
        ------
        UnknownNameError
            If there is none; the message names the nearest ones.
        """
        found = next((category for category in self.categories if category.slug == slug), None)
        if found is None:
            _unknown("category", slug, [category.slug for category in self.categories], [])
        return found

    def article(self, key: str | int) -> Article:
        """Find an article by its slug or archive id.

        Parameters
        ----------
        key : str or int
            Slug ("maximum-entropy"), archive id (3534 or "3534"), or address ("https://kexue.fm/archives/3534").

        Returns
        -------
        Article
            The article.

        Raises
        ------
        UnknownNameError
            If there is none; the message names the nearest ones.

        Examples
        --------
        >>> load_catalogue().article(3534).slug
        'maximum-entropy'
        >>> load_catalogue().article("maximum-entorpy")
        Traceback (most recent call last):
        ...
        kexue.runs.catalogue.UnknownNameError: unknown article 'maximum-entorpy'; did you mean maximum-entropy?
        """
        found = self._article(str(key))
        if found is None:
            _unknown("article", str(key), [article.slug for article in self.articles], self._archives())
        return found

    def study(self, key: str | int) -> Study:
        """Find a study by its name, or by the slug or archive id of an article that has one study.

        Parameters
        ----------
        key : str or int
            Name of a study ("maxent"), or slug or archive id of an article. A study's own name goes first.

        Returns
        -------
        Study
            The study.

        Raises
        ------
        UnknownNameError
            If there is none (the message names the nearest ones), or if the article has several (it lists them) or
            none of its own.

        Examples
        --------
        >>> load_catalogue().study("3534").name
        'maxent'
        """
        text = str(key)
        by_name = {study.name: study for study in self.studies}
        if text in by_name:
            return by_name[text]
        article = self._article(text)
        if article is None:
            slugs = [article.slug for article in self.articles if article.studies]
            _unknown("study", text, [*by_name, *slugs], self._archives())
        if not article.studies:
            raise UnknownNameError(f"article {text} has no study of its own: it is listed as {article.kind}")
        if len(article.studies) > 1:
            raise UnknownNameError(f"article {text} has several studies, take one: {', '.join(article.studies)}")
        return by_name[article.studies[0]]

    def _article(self, text: str) -> Article | None:
        link = _LINK.fullmatch(text)
        if link is not None:
            text = link[1]

        def matches(article: Article) -> bool:
            return text == article.slug or (article.archive is not None and text == str(article.archive))

        return next(filter(matches, self.articles), None)

    def _archives(self) -> list[str]:
        return [str(article.archive) for article in self.articles if article.archive is not None]


# An article's address, as a browser's bar or a feed has it.
_LINK = re.compile(r"(?:https?://)?(?:www\.)?(?:kexue\.fm|spaces\.ac\.cn)/archives/([0-9]+)(?:[/?#].*)?")


def is_built(part: str) -> bool:
    """Whether a part is in this package: a module, or a public name of one; nothing is imported.

    Parameters
    ----------
    part : str
        Dotted name, for instance ``"kexue.probability.maxent.max_entropy"``.

    Returns
    -------
    bool
        False for a part that is planned.

    Examples
    --------
    >>> is_built("kexue.probability.maxent.max_entropy"), is_built("kexue.no_such_room.part")
    (True, False)
    """
    *rooms, name = part.split(".")[1:]
    room = Path(__file__).parents[1].joinpath(*rooms)
    module = room / "__init__.py" if room.is_dir() else room.with_suffix(".py")
    return (room / f"{name}.py").is_file() or name in _exports(module)


@cache
def _exports(module: Path) -> frozenset[str]:
    """What a module lists in ``__all__``, read from its text."""
    if not module.is_file():
        return frozenset()
    for node in ast.parse(module.read_text(encoding="utf-8")).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and target.id == "__all__" and isinstance(node, ast.Assign | ast.AnnAssign):
            return frozenset(ast.literal_eval(node.value or ast.List([])))
    return frozenset()


def load_catalogue(path: str | PathLike[str] | None = None) -> Catalogue:
    """Read a catalogue and check that it holds together.

    Parameters
    ----------
    path : path-like, optional
        A TOML file in UTF-8. The default is the catalogue of this package, which is read once.

    Returns
    -------
    Catalogue
        The checked catalogue.

    Raises
    ------
    CatalogueError
        If the file is no UTF-8 TOML, or an entry has unknown, missing or wrong keys, a name occurs twice, or a
        reference leads nowhere; one line that names file, entry and key, what was expected and what was got.
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> catalogue = load_catalogue()
    >>> catalogue.article(3534).url
    'https://kexue.fm/archives/3534'
    """
    if path is None:
        return _packaged()
    return _read(Path(path).name, Path(path).read_bytes())


@cache
def _packaged() -> Catalogue:
    return _read(_FILE, files("kexue.runs").joinpath(_FILE).read_bytes())


# ------------------------------------------------------------------------------------------------- reading and checking


class _UnfitError(Exception):
    """What was expected of a value; the caller knows the entry and the key."""


_Check = Callable[[Any], Any]


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or value != value.strip():
        raise _UnfitError("text without blanks at its ends")
    return value


def _matching(pattern: str, meaning: str) -> _Check:
    def check(value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise _UnfitError(meaning)
        return value

    return check


def _one_of(names: Sequence[str]) -> _Check:
    return _matching("|".join(names), "one of " + ", ".join(names))


def _whole(low: int, high: int, meaning: str) -> _Check:
    def check(value: Any) -> int:
        if type(value) is not int or not low <= value <= high:
            raise _UnfitError(meaning)
        return value

    return check


def _day(value: Any) -> date:
    if type(value) is not date:  # a datetime is a date too, and not what is meant
        raise _UnfitError("a date such as 2015-12-01")
    return value


def _bilingual(value: Any) -> Text:
    if not isinstance(value, dict) or set(value) != {"en", "zh"}:
        raise _UnfitError("a table with the keys en and zh and no others")
    try:
        text = Text(en=_text(value["en"]), zh=_text(value["zh"]))
    except _UnfitError as unfit:
        raise _UnfitError(f"en and zh, each a {unfit}") from None
    if _HAN.search(text.en) or not _HAN.search(text.zh):
        raise _UnfitError("no Chinese character in en, and some in zh")
    return text


def _list_of(check: _Check, *, empty: bool = True) -> _Check:
    def check_list(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or not (value or empty):
            raise _UnfitError("a list" if empty else "a list that is not empty")
        try:
            items = tuple(check(item) for item in value)
        except _UnfitError as unfit:
            raise _UnfitError(f"a list of which each item is {unfit}") from None
        if len(set(items)) < len(items):
            raise _UnfitError("a list in which nothing occurs twice")
        return items

    return check_list


def _code(value: Any) -> str:
    code = _text(value.strip("\n") if isinstance(value, str) else value)
    try:
        compile(code, "three_lines", "exec")
    except (SyntaxError, ValueError):
        code = ""
    if not 1 <= len(code.splitlines()) <= 3:
        raise _UnfitError("at most three lines of Python")
    return code


_SLUG = _matching(r"[a-z0-9]+(-[a-z0-9]+)*", "lower-case letters, digits and single hyphens")
_PART = _matching(r"kexue(\.[A-Za-z_][A-Za-z0-9_]*)+", "a dotted name such as kexue.probability.knn.knn_entropy")
_AUTHOR = _matching(r"[^\s,][^,]*, [^,\s][^,]*", 'an author as "Last, First"')
_ARXIV = _matching(r"\d{4}\.\d{4,5}|[a-z-]+(\.[A-Z]{2})?/\d{7}", "an arXiv id such as 1701.07875 or cond-mat/0305641")
_DOI = _matching(r"10\.\d{4,9}/[^\s{}\\%#]+", "a DOI such as 10.1103/PhysRevE.69.066138")

# For each kind of entry: its keys, how each is checked, and whether it may be left out.
_SHAPES: dict[str, dict[str, tuple[_Check, bool]]] = {
    "category": {"slug": (_SLUG, False), "title": (_bilingual, False)},
    "article": {
        "slug": (_SLUG, False),
        "archive": (_whole(1, 999_999, "a positive whole number"), True),
        "date": (_day, False),
        "title": (_bilingual, False),
        "summary": (_bilingual, False),
        "category": (_SLUG, False),
        "kind": (_one_of(_KINDS), False),
        "formula": (_text, True),
        "parts": (_list_of(_PART), False),
        "studies": (_list_of(_SLUG), False),
    },
    "paper": {
        "title": (_text, False),
        "authors": (_list_of(_AUTHOR, empty=False), False),
        "year": (_whole(1600, 2100, "a year"), False),
        "arxiv": (_ARXIV, True),
        "doi": (_DOI, True),
        "venue": (_text, True),
    },
    "study": {
        "name": (_SLUG, False),
        "title": (_bilingual, False),
        "articles": (_list_of(_SLUG, empty=False), False),
        "extras": (_list_of(_one_of(_EXTRAS)), False),
        "use_when": (_bilingual, False),
        "prefer_instead": (_bilingual, False),
        "three_lines": (_code, True),
    },
}


def _show(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."


def _fail(file: str, entry: str, key: str, expected: str, got: str) -> NoReturn:
    raise CatalogueError(f"{file}: {entry}, key {key!r}: expected {expected}, got {got}")


def _entries(file: str, where: str, kind: str, raw: Any) -> list[tuple[str, dict[str, Any]]]:
    """Check every entry of one kind; its label for messages and its values, None where a key was left out."""
    if not isinstance(raw, list) or not all(isinstance(entry, dict) for entry in raw):
        _fail(file, where or "the file", kind, f"tables [[{kind}]]", _show(raw))
    shape, entries = _SHAPES[kind], []
    for number, entry in enumerate(raw, 1):
        name = entry.get("slug", entry.get("name"))
        label = where + (f"{kind} {name!r}" if isinstance(name, str) else f"{kind} {number}")
        for key in entry:
            if key not in shape and not (kind == "article" and key == "paper"):
                _fail(file, label, key, "one of " + ", ".join(shape), "an unknown key")
        values: dict[str, Any] = {}
        for key, (check, optional) in shape.items():
            if key not in entry and not optional:
                _fail(file, label, key, "a value", "nothing: the key is missing")
            try:
                values[key] = check(entry[key]) if key in entry else None
            except _UnfitError as unfit:
                _fail(file, label, key, str(unfit), _show(entry[key]))
        if kind == "article":
            papers = _entries(file, f"{label}, ", "paper", entry.get("paper", []))
            values["papers"] = tuple(Paper(**paper) for _, paper in papers)
        entries.append((label, values))
    return entries


def _read(file: str, content: bytes) -> Catalogue:
    try:
        raw = tomllib.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise CatalogueError(f"{file}: expected UTF-8 text, got other bytes at offset {error.start}") from None
    except tomllib.TOMLDecodeError as error:
        raise CatalogueError(f"{file}: expected TOML, got an error of syntax: {' '.join(str(error).split())}") from None
    for key in raw:
        if key not in ("category", "article", "study"):
            _fail(file, "the file", key, "tables [[category]], [[article]] and [[study]] only", "an unknown key")
    categories = [Category(**values) for _, values in _entries(file, "", "category", raw.get("category", []))]
    articles = [Article(**values) for _, values in _entries(file, "", "article", raw.get("article", []))]
    studies = [Study(**values) for _, values in _entries(file, "", "study", raw.get("study", []))]
    _check_names(file, categories, articles, studies)
    _check_references(file, categories, articles, studies)
    return Catalogue(tuple(categories), tuple(articles), tuple(studies))


def _check_names(file: str, categories: list[Category], articles: list[Article], studies: list[Study]) -> None:
    named: list[tuple[str, str, list[Any]]] = [
        ("category", "slug", [category.slug for category in categories]),
        ("article", "slug", [article.slug for article in articles]),
        ("article", "archive", [article.archive for article in articles if article.archive is not None]),
        ("study", "name", [study.name for study in studies]),
    ]
    for kind, key, names in named:
        for name in names:
            if names.count(name) > 1:
                _fail(file, f"{kind} {name!r}", key, f"a {key} that no other {kind} has", "the same one twice")
    papers: dict[str, Paper] = {}
    for article in articles:
        for paper in article.papers:
            if papers.setdefault(paper.key, paper) != paper or article.papers.count(paper) > 1:
                entry = f"article {article.slug!r}, paper {_show(paper.title)}"
                _fail(file, entry, "title", "a BibTeX key that no other paper has", f"{paper.key} twice")


def _check_references(file: str, categories: list[Category], articles: list[Article], studies: list[Study]) -> None:
    known = {category.slug for category in categories}
    by_slug = {article.slug: article for article in articles}
    by_name = {study.name: study for study in studies}
    for article in articles:
        entry = f"article {article.slug!r}"
        if article.category not in known:
            _fail(file, entry, "category", "the slug of a category", repr(article.category))
        if (article.kind == "study") != bool(article.studies):
            _fail(file, entry, "studies", "at least one for kind 'study', else none", _show(list(article.studies)))
        for name in article.studies:
            if name not in by_name:
                _fail(file, entry, "studies", "names of studies", repr(name))
            if article.slug not in by_name[name].articles:
                _fail(file, f"study {name!r}", "articles", f"{article.slug!r} among them, which names it", "it is not")
    for study in studies:
        entry = f"study {study.name!r}"
        for slug in study.articles:
            if slug not in by_slug:
                _fail(file, entry, "articles", "slugs of articles", repr(slug))
            if study.name not in by_slug[slug].studies:
                _fail(file, f"article {slug!r}", "studies", f"{study.name!r} among them, which names it", "it is not")
        if study.name in by_slug and study.name not in by_slug[study.name].studies:
            _fail(file, entry, "name", "no slug of an article that is not its own", repr(study.name))
    for unused in sorted(known - {article.category for article in articles}):
        _fail(file, f"category {unused!r}", "slug", "a category that some article is in", "one without articles")


# ------------------------------------------------------------------------------------------------------- nearest names


def _edits(a: str, b: str) -> int:
    """Levenshtein distance of two short strings."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous = row
        row = [i]
        for j, y in enumerate(b, 1):
            row.append(min(previous[j] + 1, row[-1] + 1, previous[j - 1] + (x != y)))
    return row[-1]


def _unknown(what: str, text: str, names: Sequence[str], archives: Sequence[str]) -> NoReturn:
    from difflib import get_close_matches  # needed for errors only

    wanted, names = text.strip().casefold(), list(dict.fromkeys(names))  # a study may have the name of its article
    if re.fullmatch("[0-9]{1,9}", wanted) and archives:
        near = sorted(archives, key=lambda archive: (_edits(wanted, archive), abs(int(wanted) - int(archive))))[:3]
        raise UnknownNameError(f"unknown archive id {text!r}; the nearest are {', '.join(near)}")
    near = get_close_matches(wanted, names, n=3, cutoff=0.55)
    near = near or [name for name in names if wanted and wanted in name][:3]
    advice = f"did you mean {' or '.join(near)}?" if near else f"there is no {what} with a similar name"
    raise UnknownNameError(f"unknown {what} {_show(text)}; {advice}")


def _ascii(text: str) -> str:
    """Lower-case ASCII letters and digits of a text, accents taken off."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
    return re.sub(r"[^a-z0-9]", "", plain.lower())
