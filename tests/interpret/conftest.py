"""Small models of every kind, with random weights, and tokenizers that fit them."""

from __future__ import annotations

import functools

import pytest
import torch

CHARACTERS = "这家酒店很好不差房间干净服务态度太了。 abcdefghij"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


@functools.cache
def character_tokenizer(*, template=True, mask=True):
    """One token a character, [CLS] before and [SEP] after."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: number for number, token in enumerate([*SPECIAL, *CHARACTERS])}
    plain = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    plain.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]"}
    if template:
        plain.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
        names |= {"cls_token": "[CLS]", "sep_token": "[SEP]"}
    if mask:
        names["mask_token"] = "[MASK]"
    return PreTrainedTokenizerFast(tokenizer_object=plain, **names, model_input_names=["input_ids", "attention_mask"])


@functools.cache
def byte_tokenizer():
    """Tokens of one byte: three for a Chinese character."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    plain = Tokenizer(models.BPE({letter: number for number, letter in enumerate(alphabet)}, []))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=plain, model_input_names=["input_ids", "attention_mask"])


@functools.cache
def build(name):
    """A model by name; tests must not change it."""
    import transformers as t

    torch.manual_seed(0)
    words = len(SPECIAL) + len(CHARACTERS)
    t5 = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2, "decoder_start_token_id": 0}
    bart = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    bart |= {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "pad_token_id": 0, "eos_token_id": 3}
    bart |= {"decoder_start_token_id": 3, "bos_token_id": 2, "scale_embedding": True, "num_labels": 3}
    gpt2 = {"n_embd": 16, "n_layer": 2, "n_head": 2, "bos_token_id": 0, "eos_token_id": 0}
    makers = {
        "bert-classes": lambda: t.BertForSequenceClassification(t.BertConfig(vocab_size=words, num_labels=3, **SIZES)),
        "bert-tokens": lambda: t.BertForTokenClassification(t.BertConfig(vocab_size=words, num_labels=3, **SIZES)),
        "bert-masked": lambda: t.BertForMaskedLM(t.BertConfig(vocab_size=words, **SIZES)),
        "bert-headless": lambda: t.BertModel(t.BertConfig(vocab_size=words, **SIZES)),
        "bert-single": lambda: t.BertForSequenceClassification(t.BertConfig(vocab_size=words, num_labels=1, **SIZES)),
        "gpt2": lambda: t.GPT2LMHeadModel(t.GPT2Config(vocab_size=256, **gpt2)),
        "gpt2-classes": lambda: t.GPT2ForSequenceClassification(t.GPT2Config(vocab_size=words, pad_token_id=0, **gpt2)),
        "llama": lambda: t.LlamaForCausalLM(
            t.LlamaConfig(vocab_size=words, num_key_value_heads=1, bos_token_id=0, eos_token_id=0, **SIZES)
        ),
        "t5-tokens": lambda: t.T5ForTokenClassification(t.T5Config(vocab_size=words, eos_token_id=3, **t5)),
        "t5-classes": lambda: t.T5ForSequenceClassification(t.T5Config(vocab_size=words, eos_token_id=3, **t5)),
        "t5": lambda: t.T5ForConditionalGeneration(t.T5Config(vocab_size=words, eos_token_id=3, **t5)),
        "bart-classes": lambda: t.BartForSequenceClassification(t.BartConfig(vocab_size=words, **bart)),
    }
    model = makers[name]().eval()
    if not name.startswith("t5"):
        for parameter in model.parameters():
            parameter.data *= 5  # what such small random weights make of a text hardly depends on it
    return model


@pytest.fixture(scope="session")
def models():
    """Models by name."""
    return build


@pytest.fixture(scope="session")
def characters():
    """The tokenizer of characters."""
    return character_tokenizer()


@pytest.fixture(scope="session")
def bare_characters():
    """The same without [CLS], [SEP] and [MASK]."""
    return character_tokenizer(template=False, mask=False)


@pytest.fixture(scope="session")
def byte_pieces():
    """The tokenizer of bytes."""
    return byte_tokenizer()
