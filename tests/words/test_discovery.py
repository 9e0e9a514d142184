"""Words against the steps written out in plain Python, on random and on real text; limits, known words, bad input."""

from __future__ import annotations

import csv
import gzip
import io
import math
import os
import subprocess
import sys
import warnings
import zipfile
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

import kexue.words.coded_corpus as coded_corpus
import kexue.words.ngrams as ngrams
import kexue.words.run_table as run_table
import kexue.words.runs as runs
from kexue.extras import MissingExtraError
from kexue.progress import Progress
from kexue.words.alphabet import alphabet_table
from kexue.words.discovery import SmallCorpusWarning, WordDiscoverer
from kexue.words.spilling import Scratch

# What is said of corpora of a few lines, as these are, is a matter of the tests that ask for it.
pytestmark = pytest.mark.filterwarnings("ignore::kexue.words.discovery.SmallCorpusWarning")

LETTERS = alphabet_table("han")
DOCUMENTS = st.lists(st.text("ab中〇𠀀，\n", max_size=60), min_size=1, max_size=5)
THRESHOLDS = st.one_of(st.none(), st.floats(-1, 2), st.fixed_dictionaries({m: st.floats(-1, 3) for m in range(2, 6)}))


def segments(documents):
    for document in documents:
        begin = 0
        for i, letter in enumerate(document + "\n"):
            if not LETTERS[ord(letter)]:
                if begin < i:
                    yield document[begin:i]
                begin = i + 1


def threshold(min_pmi, length):
    if min_pmi is None:
        return 2.0 * (length - 1)
    return min_pmi[length] if isinstance(min_pmi, dict) else min_pmi


def grams_by_hand(documents, n, min_count):
    """Counts and solidity of the frequent n-grams."""
    counts = Counter(
        segment[i : i + m]
        for segment in segments(documents)
        for m in range(1, n + 1)
        for i in range(len(segment) - m + 1)
    )
    counts = {gram: count for gram, count in counts.items() if count >= min_count}
    log_total = math.log(sum(count for gram, count in counts.items() if len(gram) == 1) or 1)
    solidity = {
        gram: min(
            log_total + math.log(count) - (math.log(counts[gram[:k]]) + math.log(counts[gram[k:]]))
            for k in range(1, len(gram))
        )
        for gram, count in counts.items()
        if len(gram) > 1
    }
    return counts, solidity


def runs_by_hand(documents, n, grams):
    """How often each maximal run occurs."""
    counted = Counter()
    for segment in segments(documents):
        joined = [False] * (len(segment) + 1)
        for i in range(len(segment)):
            for m in range(2, n + 1):
                if i + m <= len(segment) and segment[i : i + m] in grams:
                    joined[i + 1 : i + m] = [True] * (m - 1)
        begin = 0
        for i in range(1, len(segment) + 1):
            if not joined[i]:
                counted[segment[begin:i]] += 1
                begin = i
    return counted


def solidity_by_hand(documents, n, min_count, min_pmi, backfilter):
    _, solidity = grams_by_hand(documents, n, min_count)
    grams = {gram for gram, value in solidity.items() if value >= threshold(min_pmi, len(gram))}
    words = {}
    for word, count in runs_by_hand(documents, n, grams).items():
        orders = range(3, n + 1) if backfilter == "all_orders" else [min(n, len(word))]
        parts = [word[i : i + m] for m in orders for i in range(len(word) - m + 1)]
        if count >= min_count and (len(word) <= 2 or all(part in grams for part in parts)):
            words[word] = count
    return words


def boundary_by_hand(documents, n, min_count, min_pmi, min_entropy):
    counts, solidity = grams_by_hand(documents, n, min_count)
    words = {}
    for gram, value in solidity.items():
        if value < threshold(min_pmi, len(gram)):
            continue
        sides = defaultdict(Counter)
        for number, segment in enumerate(segments(documents)):
            for i in range(len(segment) - len(gram) + 1):
                if segment.startswith(gram, i):
                    j = i + len(gram)
                    sides["left"][segment[i - 1] if i else ("left", number)] += 1
                    sides["right"][segment[j] if j < len(segment) else ("right", number)] += 1
        entropies = [
            math.log(counts[gram]) - sum(r * math.log(r) for r in side.values()) / counts[gram]
            for side in sides.values()
        ]
        if min(entropies) >= min_entropy:
            words[gram] = (counts[gram], value + min(entropies))
    return words


