"""Words from raw text: counting n-grams, discovering words, cutting text, vectors and trees."""

from __future__ import annotations

from kexue.words.corpus import expand_paths, iter_blocks, iter_documents
from kexue.words.discovery import WordDiscoverer
from kexue.words.lexicon_merging import merge_lexicons
from kexue.words.minimum_entropy import entropy_per_char, merge_gain
from kexue.words.ngrams import NgramTable, count_ngrams
from kexue.words.segmentation import Segmenter, SegScore, segmentation_f1
from kexue.words.segmented_corpus import SegmentedCorpus
from kexue.words.terms import TermMiner, TermRules, contrast_score, propagate_terms
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
from kexue.words.vector_files import WordVectors, read_vectors, write_vectors
from kexue.words.vectors import PMIVectors, evaluate_analogies, evaluate_similarity
from kexue.words.word_lists import read_words, word_lines

__all__ = [
    "NgramTable",
    "PMIVectors",
    "SegScore",
    "SegmentedCorpus",
    "Segmenter",
    "TermMiner",
    "TermRules",
    "WordDiscoverer",
    "WordVectors",
    "balanced",
    "chu_liu_edmonds",
    "contrast_score",
    "count_ngrams",
    "eisner",
    "entropy_per_char",
    "evaluate_analogies",
    "evaluate_similarity",
    "expand_paths",
    "iter_blocks",
    "iter_documents",
    "left_branching",
    "mart_tree",
    "max_spanning_tree",
    "merge_gain",
    "merge_lexicons",
    "propagate_terms",
    "random_tree",
    "read_ptb_trees",
    "read_vectors",
    "read_words",
    "right_branching",
    "segmentation_f1",
    "spans",
    "tree_from_distances",
    "uas",
    "unlabeled_f1",
    "uuas",
    "word_lines",
    "write_vectors",
]
