"""Whom to cite: BibTeX and plain text for articles and their papers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from kexue import __version__
from kexue.runs.catalogue import Article, Paper

__all__ = ["bibtex", "citation", "software"]

_CONFERENCE = re.compile(r"\b(Conference|Proceedings|Workshop|Symposium|Meeting|Findings|Advances in Neural)\b")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

# BibTeX counts braces even behind a backslash, hence the commands for them.
_ESCAPES: Mapping[int, str] = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\textbraceleft{}",
        "}": r"\textbraceright{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        **{character: f"\\{character}" for character in "&%_#$"},
    }
)


def bibtex(article: Article | Iterable[Article]) -> str:
    """BibTeX of one or several articles and of the papers behind them.

    Parameters
    ----------
    article : Article or iterable of Article
        The articles. A paper that belongs to several is written once.

    Returns
    -------
    str
        An ``@misc`` entry for each article, then the papers: ``@inproceedings``, ``@article``, or ``@misc`` for a
        preprint. Keys are ASCII; special characters of text are escaped; titles keep their capitals.

    Examples
    --------
    >>> from kexue.runs.catalogue import load_catalogue
    >>> print(bibtex(load_catalogue().article("project-euler-454")))
    @misc{su2014-project-euler-454,
      author = {Su, Jianlin},
      title = {{Project Euler 454:五天攻下“擂台”}},
      howpublished = {Scientific Spaces (科学空间)},
      year = {2014},
      month = jun,
      url = {https://kexue.fm/archives/2665},
      note = {By 苏剑林, in Chinese. English title: Project Euler 454: five days to take the ring},
    }
    <BLANKLINE>
    """
    articles = [article] if isinstance(article, Article) else list(article)
    papers = {paper.key: paper for one in articles for paper in one.papers}
    return "\n".join([*map(_article_entry, articles), *map(_paper_entry, papers.values())])


def citation(article: Article) -> str:
    """One line of plain text that cites an article.

    Parameters
    ----------
    article : Article
        The article.

    Returns
    -------
    str
        Author, title with its translation, blog, date and address.

    Examples
    --------
    >>> from kexue.runs.catalogue import load_catalogue
    >>> print(citation(load_catalogue().article("eclipse-diary")))
    Su, Jianlin (苏剑林). 《日食记》 [Diary of an eclipse]. Scientific Spaces (科学空间), 2020-06-21.
    """
    title = f"《{article.title.zh}》 [{article.title.en}]"
    address = f" {article.url}" if article.url else ""
    return f"Su, Jianlin (苏剑林). {title}. Scientific Spaces (科学空间), {article.date}.{address}"


def software() -> str:
    """BibTeX of this package.

    Returns
    -------
    str
        An ``@software`` entry, with the version.

    Examples
    --------
    >>> software().splitlines()[0]
    '@software{kexue,'
    """
    fields = {
        "author": "{{The kexue developers}}",
        "title": "{{kexue: unofficial PyTorch parts, and re-measured claims, for the articles of Scientific Spaces}}",
        "year": "{2026}",
        "version": _braced(__version__),
    }
    return _entry("software", "kexue", fields)


def _braced(value: str | None, *, verbatim: bool = False) -> str | None:
    if value is None:
        return None
    return f"{{{value}}}" if verbatim else f"{{{value.translate(_ESCAPES)}}}"


def _entry(kind: str, key: str, fields: Mapping[str, str | None]) -> str:
    lines = [f"  {name} = {value}," for name, value in fields.items() if value is not None]
    return "\n".join([f"@{kind}{{{key},", *lines, "}", ""])


def _article_entry(article: Article) -> str:
    fields = {
        "author": "{Su, Jianlin}",
        "title": f"{{{_braced(article.title.zh)}}}",
        "howpublished": "{Scientific Spaces (科学空间)}",
        "year": f"{{{article.date.year}}}",
        "month": _MONTHS[article.date.month - 1],
        "url": _braced(article.url, verbatim=True),
        "note": _braced(f"By 苏剑林, in Chinese. English title: {article.title.en}"),
    }
    return _entry("misc", f"su{article.date.year}-{article.slug}", fields)


def _paper_entry(paper: Paper) -> str:
    conference = paper.venue is not None and _CONFERENCE.search(paper.venue) is not None
    kind = "misc" if paper.venue is None else "inproceedings" if conference else "article"
    fields = {
        "author": _braced(" and ".join(paper.authors)),
        "title": f"{{{_braced(paper.title)}}}",
        "booktitle" if conference else "journal": _braced(paper.venue),
        "year": f"{{{paper.year}}}",
        "doi": _braced(paper.doi, verbatim=True),
        "eprint": _braced(paper.arxiv, verbatim=True),
        "archiveprefix": None if paper.arxiv is None else "{arXiv}",
        "url": _braced(paper.url, verbatim=True),
    }
    return _entry(kind, paper.key, fields)
