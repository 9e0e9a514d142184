"""Segmenters lose nothing, find the best of all paths, and agree with those that others wrote."""

from __future__ import annotations

import csv
import io
import itertools
import math
import os
import random
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kexue.words import segmentation
from kexue.words.lattice import METHODS
from kexue.words.segmentation import Segmenter, SegScore, segmentation_f1

any_text = st.text(alphabet=st.characters(exclude_categories=()), max_size=40)
few_letters = st.text(alphabet="北京城大a1.〇", max_size=12)
lexicons = st.dictionaries(st.text(alphabet="北京城大a1.〇", min_size=1, max_size=5), st.integers(1, 20), max_size=15)


def units(text: str, combine: bool) -> list[str]:
    """Indivisible pieces, by regular expressions."""
    if not combine:
        return list(text)
    alnum = "0-9A-Za-z０-９Ａ-Ｚａ-ｚ"
    point = "(?<=[0-9０-９])[.．](?=[0-9０-９])"
    return re.findall(rf"(?:[{alnum}]|{point})+|.", text, flags=re.DOTALL)


def paths(pieces: list[str], counts: dict[str, int], unknown: float):
    """Every way to join units into words of the lexicon, or single units, with its weight."""
    log_total = math.log(sum(counts.values())) if counts else 0.0
    if not pieces:
        yield [], 0.0
    for last in range(1, len(pieces) + 1):
        word = "".join(pieces[len(pieces) - last :])
        if word not in counts and last > 1:
            continue
        weight = math.log(counts[word]) - log_total if word in counts else unknown
        for words, value in paths(pieces[: len(pieces) - last], counts, unknown):
            yield [*words, word], value + weight


@settings(max_examples=150, deadline=None)
@given(few_letters, lexicons, st.booleans(), st.sampled_from([None, -20.0, -0.5]))
@example("北京城", {"北京": 2, "京城": 2}, True, None)
def test_viterbi_is_the_best_of_all_paths(text, counts, combine, unknown):
    segmenter = Segmenter(counts, unknown_logp=unknown, combine_alnum=combine)
    default = math.log(0.5) - (math.log(sum(counts.values())) if counts else 0.0)
    every = list(paths(units(text, combine), counts, default if unknown is None else unknown))
    best = max(value for _, value in every)
    # Of those as good as rounding can tell, the one with the longer last word, then the longer last but one, ...
    good = [words for words, value in every if value > best - 1e-9]
    expected = max(good, key=lambda words: [len(word) for word in reversed(words)])
    found = segmenter.segment(text)
    assert found in good
    assert segmenter.log_prob(text) == pytest.approx(best, abs=1e-9)
    if all(count == 1 for count in counts.values()):
        assert found == expected


def test_of_equal_paths_the_longer_last_word():
    assert Segmenter(["北京", "京城", "北", "城"]).segment("北京城") == ["北", "京城"]
    assert Segmenter(["甲乙", "丙丁", "甲", "乙丙丁"]).segment("甲乙丙丁") == ["甲", "乙丙丁"]


@settings(max_examples=100, deadline=None)
@given(few_letters, lexicons, st.booleans())
def test_longest_matches(text, counts, combine):
    def forward(pieces, words):
        found = []
        while pieces:
            take = max(n for n in range(1, len(pieces) + 1) if n == 1 or "".join(pieces[:n]) in words)
            found.append("".join(pieces[:take]))
            pieces = pieces[take:]
        return found

    pieces = units(text, combine)
    one = forward(pieces, counts)
    mirrored = forward([p[::-1] for p in reversed(pieces)], {word[::-1] for word in counts})
    other = [word[::-1] for word in reversed(mirrored)]
    cut = {method: Segmenter(counts, method=method, combine_alnum=combine).segment(text) for method in METHODS}
    assert cut["forward"] == one
    assert cut["backward"] == other
    assert len(cut["bidirectional"]) <= min(len(one), len(other))
    if one == other:
        assert cut["bidirectional"] == one


@pytest.mark.parametrize(
    ("words", "text", "expected"),
    [
        (["甲乙", "乙丙丁"], "甲乙丙丁", "甲 乙丙丁"),  # two words each, one single character: the backward one
        (["甲乙丙", "丙丁"], "甲乙丙丁", "甲乙丙 丁"),  # three words against two
        (["甲乙", "丙丁", "乙丙", "甲乙丙"], "甲乙丙丁", "甲乙 丙丁"),  # fewer single characters
        (["甲乙丙", "丙丁", "戊己", "丁戊己"], "甲乙丙丁戊己", "甲乙丙 丁戊己"),
    ],
)
def test_bidirectional(words, text, expected):
    assert Segmenter(words, method="bidirectional").segment(text) == expected.split()


