"""Tests of kexue.interpret.text: complete shares for every kind of model, and a text that stays a text."""

from __future__ import annotations

import copy
import re
import unicodedata
import warnings
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from kexue.interpret.integrated_gradients import integrated_gradients
from kexue.interpret.text import TextAttribution, TextAttributions, explain_text, save_page

TEXT = "这家酒店很好"


def attribution(text, offsets, scores, tokens=None, **changes):
    tokens = tokens or [text[start:stop] for start, stop in offsets]
    fields = {"delta": 0.0, "prediction": 0.9, "baseline_prediction": 0.5, "target": 1, "label": "good", "steps": 32}
    return TextAttribution(text, tokens, offsets, np.array(scores, dtype=np.float64), **(fields | changes))


def complete(found, tolerance=1e-5):
    return abs(found.scores.sum() - found.delta - (found.prediction - found.baseline_prediction)) < tolerance


# -- models


@pytest.mark.parametrize(
    ("name", "position"),
    [
        ("bert-classes", None),
        ("bert-tokens", 3),
        ("bert-single", None),
        ("gpt2-classes", None),
        ("llama", None),
        ("t5-tokens", 1),
        ("t5-classes", None),
        ("bart-classes", None),
    ],
)
def test_shares_are_complete_for_every_kind_of_model(models, characters, name, position):
    model = models(name)
    found = explain_text(model, characters, TEXT, position=position, steps=64)
    assert found.tokens == ["[CLS]", *TEXT, "[SEP]"]
    assert found.offsets == [(0, 0), *((i, i + 1) for i in range(6)), (0, 0)]
    assert complete(found)
    assert abs(found.delta) < 1e-3 * max(1, abs(found.prediction - found.baseline_prediction))
    assert (found.scores[[0, -1]] == 0).all()
    assert np.abs(found.scores[1:-1]).min() > 0
    with torch.no_grad():
        logits = model(**characters(TEXT, return_tensors="pt")).logits[0]
    row = logits if logits.ndim == 1 else logits[-1 if position is None else position]
    assert found.target == int(row.argmax())
    output = row if len(row) == 1 else row.log_softmax(-1) if name == "llama" else row.softmax(-1)
    assert found.prediction == pytest.approx(output[found.target].item(), abs=1e-6)


def test_a_causal_model_of_bytes(models, byte_pieces):
    found = explain_text(models("gpt2"), byte_pieces, "好 x", baseline="mean", steps=64)
    assert len(found.tokens) == 5
    assert found.offsets[:3] == [(0, 1)] * 3
    assert complete(found)
    with torch.no_grad():
        expected = models("gpt2")(byte_pieces("好 x", return_tensors="pt")["input_ids"]).logits[0, -1].log_softmax(-1)
    assert found.prediction == pytest.approx(expected.max().item(), abs=1e-6)


def test_a_masked_model_is_read_at_its_mask(models, characters):
    model = models("bert-masked")
    found = explain_text(model, characters, "这家[MASK]店很好", target="酒", steps=64)
    with torch.no_grad():
        logits = model(**characters("这家[MASK]店很好", return_tensors="pt")).logits[0, 3]
    assert found.label == "酒"
    assert found.prediction == pytest.approx(logits.log_softmax(-1)[found.target].item(), abs=1e-6)
    assert found.scores[3] == 0  # the mask is no text
    assert complete(found)
    with pytest.raises(ValueError, match="for a text with 2 mask tokens"):
        explain_text(model, characters, "[MASK]店[MASK]")


def test_targets_have_names(models, characters):
    model = models("bert-classes")
    by_label = explain_text(model, characters, TEXT, target="LABEL_2", steps=4)
    by_number = explain_text(model, characters, TEXT, target=2, steps=4)
    assert by_label.target == 2
    assert by_number.label == "LABEL_2"
    assert (by_label.scores == by_number.scores).all()


def test_shares_equal_those_of_the_peer(models, characters):
    captum = pytest.importorskip("captum.attr", reason="captum is not installed: pip install captum")
    model, encoded = models("bert-classes"), characters(TEXT, return_tensors="pt")
    method = captum.LayerIntegratedGradients(
        lambda ids, mask: model(input_ids=ids, attention_mask=mask).logits.softmax(-1)[:, 1],
        model.bert.embeddings.word_embeddings,
    )
    baseline = encoded["input_ids"].clone()
    baseline[:, 1:-1] = characters.pad_token_id
    values = method.attribute(
        encoded["input_ids"], baseline, additional_forward_args=(encoded["attention_mask"],), n_steps=20
    )
    found = explain_text(model, characters, TEXT, target=1, steps=20)
    assert np.allclose(found.scores, values[0].sum(-1).detach().numpy(), rtol=0, atol=1e-6)


