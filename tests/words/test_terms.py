"""The miner of terms: counts by one lexicon, the search from seeds, and what it takes and refuses."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.base import BaseEstimator, clone

from kexue.data import generated_text
from kexue.words import Segmenter, TermMiner, TermRules, contrast_score, propagate_terms
from kexue.words import terms as module
from kexue.words.discovery import WordDiscoverer
from kexue.words.vectors import PMIVectors

COLUMNS = {
    "word": pl.String,
    "score": pl.Float64,
    "domain": pl.Int64,
    "general": pl.Int64,
    "depth": pl.Int64,
    "similarity": pl.Float64,
}


class Given(BaseEstimator):
    """A discoverer that knows the words beforehand: those of its list that occur."""

    def __init__(self, words=("电压", "电流", "天气", "晴朗", "正常", "高"), known=()):
        self.words = words
        self.known = known

    def fit(self, corpus):
        text = "\n".join(corpus)
        self.lexicon_ = {word: text.count(word) for word in self.words if word in text}
        self.vocabulary_ = {word: count for word, count in self.lexicon_.items() if word not in self.known}
        return self


DOMAIN = ["电压电流正常", "电流电压高", "电压正常", "今天天气高"]
GENERAL = ["天气晴朗", "天气正常", "正常正常高", "电流"] * 2


@pytest.fixture(scope="module")
def generated():
    made = generated_text(300_000, words=2000, classes=20, fields=2, seed=3)
    texts = [[text for text, field in zip(made.texts, made.fields, strict=True) if field == which] for which in (0, 1)]
    return made, *texts


def test_counts_are_those_of_both_texts_cut_into_the_words_of_both():
    miner = TermMiner(Given()).fit(DOMAIN, GENERAL)
    assert miner.terms_.schema == COLUMNS
    counts = {row[0]: row[2:4] for row in miner.terms_.rows()}
    assert counts["电压"] == (3, 0)
    assert counts["电流"] == (2, 2)
    assert "高" not in miner.contrast_["word"]  # shorter than two characters
    assert "天气" not in counts  # commoner in general
    segmenter = Segmenter({"电压": 3, "电流": 4, "天气": 5, "晴朗": 2, "正常": 8, "高": 4})
    cut = [Counter(word for text in texts for word in segmenter.segment(text)) for texts in (DOMAIN, GENERAL)]
    lexicon = ("电压", "电流", "天气", "晴朗", "正常", "高")
    expected = contrast_score(*({word: found[word] for word in lexicon} for found in cut), prior=2.0)
    assert miner.contrast_.equals(expected.filter(pl.col("word") != "高"))


@pytest.mark.filterwarnings("ignore::kexue.words.discovery.SmallCorpusWarning")  # a few letters are enough here
def test_a_word_that_only_one_lexicon_has_is_counted_in_both_texts():
    """Only the text of the field has 电压 often enough for the discoverer; the other one has it all the same."""
    domain = ["电压正常", "电压升高", "测电压值", "查电压表", "压力正常", "电流正常"] * 3
    general = ["电压", "电压", "天气晴朗", "天气转凉", "今天天气"] * 3
    discoverer = WordDiscoverer(min_count=12, min_pmi=0.4)
    assert "电压" not in clone(discoverer).fit(general).lexicon_
    miner = TermMiner(discoverer).fit(domain, general)
    assert miner.contrast_.filter(pl.col("word") == "电压").select("domain", "general").rows() == [(12, 6)]


def test_without_seeds_all_words_above_one_half_are_listed():
    miner = TermMiner(Given()).fit(DOMAIN, GENERAL)
    assert miner.terms_["word"].to_list() == ["电压", "电流"]
    assert miner.terms_["score"].is_sorted(descending=True)
    assert miner.terms_["depth"].null_count() == miner.terms_["similarity"].null_count() == 2
    assert miner.vectors_ is None
    assert list(miner.vocabulary_.items()) == [("电压", 3), ("电流", 2)]


def test_generated_terms_come_first(generated):
    made, domain, general = generated
    miner = TermMiner(keep=TermRules()).fit(domain, general)
    own = {word for word, field in made.word_field.items() if field == 0}
    first = miner.terms_["word"].to_list()
    assert np.mean([word in own for word in first[:50]]) == 1
    counts = Counter(
        token for text, field in zip(made.tokens, made.fields, strict=True) if field == 0 for token in text
    )
    right = [miner.vocabulary_[word] / counts[word] for word in first[:50]]
    assert 0.9 < np.mean(right) <= 1.05


def test_seeds_lead_to_words_that_are_used_alike(generated):
    made, domain, general = generated
    listed = TermMiner().fit(domain, general).terms_
    kind = {word for word, label in made.word_class.items() if label in (1, 2)}
    seeds = [word for word in listed["word"] if word in kind][:6]
    miner = TermMiner(seeds=[*seeds, "生造词"], min_sim=0.5).fit(domain, general)
    found = miner.terms_
    assert found.schema == COLUMNS
    assert set(found["word"]) <= set(listed["word"])
    assert found.filter(pl.col("depth") == 0)["word"].to_list() == seeds  # in the order of their scores
    assert found.filter(pl.col("depth") == 0)["similarity"].null_count() == len(seeds)
    assert isinstance(miner.vectors_, PMIVectors)
    new = found.filter(pl.col("depth") > 0)["word"].to_list()
    others = [word for word in listed["word"] if word not in seeds]
    share, without = (np.mean([word in kind for word in words]) for words in (new, others))
    assert len(new) >= 5
    assert share > 2 * without
    reached = propagate_terms(seeds, miner.vectors_, min_sim=0.5, keep=set(listed["word"]).__contains__)
    assert set(found["word"]) == set(reached["word"])


def test_n_seeds_takes_the_first_of_the_list(generated):
    _, domain, general = generated
    listed = TermMiner().fit(domain, general).terms_
    miner = TermMiner(n_seeds=7, vectors=PMIVectors(dim=30, min_count=2, random_state=0)).fit(domain, general)
    assert miner.terms_.filter(pl.col("depth") == 0)["word"].to_list() == listed["word"].head(7).to_list()
    assert miner.vectors_.dim == 30
    # Seeds that are given come before the number.
    given = TermMiner(n_seeds=7, seeds=listed["word"].head(2).to_list()).fit(domain, general)
    assert (given.terms_["depth"] == 0).sum() == 2


def test_the_same_texts_give_the_same_terms(generated):
    _, domain, general = generated
    one, other = (TermMiner(n_seeds=10).fit(domain, general).terms_ for _ in range(2))
    assert one.equals(other)


def test_vectors_may_be_a_function_or_there_already():
    sentences = []

    def train(text):
        sentences.extend(text)
        return ["电压", "电流", "晴朗"], np.array([[1.0, 0.0], [0.8, 0.6], [1.0, 0.0]])

    by_function = TermMiner(Given(), seeds=["电压"], vectors=train).fit(DOMAIN, GENERAL)
    assert sentences == [["电压", "电流", "正常"], ["电流", "电压", "高"], ["电压", "正常"], ["今", "天", "天气", "高"]]
    assert by_function.terms_.select("word", "depth").rows() == [("电压", 0), ("电流", 1)]
    there = TermMiner(Given(), seeds=["电压"], vectors=by_function.vectors_).fit(DOMAIN, GENERAL)
    assert there.terms_.equals(by_function.terms_)
    assert there.vectors_ is not None


def test_a_seed_is_listed_whatever_its_score_but_only_if_it_occurs():
    vectors = ["电压", "天气"], np.eye(2)
    miner = TermMiner(Given(), seeds=["天气", "晴朗", "电压"], vectors=vectors).fit(DOMAIN, GENERAL)
    assert miner.terms_["word"].to_list() == ["电压", "天气"]
    assert miner.terms_["score"][1] < 0.5


@pytest.mark.filterwarnings("ignore::kexue.words.discovery.SmallCorpusWarning")  # a few letters are enough here
def test_known_words_and_rules_are_left_out():
    assert TermMiner(Given(known=("电压",))).fit(DOMAIN, GENERAL).terms_["word"].to_list() == ["电流"]
    assert TermMiner(Given(), keep=lambda word: word != "电流").fit(DOMAIN, GENERAL).vocabulary_ == {"电压": 3}
    miner = TermMiner(WordDiscoverer(min_count=6, min_pmi=1.0, known={"变压器"}))
    miner.fit(["变压器油温偏高", "变压器停运", "检查变压器", "油温正常", "油温平稳"] * 2, ["天气晴朗", "今天天气"] * 3)
    assert miner.vocabulary_ == {"油温": 6}


def test_texts_may_be_files_and_streams(tmp_path):
    paths = []
    for name, texts in (("domain", DOMAIN), ("general", GENERAL)):
        path = tmp_path / f"{name}.txt"
        path.write_text("\n".join(texts) + "\n", encoding="gb18030")
        paths.append(path)
    discoverer = WordDiscoverer(min_count=2, min_pmi=0.1, encoding="gb18030")
    expected = TermMiner(clone(discoverer).set_params(encoding="utf-8")).fit(DOMAIN, GENERAL).terms_
    assert len(expected)
    assert TermMiner(discoverer).fit(*paths).terms_.equals(expected)
    assert TermMiner(discoverer).fit([paths[0]], iter([paths[1]])).terms_.equals(expected)
    stream = io.BytesIO(Path(paths[0]).read_bytes())
    assert TermMiner(discoverer).fit([stream], paths[1]).terms_.equals(expected)
    assert TermMiner(clone(discoverer)).fit(iter(DOMAIN), iter(GENERAL)).terms_.equals(expected)


def test_normal_forms_are_those_of_the_discoverer():
    wide = [text + "Ａ１" for text in DOMAIN]
    discoverer = WordDiscoverer(min_count=4, min_pmi=0.1, normalize="nfkc")
    miner = TermMiner(discoverer).fit(wide, GENERAL)
    assert miner.vocabulary_["A1"] == 4


def test_without_general_text_every_word_is_listed():
    miner = TermMiner(Given()).fit(DOMAIN, [])
    assert miner.terms_["score"].to_list() == [1.0] * 4
    assert set(miner.vocabulary_) == {"电压", "电流", "正常", "天气"}


def test_progress_is_told(generated):
    class Told:
        def __init__(self):
            self.stages = []

        def track(self, items, description, total, *, done=0, status=None):
            self.stages.append(description)
            yield from items

    _, domain, general = generated
    told = Told()
    quiet = TermMiner(n_seeds=3).fit(domain, general).terms_
    assert TermMiner(n_seeds=3).fit(domain, general, progress=told).terms_.equals(quiet)
    assert told.stages.count("counting words, MB") == 2
    assert told.stages.count("reading, MB") == 2
    assert "counting pairs, blocks of words" in told.stages


def test_it_is_an_estimator():
    miner = TermMiner(WordDiscoverer(min_count=7), seeds=["电压"], keep=TermRules(min_length=3), prior=None)
    copy = clone(miner)
    assert copy.get_params()["discoverer__min_count"] == 7
    assert copy.get_params()["keep"] == TermRules(min_length=3)
    assert copy.set_params(n_seeds=5, discoverer__min_count=9).discoverer.min_count == 9
    assert miner.discoverer.min_count == 7
    discoverer = Given()
    TermMiner(discoverer).fit(DOMAIN, GENERAL)
    assert not hasattr(discoverer, "lexicon_")  # copies are fitted


def test_public_names():
    assert set(module.__all__) == {"TermMiner", "TermRules", "contrast_score", "propagate_terms"}


@pytest.mark.parametrize(
    ("options", "texts", "error", "message"),
    [
        ({}, ("电压", GENERAL), TypeError, r"pass \[text\] or pathlib"),
        ({}, (DOMAIN, "天气"), TypeError, r"pass \[text\] or pathlib"),
        ({}, ([1], GENERAL), TypeError, "must be a str"),
        ({"seeds": "电压"}, (DOMAIN, GENERAL), TypeError, "seeds must be a list of words, got a plain string: '电压'"),
        ({"seeds": ["没有"]}, (DOMAIN, GENERAL), ValueError, r"at least one seed must have a vector, got \['没有'\]"),
        ({"n_seeds": -1}, (DOMAIN, GENERAL), ValueError, "n_seeds must be an integer >= 0, got -1"),
        ({"n_seeds": 1.0}, (DOMAIN, GENERAL), TypeError, "n_seeds must be an integer"),
        ({"prior": 0}, (DOMAIN, GENERAL), ValueError, "prior must be positive and finite, got 0"),
        ({"seeds": ["电压"], "min_sim": 2}, (DOMAIN, GENERAL), ValueError, "min_sim and max_sim must rise"),
    ],
)
def test_bad_input(options, texts, error, message):
    vectors = ["电压", "电流"], np.eye(2)
    with pytest.raises(error, match=message):
        TermMiner(WordDiscoverer(min_count=2, min_pmi=0.1), vectors=vectors, **options).fit(*texts)


def test_a_field_without_words():
    with pytest.raises(ValueError, match="no characters of the alphabet in the corpus"):
        TermMiner().fit([], GENERAL)
    with pytest.raises(ValueError, match="no words were found in the text of the field: lower the min_count"):
        TermMiner(WordDiscoverer(min_count=99)).fit(DOMAIN, GENERAL)
