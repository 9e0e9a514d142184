"""Tests of kexue.interpret.embedded_model: the same function as the model, on the embeddings that it is given."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kexue.interpret.embedded_model import EmbeddedModel, TokenizedText

CPU = torch.device("cpu")
TEXT = "这家酒店很好"


@pytest.mark.parametrize(
    "name",
    ["bert-classes", "bert-tokens", "bert-masked", "gpt2-classes", "llama", "t5-tokens", "t5-classes", "bart-classes"],
)
def test_its_own_embeddings_give_what_the_model_gives(models, characters, name):
    model, tokens = models(name), TokenizedText.of(characters, TEXT, CPU)
    reader = EmbeddedModel(model)
    with torch.no_grad():
        expected = model(**tokens.fields).logits[0]
        with reader.reading(tokens):
            assert torch.equal(reader.look(reader.table(tokens.ids)), expected)
        assert torch.equal(model(**tokens.fields).logits[0], expected)


@pytest.mark.parametrize("name", ["bert-classes", "gpt2-classes", "t5-classes", "bart-classes"])
def test_the_embeddings_of_another_text_give_what_the_model_gives_for_it(models, characters, name):
    model, tokens = models(name), TokenizedText.of(characters, TEXT, CPU)
    other = TokenizedText.of(characters, "房间不干净。", CPU)
    reader = EmbeddedModel(model)
    with torch.no_grad(), reader.reading(tokens):
        replaced = reader.look(reader.table(other.ids))
        expected = model(**other.fields).logits[0]
    assert torch.allclose(replaced, expected, atol=1e-6)
    assert not torch.allclose(replaced, model(**tokens.fields).logits[0], atol=1e-3)


@pytest.mark.parametrize("name", ["bert-masked", "llama"])
def test_the_head_sees_only_where_the_prediction_is_read(models, characters, name):
    model, tokens = models(name), TokenizedText.of(characters, TEXT, CPU)
    reader, seen = EmbeddedModel(model), []
    with torch.no_grad(), reader.reading(tokens):
        own = reader.table(tokens.ids)
        whole = reader.look(own)
        chosen = reader.choose(whole, None, 2, "logit")
        handle = model.get_output_embeddings().register_forward_hook(lambda m, a, output: seen.append(output.shape))
        found = reader(own.repeat(3, 1, 1), *(field.repeat(3, 1) for field in tokens.fields.values()))
        handle.remove()
    assert torch.allclose(found, chosen.expand(3, -1), atol=1e-6)
    assert torch.equal(chosen, whole[2])
    assert [shape[:2] for shape in seen] == [(3, 1)]


def test_outputs_are_probabilities_their_logarithms_or_logits(models, characters):
    model, tokens = models("bert-classes"), TokenizedText.of(characters, TEXT, CPU)
    reader = EmbeddedModel(model)
    with torch.no_grad(), reader.reading(tokens):
        own = reader.table(tokens.ids)
        logits, fields = reader.look(own), list(tokens.fields.values())
        for output, expected in {
            "logit": logits,
            "prob": logits.softmax(-1),
            "log_prob": logits.log_softmax(-1),
            None: logits.softmax(-1),
        }.items():
            reader.choose(logits, None, None, output)
            assert torch.allclose(reader(own, *fields)[0], expected, atol=1e-6)
        try:
            model.config.problem_type = "multi_label_classification"
            reader.choose(logits, None, None, "prob")
            assert torch.allclose(reader(own, *fields)[0], logits.sigmoid(), atol=1e-6)
            reader.choose(logits, None, None, "log_prob")
            assert torch.allclose(reader(own, *fields)[0], logits.sigmoid().log(), atol=1e-6)
        finally:
            model.config.problem_type = None


def test_the_model_is_left_as_it_was_also_after_an_error(models, characters):
    model, tokens = models("bert-masked"), TokenizedText.of(characters, TEXT, CPU)
    reader = EmbeddedModel(model)
    with pytest.raises(ZeroDivisionError), reader.reading(tokens):
        raise ZeroDivisionError
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_special_tokens_and_padding_are_no_text(characters, bare_characters):
    tokens = TokenizedText.of(characters, "好[MASK]喂", CPU)
    assert tokens.names[:2] == ["[CLS]", "好"]
    assert tokens.kept.tolist()[:3] == [True, False, True]
    unknown = TokenizedText.of(bare_characters, "好喂", CPU)
    assert unknown.names == ["好", "[UNK]"]
    assert unknown.kept.tolist() == [False, False]
    assert unknown.offsets == [(0, 1), (1, 2)]


def test_models_that_do_not_fit_are_refused(models, characters):
    with pytest.raises(TypeError, match=r"model must have a table of embeddings that get_input_embeddings\(\) returns"):
        EmbeddedModel(nn.Linear(2, 2))
    with pytest.raises(TypeError, match="got an encoder and decoder that continue another text: T5ForConditional"):
        EmbeddedModel(models("t5"))
    tokens = TokenizedText.of(characters, TEXT, CPU)
    headless = EmbeddedModel(models("bert-headless"))
    with headless.reading(tokens), pytest.raises(TypeError, match="model must return logits, got none from BertModel"):
        headless.look(headless.table(tokens.ids))


def test_a_model_that_looks_elsewhere_is_refused(models, characters):
    class Elsewhere(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.other = nn.Embedding(60, 4), nn.Embedding(60, 4)

        def get_input_embeddings(self):
            return self.table

        def forward(self, input_ids, attention_mask):
            class Output:
                logits = self.other(input_ids).sum(1)

            return Output

    reader, tokens = EmbeddedModel(Elsewhere()), TokenizedText.of(characters, TEXT, CPU)
    with reader.reading(tokens), pytest.raises(TypeError, match="must look its tokens up in the table"):
        reader.look(reader.table(tokens.ids))


@pytest.mark.parametrize(
    ("name", "position", "output", "error", "message"),
    [
        ("bert-classes", 1, None, ValueError, "position must be None for a model that predicts once for a text, got 1"),
        ("bert-tokens", None, None, ValueError, "position must say at which of the 8 tokens .* with 0 mask tokens"),
        ("bert-masked", 8, None, ValueError, "position must be one of the 8 tokens, got 8"),
        ("bert-masked", -9, None, ValueError, "position must be an integer >= -8, got -9"),
        ("bert-masked", 1.5, None, TypeError, "position must be an integer"),
        ("bert-single", None, "prob", ValueError, "output must be 'logit' for a model with a single logit, got 'prob'"),
    ],
)
def test_where_nothing_can_be_read_is_told(models, characters, name, position, output, error, message):
    reader, tokens = EmbeddedModel(models(name)), TokenizedText.of(characters, TEXT, CPU)
    with reader.reading(tokens):
        logits = reader.look(reader.table(tokens.ids))
        with pytest.raises(error, match=message):
            reader.choose(logits, characters.mask_token_id, position, output)


def test_logits_of_another_length_are_refused(models, characters):
    reader, tokens = EmbeddedModel(models("bert-classes")), TokenizedText.of(characters, TEXT, CPU)
    with reader.reading(tokens), pytest.raises(TypeError, match=r"logits for each of 8 tokens, got shape \(3, 2\)"):
        reader.choose(torch.zeros(3, 2), None, None, None)