def test_padding_of_the_tokenizer_gets_nothing(models, characters):
    padding = copy.deepcopy(characters)
    padding.backend_tokenizer.enable_padding(length=12, pad_id=0, pad_token="[PAD]")
    encoded = padding.backend_tokenizer.encode(TEXT)
    assert encoded.tokens[-4:] == ["[PAD]"] * 4

    class Padding:
        def __call__(self, text, **options):
            return padding(text, padding="max_length", max_length=12, **options)

        def __getattr__(self, name):
            return getattr(padding, name)

    padded, plain = (explain_text(models("bert-classes"), one, TEXT) for one in (Padding(), characters))
    assert padded.tokens == [*plain.tokens, *["[PAD]"] * 4]
    assert (padded.scores[8:] == 0).all()
    assert np.allclose(padded.scores[:8], plain.scores, atol=1e-6)


@pytest.mark.parametrize("name", ["bert-classes", "llama"])
def test_half_precision(models, characters, name):
    model = copy.deepcopy(models(name)).bfloat16()
    found = explain_text(model, characters, TEXT, target=1)
    exact = explain_text(models(name), characters, TEXT, target=1)
    assert np.allclose(found.scores, exact.scores, atol=0.1 * np.abs(exact.scores).max() + 0.02)


def test_training_mode_is_told_and_kept(models, characters):
    model = copy.deepcopy(models("bert-classes")).train()
    with warnings.catch_warnings(record=True) as told:  # of shares that do not add up as well
        warnings.simplefilter("always")
        explain_text(model, characters, TEXT, steps=1)
    assert str(told[0].message).startswith(
        "model is in training mode, and its Dropout makes every call another function"
    )
    assert {one.filename for one in told} == {__file__}
    assert model.training
    assert all(p.requires_grad for p in model.parameters())


def test_checkpointed_models(models, characters):
    model = copy.deepcopy(models("llama"))
    # Later versions of transformers call it by the first name.
    enable = getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)
    enable({"use_reentrant": False})
    model.train()  # without dropout: only there does it checkpoint
    found, plain = (explain_text(one, characters, TEXT, target=1) for one in (model, models("llama")))
    assert np.allclose(found.scores, plain.scores, atol=1e-6)


def test_inputs_embeds_and_the_hook_agree(models, characters):
    model, ids = models("bert-classes"), characters(TEXT, return_tensors="pt")["input_ids"]
    table = model.get_input_embeddings()
    own, start = table(ids).detach(), table(torch.tensor([[2, 0, 0, 0, 0, 0, 0, 3]])).detach()
    values = integrated_gradients(lambda x: model(inputs_embeds=x).logits.softmax(-1), own, start, target=0).values
    found = explain_text(model, characters, TEXT, target=0)
    assert np.allclose(found.scores, values[0].sum(-1).numpy(), atol=1e-6)


# -- baselines and scores


def test_baselines_by_name_by_text_and_by_embedding(models, characters):
    model = models("bert-classes")
    table = model.get_input_embeddings()

    def share(baseline):
        return explain_text(model, characters, TEXT, target=0, baseline=baseline)

    with torch.no_grad():
        weights = table.weight
        equal = {
            "pad": weights[0],
            "mask": weights[4].expand(8, -1),
            "zero": torch.zeros(16),
            "mean": weights.mean(0),
        }
        for name, embedding in equal.items():
            assert np.allclose(share(name).scores, share(embedding).scores, atol=1e-6), name
        others = ["房间不干净。", "服务态度太差"]
        ids = torch.cat([characters(one, return_tensors="pt")["input_ids"] for one in others])
        averaged = share(others)
        assert np.allclose(averaged.scores, share(table(ids)).scores, atol=1e-6)
        assert complete(averaged)
        predictions = [model(**characters(one, return_tensors="pt")).logits[0].softmax(-1)[0].item() for one in others]
    assert averaged.baseline_prediction == pytest.approx(np.mean(predictions), abs=1e-6)