def best_cut(word, lexicon, log_total):
    best, last = [0.0] + [-math.inf] * len(word), [0] * (len(word) + 1)
    for i in range(len(word)):
        for j in range(i + 1, len(word) + 1):
            part = word[i:j]
            if part in lexicon:
                value = best[i] + (math.log(lexicon[part]) - log_total)
            elif j == i + 1:
                value = best[i] + (-100 - log_total)
            else:
                continue
            if value > best[j]:
                best[j], last[j] = value, i
    parts, at = [], len(word)
    while at:
        parts.append(word[last[at] : at])
        at = last[at]
    return parts, best[-1]


def adjacent_by_hand(documents, min_prob, min_pmi):
    texts = list(segments(documents))
    letters = Counter("".join(texts))
    pairs = Counter(text[i : i + 2] for text in texts for i in range(len(text) - 1))
    all_letters, all_pairs = sum(letters.values()), sum(pairs.values())
    joined = set()
    for pair, count in pairs.items():
        p = count / all_pairs
        mutual = math.log(p) - math.log(letters[pair[0]] / all_letters) - math.log(letters[pair[1]] / all_letters)
        if p > min_prob and mutual > min_pmi:
            joined.add(pair)
    counted = runs_by_hand(documents, 2, joined)
    all_runs = sum(counted.values())
    lexicon = {word: count for word, count in counted.items() if count / all_runs > min_prob}
    for word in sorted((word for word in lexicon if len(word) > 1), key=lambda word: (-len(word), word)):
        log_total = math.log(sum(lexicon.values()))
        count = lexicon.pop(word)
        parts, value = best_cut(word, lexicon, log_total)
        if math.log(count) - log_total - value < len(word) - 1:
            for part in parts:
                lexicon[part] = lexicon.get(part, 0) + count
        else:
            lexicon[word] = count
    return lexicon


def ordered(words):
    return sorted(words.items(), key=lambda item: (-item[1], item[0]))


def assert_identical(one, other):
    """Bit for bit, not a number included."""
    assert list(one.vocabulary_.items()) == list(other.vocabulary_.items())
    assert one.table_.columns == other.table_.columns
    for name in one.table_.columns:
        a, b = one.table_[name], other.table_[name]
        assert a.equals(b) if name == "word" else a.to_numpy().tobytes() == b.to_numpy().tobytes(), name


@given(DOCUMENTS, st.integers(2, 5), st.integers(1, 4), THRESHOLDS, st.sampled_from(["longest", "all_orders"]))
@settings(max_examples=80, deadline=None)
def test_solid_words_are_those_by_hand(documents, n, min_count, min_pmi, backfilter):
    documents = [*documents, "中"]
    found = WordDiscoverer(max_n=n, min_count=min_count, min_pmi=min_pmi, backfilter=backfilter).fit(documents)
    expected = solidity_by_hand(documents, n, min_count, min_pmi, backfilter)
    assert list(found.vocabulary_.items()) == ordered(expected)
    counts, solidity = grams_by_hand(documents, n, min_count)
    assert found.table_["word"].to_list() == list(found.vocabulary_)
    for word, length, count, value, left, right in found.table_.iter_rows():
        assert (length, count) == (len(word), expected[word])
        assert value == solidity[word] if word in solidity else math.isnan(value)
        assert math.isnan(left) == math.isnan(right) == (word not in counts)


@given(DOCUMENTS, st.integers(2, 5), st.integers(1, 4), THRESHOLDS, st.floats(0, 1))
@settings(max_examples=80, deadline=None)
def test_free_words_are_those_by_hand(documents, n, min_count, min_pmi, min_entropy):
    documents = [*documents, "中"]
    found = WordDiscoverer(
        "boundary", max_n=n, min_count=min_count, min_pmi=min_pmi, min_entropy=min_entropy + 1e-6
    ).fit(documents)
    expected = boundary_by_hand(documents, n, min_count, min_pmi, min_entropy + 1e-6)
    assert list(found.vocabulary_.items()) == ordered({word: count for word, (count, _) in expected.items()})
    scores = dict(found.table_.select("word", "score").iter_rows())
    assert scores == pytest.approx({word: score for word, (_, score) in expected.items()})
    assert found.table_.sort(["score", "word"], descending=[True, False]).equals(found.table_)
    assert found.table_.columns == ["word", "length", "count", "solidity", "left_entropy", "right_entropy", "score"]


