"""Small random models of transformers, padded batches for them, and attention written out as its definition."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace

import pytest
import torch

VOCABULARY = 40
_NUMBERS = itertools.count()


def _build(name, implementation):
    from transformers import (
        BertConfig,
        BertModel,
        GPT2Config,
        GPT2LMHeadModel,
        LlamaConfig,
        LlamaForCausalLM,
        Qwen2Config,
        Qwen2ForCausalLM,
        T5Config,
        T5ForConditionalGeneration,
    )

    tokens = {"vocab_size": VOCABULARY, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 48, "max_position_embeddings": 48}
    wide = {"initializer_range": 0.3}  # scores far enough apart that a factor shows
    plain = {"num_attention_heads": 4, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    grouped = {"num_attention_heads": 4, "num_key_value_heads": 2}
    kinds = {
        "bert": (BertModel, BertConfig(**tokens, **sizes, **wide, **plain)),
        "gpt2": (
            GPT2LMHeadModel,
            GPT2Config(
                **tokens,
                **wide,
                n_embd=32,
                n_layer=2,
                n_head=4,
                n_positions=48,
                resid_pdrop=0.0,
                embd_pdrop=0.0,
                attn_pdrop=0.0,
            ),
        ),
        "llama": (LlamaForCausalLM, LlamaConfig(**tokens, **sizes, **wide, **grouped)),
        "qwen2": (
            Qwen2ForCausalLM,
            Qwen2Config(
                **tokens, **sizes, **wide, **grouped, use_sliding_window=True, sliding_window=4, max_window_layers=1
            ),
        ),
        "t5": (
            T5ForConditionalGeneration,
            T5Config(
                vocab_size=VOCABULARY,
                d_model=32,
                d_kv=8,
                d_ff=48,
                num_layers=2,
                num_heads=4,
                dropout_rate=0.0,
                initializer_factor=2.0,
                decoder_start_token_id=0,
                pad_token_id=0,
                eos_token_id=2,
            ),
        ),
    }
    kind, config = kinds[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = kind(config).eval().to(torch.float32 if implementation == "eager" else torch.float64)
    if implementation is not None:
        model.set_attn_implementation(implementation)
    return model


@pytest.fixture
def build():
    """A model by name, with an attention implementation of its own."""
    return lambda name, implementation=None: _build(name, implementation)


LENGTHS = (9, 4, 6)


def _texts():
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(3, VOCABULARY, (length,), generator=generator) for length in LENGTHS]


def _batch(side):
    """Texts of different lengths in one batch, and where the tokens of each are."""
    texts, longest = _texts(), max(LENGTHS)
    ids, mask = torch.zeros(len(texts), longest, dtype=torch.long), torch.zeros(len(texts), longest, dtype=torch.long)
    places = []
    for row, text in enumerate(texts):
        place = slice(0, len(text)) if side == "right" else slice(longest - len(text), longest)
        ids[row, place], mask[row, place] = text, 1
        places.append(place)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    return SimpleNamespace(ids=ids, mask=mask, places=places, positions=positions, texts=texts)


@pytest.fixture(params=["left", "right"])
def padded(request):
    """A batch that is padded on one side."""
    return _batch(request.param)


@pytest.fixture
def padded_left():
    """The batch as decoders generate from it."""
    return _batch("left")


@pytest.fixture
def texts():
    """The texts of the batch, one by one."""
    return _texts()


def _forward(model, ids, mask=None, positions=None, **options):
    """Hidden states or logits."""
    name = type(model).__name__
    if name.startswith("T5"):
        start = torch.arange(3, 8).expand(len(ids), -1)
        return model(input_ids=ids, attention_mask=mask, decoder_input_ids=start, **options).logits
    output = model(input_ids=ids, attention_mask=mask, position_ids=positions, **options)
    return output.logits if hasattr(output, "logits") else output.last_hidden_state


@pytest.fixture
def forward():
    """What a model says of a batch."""
    return _forward


def literal_attention(factor, dtype=torch.float64):
    """Attention as it is defined, with a loop over queries and the factor of the keys that each of them sees."""

    def attention(module, query, key, value, attention_mask, scaling=None, dropout=0.0, position_bias=None, **options):
        groups = query.shape[1] // key.shape[1]
        key, value = (x.repeat_interleave(groups, 1).to(dtype) for x in (key, value))
        output = torch.zeros(*query.shape[:-1], value.shape[-1], dtype=dtype)
        for b in range(query.shape[0]):
            for i in range(query.shape[2]):
                hidden = torch.zeros(key.shape[2], dtype=torch.bool)
                if attention_mask is not None:
                    rows = attention_mask[b % len(attention_mask), 0]
                    hidden = rows[i % len(rows)] < -1e30
                n = int((~hidden).sum())
                if n == 0:
                    continue
                scores = torch.einsum("hd,hsd->hs", query[b, :, i].to(dtype), key[b]) * (scaling or 1 / math.sqrt(8))
                scores = scores * factor(n)
                if position_bias is not None:
                    scores = scores + position_bias[b % len(position_bias), :, i % position_bias.shape[2]]
                weights = scores.masked_fill(hidden, -math.inf).softmax(-1)
                output[b, :, i] = torch.einsum("hs,hsd->hd", weights, value[b])
        return output.to(query.dtype).transpose(1, 2).contiguous(), None

    return attention


@pytest.fixture
def literal():
    """Registers literal attention with a factor, and gives its name; it is always shown a mask."""
    from kexue.attention import register_attention

    def register(factor):
        name = f"literal_{next(_NUMBERS)}"
        register_attention(name, literal_attention(factor), mask="eager")
        return name

    return register