def test_bidirectional_decides_where_the_two_differ():
    words = ["甲乙丙", "丙丁", "子丑", "丑寅卯"]
    segmenter = Segmenter(words, method="bidirectional")
    for one, other in itertools.permutations(["甲乙丙丁", "子丑寅卯"]):
        assert segmenter.segment(f"{one},{other}") == [*segmenter.segment(one), ",", *segmenter.segment(other)]


@settings(max_examples=100, deadline=None)
@given(few_letters, lexicons)
def test_join_cuts_where_no_word_covers(text, counts):
    joined = set()
    for i in range(len(text)):
        for j in range(i + 1, len(text) + 1):
            if text[i:j] in counts:
                joined.update(range(i + 1, j))
    borders = [0, *(i for i in range(1, len(text)) if i not in joined), len(text)]
    expected = [text[i:j] for i, j in itertools.pairwise(borders) if i < j]
    assert Segmenter(counts, method="join", combine_alnum=False).segment(text) == expected


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=60, deadline=None)
@given(st.lists(any_text, max_size=5), st.lists(any_text.filter(bool), max_size=8), st.booleans())
def test_nothing_is_lost(method, texts, words, combine):
    segmenter = Segmenter(words, method=method, combine_alnum=combine)
    texts = [*texts, "".join(texts + words)]
    found = [segmenter.segment(text) for text in texts]
    assert ["".join(one) for one in found] == texts
    assert all(word for one in found for word in one)
    assert segmenter.segment_batch(iter(texts)) == found
    for text, one in zip(texts, found, strict=True):
        spans = segmenter.spans(text)
        assert spans.shape == (len(one), 2)
        assert [text[begin:end] for begin, end in spans.tolist()] == one
        assert math.isfinite(segmenter.log_prob(text))


def test_nothing_is_lost_of_control_characters(monkeypatch):
    text = "".join(map(chr, range(64))) + "北京\ud800\udc00𬺓〇\x00\x1f" + "北京"
    assert "".join(Segmenter(["北京"]).segment(text)) == text
    assert Segmenter(["北京"]).segment(text)[-1] == "北京"
    monkeypatch.setattr(segmentation, "_BLOCK", 3)
    for text in ("北京城里北京城外", "一2345678九", "𬺓〇\ud800" * 5):
        assert Segmenter(["北京城", "2345678"]).segment(text) == Segmenter(["北京城"]).segment(text)


def test_runs_of_letters_and_digits_stay_whole():
    lexicon = ["b超", "T恤", "北京", "kg"]
    text = "AT恤T恤b超3.14kg, ｗｗｗ．1２．3 v2.北京"
    assert Segmenter(lexicon).segment(text) == [
        *("AT", "恤", "T恤", "b超", "3.14kg", ",", " ", "ｗｗｗ", "．", "1２．3", " ", "v2", ".", "北京"),
    ]
    assert Segmenter(lexicon, combine_alnum=False).segment("AT恤3.1kg") == ["A", "T恤", "3", ".", "1", "kg"]


def test_rare_and_traditional_characters():
    lexicon = {"二〇二六": 3, "\U0002a6df\U00031350": 2, "臺灣": 5, "憂鬱": 1}
    text = "二〇二六年臺灣的憂鬱\U0002a6df\U00031350\U00031350"
    for method in METHODS:
        assert Segmenter(lexicon, method=method).segment(text) == [
            *("二〇二六", "年", "臺灣", "的", "憂鬱", "\U0002a6df\U00031350", "\U00031350")
        ]


def test_nothing_to_cut_and_nothing_to_cut_with():
    for method in METHODS:
        segmenter = Segmenter(["北京"], method=method)
        assert segmenter.segment("") == []
        assert segmenter.segment_batch(["", "北京", ""]) == [[], ["北京"], []]
        assert segmenter.segment_batch([]) == []
        assert segmenter.spans("").shape == (0, 2)
        assert segmenter.log_prob("") == 0
        assert Segmenter({}, method=method).segment("北京城") == ["北", "京", "城"]
    assert Segmenter([]).log_prob("北京") == pytest.approx(2 * math.log(0.5))


def test_weights():
    segmenter = Segmenter({"北京": 3, "城": 1})
    assert segmenter.log_prob("北京城") == pytest.approx(math.log(3 / 4) + math.log(1 / 4))
    assert segmenter.log_prob("x2城墙") == pytest.approx(2 * math.log(1 / 8) + math.log(1 / 4))
    assert Segmenter({"北京": 3}, unknown_logp=-7).log_prob("上海") == -14
    # What the joining method makes and the lexicon lacks counts by its units.
    assert Segmenter({"北京": 1, "京城": 1}, method="join").log_prob("北京城") == pytest.approx(3 * math.log(0.25))
    assert Segmenter(["北京", "北京", "城"]).log_prob("城") == pytest.approx(math.log(0.5))


