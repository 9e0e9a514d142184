"""What generated text is like: does it end, does it repeat itself, how varied is it, how near to a reference."""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kexue.extras import require
from kexue.validation import check_integer

__all__ = [
    "TextScore",
    "bleu",
    "distinct_n",
    "edit_distance",
    "loop_period",
    "nontermination_ratio",
    "repetition_ratio",
    "rouge_l",
]

Tokens = Any
"""A sequence of ids or other hashable items: a list, a text, an array or a tensor of one dimension."""


def nontermination_ratio(
    sequences: Collection[Tokens], eos_id: int | Collection[int], *, max_length: int | None = None
) -> float:
    r"""Share of generated sequences that do not end.

    .. math:: r_L = \frac{1}{m} \left|\{ s : \text{eos} \notin s_1, \dots, s_L \}\right|

    Parameters
    ----------
    sequences : collection of sequences of int
        Generated tokens, without the prompt.
    eos_id : int or collection of int
        The token that ends a sequence, or several.
    max_length : int, optional
        L: only so many first tokens count; all if left out.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ValueError
        If there is no sequence, or ``max_length`` is below 1.
    TypeError
        If ``max_length`` is no integer.

    References
    ----------
    如何应对Seq2Seq中的“根本停不下来”问题？, https://kexue.fm/archives/7500; Welleck et al., arXiv:2002.02492.

    Examples
    --------
    >>> nontermination_ratio([[5, 7, 2], [5, 5, 5], [5, 5, 5, 2]], 2, max_length=3)
    0.6666666666666666
    """
    ends = set(eos_id) if isinstance(eos_id, Collection) else {eos_id}
    limit = None if max_length is None else check_integer(max_length, "max_length")
    if not len(sequences):
        raise ValueError("sequences must hold at least one sequence, got none")
    return sum(ends.isdisjoint(_items(sequence)[:limit]) for sequence in sequences) / len(sequences)


def repetition_ratio(sequence: Tokens, *, n: int = 4, eos_id: int | None = None) -> float:
    """Share of the n-grams of a sequence that have stood in it before: 1 - distinct n-grams / n-grams.

    Parameters
    ----------
    sequence : sequence
        Tokens.
    n : int
        Length of the n-grams.
    eos_id : int, optional
        The token at which the sequence ends; it and what follows do not count.

    Returns
    -------
    float
        In [0, 1); 0 for a sequence with fewer than n tokens.

    Raises
    ------
    TypeError, ValueError
        If ``n`` is not an integer of at least 1.

    References
    ----------
    Welleck et al., Neural Text Generation with Unlikelihood Training, arXiv:1908.04319.

    Examples
    --------
    >>> repetition_ratio("好不好不好", n=2)  # 好不 and 不好, twice each
    0.5
    """
    grams = _ngrams(sequence, check_integer(n, "n"), eos_id)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def loop_period(sequence: Tokens, *, min_repeats: int = 3) -> int:
    """Period of the loop at the end of a sequence: the smallest p such that its last ``min_repeats * p`` tokens repeat.

    Parameters
    ----------
    sequence : sequence
        Tokens.
    min_repeats : int
        How often the period must stand at the end, at least 2.

    Returns
    -------
    int
        The period in tokens; 0 if the sequence does not end in a loop. The time is linear in its length.

    Raises
    ------
    TypeError, ValueError
        If ``min_repeats`` is not an integer of at least 2.

    References
    ----------
    如何应对Seq2Seq中的“根本停不下来”问题？, https://kexue.fm/archives/7500; the Z-function: Gusfield, Algorithms on
    Strings, Trees and Sequences, section 1.4, 1997.

    Examples
    --------
    >>> loop_period("很好不错不错不错"), loop_period("很好不错")
    (2, 0)
    """
    check_integer(min_repeats, "min_repeats", minimum=2)
    items = _items(sequence)[::-1]
    # matches[p]: how long the reversed sequence, and what stands p further on in it, are the same.
    matches, left, right = [0] * len(items), 0, 0
    for p in range(1, len(items)):
        length = max(0, min(right - p, matches[p - left]))
        while p + length < len(items) and items[length] == items[p + length]:
            length += 1
        matches[p] = length
        if length >= p * (min_repeats - 1):
            return p
        if p + length > right:
            left, right = p, p + length
    return 0