@given(DOCUMENTS, st.sampled_from([1e-7, 0.01, 0.05, 0.2]), st.floats(-1, 2))
@settings(max_examples=80, deadline=None)
def test_adjacent_words_are_those_by_hand(documents, min_prob, min_pmi):
    documents = [*documents, "中"]
    found = WordDiscoverer("adjacent", min_prob=min_prob, min_pmi=min_pmi).fit(documents)
    assert list(found.vocabulary_.items()) == ordered(adjacent_by_hand(documents, min_prob, min_pmi))
    assert not hasattr(found, "ngrams_")
    assert found.table_["word"].to_list() == list(found.vocabulary_)
    assert found.table_["solidity"].is_nan().to_list() == [
        len(word) != 2 or value is None for word, value in zip(found.vocabulary_, found.table_["solidity"], strict=True)
    ]


@given(
    DOCUMENTS,
    st.sampled_from(["solidity", "adjacent", "boundary"]),
    st.sampled_from(["longest", "all_orders"]),
    st.integers(1, 3),
    st.integers(1, 400),
    st.integers(1, 30),
    st.sampled_from([0, 1, 3]),
)
@settings(max_examples=40, deadline=None)
def test_blocks_files_and_hashes_change_no_bit(documents, method, backfilter, min_count, limit, block, hash_bits):
    documents = [*documents, "".join(map(chr, range(0x4E00, 0x4E80))) + "ababab" * 30]
    arguments = {"min_count": min_count, "min_pmi": 0.3, "min_entropy": 0.1, "backfilter": backfilter}
    whole = WordDiscoverer(method, **arguments).fit(documents)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coded_corpus, "BLOCK", block)
        patch.setattr(ngrams, "_PARTS", 7)
        patch.setattr(runs, "_PARTS", 3)
        patch.setattr(run_table, "HASH_BITS", hash_bits)
        assert_identical(WordDiscoverer(method, **arguments).fit(iter(documents)), whole)
        assert_identical(WordDiscoverer(method, **arguments, memory_limit=limit).fit(iter(documents)), whole)


@pytest.mark.parametrize("method", ["solidity", "boundary", "adjacent"])
def test_the_order_of_documents_means_nothing(method):
    documents = ["不知不觉，平生不知", "平生萬里", "不知萬里平生不知", "", "萬里，萬里"] * 3
    found = WordDiscoverer(method, min_count=2, min_pmi=0.5, min_entropy=0.2).fit(documents)
    assert found.vocabulary_
    assert_identical(WordDiscoverer(method, min_count=2, min_pmi=0.5, min_entropy=0.2).fit(documents[::-1]), found)


def test_words_longer_than_any_gram_arise_and_are_filtered():
    text = ["各项目"] * 40 + ["各项"] * 10 + ["项目"] * 10 + [chr(0x5000 + i) for i in range(100)] * 5
    found = WordDiscoverer(max_n=2, min_count=5).fit(text)
    assert found.vocabulary_["各项目"] == 40
    row = found.table_.row(by_predicate=pl.col("word") == "各项目", named=True)
    assert row["count"] == 40
    assert all(math.isnan(row[name]) for name in ("solidity", "left_entropy", "right_entropy"))
    # With triples in view it is no word of three letters unless it is solid enough itself.
    strict = WordDiscoverer(max_n=3, min_count=5, min_pmi={2: 2, 3: 10}).fit(text)
    assert "各项目" not in strict.vocabulary_


def test_all_orders_is_stricter():
    # abcd is solid enough for its length, abc and bcd are not for theirs.
    text = ["abcd"] * 20 + ["x", "y", "z"] * 60
    arguments = {"min_count": 10, "min_pmi": {2: 9.0, 3: 9.0, 4: 1.0}}
    assert WordDiscoverer(**arguments).fit(text).vocabulary_ == {"x": 60, "y": 60, "z": 60, "abcd": 20}
    every = WordDiscoverer(**arguments, backfilter="all_orders").fit(text)
    assert every.vocabulary_ == {"x": 60, "y": 60, "z": 60}


