"""The catalogue: complete, right, strict, and helpful when a name is wrong."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import date
from pathlib import Path
from xml.etree import ElementTree

import pytest

from kexue.runs.catalogue import (
    CatalogueError,
    UnknownNameError,
    load_catalogue,
)

CATALOGUE = load_catalogue()
HAN = re.compile("[\u4e00-\u9fff]")

# The map of the project, in its order: archive id, date, studies.
MAP = """
7343 2020-04-20 eae knn-entropy
3534 2015-12-01 maxent
5239 2018-03-15 mle-to-em
9812 2023-10-22 attention-scale
4439 2017-06-08 gan-losses
6280 2019-01-20 wasserstein-duality
7038 2019-10-31 denoising
7630 2020-07-25 qa-generation
7574 2020-07-10 nvae
7546 2020-07-04 linear-attention
7533 2020-06-28 integrated-gradients
7521 2020-06-23 mgs
None 2020-06-21
7500 2020-06-16 stopping
7476 2020-06-10 perturbed-masking
7469 2020-06-05 clipping
6409 2019-03-06 o-gan
6540 2019-04-10 new-words domain-terms
6508 2019-03-26
6482 2019-03-21 invertible-resnet
7124 2019-12-14 conditional-layer-norm
6549 2019-04-19 gan-architectures
6620 2019-05-20 smoothing
6621 2019-05-28 on-lstm
6575 2019-04-28 training-tools
4675 2017-11-19 word-vectors
4277 2017-03-23 mle-to-em
2665 2014-06-27 euler-454
9085 2022-05-25 perturb-max
8829 2021-12-24 entropy-normalization
8823 2021-12-21 entropy-scale
8791 2021-12-09 vae-density
8770 2021-11-29 dropout-mlm
8728 2021-10-22 can
8578 2021-07-22 analytic-softmax
8512 2021-07-08 gaussian-distances
"""

MINIMAL = """
[[category]]
slug = "probability"
title = { en = "Probability", zh = "概率" }

[[article]]
slug = "one"
archive = 1234
date = 2015-12-01
title = { en = "One", zh = "一" }
category = "probability"
kind = "study"
formula = 'x^2'
summary = { en = "First.", zh = "其一。" }
parts = ["kexue.probability.knn.knn_entropy"]
studies = ["first"]

[[article.paper]]
title = "A title"
authors = ["Last, First"]
year = 1987
arxiv = "cond-mat/0305641"
doi = "10.1103/PhysRevE.69.066138"
venue = "A journal"

[[article]]
slug = "two"
date = 2016-01-02
title = { en = "Two", zh = "二" }
category = "probability"
kind = "example"
summary = { en = "Second.", zh = "其二。" }
parts = []
studies = []