def test_surroundings_do_not_matter():
    rng = random.Random(0)
    lexicon = {"".join(rng.choices("甲乙丙丁", k=rng.randint(1, 4))): rng.randint(1, 9) for _ in range(60)}
    sentences = ["".join(rng.choices("甲乙丙丁戊", k=rng.randint(0, 50))) for _ in range(200)]
    for method in METHODS:
        segmenter = Segmenter(lexicon, method=method)
        alone = [segmenter.segment(sentence) for sentence in sentences]
        assert segmenter.segment_batch(sentences) == alone
        assert segmenter.segment("。".join(sentences)) == [
            word for number, words in enumerate(alone) for word in (["。"] if number else []) + words
        ]


def test_threads_change_nothing(monkeypatch):
    monkeypatch.setattr(segmentation, "_BLOCK", 50)
    texts = ["北京城" * (n % 7) + "大" * n for n in range(60)]
    segmenter = Segmenter(["北京", "京城", "大大"])
    assert segmenter.segment_batch(texts, n_jobs=3) == segmenter.segment_batch(texts)
    assert segmenter.segment_batch(texts, n_jobs=-1) == [segmenter.segment(text) for text in texts]


def test_a_long_text_in_which_all_words_overlap():
    text = "甲" * 300_000
    for method in METHODS:
        lengths = [len(word) for word in Segmenter(["甲" * 7], method=method).segment(text)]
        assert sum(lengths) == len(text)
        assert len(lengths) == {"join": 1}.get(method, 300_000 // 7 + 300_000 % 7)


def test_it_survives_pickling():
    # In a process of its own, where no test runner has loaded a module twice.
    code = """
import pickle
from kexue.words.segmentation import Segmenter
segmenter = pickle.loads(pickle.dumps(Segmenter({"AB": 2}, method="bidirectional", combine_alnum=False)))
print(segmenter, segmenter.segment("xAB"))
"""
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=True)
    assert outcome.stdout.strip() == "<Segmenter method='bidirectional'> ['x', 'AB']"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (({"北京": 0},), ValueError, "counts must be positive and finite, got 0 for '北京'"),
        (({"北京": -1},), ValueError, "got -1"),
        (({"北京": math.nan},), ValueError, "got nan"),
        (({"北京": math.inf},), ValueError, "got inf"),
        (({"北京": "3"},), TypeError, "counts must be numbers, got '3' for '北京'"),
        ((["北京", ""],), ValueError, "words must not be empty"),
        ((["北京", 3],), TypeError, "words must be strings, got 3"),
        (("北京",), TypeError, "got the string '北京': a file is given as a pathlib.Path"),
    ],
)
def test_bad_vocabularies(arguments, error, message):
    with pytest.raises(error, match=message):
        Segmenter(*arguments)