def test_scores_of_every_kind(models, characters):
    model = models("bert-classes")
    own = model.get_input_embeddings()(characters(TEXT, return_tensors="pt")["input_ids"]).detach()
    start = torch.where(torch.tensor([1, 0, 0, 0, 0, 0, 0, 1]).bool()[:, None], own, torch.zeros(16))
    values = integrated_gradients(lambda x: model(inputs_embeds=x).logits.softmax(-1), own, start, target=0).values[0]
    for score, expected in {"sum": values.sum(1), "norm": values.norm(dim=1), "absmax": values.abs().amax(1)}.items():
        found = explain_text(model, characters, TEXT, target=0, baseline="zero", score=score)
        assert np.allclose(found.scores, expected.numpy(), atol=1e-6)


def test_several_texts_are_explained_one_by_one(models, characters):
    model = models("bert-classes")
    both = explain_text(model, characters, ["好", TEXT], target=1, tol=1e-3)
    assert [one.text for one in both] == ["好", TEXT]
    assert (both[1].scores == explain_text(model, characters, TEXT, target=1, tol=1e-3).scores).all()
    assert explain_text(model, characters, []) == []


def test_several_texts_show_and_save_themselves(models, characters, tmp_path):
    both = explain_text(models("bert-classes"), characters, ["好", TEXT], target=1, steps=4)
    assert isinstance(both, TextAttributions)
    scale = max(np.abs(one.scores).max() for one in both)
    shown = both._repr_html_()
    assert shown == both.to_html()
    assert all(one.to_html(scale=scale) in shown for one in both)
    assert "0.3)" in TextAttributions([attribution("好", [(0, 1)], [1.0])]).to_html(scale=2.0)
    page = both.save(tmp_path / "new" / "both.html", title="why")
    assert page.read_text(encoding="utf-8") == save_page(tmp_path / "x.html", both, title="why").read_text("utf-8")
    assert shown in page.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="attributions must be at least one"):
        TextAttributions().save(tmp_path / "none.html")
    assert set(Page(TextAttributions().to_html()).tags) == {"div"}


@pytest.mark.parametrize("several", [False, True])
def test_a_text_that_is_too_long_is_cut_as_the_tokenizer_cuts_it(models, characters, several):
    model = copy.deepcopy(models("bert-classes"))
    model.config.max_position_embeddings = 6
    with pytest.raises(ValueError, match=r"at most 6 tokens for this model, got 8; truncation=True cuts it, as tok"):
        explain_text(model, characters, TEXT)
    given = ["好", TEXT] if several else TEXT
    found = explain_text(model, characters, given, target=1, truncation=True)
    if several:
        assert found[0].left_out == 0
        found = found[1]
    kept = explain_text(model, characters, TEXT[:4], target=1)
    assert found.tokens == kept.tokens == ["[CLS]", *TEXT[:4], "[SEP]"]
    assert (found.scores == kept.scores).all()
    assert (found.prediction, found.text, found.left_out) == (kept.prediction, TEXT, 2)
    assert "; 2 tokens were left out" in repr(found)
    assert Page(found.to_html()).text == f"{TEXT}{Page(kept.to_html()).text[4:]}".replace(
        " with it", " with it; 2 tokens were left out"
    )
    assert '<div title="not read" style="' in found.to_html()
    assert f';opacity:.5">{TEXT[4:]}</div>' in found.to_html()
    assert found.to_ansi() == kept.to_ansi()
    assert found.by_words(["这家", "酒店", "很好"]).tokens == ["这家", "酒店"]
    averaged = explain_text(model, characters, TEXT, target=1, truncation=True, baseline=["房间不干净。"])
    assert averaged.left_out == 2


def test_a_pipeline_is_told_to_give_its_parts(models, characters):
    from transformers import pipeline

    whole = pipeline("text-classification", model=models("bert-classes"), tokenizer=characters)
    message = "got TextClassificationPipeline: pass pipeline.model and pipeline.tokenizer"
    for tokenizer in (None, characters):
        with pytest.raises(TypeError, match=message):
            explain_text(whole, tokenizer, TEXT)
    assert explain_text(whole.model, whole.tokenizer, TEXT).text == TEXT


def test_an_empty_text(models, characters, bare_characters):
    empty = explain_text(models("bert-classes"), bare_characters, "")
    assert (empty.tokens, empty.offsets, len(empty.scores)) == ([], [], 0)
    assert np.isnan(empty.prediction)
    assert empty.to_ansi() == ""
    assert "<span" not in empty.to_html()
    special = explain_text(models("bert-classes"), characters, "")
    assert special.tokens == ["[CLS]", "[SEP]"]
    assert (special.scores == 0).all()
    assert special.prediction == special.baseline_prediction