def test_rare_and_traditional_letters_are_letters():
    words = (
        "〇零 𠀀𪚥 㐀䶵 萬里 万里 \uf900丽 𫠠𫡡 𬺰𬺱 𱍐𱍑".split()
    )  # extensions and compatibility ideographs among them
    text = [word + "，" + broken for word in words for broken in ("", "中\ud840", "文\udc00") for _ in range(12)]
    found = WordDiscoverer(min_count=30, min_pmi=2.0).fit(text)
    assert found.vocabulary_ == {"中": 108, "文": 108, **dict.fromkeys(sorted(words), 36)}
    assert found.transform(["𠀀𪚥万里\ud840"]) == [["𠀀𪚥", "万里", "\ud840"]]
    only = WordDiscoverer(min_count=30, min_pmi=1.5, alphabet="article").fit(text)
    assert only.vocabulary_ == {"中": 108, "文": 108, "丽": 36, "万里": 36, "萬里": 36, "零": 36}


@pytest.mark.parametrize("method", ["solidity", "boundary", "adjacent"])
def test_one_letter_repeated(method):
    found = WordDiscoverer(method, min_count=2).fit(["哈" * 50] * 4)
    if method == "adjacent":
        assert found.vocabulary_ == adjacent_by_hand(["哈" * 50] * 4, 1e-7, 1.0)
    else:
        assert found.vocabulary_ == ({"哈": 200} if method == "solidity" else {})


@pytest.mark.parametrize("method", ["solidity", "adjacent"])
@pytest.mark.parametrize("limit", [None, 1 << 20])
def test_a_long_line_is_one_run(monkeypatch, method, limit):
    monkeypatch.setattr(coded_corpus, "BLOCK", 1000)
    text = ["ab" * 20_000, "ab" * 20_000, "c" * 50, ",".join("xyz" * 100)]
    found = WordDiscoverer(method, min_count=2, min_pmi=-1.0, memory_limit=limit).fit(text)
    assert found.vocabulary_["ab" * 20_000] == 2
    assert max(map(len, found.vocabulary_)) == 40_000


def test_reading_once_from_files_and_strings(tmp_path):
    text = "不知平生，萬里，不知\n平生" * 50
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(text.encode("gb18030")))
    arguments = {"max_n": 2, "min_count": 10, "min_pmi": 1.5}
    whole = WordDiscoverer(**arguments).fit([text])
    assert whole.vocabulary_ == {"平生": 100, "不知": 100, "萬里": 50}
    assert_identical(WordDiscoverer(**arguments, encoding="gb18030").fit(path), whole)
    assert_identical(WordDiscoverer(**arguments).fit(one for one in [text]), whole)


def test_normal_form():
    found = WordDiscoverer(min_count=3, min_pmi=0.0, normalize="nfkc", known={"Ａb"}).fit(["Ａb，x"] * 4)
    assert found.lexicon_ == {"Ab": 4, "x": 4}
    assert found.vocabulary_ == {"x": 4}


CORPUS = ["不知平生，萬里不知，平生，萬里"] * 20


def fitted(**arguments):
    return WordDiscoverer(min_count=10, min_pmi=1.5, **arguments).fit(CORPUS)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "不知 3 v\n平生 2 n\n"),
        ("a.txt", "\ufeff不知\r\n\r\n平生"),
        ("a.txt", "不知 \t 33\n平生\t2\n"),
        ("a.txt.gz", "不知 3 v\n平生 2 n\n"),
    ],
)
def test_known_words_of_a_dictionary_are_not_listed(tmp_path, name, content):
    path = tmp_path / name
    data = content.encode("utf-8")
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    found = fitted(known=path)
    assert found.vocabulary_ == {"萬里": 40}
    assert found.table_["word"].to_list() == ["萬里"]
    assert found.lexicon_ == {"不知": 40, "平生": 40, "萬里": 40}
    # Cutting needs the known ones too.
    assert found.transform(["不知萬里"]) == [["不知", "萬里"]]
    assert found.segmenter().segment("平生萬里") == ["平生", "萬里"]


@pytest.mark.parametrize("known", [{"不知", "平生"}, {"不知": 1, "平生": 2}, ["不知", "平生", "不知"]])
def test_known_words_of_a_collection(known):
    assert fitted(known=known).vocabulary_ == {"萬里": 40}


@pytest.mark.parametrize("method", ["boundary", "adjacent"])
def test_known_words_with_the_other_methods(method):
    whole = WordDiscoverer(method, min_count=10, min_pmi=1.6, min_entropy=0.0).fit(CORPUS)
    found = clone(whole).set_params(known=["不知"]).fit(CORPUS)
    assert set(whole.vocabulary_) - set(found.vocabulary_) == {"不知"}
    assert found.lexicon_ == whole.vocabulary_


