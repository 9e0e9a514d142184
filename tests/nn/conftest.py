"""Small random models of transformers."""

from __future__ import annotations

import pytest
import torch


def _build(name, implementation="sdpa"):
    from transformers import BertConfig, BertModel, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 48, "max_position_embeddings": 32}
    wide = {"vocab_size": 40, "initializer_range": 0.3}
    kind, config = {
        "bert": (BertModel, BertConfig(**wide, **sizes, num_attention_heads=4)),
        "gpt2": (GPT2LMHeadModel, GPT2Config(**wide, n_embd=32, n_layer=2, n_head=4, n_positions=32)),
        "llama": (LlamaForCausalLM, LlamaConfig(**wide, **sizes, num_attention_heads=4, num_key_value_heads=2)),
    }[name]
    config._attn_implementation = implementation
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind(config).eval()


@pytest.fixture
def build():
    """``build(name, implementation="sdpa")``, with the same weights each time."""
    return _build