def test_tokenizers_that_do_not_know_the_characters(models, characters):
    class Slow:
        is_fast = False

        def __call__(self, text, **options):
            assert not options.pop("return_offsets_mapping")
            return characters(text, **options)

        def __getattr__(self, name):
            return getattr(characters, name)

    found = explain_text(models("bert-classes"), Slow(), TEXT)
    assert found.offsets is None
    assert "[CLS]" in found.to_html()
    with pytest.raises(ValueError, match="by_words needs the offsets"):
        found.by_words(["这"])
    pytest.importorskip("polars")
    assert found.to_frame()["start"].null_count() == 8


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"score": "max"}, ValueError, "score must be 'sum', 'norm' or 'absmax', got 'max'"),
        ({"output": "probability"}, ValueError, "output must be 'prob', 'log_prob', 'logit' or None"),
        ({"text": 5}, TypeError, "text must be a str or a sequence of them, got int"),
        ({"target": 3}, ValueError, "target must be below 3, got 3"),
        ({"target": "good"}, ValueError, "target must be one of LABEL_0, LABEL_1, LABEL_2, got 'good'"),
        (
            {"baseline": "noise"},
            ValueError,
            "baseline must be one of pad, mask, mean, zero, texts in a list, or a tensor",
        ),
        ({"baseline": ["好"]}, ValueError, r"baseline must be texts of 8 tokens, as many as the text has, got \[3\]"),
        ({"baseline": []}, ValueError, r"baseline must be texts of 8 tokens, as many as the text has, got \[\]"),
        ({"baseline": torch.zeros(3)}, ValueError, r"\(16,\), \(8, 16\) or \(K, 8, 16\) for this text, got \(3,\)"),
        ({"baseline": torch.zeros(16).long()}, TypeError, "baseline must be a floating-point tensor"),
        ({"text": "好" * 600}, ValueError, "text must have at most 512 tokens for this model, got 602"),
        ({"truncation": "longest_first"}, TypeError, "truncation must be True or False, got 'longest_first'"),
        ({"args": ()}, TypeError, "args"),
        ({"n_steps": 3}, TypeError, r"explain_text has no argument 'n_steps': did you mean steps\?"),
        ({"stepz": 3}, TypeError, "stepz"),
    ],
)
def test_wrong_input_is_refused(models, characters, change, error, message):
    text, options = change.get("text", TEXT), {key: value for key, value in change.items() if key != "text"}
    with pytest.raises(error, match=message):
        explain_text(models("bert-classes"), characters, text, **options)


@pytest.mark.parametrize("tokenizer", ["bert-base-chinese", None, 3])
def test_what_is_no_tokenizer(models, tokenizer):
    with pytest.raises(TypeError, match="tokenizer must be the tokenizer of the model, such as AutoTokenizer"):
        explain_text(models("bert-classes"), tokenizer, TEXT)


class Cliff(torch.nn.Module):
    """A classifier that jumps between padding and text within a width, as very confident ones do."""

    def __init__(self, width):
        super().__init__()
        self.table, self.width = torch.nn.Embedding(40, 4), width
        torch.nn.init.ones_(self.table.weight)
        torch.nn.init.zeros_(self.table.weight[0])

    def get_input_embeddings(self):
        return self.table

    def forward(self, input_ids, attention_mask=None):
        level = self.table(input_ids)[:, 1:-1].mean((1, 2))
        logit = (level - 0.437) / self.width
        return SimpleNamespace(logits=torch.stack([-logit, logit], -1) / 2)


def test_steps_are_added_until_the_shares_add_up(characters):
    found = explain_text(Cliff(0.0015).double(), characters, TEXT)
    assert found.steps > 32
    assert abs(found.delta) <= 0.05
    assert found.scores.sum() == pytest.approx(1.0, abs=0.05)
    assert explain_text(Cliff(0.2).double(), characters, TEXT).steps == 32


def test_shares_that_do_not_add_up_are_told(characters):
    for options, steps in (({"steps": 8}, 8), ({"max_steps": 64}, 64), ({"tol": 0.01, "max_steps": 16}, 16)):
        match = (
            rf"shares add up to .*% of the change of the prediction \(.* to 1\) with {steps} steps: pass tol=0.05, max"
        )
        with pytest.warns(UserWarning, match=match) as told:
            found = explain_text(Cliff(1e-5).double(), characters, TEXT, **options)
        assert [one.filename for one in told] == [__file__]
        for shown in (repr(found), Page(found.to_html()).text):
            assert re.search(r"the shares are off by .*, \d+% of the change", shown)