def test_known_words_of_jieba():
    pytest.importorskip("jieba", reason="jieba is not installed")
    code = (
        "import sys; from kexue.words.discovery import WordDiscoverer;"
        "found = WordDiscoverer(min_count=10, min_pmi=1.5, known='jieba').fit(['不知，平生，旡堍'] * 20);"
        "print(ascii(list(found.vocabulary_)), 'jieba' in sys.modules, 'torch' in sys.modules)"
    )
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert outcome.stdout.strip() == ascii(["旡堍"]) + " False False"


def test_known_words_of_jieba_without_jieba(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="jieba"):
        fitted(known="jieba")


def test_it_is_an_estimator():
    discoverer = WordDiscoverer("boundary", max_n=3, known={"不知"})
    assert discoverer.get_params()["max_n"] == 3
    copy = clone(discoverer)
    assert copy.get_params() == discoverer.get_params()
    assert copy.set_params(method="solidity", min_count=10, min_pmi=1.5, known=None).fit(CORPUS) is copy
    assert not hasattr(discoverer, "vocabulary_")
    assert copy.fit_transform(CORPUS)[0] == ["不知", "平生", "，", "萬里", "不知", "，", "平生", "，", "萬里"]
    assert repr(WordDiscoverer(max_n=5)) == "WordDiscoverer(max_n=5)"


def test_a_client_is_shared_by_clones():
    class Client:
        def __deepcopy__(self, memory):
            raise TypeError("cannot be copied")

    client = Client()
    assert clone(WordDiscoverer(client=client, min_count=3)).get_params()["client"] is client


def test_what_was_fitted_before_is_gone():
    found = fitted()
    assert hasattr(found, "ngrams_")
    assert not hasattr(found.set_params(method="adjacent").fit(CORPUS), "ngrams_")


def test_nothing_is_frequent():
    found = WordDiscoverer(min_count=100).fit(["不知", "平生"])
    assert (found.vocabulary_, len(found.table_)) == ({}, 0)
    assert found.transform(["不知"]) == [["不", "知"]]
    boundary = WordDiscoverer("boundary", min_count=100).fit(["不知", "平生"])
    assert boundary.table_.columns[-1] == "score"


@pytest.mark.parametrize("method", ["solidity", "boundary"])
def test_a_threshold_out_of_reach_is_told(method):
    # log(800 / 2) is 5.99.
    text = ["不知平生萬里長江"] * 100
    told = r"in 800 letters .* 2 times .* log\(800 / 2\) = 5.99 nats: none of 4 letters can reach the 6 of min_pmi"
    with pytest.warns(SmallCorpusWarning, match=told):
        found = WordDiscoverer(method, min_count=2, min_entropy=0.0).fit(text)
    assert not [word for word in found.vocabulary_ if len(word) == 4]
    assert (found.n_letters_, found.n_bytes_) == (800, 2499)  # the documents come joined by line ends
    assert found.min_pmi_ == {2: 2.0, 3: 4.0, 4: 6.0}
    for change in ({"min_count": 1}, {"min_pmi": 5.9}, {"max_n": 3}, {"min_pmi": [2, 4, math.inf]}):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            WordDiscoverer(method, **({"min_count": 2} | change)).fit(text)


def test_no_word_is_more_solid_than_its_count_allows():
    found = WordDiscoverer(min_count=2, min_pmi=-9.0).fit(["不知不觉", "平生不知", "萬里平生，不知"] * 7)
    table = found.ngrams_.to_polars().filter(pl.col("length") > 1)
    assert len(table) > 9
    assert (table["solidity"] <= (found.ngrams_.total / table["count"]).log() + 1e-12).all()


def test_adjacent_pairs_have_no_threshold_by_count():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = WordDiscoverer("adjacent", min_pmi=9.0).fit(["不知"])
    assert found.min_pmi_ == {2: 9.0}