def distinct_n(sequences: Iterable[Tokens], *, n: int, eos_id: int | None = None) -> float:
    """Distinct n-grams of all sequences together, over the number of their n-grams.

    Parameters
    ----------
    sequences : iterable of sequences
        Tokens.
    n : int
        Length of the n-grams.
    eos_id : int, optional
        The token at which a sequence ends; it and what follows do not count.

    Returns
    -------
    float
        In [0, 1]; 0 if there is no n-gram. It falls with the amount of text: compare equal amounts only.

    Raises
    ------
    TypeError, ValueError
        If ``n`` is not an integer of at least 1.

    References
    ----------
    Li et al., A Diversity-Promoting Objective Function for Neural Conversation Models, arXiv:1510.03055.

    Examples
    --------
    >>> distinct_n(["不错", "不错", "很好"], n=1)
    0.6666666666666666
    """
    check_integer(n, "n")
    total, seen = 0, set()
    for sequence in sequences:
        grams = _ngrams(sequence, n, eos_id)
        total += len(grams)
        seen.update(grams)
    return len(seen) / total if total else 0.0


def edit_distance(
    a: Tokens, b: Tokens, *, normalize: Literal["ref", "max"] | None = None, clip: bool = True
) -> float | int:
    """Levenshtein distance: the fewest insertions, deletions and substitutions that make one sequence the other.

    Parameters
    ----------
    a : sequence
        Tokens of any hashable kind.
    b : sequence
        The reference.
    normalize : {"ref", "max"}, optional
        Divide by the length of the reference, or of the longer sequence.
    clip : bool
        Whether the distance over the length of the reference is at most 1.

    Returns
    -------
    int, or float if normalised
        Of two empty sequences 0; over the length of an empty reference, inf before it is clipped.

    Raises
    ------
    ValueError
        If ``normalize`` is something else.
    MissingExtraError
        If rapidfuzz is not installed.

    References
    ----------
    Levenshtein, Binary codes capable of correcting deletions, insertions and reversals, 1966.

    Examples
    --------
    >>> edit_distance("酒店很好", "酒店真的很好"), edit_distance("不错不错不错", "不错", normalize="ref")
    (2, 1.0)
    """
    if normalize not in (None, "ref", "max"):
        raise ValueError(f'normalize must be None, "ref" or "max", got {normalize!r}')
    levenshtein = require("rapidfuzz.distance.Levenshtein", "transformers", "edit_distance")
    a, b = _coded(a, b)
    distance = int(levenshtein.distance(a, b))
    if normalize is None:
        return distance
    if normalize == "max":
        return distance / max(len(a), len(b), 1)
    ratio = distance / len(b) if len(b) else (math.inf if distance else 0.0)
    return min(1.0, ratio) if clip else ratio


@dataclass(frozen=True)
class TextScore:
    """A score, and how the texts were cut into tokens for it.

    Parameters
    ----------
    value : float
        The score; ``float(score)`` gives it.
    tokenization : str
        What the tokens were, with the settings of the score.
    """

    value: float
    tokenization: str

    def __float__(self) -> float:
        return self.value


def bleu(
    predictions: Sequence[str], references: Sequence[str] | Sequence[Sequence[str]], *, tokenize: str = "13a"
) -> TextScore:
    """BLEU of a corpus, by sacrebleu: n-grams up to four, on the scale from 0 to 100.

    Parameters
    ----------
    predictions : sequence of str
        Texts.
    references : sequence of str, or of sequences of str
        The reference of each text, or several of each: as many for every text.
    tokenize : str
        A tokenizer of sacrebleu: ``"zh"`` for Chinese (characters, and words of other scripts), ``"char"``, ``"13a"``
        for European languages, …

    Returns
    -------
    TextScore
        The score, and sacrebleu's signature.

    Raises
    ------
    ValueError
        If there is no text, the numbers of texts and references differ, or the tokenizer is unknown.
    MissingExtraError
        If sacrebleu is not installed.

    References
    ----------
    Papineni et al., BLEU, ACL 2002; Post, A Call for Clarity in Reporting BLEU Scores, arXiv:1804.08771.

    Examples
    --------
    >>> score = bleu(["今天的天气非常好"], ["今天的天气很好"], tokenize="zh")
    >>> round(float(score), 1), "tok:zh" in score.tokenization
    (54.1, True)
    """
    several = _references(predictions, references)
    if len({len(each) for each in several}) != 1:
        raise ValueError(f"references must be as many for every text, got {sorted({len(each) for each in several})}")
    sacrebleu = require("sacrebleu.metrics.bleu", "transformers", "bleu")
    known = sorted(set(sacrebleu.BLEU.TOKENIZERS) | {"none"})
    if tokenize not in known:
        raise ValueError(f"tokenize must be one of {', '.join(known)}, got {tokenize!r}")
    metric = sacrebleu.BLEU(tokenize=tokenize)
    score = metric.corpus_score(list(predictions), [list(each) for each in zip(*several, strict=True)])
    return TextScore(float(score.score), str(metric.get_signature()))