[[study]]
name = "first"
title = { en = "The first", zh = "第一个" }
articles = ["one"]
extras = ["torch"]
use_when = { en = "Now.", zh = "现在。" }
prefer_instead = { en = "Nothing.", zh = "没有。" }
three_lines = "x = 1"
"""


def load(folder: Path, text: str | bytes):
    path = folder / "mine.toml"
    path.write_bytes(text.encode("utf-8") if isinstance(text, str) else text)
    return load_catalogue(path)


def message(folder: Path, text: str | bytes) -> str:
    with pytest.raises(CatalogueError) as caught:
        load(folder, text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ------------------------------------------------------------------------------------------------------------- content


def test_all_articles_of_the_map_are_there_in_order():
    rows = [line.split() for line in MAP.split("\n") if line]
    expected = [(None if a == "None" else int(a), date.fromisoformat(d), tuple(s)) for a, d, *s in rows]
    assert len(expected) == 36
    assert [(a.archive, a.date, a.studies) for a in CATALOGUE.articles] == expected


def test_every_study_of_the_map_is_there_once():
    names = {name for line in MAP.split("\n") for name in line.split()[2:]}
    assert sorted(study.name for study in CATALOGUE.studies) == sorted(names)


def test_categories():
    sizes = Counter(article.category for article in CATALOGUE.articles)
    assert [sizes[category.slug] for category in CATALOGUE.categories] == [5, 4, 5, 4, 4, 4, 4, 3, 3]
    assert CATALOGUE.category("probability").title.zh == "概率与熵"


def test_kinds():
    others = {article.slug: article.kind for article in CATALOGUE.articles if article.kind != "study"}
    assert others == {"eclipse-diary": "example", "reading-guide": "design"}


@pytest.mark.parametrize("article", CATALOGUE.articles, ids=lambda article: article.slug)
def test_texts_of_an_article(article):
    sentences = {
        "en": re.findall(r"[.?!](?= |$)", article.summary.en),
        "zh": re.findall("[。？！]", article.summary.zh),
    }
    assert 2 <= len(sentences["en"]) <= 4
    assert 2 <= len(sentences["zh"]) <= 4
    for text in (article.title, article.summary):
        assert not HAN.search(text.en)
        assert HAN.search(text.zh)


@pytest.mark.parametrize("study", CATALOGUE.studies, ids=lambda study: study.name)
def test_texts_of_a_study(study):
    for text in (study.title, study.use_when, study.prefer_instead):
        assert not HAN.search(text.en)
        assert HAN.search(text.zh)
    assert study.use_when.en.endswith(".")
    assert study.prefer_instead.zh.endswith("。")


def test_chinese_texts_have_chinese_punctuation():
    texts = [article.summary.zh for article in CATALOGUE.articles]
    texts += [text.zh for study in CATALOGUE.studies for text in (study.use_when, study.prefer_instead)]
    assert [text for text in texts if re.search("[\u4e00-\u9fff][,;:?!.()]", text)] == []


@pytest.mark.parametrize("article", [a for a in CATALOGUE.articles if a.formula], ids=lambda article: article.slug)
def test_formulas_convert(article):
    converter = pytest.importorskip("latex2mathml.converter")
    markup = converter.convert(article.formula, display="block")
    assert "\\" not in markup  # an unknown command gives no error there: it is left as it stands
    words = [element.text or "" for element in ElementTree.fromstring(markup).iter()]
    assert "*" not in {word for word in words if word.startswith("arg")}
    assert article.formula.count("{") == article.formula.count("}")


def test_most_articles_have_a_formula():
    assert [article.slug for article in CATALOGUE.articles if article.formula is None] == ["reading-guide"]


@pytest.mark.parametrize("name", ["maxent", "knn-entropy"])
def test_three_lines_run(name):
    pytest.importorskip("torch")
    code = CATALOGUE.study(name).three_lines
    assert code is not None
    space: dict = {}
    exec(code, space)
    if name == "maxent":
        assert space["p"].tolist() == pytest.approx([0.4662396, 0.3175208, 0.2162396], abs=1e-6)
    else:
        assert float(space["entropy"]) == pytest.approx(2.8379, abs=0.2)  # log(2πe), two standard normals


def test_parts_that_are_built_exist():
    checked = []
    for article in CATALOGUE.articles:
        for part in article.parts:
            module, _, name = part.rpartition(".")
            try:
                imported = importlib.import_module(module)
            except ModuleNotFoundError as error:
                if error.name is not None and error.name.startswith("kexue"):
                    continue  # planned, not built yet
                raise
            if module.count(".") >= 2:  # a room may still be empty, a module is written at once
                assert hasattr(imported, name), part
                checked.append(part)
    assert "kexue.probability.maxent.max_entropy" in checked


def test_reading_needs_no_torch():
    code = (
        "import sys; from kexue.runs.catalogue import load_catalogue; load_catalogue(); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.strip() == "False"


def test_the_package_catalogue_is_read_once():
    assert load_catalogue() is CATALOGUE


# ------------------------------------------------------------------------------------------------------------- reading


def test_minimal(tmp_path):
    catalogue = load(tmp_path, MINIMAL)
    one, two = catalogue.articles
    assert (one.url, two.url) == ("https://kexue.fm/archives/1234", None)
    assert (two.formula, two.papers) == (None, ())
    assert one.papers[0].authors == ("Last, First",)
    assert one.papers[0].url == "https://arxiv.org/abs/cond-mat/0305641"
    assert replace(one.papers[0], arxiv=None).url == "https://doi.org/10.1103/PhysRevE.69.066138"
    assert catalogue.studies[0].three_lines == "x = 1"


def test_a_string_is_a_path_too(tmp_path):
    load(tmp_path, MINIMAL)
    assert load_catalogue(str(tmp_path / "mine.toml")).studies[0].name == "first"


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_catalogue(tmp_path / "nothing.toml")


def test_syntax_error_names_the_line(tmp_path):
    text = message(tmp_path, MINIMAL + "\n[[study]\n")
    line = MINIMAL.count("\n") + 2
    assert re.match(rf"mine\.toml: expected TOML, got an error of syntax: .*line {line}\b", text)


def test_impossible_date_is_an_error_of_syntax(tmp_path):
    assert "line 9" in message(tmp_path, MINIMAL.replace("2015-12-01", "2015-13-01"))


def test_other_encoding(tmp_path):
    text = message(tmp_path, MINIMAL.encode("gb18030"))
    assert text.startswith("mine.toml: expected UTF-8 text, got other bytes at offset")


def test_unknown_table(tmp_path):
    text = message(tmp_path, "[[stduy]]\n" + MINIMAL)
    assert text.startswith("mine.toml: the file, key 'stduy': expected tables [[category]], [[article]] and [[study]]")


def test_no_list_of_tables(tmp_path):
    text = message(tmp_path, "study = 3\n" + MINIMAL.partition("[[study]]")[0])
    assert text == "mine.toml: the file, key 'study': expected tables [[study]], got 3"


WRONG = [
    # what is replaced, by what, where, what the message says of expected and got
    ('slug = "probability"', 'slug = "Probability"', "category 'Probability', key 'slug'", "lower-case .*got 'Prob"),
    ('slug = "one"', "slug = 1", "article 1, key 'slug'", "lower-case letters, digits and single hyphens, got 1"),
    ('slug = "one"', "", "article 1, key 'slug'", "expected a value, got nothing: the key is missing"),
    ('slug = "one"', 'slug = "one"\nsulg = 1', "article 'one', key 'sulg'", "one of slug, .*got an unknown key"),
    ("archive = 1234", 'archive = "1234"', "article 'one', key 'archive'", "a positive whole number, got '1234'"),
    ("archive = 1234", "archive = true", "article 'one', key 'archive'", "a positive whole number, got True"),
    ("archive = 1234", "archive = 0", "article 'one', key 'archive'", "a positive whole number, got 0"),
    ("2015-12-01", '"2015-12-01"', "article 'one', key 'date'", "a date such as 2015-12-01, got '2015-12-01'"),
    ("2015-12-01", "2015-12-01T10:00:00", "article 'one', key 'date'", "a date such as .*datetime"),
    ('"One", zh = "一"', '"One"', "article 'one', key 'title'", "the keys en and zh and no others, got {'en': 'One'}"),
    ('"One", zh = "一"', '"一", zh = "一"', "article 'one', key 'title'", "no Chinese character in en, and some in zh"),
    ('"One", zh = "一"', '"One", zh = "One"', "article 'one', key 'title'", "no Chinese character in en, and some in"),
    ('"First."', '" First."', "article 'one', key 'summary'", "en and zh, each a text without blanks at its ends"),
    ('"First."', "7", "article 'one', key 'summary'", "en and zh, each a text"),
    ('kind = "example"', 'kind = "toy"', "article 'two', key 'kind'", "one of study, example, design, got 'toy'"),
    ("'x^2'", "''", "article 'one', key 'formula'", "text without blanks at its ends, got ''"),
    ('["kexue.probability.knn.knn_entropy"]', '["knn"]', "article 'one', key 'parts'", r"each item is a dotted name"),
    ('["kexue.probability.knn.knn_entropy"]', '"knn"', "article 'one', key 'parts'", "a list, got 'knn'"),
    ("1987", "87", "article 'one', paper 1, key 'year'", "a year, got 87"),
    ('["Last, First"]', "[]", "article 'one', paper 1, key 'authors'", r"a list that is not empty, got \[\]"),
    ('["Last, First"]', '["First Last"]', "article 'one', paper 1, key 'authors'", 'an author as "Last, First"'),
    ('["Last, First"]', '["L, F", "L, F"]', "article 'one', paper 1, key 'authors'", "in which nothing occurs twice"),
    ("cond-mat/0305641", "arXiv:1701.07875", "article 'one', paper 1, key 'arxiv'", "an arXiv id such as .*got 'arX"),
    ("cond-mat/0305641", "1701.078", "article 'one', paper 1, key 'arxiv'", "an arXiv id such as .*got '1701.078'"),
    ("10.1103/Phys", "doi:10.1103/Phys", "article 'one', paper 1, key 'doi'", "a DOI such as .*got 'doi:10"),
    ('venue = "A journal"', "jurnal = 1", "article 'one', paper 1, key 'jurnal'", "one of title, authors, .*venue"),
    (
        'extras = ["torch"]',
        'extras = ["pytorch"]',
        "study 'first', key 'extras'",
        "item is one of torch, words, .*pytor",
    ),
    ('articles = ["one"]', "articles = []", "study 'first', key 'articles'", "a list that is not empty"),
    ('"x = 1"', '"x = \'"', "study 'first', key 'three_lines'", "at most three lines of Python"),
    ('"x = 1"', r'"x = 1\n\n\ny = 2"', "study 'first', key 'three_lines'", "at most three lines of Python"),
    # references
    ('category = "probability"\nkind = "ex', 'category = "x"\nkind = "ex', "article 'two', key 'category'", "got 'x'"),
    ('studies = ["first"]', 'studies = ["frist"]', "article 'one', key 'studies'", "names of studies, got 'frist'"),
    ('studies = ["first"]', "studies = []", "article 'one', key 'studies'", "at least one for kind 'study', else none"),
    ("studies = []", 'studies = ["first"]', "article 'two', key 'studies'", "at least one for kind 'study', else none"),
    ('articles = ["one"]', 'articles = ["none"]', "study 'first', key 'articles'", "'one' among them, which names it"),
    (
        'articles = ["one"]',
        'articles = ["one", "zero"]',
        "study 'first', key 'articles'",
        "slugs of articles, got 'zero'",
    ),
    ('articles = ["one"]', 'articles = ["one", "two"]', "article 'two', key 'studies'", "'first' among them"),
    # names
    ('slug = "two"', 'slug = "one"', "article 'one', key 'slug'", "a slug that no other article has"),
    ("date = 2016", "archive = 1234\ndate = 2016", "article 1234, key 'archive'", "archive that no other article has"),
    ('slug = "two"', 'slug = "first"', "study 'first', key 'name'", "no slug of an article that is not its own"),
]


@pytest.mark.parametrize(("old", "new", "where", "what"), WRONG, ids=[f"{w[2]} {w[1]}" for w in WRONG])
def test_wrong_entries(tmp_path, old, new, where, what):
    assert old in MINIMAL
    text = message(tmp_path, MINIMAL.replace(old, new, 1))
    assert text.startswith(f"mine.toml: {where}: expected ")
    assert re.search(what, text)


def test_the_same_study_or_category_twice(tmp_path):
    study = MINIMAL[MINIMAL.index("[[study]]") :]
    assert "study 'first', key 'name'" in message(tmp_path, MINIMAL + study)
    category = MINIMAL[: MINIMAL.index("[[article]]")]
    assert "category 'probability', key 'slug'" in message(tmp_path, category + MINIMAL)


def test_a_category_without_articles(tmp_path):
    text = message(tmp_path, MINIMAL + '[[category]]\nslug = "x"\ntitle = { en = "X", zh = "某" }\n')
    assert (
        text
        == "mine.toml: category 'x', key 'slug': expected a category that some article is in, got one without articles"
    )


def test_papers_whose_keys_would_clash(tmp_path):
    paper = '[[article.paper]]\ntitle = "A title again"\nauthors = ["Last, F."]\nyear = 1987\n'
    text = message(tmp_path, MINIMAL.replace("[[study]]", paper + "[[study]]"))
    assert text.endswith(
        "paper 'A title again', key 'title': expected a BibTeX key that no other paper has, got last1987title twice"
    )


def test_the_same_paper_may_belong_to_two_articles(tmp_path):
    paper = MINIMAL[MINIMAL.index("[[article.paper]]") : MINIMAL.index('[[article]]\nslug = "two"')]
    catalogue = load(tmp_path, MINIMAL.replace("[[study]]", paper + "[[study]]"))
    from kexue.runs.citing import bibtex

    assert bibtex(catalogue.articles).count("{last1987title,") == 1


def test_long_values_are_cut_in_messages(tmp_path):
    text = message(tmp_path, MINIMAL.replace('kind = "example"', f'kind = "{"x" * 5000}"'))
    assert len(text) < 300


# --------------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    "key",
    [
        3534,
        "3534",
        "maximum-entropy",
        "https://kexue.fm/archives/3534",
        "spaces.ac.cn/archives/3534",
        "http://www.kexue.fm/archives/3534/comment-page-1#comments",
    ],
)
def test_article_by_any_name(key):
    assert CATALOGUE.article(key).slug == "maximum-entropy"


@pytest.mark.parametrize("key", ["maxent", "maximum-entropy", "3534", 3534])
def test_study_by_any_name(key):
    assert CATALOGUE.study(key).name == "maxent"


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("maximum-entorpy", "unknown article 'maximum-entorpy'; did you mean maximum-entropy?"),
        ("NVAE", "unknown article 'NVAE'; did you mean nvae?"),
        ("xyzzy", "unknown article 'xyzzy'; there is no article with a similar name"),
        ("", "unknown article ''; there is no article with a similar name"),
        (7344, "unknown archive id '7344'; the nearest are 7343, 7546, 7124"),
        ("88230", "unknown archive id '88230'; the nearest are 8823, 8829, 8770"),
        ("two\nlines", r"unknown article 'two\nlines'; there is no article with a similar name"),
    ],
)
def test_unknown_articles(key, text):
    with pytest.raises(UnknownNameError) as caught:
        CATALOGUE.article(key)
    assert str(caught.value) == text
    assert isinstance(caught.value, KeyError)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("maxnet", "unknown study 'maxnet'; did you mean maxent?"),
        ("entropy-normalisation", "unknown study 'entropy-normalisation'; did you mean entropy-normalization"),
        (1, "unknown archive id '1'; the nearest are 6621, 7124, 7521"),
        (7343, "article 7343 has several studies, take one: eae, knn-entropy"),
        ("domain-vocabulary", "article domain-vocabulary has several studies, take one: new-words, domain-terms"),
        (6508, "article 6508 has no study of its own: it is listed as design"),
        ("9" * 5000, "unknown study '9999"),
    ],
)
def test_unknown_studies(key, text):
    with pytest.raises(UnknownNameError) as caught:
        CATALOGUE.study(key)
    assert str(caught.value).startswith(text)
    assert len(str(caught.value)) < 200


def test_unknown_category():
    with pytest.raises(UnknownNameError, match="unknown category 'probabilty'; did you mean probability"):
        CATALOGUE.category("probabilty")


def test_an_empty_error_prints():
    assert str(UnknownNameError()) == ""
