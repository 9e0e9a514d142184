"""Explanations of Chinese texts: are the words found that decide, and those of bad texts better than those of good."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Any

from kexue.runs import Record
from kexue.studies.sentiment_texts import (
    SentimentTexts,
    SentimentVocabulary,
    character_network,
    planted_texts,
    review_texts,
)

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["planted", "reviews"]

SIDES = ("negative", "positive")
DROPS = ("drop", "drop-mean")
"""Loss of probability where characters are blanked by the embedding of padding, or by the mean of all embeddings."""


def planted(config: Any, record: Record) -> None:
    """Invented texts: are the planted words found, where both sides have some, and where good texts have none.

    Parameters
    ----------
    config : Config
        What to measure on.
    record : Record
        Where to write.
    """
    found: dict[str, list[dict[str, Any]]] = {"both": [], "one": []}
    shown: list[Any] = []
    for seed in record.progress(record.seeds, "networks of invented texts"):
        for name, measured in found.items():
            texts = planted_texts(config.texts, both=name == "both", seed=seed)
            train, test = texts.split(3 * config.texts // 4)
            network, vocabulary = _network(config, record, f"planted-{name}", seed, train)
            measured.append(record.once(f"planted/{name}", _measure, config, network, vocabulary, test, seed=seed))
            _metrics(record, f"planted-{name}", measured[-1], seed)
            if name == "both" and seed == record.first_seed:
                shown = _shown(config, network, vocabulary, test)
    both, one = found["both"], found["one"]
    explained = config.texts - 3 * config.texts // 4
    record.scale = {
        "en": f"{explained} invented texts about a hotel, in each of which one of 8 words decides; network of "
        f"characters, {config.steps} steps, accuracy {_mean(both, 'accuracy'):.3f}",
        "zh": f"{explained} 条编造的酒店短文，每条由 8 个词之一决定；字级网络，{config.steps} 步，准确率 "
        f"{_mean(both, 'accuracy'):.3f}",
    }
    listed = {
        mark: mark.join(f"{way} {_mean(both, 'hit', way):.2f}" for way in both[0]["hit"]) for mark in (", ", "，")
    }
    record.claim(
        {
            "en": f"The planted word is found: texts of which a decisive character is among the {config.blanked} of "
            "the largest share",
            "zh": f"能找到植入的词：贡献最大的 {config.blanked} 个字中含有决定性字的短文所占比例",
        },
        source="ours",
        measured=[measured["hit"]["IG"] for measured in both],
        relation=">=",
        bound=0.9,
        note={"en": f"By each score: {listed[', ']}.", "zh": f"各种得分下：{listed['，']}。"},
    )
    blanks = {
        "en": f"Where only bad texts have a decisive word, blanking the {config.blanked} characters of the largest "
        "share",
        "zh": f"若只有差评含决定性的词，抹去贡献最大的 {config.blanked} 个字后",
    }
    scale = {
        "en": f"{explained} invented texts, of which only the bad ones have a decisive word; accuracy "
        f"{_mean(one, 'accuracy'):.3f}",
        "zh": f"{explained} 条编造的短文，只有差评含决定性的词；准确率 {_mean(one, 'accuracy'):.3f}",
    }
    for side, relation, bound, en, zh in (
        ("negative", ">=", 0.5, "lowers the probability of bad texts by", "差评的概率下降"),
        ("positive", "<=", 0.1, "lowers the probability of good texts by", "好评的概率下降"),
    ):
        record.claim(
            {"en": f"{blanks['en']} {en}", "zh": f"{blanks['zh']}，{zh}"},
            source="ours",
            measured=[measured["drop"][side] for measured in one],
            relation=relation,
            bound=bound,
            note=_other_blank(one, (side,)),
            scale=scale,
        )
    record.text(
        "planted",
        shown,
        caption={
            "en": "Invented texts, and the shares of their characters in the probability of the predicted sentiment: "
            "blue raises it, orange lowers it.",
            "zh": "编造的短文，以及各字对预测情感概率的贡献：蓝色提高，橙色降低。",
        },
    )
    _table(record, "planted", {"words on both sides": both, "words in bad texts alone": one})


def reviews(config: Any, record: Record) -> None:
    """Reviews: is it the negative ones whose decisive characters are found?

    Parameters
    ----------
    config : Config
        What to measure on.
    record : Record
        Where to write.
    """
    claim = {
        "en": "Sentiment is detected by its negative words, so explanations of bad reviews find what decides and those "
        f"of good ones do not: loss of probability when the {config.blanked} characters of the largest share are "
        "blanked, bad against good reviews",
        "zh": "情感模型做的是“负面检测”，因此差评的解释能指出关键之处，好评的不能："
        f"抹去贡献最大的 {config.blanked} 个字后概率的下降，差评与好评相比",
    }
    if not config.reviews:
        record.unmeasured(
            claim,
            source="article",
            why={
                "en": "It needs labelled reviews: the standard preset measures it on chn-hotel.",
                "zh": "需要带标签的评论：standard 预设在 chn-hotel 上测量。",
            },
            scale={"en": "no reviews at hand", "zh": "没有评论数据"},
        )
        return
    found, tested = [], 0
    for seed in record.progress(record.seeds, "networks of reviews"):
        texts = review_texts(config.reviews, seed=seed, data_dir=record.data_dir)
        train, test = texts.split(4 * len(texts.texts) // 5)
        network, vocabulary = _network(config, record, "reviews", seed, train)
        found.append(record.once("reviews", _measure, config, network, vocabulary, test, seed=seed))
        _metrics(record, "reviews", found[-1], seed)
        tested = len(test.texts)
    share = [_mean(found, "share", side) for side in SIDES]
    accuracy, other = _mean(found, "accuracy"), _other_blank(found, SIDES)
    record.claim(
        claim,
        source="article",
        measured=[measured["drop"]["negative"] for measured in found],
        relation=">",
        bound=[measured["drop"]["positive"] for measured in found],
        note={
            "en": "The article saw it in a pretrained model; here a small network learns from characters alone. The "
            f"{config.blanked} characters hold {share[0]:.2f} of all |shares| in bad reviews, {share[1]:.2f} in good "
            f"ones. {other['en']}",
            "zh": "文章是在预训练模型上观察到的，这里的小网络只从字学起。"
            f"这 {config.blanked} 个字占全部 |贡献| 的比例：差评 {share[0]:.2f}，好评 {share[1]:.2f}。{other['zh']}",
        },
        scale={
            "en": f"{tested} {config.reviews} test reviews of 10 to 80 characters, as many good as bad; network of "
            f"characters, {config.steps} steps, accuracy {accuracy:.3f}",
            "zh": f"{config.reviews} 的 {tested} 条测试评论，10 到 80 字，好评差评各半；字级网络，{config.steps} 步，"
            f"准确率 {accuracy:.3f}",
        },
    )
    _table(record, "reviews", {config.reviews: found})


# -- the networks, and what is measured on them


def _network(
    config: Any, record: Record, name: str, seed: int, train: SentimentTexts
) -> tuple[Any, SentimentVocabulary]:
    import torch
    from torch import nn

    from kexue.training import Trainer

    vocabulary = SentimentVocabulary(train.texts)
    ids, labels = vocabulary.encode(train.texts), torch.tensor(train.labels)
    with record.training(name, seed=seed) as run:
        network = character_network(len(vocabulary))
        optimizer = torch.optim.Adam(network.parameters(), config.rate)
        trainer = Trainer(network, optimizer, directory=run.directory, schedule="cosine")
        for x, y in trainer.batches((ids, labels), batch_size=min(config.batch, len(ids)), steps=config.steps):
            trainer.step(nn.functional.cross_entropy(network(x), y))
    return network.cpu().eval(), vocabulary


def _scores(config: Any, network: Any, ids: Tensor, target: Tensor) -> tuple[dict[str, Tensor], Any]:
    """The score of every character by each way of scoring, lowest for padding; and the attribution."""
    import torch

    from kexue.interpret import integrated_gradients

    def probability(embeddings: Tensor, attended: Tensor) -> Tensor:
        found: Tensor = network.classify(embeddings, attended).softmax(1)
        return found

    attended, embeddings = ids != 0, network.embed(ids).detach()
    found = integrated_gradients(probability, (embeddings,), target=target, steps=config.nodes, args=(attended,))
    points = embeddings.clone().requires_grad_()
    output = probability(points, attended).gather(1, target[:, None])
    (gradient,) = torch.autograd.grad(output.sum(), points)
    scores = {
        "IG": found.values[0].sum(2),
        "gradient × input": (gradient * embeddings).sum(2),
        "|gradient|": gradient.norm(dim=2),
        "random": torch.rand(ids.shape, generator=torch.Generator().manual_seed(0)),
    }
    return {name: one.masked_fill(~attended, -torch.inf) for name, one in scores.items()}, found


def _measure(config: Any, network: Any, vocabulary: SentimentVocabulary, test: SentimentTexts) -> dict[str, Any]:
    """What explanations of right predictions find."""
    import torch

    ids, labels = vocabulary.encode(test.texts), torch.tensor(test.labels)
    with torch.no_grad():
        right = network(ids).argmax(1) == labels
    ids, labels = ids[right], labels[right]
    scores, found = _scores(config, network, ids, labels)
    top = {way: one.topk(min(config.blanked, ids.shape[1]), dim=1).indices for way, one in scores.items()}
    embeddings, attended = network.embed(ids).detach(), ids != 0
    drops = {}
    for name, blank in zip(DROPS, (torch.zeros(embeddings.shape[2]), _mean_embedding(network)), strict=True):
        blanked = embeddings.clone()
        blanked[torch.arange(len(ids))[:, None], top["IG"]] = blank
        with torch.no_grad():
            after = network.classify(blanked, attended).softmax(1).gather(1, labels[:, None])[:, 0]
        drops[name] = found.prediction - after
    sizes = scores["IG"].masked_fill(~attended, 0.0).abs()
    share = sizes.gather(1, top["IG"]).sum(1) / sizes.sum(1)
    decisive = [set(places) for places, kept in zip(test.decisive, right.tolist(), strict=True) if kept]
    hits = {
        way: [bool(places & set(row)) for places, row in zip(decisive, rows.tolist(), strict=True) if places]
        for way, rows in top.items()
    }
    of_side = dict(zip(SIDES, (labels == 0, labels == 1), strict=True))
    return {
        "accuracy": float(right.double().mean()),
        "hit": {way: fmean(map(float, one)) for way, one in hits.items() if one},
        **{
            name: {side: float(drop[chosen].mean()) for side, chosen in of_side.items()} for name, drop in drops.items()
        },
        "share": {side: float(share[chosen].mean()) for side, chosen in of_side.items()},
        "baseline": float(found.baseline_prediction[of_side["positive"]].mean()),
    }


def _mean_embedding(network: Any) -> Tensor:
    """The mean over the characters that have an embedding of their own."""
    mean: Tensor = network.embed.weight.detach()[2:].mean(0)
    return mean


def _metrics(record: Record, name: str, measured: dict[str, Any], seed: int) -> None:
    record.metric(f"{name}/accuracy", measured["accuracy"], seed=seed)
    record.metric(f"{name}/baseline", measured["baseline"], seed=seed)
    for what in (*DROPS, "share"):
        for side in SIDES:
            record.metric(f"{name}/{what}/{side}", measured[what][side], seed=seed)
    if measured["hit"]:
        record.metric(f"{name}/hit", measured["hit"]["IG"], seed=seed)


def _shown(config: Any, network: Any, vocabulary: SentimentVocabulary, test: SentimentTexts) -> list[Any]:
    """Some texts with the shares of their characters, for the page."""
    import torch

    texts = test.texts[:6]
    ids = vocabulary.encode(texts)
    with torch.no_grad():
        target = network(ids).argmax(1)
    scores, found = _scores(config, network, ids, target)
    rows = zip(texts, target.tolist(), found.prediction.tolist(), scores["IG"].tolist(), strict=True)
    return [
        (
            {"en": f"{('bad', 'good')[side]}, {probability:.3f}", "zh": f"{'差好'[side]}评，{probability:.3f}"},
            list(text),
            shares[: len(text)],
        )
        for text, side, probability, shares in rows
    ]


def _other_blank(found: list[dict[str, Any]], sides: tuple[str, ...]) -> dict[str, str]:
    """What is lost when the blank is one that looks like a character."""
    lost = [f"{_mean(found, 'drop-mean', side):.3f}" for side in sides]
    return {
        "en": f"Blanked by the mean embedding in place of padding: {' against '.join(lost)}.",
        "zh": f"若以平均嵌入代替补齐符来抹去：{' 对 '.join(lost)}。",
    }


def _mean(found: list[dict[str, Any]], *keys: str) -> float:
    """The mean over the seeds of what stands under these keys."""
    values = []
    for value in found:
        for key in keys:
            value = value[key]
        values.append(value)
    return fmean(values)  # type: ignore[arg-type]


def _table(record: Record, name: str, found: dict[str, list[dict[str, Any]]]) -> None:
    parts = [("accuracy",), *((what, side) for what in (*DROPS, "share") for side in SIDES), ("baseline",)]
    heads = [f"{what}, {side}" for what in ("drop", "drop by mean", "share") for side in ("bad", "good")]
    record.table(
        name,
        ["texts", "accuracy", *heads, "good at the baseline"],
        [[texts, *(round(_mean(one, *part), 4) for part in parts)] for texts, one in found.items()],
        caption={
            "en": "Right predictions, means over the seeds: loss of probability when the characters of the largest "
            "share are blanked by padding, or by the mean embedding; their part of all |shares|; and the probability "
            "of good at the baseline, which should say nothing: 0.5.",
            "zh": "预测正确的样本，对种子取平均：以补齐符或平均嵌入抹去贡献最大的字后概率的下降、"
            "这些字占全部 |贡献| 的比例，以及基准处好评的概率（基准应无信息，即 0.5）。",
        },
    )