def test_tokens_that_the_vocabulary_lacks_are_refused(models, characters, bare_characters):
    with pytest.raises(ValueError, match="target must be one token of the vocabulary, got '喂'"):
        explain_text(models("llama"), characters, TEXT, target="喂")
    with pytest.raises(ValueError, match="target must be one token of the vocabulary, got '酒店'"):
        explain_text(models("llama"), characters, TEXT, target="酒店")
    with pytest.raises(ValueError, match="baseline='mask' needs a tokenizer with a mask token, got one without"):
        explain_text(models("llama"), bare_characters, TEXT, baseline="mask")


# -- what is shown


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.append(dict(attrs))

    def handle_data(self, data):
        self.text += data


def titles(page):
    return [attributes["title"] for attributes in Page(page).attributes if "title" in attributes]


def test_the_characters_of_the_text_are_coloured():
    found = attribution("好 的", [(0, 0), (0, 1), (2, 3)], [0.0, 0.5, -1.0], ["[CLS]", "好", "的"])
    page = Page(found.to_html())
    assert page.text == "好 的good: 0.5 without the text → 0.9 with it for against"
    assert titles(found.to_html()) == ["+0.5", "+0", "-1"]
    assert found._repr_html_() == found.to_html()
    assert page.attributes[1]["lang"] == "zh-Hans"
    assert Page(attribution("ok", [(0, 2)], [1.0]).to_html()).attributes[1]["lang"] == "und"
    assert Page(found.to_html(lang="ja")).attributes[1]["lang"] == "ja"
    assert repr(found) == "<TextAttribution '好 的' -> 'good': 0.5 at the baseline, 0.9 at the text>"


def test_pieces_of_one_character_are_added():
    found = attribution("好x", [(0, 1), (0, 1), (0, 1), (1, 2)], [1.0, 2.0, -0.5, 1.0], ["å", "¥", "½", "x"])
    assert titles(found.to_html()) == ["+2.5", "+1"]
    assert found.to_ansi().count("\x1b[38;2") == 2


def test_words_get_the_sum_of_their_tokens():
    text = "今天 天气好"
    offsets = [(0, 0), (0, 1), (1, 2), (3, 4), (4, 5), (5, 6), (0, 0)]
    found = attribution(text, offsets, [0, 1, 2, 3, 4, 5, 0], ["[CLS]", *"今天天气好", "[SEP]"])
    for words in (["今天", "天气", "好"], lambda text: ["今天", " ", "天气", "好"]):
        merged = found.by_words(words)
        assert merged.tokens == ["今天", "天气", "好"]
        assert merged.offsets == [(0, 2), (3, 5), (5, 6)]
        assert merged.scores.tolist() == [3, 7, 5]
    assert merged.prediction == found.prediction
    # A token in two words holds them together, and a word may be of parts of a character.
    crossing = attribution("abcd", [(0, 1), (1, 3), (3, 4)], [1, 2, 4]).by_words(["ab", "cd"])
    assert (crossing.tokens, crossing.scores.tolist()) == (["abcd"], [7])
    assert found.by_words(["天气"]).tokens == ["今", "天", "天气", "好"]