def rouge_l(
    predictions: Sequence[str],
    references: Sequence[str] | Sequence[Sequence[str]],
    *,
    tokenize: Literal["char", "word"] = "word",
) -> TextScore:
    r"""ROUGE-L: how much of two texts is their longest common subsequence, averaged over the texts.

    .. math:: F = \frac{2PR}{P + R}, \qquad P = \frac{|\operatorname{lcs}|}{|\text{prediction}|}, \quad
              R = \frac{|\operatorname{lcs}|}{|\text{reference}|}

    Parameters
    ----------
    predictions : sequence of str
        Texts.
    references : sequence of str, or of sequences of str
        The reference of each text, or several of each, the best of which counts.
    tokenize : {"char", "word"}
        Characters, for Chinese (spaces do not count), or what stands between spaces, in lower case.

    Returns
    -------
    TextScore
        The mean F-measure, in [0, 1]; an empty text has 0.

    Raises
    ------
    ValueError
        If there is no text, the numbers of texts and references differ, or ``tokenize`` is something else.
    MissingExtraError
        If rapidfuzz is not installed.

    References
    ----------
    Lin, ROUGE: A Package for Automatic Evaluation of Summaries, ACL 2004.

    Examples
    --------
    >>> rouge_l(["今天的天气非常好"], ["今天的天气很好"], tokenize="char")
    TextScore(value=0.8, tokenization='ROUGE-L, F-measure, char')
    """
    if tokenize not in ("char", "word"):
        raise ValueError(f'tokenize must be "char" or "word", got {tokenize!r}')
    several = _references(predictions, references)
    lcs = require("rapidfuzz.distance.LCSseq", "transformers", "rouge_l")
    total = 0.0
    for text, each in zip(predictions, several, strict=True):
        best = 0.0
        for reference in each:
            a, b = (list("".join(x.split())) if tokenize == "char" else x.lower().split() for x in (text, reference))
            if a and b:
                best = max(best, 2 * int(lcs.similarity(*_coded(a, b))) / (len(a) + len(b)))
        total += best
    return TextScore(total / len(predictions), f"ROUGE-L, F-measure, {tokenize}")


def _references(
    predictions: Sequence[str], references: Sequence[str] | Sequence[Sequence[str]]
) -> list[tuple[str, ...]]:
    if isinstance(predictions, str) or isinstance(references, str) or not len(predictions):
        raise ValueError("predictions and references must be lists of texts, and not empty")
    if len(predictions) != len(references):
        raise ValueError(f"references must be as many as texts ({len(predictions)}), got {len(references)}")
    several = [(each,) if isinstance(each, str) else tuple(each) for each in references]
    if not all(several):
        raise ValueError("references must hold one for each text, got a text without any")
    return several


def _items(sequence: Tokens) -> Sequence[Hashable]:
    """The tokens as Python objects: those of arrays and tensors do not compare as one would wish."""
    items: Sequence[Hashable] = sequence.tolist() if hasattr(sequence, "tolist") else sequence
    return items if isinstance(items, str | list) else list(items)


def _ngrams(sequence: Tokens, n: int, eos_id: int | None) -> list[tuple[Hashable, ...]]:
    items = _items(sequence)
    if eos_id is not None and eos_id in items:
        items = items[: items.index(eos_id)]
    return list(zip(*(items[k:] for k in range(n)), strict=False))


def _coded(a: Tokens, b: Tokens) -> tuple[Any, Any]:
    """Both sequences with equal items as equal numbers: rapidfuzz takes the letter a for the number 97."""
    a, b = _items(a), _items(b)
    if isinstance(a, str) and isinstance(b, str):
        return a, b
    codes: dict[Hashable, int] = {}
    return tuple([codes.setdefault(item, len(codes)) for item in x] for x in (a, b))  # type: ignore[return-value]