def test_a_vocabulary_from_a_file(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("北京\t3\n大学\t2\n", encoding="utf-8")
    assert Segmenter(path).segment("北京大学") == ["北京", "大学"]
    assert Segmenter("jieba").segment("我们中出了一个叛徒") == ["我们", "中", "出", "了", "一个", "叛徒"]


def test_bad_arguments():
    with pytest.raises(ValueError, match="method must be one of viterbi, .*, got 'best'"):
        Segmenter([], method="best")
    with pytest.raises(ValueError, match="unknown_logp must be finite, got -inf"):
        Segmenter([], unknown_logp=-math.inf)
    segmenter = Segmenter([])
    for call in (segmenter.segment, segmenter.spans, segmenter.log_prob):
        with pytest.raises(TypeError, match="text must be a string, got bytes"):
            call(b"x")
    with pytest.raises(TypeError, match="got one string"):
        segmenter.segment_batch("北京")
    with pytest.raises(TypeError, match="text must be a string, got NoneType"):
        segmenter.segment_batch(["北京", None])
    with pytest.raises(ValueError, match="n_jobs must be positive or -1, got 0"):
        segmenter.segment_batch([], n_jobs=0)


def jieba_tokenizer(path=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        jieba = pytest.importorskip("jieba", reason="jieba is not installed")
    jieba.setLogLevel(60)
    return jieba, jieba.Tokenizer(path) if path else jieba.Tokenizer()


def test_jieba_without_its_hidden_markov_model(tmp_path):
    rng = random.Random(1)
    counts = {"".join(rng.choices("甲乙丙丁戊", k=rng.randint(1, 4))): rng.randint(1, 30) for _ in range(150)}
    file = tmp_path / "dict.txt"
    file.write_text("".join(f"{word} {count} n\n" for word, count in counts.items()), encoding="utf-8")
    _, peer = jieba_tokenizer(str(file))
    peer.tmp_dir = str(tmp_path)
    peer.cache_file = "jieba.cache"
    sentences = ["".join(rng.choices("甲乙丙丁戊己", k=rng.randint(1, 40))) for _ in range(300)]
    log_total = math.log(sum(counts.values()))
    segmenter = Segmenter(counts, unknown_logp=-log_total)
    mirrored = Segmenter({word[::-1]: count for word, count in counts.items()}, unknown_logp=-log_total)
    equal, equal_mirrored = 0, 0
    for sentence in sentences:
        theirs = peer.lcut(sentence, HMM=False)
        value = sum(math.log(counts.get(word, 1)) - log_total for word in theirs)
        assert segmenter.log_prob(sentence) == pytest.approx(value, abs=1e-9)
        equal += segmenter.segment(sentence) == theirs
        # Mirrored, our longer last word is jieba's longer first one; what is left are ties that its rounding decides.
        equal_mirrored += [word[::-1] for word in reversed(mirrored.segment(sentence[::-1]))] == theirs
    assert equal > 200
    assert equal_mirrored > 285


def test_occurrences_are_those_of_aho_corasick():
    ahocorasick = pytest.importorskip("ahocorasick", reason="pyahocorasick is not installed")
    rng = random.Random(2)
    words = {"".join(rng.choices("甲乙丙丁", k=rng.randint(2, 5))) for _ in range(40)}
    text = "".join(rng.choices("甲乙丙丁戊己", k=3000))
    automaton = ahocorasick.Automaton()
    for word in words:
        automaton.add_word(word, len(word))
    automaton.make_automaton()
    joined = np.zeros(len(text) + 1, dtype=bool)
    for last, length in automaton.iter(text):
        joined[last - length + 2 : last + 1] = True
    borders = np.flatnonzero(~joined)
    spans = Segmenter(words, method="join").spans(text)
    np.testing.assert_array_equal(spans, np.stack([borders[:-1], borders[1:]], axis=1))


def test_a_score_over_spans():
    gold = [["我", "喜欢", "你"], ["北京", "城"], []]
    assert segmentation_f1(gold, gold) == SegScore(1.0, 1.0, 1.0, None)
    # 我 and 你 are right of four and of three; 北京城 is wrong.
    score = segmentation_f1(gold, [["我", "喜", "欢", "你"], ["北京城"], []], vocabulary={"我", "喜欢", "北京"})
    assert score.precision == pytest.approx(2 / 5)
    assert score.recall == pytest.approx(2 / 5)
    assert score.f1 == pytest.approx(2 / 5)
    assert score.oov_recall == pytest.approx(1 / 2)
    assert segmentation_f1([["甲乙"]], [["甲", "乙"]]) == SegScore(0.0, 0.0, 0.0, None)
    assert segmentation_f1(gold, gold, vocabulary=[word for words in gold for word in words]).oov_recall is None


def test_bad_scores():
    with pytest.raises(ValueError, match="got 1 and 2"):
        segmentation_f1([["我"]], [["我"], ["你"]])
    with pytest.raises(ValueError, match="sentence 1 must have the same characters"):
        segmentation_f1([["我"], ["你"]], [["我"], ["您"]])
    with pytest.raises(ValueError, match="at least one word"):
        segmentation_f1([], [])


def test_importing_does_not_import_numba_or_torch():
    code = "import sys, kexue.words.segmentation; print([m for m in ('numba', 'torch', 'polars') if m in sys.modules])"
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=True)
    assert outcome.stdout.strip() == "[]"


@pytest.mark.skipif("KEXUE_DATA" not in os.environ, reason="KEXUE_DATA names no folder of data")
def test_the_treebank_with_the_dictionary_of_jieba():
    file = Path(os.environ["KEXUE_DATA"], "ud_chinese_gsdsimp", "zh_gsdsimp-ud-dev.conllu")
    if not file.exists():
        pytest.skip(f"{file.parent.name} is not in KEXUE_DATA")
    jieba, _ = jieba_tokenizer()
    rows = csv.reader(
        io.StringIO(Path(jieba.__file__).with_name("dict.txt").read_text(encoding="utf-8")),
        delimiter=" ",
        quoting=csv.QUOTE_NONE,
    )
    counts = {row[0]: int(row[1]) for row in rows}
    sentences: list[list[str]] = [[]]
    for line in file.read_text(encoding="utf-8").splitlines():
        fields = line.split("\t")
        if not line:
            sentences.append([])
        elif fields[0].isdigit():
            sentences[-1].append(fields[1])
    scores = {
        method: segmentation_f1(
            sentences, Segmenter(counts, method=method).segment_batch("".join(words) for words in sentences)
        ).f1
        for method in METHODS
    }
    assert scores["viterbi"] > 0.78
    assert scores["viterbi"] >= scores["forward"] + 0.005
