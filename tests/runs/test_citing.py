"""BibTeX and citations."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kexue.runs.catalogue import Article, Paper, Text, load_catalogue
from kexue.runs.citing import bibtex, citation

CATALOGUE = load_catalogue()
ALL = bibtex(CATALOGUE.articles)
ENTRY = re.compile(r"@(misc|article|inproceedings)\{([^,\s]+),\n((?:  [a-z]+ = .*,\n)+)\}\n")


def test_bibtex_of_the_whole_catalogue_is_well_formed():
    assert ENTRY.sub("", ALL).strip() == ""
    keys = [key for _, key, _ in ENTRY.findall(ALL)]
    assert len(keys) == len(set(keys)) == 36 + len({paper for a in CATALOGUE.articles for paper in a.papers})
    assert all(re.fullmatch(r"[a-z0-9-]+", key) for key in keys)


def test_bibtex_braces_balance():
    for _, _, fields in ENTRY.findall(ALL):
        for line in fields.splitlines():
            depths = [0]
            for character in line:
                depths.append(depths[-1] + {"{": 1, "}": -1}.get(character, 0))
            assert depths[-1] == 0
            assert min(depths) == 0


def test_bibtex_entries_have_their_fields():
    for kind, key, text in ENTRY.findall(ALL):
        fields = dict(re.findall(r"  ([a-z]+) = (.*),", text))
        assert {"author", "title", "year"} <= set(fields), key
        assert fields["title"].startswith("{{")
        assert ("journal" in fields) == (kind == "article")
        assert ("booktitle" in fields) == (kind == "inproceedings")


def test_bibtex_of_an_article():
    lines = bibtex(CATALOGUE.article(6280)).splitlines()
    assert lines[0] == "@misc{su2019-wasserstein-duality-wgan,"
    assert "  month = jan," in lines
    assert "  url = {https://kexue.fm/archives/6280}," in lines
    assert "  title = {{从Wasserstein距离、对偶理论到WGAN}}," in lines
    assert "@misc{arjovsky2017wasserstein," in lines
    assert "  author = {Arjovsky, Martin and Chintala, Soumith and Bottou, Léon}," in lines
    assert "  eprint = {1701.07875}," in lines


def test_bibtex_without_archive_id():
    text = bibtex(CATALOGUE.article("eclipse-diary"))
    assert "url" not in text
    assert "日食记" in text


def test_bibtex_escapes():
    paper = Paper(title=r"50% of {A} & B_1 #2 costs $3 \o/ ~ ^", authors=("Müller, Ö.",), year=2001, venue="J & J")
    article = replace(CATALOGUE.article(3534), papers=(paper,))
    text = bibtex(article)
    assert r"50\% of \textbraceleft{}A\textbraceright{} \& B\_1 \#2 costs \$3 \textbackslash{}o/" in text
    assert r"\textasciitilde{} \textasciicircum{}}}," in text
    assert r"journal = {J \& J}," in text
    assert "@article{muller200150," in text


@given(st.text(), st.text(), st.lists(st.text(min_size=1), min_size=1))
def test_bibtex_braces_balance_whatever_the_text(zh, en, authors):
    paper = Paper(title=en, authors=tuple(authors), year=2001)
    article = replace(CATALOGUE.article(3534), title=Text(en=en, zh=zh), papers=(paper,))
    text = bibtex(article)
    assert text.count("{") == text.count("}")
    assert re.search(r"^@misc\{[\x21-\x7e]+,$", text, re.MULTILINE)


@pytest.mark.parametrize("article", CATALOGUE.articles, ids=lambda article: article.slug)
def test_citations_are_one_line(article: Article):
    line = citation(article)
    assert "\n" not in line
    assert article.title.zh in line
    assert str(article.date) in line
    assert line.endswith(article.url or ".")