@pytest.mark.parametrize("corpus", [[], [""], ["，。\n"], iter(())])
@pytest.mark.parametrize("method", ["solidity", "boundary", "adjacent"])
def test_nothing_to_read(corpus, method):
    with pytest.raises(ValueError, match="no characters of the alphabet in the corpus"):
        WordDiscoverer(method).fit(corpus)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"method": "entropy"}, ValueError, "method must be one of solidity, boundary, adjacent, got 'entropy'"),
        ({"max_n": 1}, ValueError, "max_n must"),
        ({"max_n": 4.0}, TypeError, "max_n must"),
        ({"min_count": 0}, ValueError, "min_count must"),
        ({"min_entropy": -0.1}, ValueError, "min_entropy must"),
        ({"min_entropy": math.nan}, ValueError, "min_entropy must"),
        ({"min_prob": 0.0}, ValueError, "min_prob must"),
        ({"min_prob": 1.0}, ValueError, "min_prob must"),
        ({"backfilter": "none"}, ValueError, "backfilter must be one of longest, all_orders, got 'none'"),
        ({"memory_limit": 0}, ValueError, "memory_limit must"),
        ({"alphabet": "latin"}, ValueError, "alphabet must"),
        ({"encoding": "big5"}, ValueError, "encoding must"),
        ({"normalize": "nfc"}, ValueError, "normalize must"),
        ({"min_pmi": {2: 1.0, 4: 2.0}}, ValueError, r"a threshold for each length from 2 to 4, got none for \[3\]"),
        ({"min_pmi": [1.0, 2.0]}, ValueError, "from 2 to 4, got 2 of 3"),
        ({"min_pmi": "2"}, TypeError, "min_pmi must be a number, a mapping"),
        ({"min_pmi": math.nan}, ValueError, "min_pmi must hold numbers"),
        ({"method": "adjacent", "min_pmi": [1.0]}, TypeError, "min_pmi must be a number, got"),
        ({"known": "不知"}, TypeError, 'known must be a set of words, a path, or "jieba", got the string'),
        ({"known": 3}, TypeError, "known must be a set of words, a path, or .jieba., got int"),
        ({"known": [1]}, TypeError, "known words must be strings, got 1"),
        ({"client": "localhost"}, TypeError, "client must be a dask.distributed.Client, got str"),
    ],
)
def test_what_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        WordDiscoverer(**arguments).fit(["不知"])


def test_bad_corpora(tmp_path):
    with pytest.raises(TypeError, match=r"pass \[text\] or pathlib"):
        WordDiscoverer().fit("不知")
    path = tmp_path / "latin.txt"
    path.write_bytes("不知".encode() + b"\xff")
    with pytest.raises(ValueError, match="latin.txt: byte 6"):
        WordDiscoverer().fit(path)
    with pytest.raises(FileNotFoundError):
        WordDiscoverer(known=tmp_path / "absent").fit(["不知"])
    with pytest.raises(TypeError, match="texts must be an iterable of strings"):
        fitted().transform("不知")


def test_it_has_to_be_fitted_first():
    with pytest.raises(ValueError, match="not fitted"):
        WordDiscoverer().transform(["不知"])


def test_thresholds_go_on_for_longer_grams():
    text = ["不知平生萬里"] * 50 + ["".join(chr(0x5000 + i) for i in range(3000))]
    default = WordDiscoverer(max_n=6).fit(text)
    spelled = WordDiscoverer(max_n=6, min_pmi={2: 2, 3: 4, 4: 6, 5: 8, 6: 10, 7: 0}).fit(text)
    listed = WordDiscoverer(max_n=6, min_pmi=np.array([2, 4, 6, 8, 10.0])).fit(text)
    assert "不知平生萬里" not in default.vocabulary_
    for other in (spelled, listed):
        assert_identical(other, default)


def test_temporary_files_are_gone_on_any_exit(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    text = ["不知平生" * 2000]
    WordDiscoverer(min_count=1, min_pmi=-9.0, memory_limit=1000).fit(text)
    assert not list(tmp_path.iterdir())
    seen = []

    def interrupted(*arguments):
        seen.extend(tmp_path.iterdir())
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "_cut_runs", interrupted)
    with pytest.raises(KeyboardInterrupt):
        WordDiscoverer(memory_limit=1000).fit(text)
    assert seen
    assert not list(tmp_path.iterdir())


