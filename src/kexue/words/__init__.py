"""Words from raw text: counting n-grams, discovering words, cutting text, vectors and trees."""

from __future__ import annotations

from kexue.words.corpus import expand_paths, iter_blocks, iter_documents
from kexue.words.minimum_entropy import entropy_per_char, merge_gain
from kexue.words.ngrams import NgramTable, count_ngrams
from kexue.words.segmentation import Segmenter, SegScore, segmentation_f1
from kexue.words.trees import (
    balanced,
    chu_liu_edmonds,
    eisner,
    left_branching,
    mart_tree,
    max_spanning_tree,
    random_tree,
    read_ptb_trees,
    right_branching,
    spans,
    tree_from_distances,
    uas,
    unlabeled_f1,
    uuas,
)

__all__ = [
    "NgramTable",
    "SegScore",
    "Segmenter",
    "balanced",
    "chu_liu_edmonds",
    "count_ngrams",
    "eisner",
    "entropy_per_char",
    "expand_paths",
    "iter_blocks",
    "iter_documents",
    "left_branching",
    "mart_tree",
    "max_spanning_tree",
    "merge_gain",
    "random_tree",
    "read_ptb_trees",
    "right_branching",
    "segmentation_f1",
    "spans",
    "tree_from_distances",
    "uas",
    "unlabeled_f1",
    "uuas",
]
