"""Small random models of transformers, of every kind that a decoding part must be right for."""

from __future__ import annotations

import pytest
import torch

VOCABULARY, PAD, EOS, START = 23, 0, 1, 2


def make_model(kind: str, *, seed: int = 0, **options):
    """A random model whose logits differ clearly from token to token."""
    from transformers import (
        BertConfig,
        BertLMHeadModel,
        GPT2Config,
        GPT2LMHeadModel,
        LlamaConfig,
        LlamaForCausalLM,
        Qwen2Config,
        Qwen2ForCausalLM,
        T5Config,
        T5ForConditionalGeneration,
    )

    ends = {"pad_token_id": PAD, "eos_token_id": EOS, "bos_token_id": START}
    size = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    grouped = {**size, "num_key_value_heads": 2, "intermediate_size": 48, "max_position_embeddings": 128}
    makers = {
        "gpt2": lambda: GPT2LMHeadModel(
            GPT2Config(vocab_size=VOCABULARY, n_positions=128, n_embd=32, n_layer=2, n_head=4, **ends, **options)
        ),
        "llama": lambda: LlamaForCausalLM(LlamaConfig(**grouped, **ends, **options)),
        "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**grouped, **ends, **options)),
        "t5": lambda: T5ForConditionalGeneration(
            T5Config(
                vocab_size=VOCABULARY,
                d_model=32,
                d_kv=8,
                d_ff=48,
                num_layers=2,
                num_heads=4,
                decoder_start_token_id=PAD,
                **ends,
                **options,
            )
        ),
        "bert": lambda: BertLMHeadModel(
            BertConfig(**size, intermediate_size=48, max_position_embeddings=128, is_decoder=True, **ends, **options)
        ),
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = makers[kind]().eval()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim > 1:
                    parameter.mul_(12.0)
    return model


@pytest.fixture(scope="session")
def small_model():
    """The maker of small models."""
    return make_model