def test_longer_runs_go_to_files_and_come_back(monkeypatch):
    names = []
    append = Scratch.append

    def observed(self, name, values):
        names.append(name)
        append(self, name, values)

    monkeypatch.setattr(Scratch, "append", observed)
    draw = np.random.default_rng(0)
    text = ["".join(draw.choice(list("不知平生"), 9)) + "，" for _ in range(300)] * 2
    arguments = {"method": "adjacent", "min_pmi": -1.0}
    limited = WordDiscoverer(**arguments, memory_limit=20_000).fit(text)
    assert any(name.startswith("runs-") for name in names)
    assert_identical(limited, WordDiscoverer(**arguments).fit(text))


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file sizes are POSIX")
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    code = (
        "import resource, random\n"
        "from kexue.storage import StorageError\n"
        "from kexue.words.discovery import WordDiscoverer\n"
        "draw = random.Random(0)\n"
        "text = [''.join(draw.choice('不知平生') for _ in range(40)) for _ in range(2000)]\n"
        "WordDiscoverer('adjacent').fit(text[:10])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n"
        "    WordDiscoverer('adjacent', min_pmi=-9.0, memory_limit=1_400_000).fit(text)\n"
        "except StorageError as error:\n"
        "    print(error)\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONIOENCODING": "utf-8"}
    environment.pop("PYTHONWARNDEFAULTENCODING", None)  # numba opens files without naming their encoding
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", env=environment)
    assert outcome.stdout.startswith(f"cannot write temporary files in {tmp_path}: File too large; set TMPDIR")
    assert outcome.stderr == ""
    assert not list(tmp_path.iterdir())


class Recorded(Progress):
    def __init__(self):
        self.stages = []

    def track(self, items, description, total, *, done=0, status=None):
        self.stages.append([description, total, 0])
        for item in items:
            yield item
            self.stages[-1][2] += 1
            assert status().endswith(" MB/s")


@pytest.mark.parametrize("limit", [None, 1 << 20])
def test_progress_in_stages(limit):
    text = ["不知平生，萬里" * 1000] * 60
    megabytes = math.ceil(len("".join(text).encode()) / 1e6)
    recorded = Recorded()
    found = WordDiscoverer(memory_limit=limit).fit(text, progress=recorded)
    stages = ["reading, MB", "counting n-grams, MB", "cutting, MB"]
    assert recorded.stages == [[stage, megabytes, megabytes] for stage in stages]
    assert_identical(WordDiscoverer().fit(text), found)
    recorded = Recorded()
    WordDiscoverer().fit(iter(text), progress=recorded)
    assert [stage[1] for stage in recorded.stages] == [None, megabytes, megabytes]


def reference(name):
    folder = os.environ.get("KEXUE_DATA")
    path = Path(folder or ".") / name
    if not folder or not path.exists():
        pytest.skip(f"KEXUE_DATA names no folder with {name}")
    return path


def reviews():
    with zipfile.ZipFile(reference("online_shopping/online_shopping_10_cats.zip")) as archive:
        text = archive.read("online_shopping_10_cats.csv").decode("utf-8-sig")
    return [row["review"].removeprefix("\ufeff") for row in csv.DictReader(io.StringIO(text, newline=""))]


def test_reference_words_of_poetry():
    path = reference("poetry_zh/poetry_21mb.txt.xz")
    found = WordDiscoverer(alphabet="article").fit(path)
    assert len(found.vocabulary_) == 14_314
    expected = {"不知": 2766, "平生": 2561, "萬里": 2246, "五燈會元": 233, "景德傳燈錄": 154, "輿地紀勝": 147}
    assert {word: found.vocabulary_[word] for word in expected} == expected
    longer = [word for word in found.vocabulary_ if len(word) > 1]
    assert longer[:3] == ["不知", "平生", "萬里"]
    limited = WordDiscoverer(alphabet="article", memory_limit=1 << 24).fit(path)
    assert_identical(limited, found)


def test_reference_words_of_reviews():
    texts = reviews()
    found = WordDiscoverer(alphabet="article").fit(texts)
    assert len(found.vocabulary_) == 5_344
    assert {word: found.vocabulary_[word] for word in ("不错", "酒店", "没有")} == {
        "不错": 14419,
        "酒店": 8948,
        "没有": 7475,
    }
    assert [word for word in found.vocabulary_ if len(word) > 1][:3] == ["不错", "酒店", "没有"]


def test_real_text_as_by_hand():
    texts = reviews()[::25]
    for backfilter in ("longest", "all_orders"):
        found = WordDiscoverer(min_count=8, backfilter=backfilter).fit(texts)
        assert list(found.vocabulary_.items()) == ordered(solidity_by_hand(texts, 4, 8, None, backfilter))
    adjacent = WordDiscoverer("adjacent", min_prob=1e-6, min_pmi=0.5).fit(texts)
    assert list(adjacent.vocabulary_.items()) == ordered(adjacent_by_hand(texts, 1e-6, 0.5))
