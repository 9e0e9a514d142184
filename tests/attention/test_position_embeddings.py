"""Longer tables of positions: rows against the formulas, models beyond their length, removal, files, bad input."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch

from kexue.attention import enable_length_scaling, extend_position_embeddings
from kexue.attention.position_embeddings import position_tables

N = 12  # tokens that a model reads before
SIZES = {"vocab_size": 40, "max_position_embeddings": N, "pad_token_id": 0}
BERT = SIZES | {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "initializer_range": 0.3,
}
ROBERTA = BERT | {"pad_token_id": 1, "max_position_embeddings": N + 2}
GPT = {"vocab_size": 40, "bos_token_id": 1, "eos_token_id": 2, "initializer_range": 0.3}
MODELS = {
    "bert": ("BertModel", "BertConfig", BERT),
    "bert with a head": ("BertForMaskedLM", "BertConfig", BERT),
    "albert": ("AlbertModel", "AlbertConfig", BERT | {"embedding_size": 8}),
    "electra": ("ElectraModel", "ElectraConfig", BERT | {"embedding_size": 8}),
    "roberta": ("RobertaModel", "RobertaConfig", ROBERTA),
    "distilbert": (
        "DistilBertModel",
        "DistilBertConfig",
        SIZES | {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 16, "initializer_range": 0.3},
    ),
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", GPT | {"n_positions": N, "n_embd": 16, "n_layer": 2, "n_head": 2}),
    "gpt_neo": (
        "GPTNeoForCausalLM",
        "GPTNeoConfig",
        GPT
        | {
            "max_position_embeddings": N,
            "hidden_size": 16,
            "num_layers": 2,
            "attention_types": [[["global", "local"], 1]],
            "num_heads": 2,
            "intermediate_size": 16,
            "window_size": 4,
        },
    ),
    "opt": (
        "OPTForCausalLM",
        "OPTConfig",
        SIZES
        | {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "ffn_dim": 16, "pad_token_id": 1}
        | {"word_embed_proj_dim": 16, "init_std": 0.3},
    ),
}
OFFSETS = {"roberta": 2, "opt": 2}


def make(name: str, seed: int = 0, **changes):
    import transformers

    kind, config, settings = MODELS[name]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return getattr(transformers, kind)(getattr(transformers, config)(**settings | changes)).eval()


def table_of(model):
    (table,) = position_tables(model).values()
    return table


def says(model, length: int, rows: int = 2):
    ids = torch.randint(3, 40, (rows, length), generator=torch.Generator().manual_seed(length))
    with torch.no_grad():
        output = model(input_ids=ids)
    return output.logits if hasattr(output, "logits") else output.last_hidden_state


def everything(model):
    """Parameters as objects; buffers, which from_pretrained does not read, by their values; what is written."""
    return (
        {name: (id(value), value.detach().clone()) for name, value in model.named_parameters()},
        {name: value.clone() for name, value in model.named_buffers()},
        model.config.to_dict(),
        {name: value.num_embeddings for name, value in position_tables(model).items()},
        list(model.state_dict()),
    )


def assert_same(one, other):
    assert one[2:] == other[2:]
    assert list(one[0]) == list(other[0])
    assert list(one[1]) == list(other[1])
    for name, (identity, value) in one[0].items():
        assert identity == other[0][name][0], name
        assert torch.equal(value, other[0][name][1]), name
    for name, value in one[1].items():
        assert torch.equal(value, other[1][name]), name


@pytest.fixture(params=MODELS)
def name(request):
    return request.param


# -- models


@pytest.mark.parametrize("length", [N + 1, 4 * N, N**2])
def test_short_texts_stay_what_they_were_and_long_ones_are_read(name, length):
    model = make(name)
    short = [says(model, n) for n in (3, N)]
    trained, first = table_of(model).weight.detach().clone(), OFFSETS.get(name, 0)
    with extend_position_embeddings(model, length) as handle:
        assert handle.model is model
        table = table_of(model)
        assert table.weight.shape == (first + length, trained.shape[1])
        assert table.num_embeddings == first + length
        assert torch.equal(table.weight[: first + N], trained)
        for before, n in zip(short, (3, N), strict=True):
            assert torch.equal(says(model, n), before)
        long = says(model, length)
        assert long.shape[1] == length
        assert long.isfinite().all()
        with pytest.raises((IndexError, RuntimeError)):
            says(model, length + 1)


def test_rows_beyond_are_the_formula_written_out(name):
    """q_{in+j} = α u_i + (1 - α) u_j, with u_i such that q_j is p_j."""
    model, alpha, length = make(name).double(), 0.3, 4 * N + 5
    first = OFFSETS.get(name, 0)
    p = table_of(model).weight.detach().clone()
    with extend_position_embeddings(model, length, alpha=alpha):
        q = table_of(model).weight.detach()
    assert torch.equal(q[:first], p[:first])
    p, q = p[first:], q[first:]
    u = [(p[i] - alpha * p[0]) / (1 - alpha) for i in range(N)]
    torch.testing.assert_close(u[0], p[0])
    for i, j in itertools.product(range(length // N), range(N)):
        torch.testing.assert_close(q[i * N + j], alpha * u[i] + (1 - alpha) * u[j])
    rows = q[: 4 * N].reshape(4, N, -1)
    # A coarse step moves all fine positions alike: by α/(1 - α) of what it moves the trained ones.
    torch.testing.assert_close(rows[2] - rows[0], (alpha / (1 - alpha) * (p[2] - p[0])).expand(N, -1))


def test_all_squared_positions_differ():
    model = make("bert")
    with extend_position_embeddings(model, N**2):
        distances = torch.cdist(table_of(model).weight.detach(), table_of(model).weight.detach())
    assert (distances + torch.eye(N**2)).min() > 1e-3


def test_linear_interpolation_keeps_both_ends(name):
    model, first = make(name), OFFSETS.get(name, 0)
    p = table_of(model).weight.detach().clone()
    for length in (2 * N - 1, N + 1, 5 * N):
        with extend_position_embeddings(model, length, method="linear"):
            q = table_of(model).weight.detach()
            assert says(model, length).isfinite().all()
        assert len(q) == first + length
        assert torch.equal(q[: first + 1], p[: first + 1])
        assert torch.equal(q[-1], p[-1])
        expected = torch.nn.functional.interpolate(p[first:].T[None], size=length, mode="linear", align_corners=True)[
            0
        ].T
        torch.testing.assert_close(q[first:], expected, rtol=1e-4, atol=1e-5)
    with extend_position_embeddings(model, 2 * N - 1, method="linear"):
        torch.testing.assert_close(table_of(model).weight.detach()[first::2], p[first:])


@pytest.mark.parametrize("method", ["hierarchical", "linear"])
def test_removal_leaves_no_trace(name, method):
    model = make(name)
    before, said = everything(model), says(model, N)
    handle = extend_position_embeddings(model, 3 * N, method=method)
    said_long = says(model, 3 * N)
    with torch.no_grad():
        table_of(model).weight.add_(1.0)  # what the longer table learns goes with it
    handle.remove()
    handle.remove()
    assert_same(everything(model), before)
    assert torch.equal(says(model, N), said)
    with pytest.raises((IndexError, RuntimeError)):
        says(model, N + 1)
    with pytest.raises(KeyError), extend_position_embeddings(model, 3 * N, method=method):
        assert torch.equal(says(model, 3 * N), said_long)
        raise KeyError
    assert_same(everything(model), before)


@pytest.mark.parametrize("method", ["hierarchical", "linear"])
def test_files_hold_the_longer_table(name, method, tmp_path):
    model = make(name)
    with extend_position_embeddings(model, 3 * N, method=method):
        expected = says(model, 3 * N)
        model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path).eval()
    assert loaded.config.max_position_embeddings == 3 * N + (2 if name == "roberta" else 0)
    torch.testing.assert_close(says(loaded, 3 * N), expected)
    with extend_position_embeddings(loaded, 9 * N):  # and can be extended in its turn
        assert says(loaded, 9 * N).isfinite().all()


def test_roberta_counts_tokens_only():
    """Positions begin after that of padding: padded texts say what texts alone say, also beyond the old length."""
    model = make("roberta")
    ids = torch.randint(3, 40, (1, 3 * N), generator=torch.Generator().manual_seed(1))
    padded = torch.cat([ids, torch.ones(1, 5, dtype=torch.long)], 1)
    with extend_position_embeddings(model, 3 * N), torch.no_grad():
        assert table_of(model).padding_idx == 1
        assert model.config.max_position_embeddings == 3 * N + 2
        alone = model(input_ids=ids).last_hidden_state
        found = model(input_ids=padded, attention_mask=(padded != 1).long()).last_hidden_state
    torch.testing.assert_close(found[:, : 3 * N], alone, rtol=1e-4, atol=1e-5)
    assert model.config.max_position_embeddings == N + 2


@pytest.mark.parametrize("decoder", ["gpt2", "gpt_neo", "opt"])
def test_decoders_generate_beyond_their_length(decoder):
    model = make(decoder)
    prompt = torch.arange(3, 3 + N)[None]
    settings = {"attention_mask": torch.ones_like(prompt), "do_sample": False, "eos_token_id": None}
    short = model.generate(prompt[:, :4], **settings | {"attention_mask": prompt[:, :4] * 0 + 1}, max_new_tokens=N - 4)
    with extend_position_embeddings(model, 3 * N):
        assert torch.equal(
            model.generate(prompt[:, :4], **settings | {"attention_mask": prompt[:, :4] * 0 + 1}, max_new_tokens=N - 4),
            short,
        )
        found = model.generate(prompt, **settings, max_new_tokens=2 * N)
        assert found.shape == (1, 3 * N)
        assert torch.equal(found, model.generate(prompt, **settings, max_new_tokens=2 * N, use_cache=False))
    assert model.config.max_position_embeddings == N


def test_masks_of_the_length_are_continued():
    """As a model of that length would have them: all earlier keys, or those of a window."""
    model, longer = make("gpt_neo"), make("gpt_neo", max_position_embeddings=4 * N)
    expected = dict(longer.named_buffers())
    assert sum(value.shape[-2:] == (4 * N, 4 * N) for value in expected.values()) == 2
    with extend_position_embeddings(model, 4 * N):
        for name, value in model.named_buffers():
            assert value.dtype == expected[name].dtype
            assert torch.equal(value, expected[name]), name
    model.transformer.h[0].attn.attention.bias[0, 0, 5, 2] = False
    with pytest.raises(
        NotImplementedError, match="mask GPTNeoSelfAttention.bias does not depend on the distance alone"
    ):
        extend_position_embeddings(model, 4 * N)
    assert table_of(model).num_embeddings == model.config.max_position_embeddings == N


@pytest.mark.parametrize("name", ["bert", "roberta", "electra", "albert", "distilbert"])
def test_buffers_are_those_of_a_model_of_that_length(name):
    first = OFFSETS.get(name, 0)
    expected = dict(make(name, max_position_embeddings=4 * N + first).named_buffers())
    model = make(name)
    assert expected
    with extend_position_embeddings(model, 4 * N):
        found = dict(model.named_buffers())
        assert list(found) == list(expected)
        for key, value in found.items():
            assert torch.equal(value, expected[key]), key
        assert not any("_ids" in key for key in model.state_dict())  # they stay what is not written


def test_the_new_table_is_trained_as_the_old_one():
    model = make("bert").to(torch.bfloat16)
    model.embeddings.position_embeddings.weight.requires_grad_(False)
    with extend_position_embeddings(model, 2 * N):
        weight = table_of(model).weight
        assert isinstance(weight, torch.nn.Parameter)
        assert weight.dtype is torch.bfloat16
        assert not weight.requires_grad
    model = make("bert")
    with extend_position_embeddings(model, 2 * N):
        weight = table_of(model).weight
        model(input_ids=torch.arange(2 * N)[None]).last_hidden_state.square().sum().backward()
        assert any(weight is one for one in model.parameters())
        assert (weight.grad[N:].abs().sum(-1) > 0).all()
    assert table_of(model).weight.grad is None


def test_a_model_that_has_moved_meanwhile_gets_its_table_there():
    model = make("bert")
    trained = table_of(model).weight
    handle = extend_position_embeddings(model, 2 * N)
    model.double()
    handle.remove()
    assert table_of(model).weight is trained
    assert trained.dtype is torch.float64
    assert says(model, N).dtype is torch.float64


def test_twice_is_refused_and_copies_keep_the_longer_table():
    model = make("bert with a head")
    handle = extend_position_embeddings(model, 2 * N)
    for whole in (model, model.bert, torch.nn.ModuleList([model])):
        with pytest.raises(RuntimeError, match="extend_position_embeddings can be applied once, and is applied to"):
            extend_position_embeddings(whole, 3 * N)
    twin = copy.deepcopy(model)
    expected = says(model, 2 * N)
    handle.remove()
    assert torch.equal(says(twin, 2 * N), expected)
    with extend_position_embeddings(model, 3 * N):
        assert says(model, 3 * N).isfinite().all()


def test_a_length_that_the_user_has_set_meanwhile_stays():
    model = make("bert")
    with extend_position_embeddings(model, 2 * N):
        model.config.max_position_embeddings = 7
    assert model.config.max_position_embeddings == 7


# -- together with the scale


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_a_text_of_four_times_the_length_with_its_scale(kind, order):
    model = make(kind)
    before, short = everything(model), says(model, N)
    handles = [extend_position_embeddings(model, 4 * N), None]
    plain = says(model, 4 * N)
    handles[1] = enable_length_scaling(model, base_length=N)  # without a warning: they are errors
    scaled = says(model, 4 * N)
    assert torch.equal(says(model, N), short)
    assert (scaled - plain).abs().max() > 1e-3
    if kind == "gpt2":
        assert torch.equal(scaled[:, :N], plain[:, :N])
    handles[order[0]].remove()
    if order[0] == 1:
        assert torch.equal(says(model, 4 * N), plain)
    else:
        assert torch.equal(says(model, N), short)
    handles[order[1]].remove()
    assert_same(everything(model), before)
    assert torch.equal(says(model, N), short)


def test_the_warning_of_the_scale_names_what_to_do():
    model = make("bert")
    with pytest.warns(UserWarning, match=r"Extend the table with kexue\.attention\.extend_position_embeddings"):
        enable_length_scaling(model, base_length=N).remove()
    with (
        extend_position_embeddings(model, 4 * N),
        pytest.warns(UserWarning, match=f"ends at {4 * N}: .* give base_length the length in training"),
    ):
        enable_length_scaling(model).remove()


# -- bad input


def test_wrong_settings():
    model = make("bert")
    before = everything(model)
    for length, error, message in (
        (N, ValueError, f"length must be above the {N} tokens that the model reads already, got {N}"),
        (N**2 + 1, ValueError, rf"length must be at most {N}\*\*2 = {N**2} for the method 'hierarchical'"),
        (4.0 * N, TypeError, "length must be an integer >= 1, got 48.0"),
        (0, ValueError, "length must be an integer >= 1, got 0"),
    ):
        with pytest.raises(error, match=message):
            extend_position_embeddings(model, length)
    for alpha in (0, 1, 0.5, -0.1, "0.4", True, float("nan")):
        with pytest.raises(ValueError, match="alpha must be a number between 0 and 1 other than 0.5"):
            extend_position_embeddings(model, 2 * N, alpha=alpha)
    with pytest.raises(ValueError, match="method must be 'hierarchical' or 'linear', got 'cubic'"):
        extend_position_embeddings(model, 2 * N, method="cubic")
    with extend_position_embeddings(model, N**2 + 1, method="linear"):
        assert table_of(model).num_embeddings == N**2 + 1
    assert_same(everything(model), before)


def test_models_that_need_no_table(build):
    for kind in ("llama", "t5"):
        with pytest.raises(TypeError, match="with rotary positions, ALiBi or a relative bias it needs none to read"):
            extend_position_embeddings(build(kind), 4096)
    for other in (torch.nn.Linear(2, 2), torch.nn.ModuleDict({"wpe": torch.nn.Embedding(4, 2)}), "bert"):
        with pytest.raises(TypeError, match="model must be a model of transformers, or contain some, got"):
            extend_position_embeddings(other, 4096)


def test_tables_that_cannot_be_extended():
    from transformers import BartConfig, BartModel, RoFormerConfig, RoFormerModel

    rotary = RoFormerModel(RoFormerConfig(**BERT))
    with pytest.raises(TypeError, match="that of RoFormerModel is computed by a formula"):
        extend_position_embeddings(rotary, 4 * N)
    sizes = {f"{part}_{what}": 2 for part in ("encoder", "decoder") for what in ("layers", "attention_heads")}
    both = BartModel(BartConfig(vocab_size=40, d_model=8, encoder_ffn_dim=8, decoder_ffn_dim=8, **sizes))
    with pytest.raises(NotImplementedError, match="BartModel has 2 tables of positions, expected one: encoder.embed_p"):
        extend_position_embeddings(both, 4096)
    model = make("bert")
    model.config.max_position_embeddings = 99
    with pytest.raises(NotImplementedError, match=f"must be the {N} positions of the table, got 99"):
        extend_position_embeddings(model, 4 * N)
    model = make("bert")
    torch.nn.utils.parametrize.register_parametrization(table_of(model), "weight", torch.nn.Identity())
    with pytest.raises(NotImplementedError, match="table of positions of BertModel is parametrized"):
        extend_position_embeddings(model, 4 * N)