def test_words_of_a_segmenter():
    jieba = pytest.importorskip("jieba")
    found = attribution(TEXT, [(i, i + 1) for i in range(6)], np.arange(6.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        merged = found.by_words(jieba.lcut)
    assert "".join(merged.tokens) == TEXT
    assert "酒店" in merged.tokens
    assert merged.scores.sum() == found.scores.sum()


def test_words_of_another_text_are_refused():
    found = attribution(TEXT, [(i, i + 1) for i in range(6)], np.arange(6.0))
    with pytest.raises(ValueError, match="words must be those of the text in their order, got '店家' after '这'"):
        found.by_words(["这", "店家"])
    with pytest.raises(TypeError, match="words must be a sequence of strings, got '这家'"):
        found.by_words("这家")
    with pytest.raises(TypeError, match="words must be a sequence of strings"):
        found.by_words([1])


HARMFUL = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "\u202eevil\u2066\u200f",
    "</span></div></iframe>&lt;&#60;",
    "\x00\x1b[31m\x9b\ud800\r\n\t\u2028",
]


@pytest.mark.parametrize("text", HARMFUL)
@pytest.mark.parametrize("whole", [True, False])
def test_any_text_is_safe_to_paste(text, whole):
    offsets = [(0, len(text))] if whole else [(i, i + 1) for i in range(len(text))]
    found = attribution(text, offsets, np.linspace(-1, 1, len(offsets)), label=text)
    html = found.to_html()
    html.encode("utf-8")
    page = Page(html)
    assert set(page.tags) <= {"div", "span", "br", "wbr"}
    assert {name for attributes in page.attributes for name in attributes} <= {"lang", "style", "title"}
    assert not any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") for character in html)
    assert html.count("<div") == html.count("</div>")
    left = re.sub(r"\x1b\[(38;2;0;0;0;48;2;\d+;\d+;\d+|0)m", "", found.to_ansi())
    assert not any(unicodedata.category(character) in ("Cc", "Cf", "Cs") for character in left.replace("\n", ""))


def test_a_very_long_text():
    text = "好的<" * 5_000
    found = attribution(text, [(i, i + 1) for i in range(len(text))], np.ones(len(text)))
    page = Page(found.to_html())
    assert page.text.startswith(text)
    assert len(found.by_words(["好的<"] * 5_000).tokens) == 5_000
    assert repr(found).startswith("<TextAttribution '好的<好的<好的<好的<好的<好的<好的<好的<好的<好的…'")


def test_a_scale_makes_texts_comparable():
    found = attribution("好", [(0, 1)], [1.0])
    assert "0.3)" in found.to_html(scale=2.0)
    assert found.to_ansi(scale=2.0) != found.to_ansi()
    with pytest.raises(ValueError, match="scale must be positive"):
        found.to_html(scale=0.0)
    with pytest.raises(ValueError, match="scale must be positive"):
        found.to_ansi(scale=-1.0)
    with pytest.raises(ValueError, match="lang must be the tag of a language"):
        found.to_html(lang="<")


def test_a_page_of_its_own(tmp_path):
    found = attribution("好 <b>", [(0, 1), (2, 5)], [0.5, -1.0], label="<good>\n")
    assert found.save(str(tmp_path / "new" / "why.html")) == tmp_path / "new" / "why.html"
    whole = (tmp_path / "new" / "why.html").read_bytes().decode("utf-8")
    assert whole.startswith("<!DOCTYPE html>")
    assert '<meta charset="utf-8">' in whole
    assert "<title>&lt;good&gt;↵: 好 &lt;b&gt;</title>" in whole
    assert found.to_html() in whole
    assert [entry.name for entry in (tmp_path / "new").iterdir()] == ["why.html"]
    stronger = attribution("的", [(0, 1)], [4.0])
    both = save_page(tmp_path / "both.html", [found, stronger], title="a & b").read_text(encoding="utf-8")
    assert found.to_html(scale=4.0) in both
    assert stronger.to_html() in both
    assert "<title>a &amp; b</title>" in both
    empty = attribution("", [], [], [])
    assert "<div>" in empty.save(tmp_path / "empty.html").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="attributions must be at least one"):
        save_page(tmp_path / "x.html", [])
    for wrong in (found, [found, 3], "text"):
        with pytest.raises(TypeError, match="attributions must be a sequence of TextAttribution, got"):
            save_page(tmp_path / "x.html", wrong)


@pytest.mark.parametrize("name", ["why.png", "why.svg", "why", "page.html.pdf"])
def test_a_page_has_the_name_of_one(tmp_path, name):
    found = attribution("好", [(0, 1)], [0.5])
    message = rf"path must end in .html or .htm, got '{name}': what is written is a page; .* to_html\(\)"
    for save in (found.save, TextAttributions([found]).save, lambda path: save_page(path, [found])):
        with pytest.raises(ValueError, match=message):
            save(tmp_path / name)
    assert not list(tmp_path.iterdir())
    assert found.save(tmp_path / "why.HTM").is_file()


def test_a_frame_has_a_row_a_token():
    polars = pytest.importorskip("polars")
    frame = attribution("好的", [(0, 1), (1, 2)], [0.5, -1.0]).to_frame()
    assert frame.to_dict(as_series=False) == {
        "token": ["好", "的"],
        "start": [0, 1],
        "stop": [1, 2],
        "score": [0.5, -1.0],
    }
    assert frame.schema["score"] == polars.Float64
    assert attribution("", [], [], []).to_frame().height == 0
