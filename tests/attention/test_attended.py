"""Counting attended keys: masks of every form, and what a missing one means."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kexue.attention import attended as module
from kexue.attention.attended import attended_keys, count_attended


def layer(is_causal=None):
    found = nn.Module()
    if is_causal is not None:
        found.is_causal = is_causal
    return found


def states(queries, keys, batch=2):
    return torch.zeros(batch, 4, queries, 8), torch.zeros(batch, 2, keys, 8)


@pytest.mark.parametrize("small", [0, 1 << 16])
@pytest.mark.parametrize("keys", [0, 1, 7, 8, 16, 2040, 2048, 4104])
def test_every_way_of_counting_is_the_sum(keys, small, monkeypatch):
    monkeypatch.setattr(module, "_SMALL", small)
    mask = torch.rand(2, 1, 3, keys, generator=torch.Generator().manual_seed(keys)) < 0.7
    expected = mask.sum(-1)
    assert torch.equal(count_attended(mask, keys), expected)
    assert torch.equal(count_attended(mask.transpose(0, 2), keys), expected.transpose(0, 2))
    assert torch.equal(count_attended(torch.zeros(mask.shape).masked_fill(~mask, -torch.inf), keys), expected)
    assert torch.equal(
        count_attended(mask.flatten()[keys:].reshape(1, 1, 5, keys)[..., 1:, :], keys),
        expected.flatten()[2:].reshape(1, 1, 4),
    )
    odd = torch.cat([torch.zeros(1, dtype=torch.bool), mask.flatten()])[1:].reshape(mask.shape)
    assert torch.equal(count_attended(odd, keys), expected)
    full = torch.ones(3, keys, dtype=torch.bool)
    assert count_attended(full, keys).tolist() == [keys] * 3


def test_large_masks_are_counted_in_blocks(monkeypatch):
    monkeypatch.setattr(module, "_COUNTED_BYTES", 64)
    monkeypatch.setattr(module, "_SMALL", 0)
    mask = torch.rand(3, 1, 5, 21, generator=torch.Generator().manual_seed(0)) < 0.5
    assert torch.equal(count_attended(mask, 21), mask.sum(-1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64], ids=str)
def test_a_bias_is_not_a_mask(dtype):
    low = torch.finfo(dtype).min
    mask = torch.tensor([0.0, -3.5, 4.0, -1000.0, low, low / 1.5, -torch.inf], dtype=dtype)
    assert count_attended(mask, 7).item() == 4


def test_a_mask_that_has_to_be_broadcast():
    assert count_attended(torch.tensor([[True], [False]]), 5).tolist() == [5, 0]
    assert count_attended(torch.tensor([[True]]), 1).tolist() == [1]


def test_a_mask_that_is_the_same_for_all_queries_is_counted_once():
    mask = torch.rand(2, 1, 1, 9, generator=torch.Generator().manual_seed(0)) < 0.5
    assert torch.equal(count_attended(mask.expand(2, 1, 5, 9), 9), mask.sum(-1).expand(2, 1, 5))


def test_a_mask_of_integers_is_refused():
    with pytest.raises(
        TypeError, match=r"must be boolean, or floating-point to be added to the scores, got torch.int64"
    ):
        count_attended(torch.ones(2, 3, dtype=torch.long), 3)


# -- no mask


@pytest.mark.parametrize(
    ("backend", "is_causal", "queries", "keys", "expected"),
    [
        ("eager", True, 3, 3, 3),  # eager attention never hides a key of its own accord
        ("sdpa", False, 3, 5, 5),
        ("sdpa", True, 1, 5, 5),  # a token and its cache
        ("sdpa", True, 3, 3, [1, 2, 3]),
        ("sdpa", True, 3, 8, [1, 2, 3]),  # a static cache that is empty yet
        ("sdpa", None, 3, 3, [1, 2, 3]),  # what PyTorch attention assumes of a layer that does not say
        ("my_own", True, 3, 3, [1, 2, 3]),
        ("flash_attention_2", True, 3, 8, [6, 7, 8]),  # the lower right corner
        ("flash_attention_2", True, 1, 8, 8),
        ("flash_attention_2", False, 3, 8, 8),
    ],
)
def test_without_a_mask(backend, is_causal, queries, keys, expected):
    found = attended_keys(layer(is_causal), *states(queries, keys), None, backend=backend)
    if isinstance(expected, int):
        assert found == expected
    else:
        assert found.tolist() == [[expected]]


def test_what_the_call_says_counts_before_what_the_layer_says():
    found = attended_keys(layer(True), *states(3, 3), None, backend="sdpa", is_causal=False)
    assert found == 3
    found = attended_keys(layer(False), *states(3, 3), None, backend="sdpa", is_causal=True, sliding_window=2)
    assert found.tolist() == [[[1, 2, 3]]]  # a window is in the mask there, if it is narrower than the text


# -- masks of four dimensions


def test_a_mask_of_four_dimensions_says_it_all():
    mask = torch.tensor([[1, 1, 1, 0], [0, 0, 1, 0]], dtype=torch.bool)[:, None, None].expand(2, 1, 3, 4)
    found = attended_keys(layer(True), *states(3, 4), mask, backend="sdpa")
    assert found.tolist() == [[[3, 3, 3]], [[1, 1, 1]]]
    longer = torch.cat([mask, torch.ones(2, 1, 3, 2, dtype=torch.bool)], -1)
    assert torch.equal(attended_keys(layer(True), *states(3, 4), longer, backend="eager"), found)


# -- the mask of two dimensions that flash attention has


def test_padding_alone():
    mask = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 0]])
    encoder = attended_keys(layer(False), *states(4, 4), mask, backend="flash_attention_2")
    assert encoder.tolist() == [[[2]], [[3]]]
    decoder = attended_keys(layer(True), *states(4, 4), mask, backend="flash_attention_2")
    assert decoder.tolist() == [[[0, 0, 1, 2]], [[1, 2, 3, 3]]]
    cached = attended_keys(layer(True), *states(2, 4), mask, backend="flash_attention_2")
    assert cached.tolist() == [[[1, 2]], [[3, 3]]]


def test_a_window_under_flash_attention():
    mask = torch.tensor([[0, 1, 1, 1, 1], [1, 1, 1, 1, 1]])
    found = attended_keys(layer(True), *states(5, 5), mask, backend="flash_attention_2", sliding_window=2)
    assert found.tolist() == [[[0, 1, 2, 2, 2]], [[1, 2, 2, 2, 2]]]
    alone = attended_keys(layer(True), *states(5, 5), None, backend="flash_attention_2", sliding_window=2)
    assert alone.tolist() == [[[1, 2, 2, 2, 2]]]
    assert attended_keys(layer(True), *states(1, 5), None, backend="flash_attention_2", sliding_window=2) == 2
    wide = attended_keys(layer(True), *states(5, 5), mask, backend="flash_attention_2", sliding_window=9)
    assert wide.tolist() == [[[0, 1, 2, 3, 4]], [[1, 2, 3, 4, 5]]]
    with pytest.raises(NotImplementedError, match="a window that is not causal cannot be counted"):
        attended_keys(layer(False), *states(5, 5), mask, backend="flash_attention_2", sliding_window=2)


@pytest.mark.parametrize(
    "options",
    [
        {"cu_seq_lens_q": torch.tensor([0, 2, 4])},
        {"position_ids": torch.tensor([[0, 1, 0, 1]])},
        {"position_ids": torch.tensor([[0, 1, 2, 3], [0, 1, 0, 1]])},
    ],
)
def test_packed_texts_are_refused(options):
    with pytest.raises(
        NotImplementedError, match="packed sequences cannot be counted: give each text a row of its own"
    ):
        attended_keys(layer(True), *states(4, 4), None, backend="flash_attention_2", **options)


def test_ordinary_positions_are_not_packed():
    for positions in (torch.tensor([[0, 1, 2, 3]]), torch.tensor([[7, 8, 9, 10]]), None):
        found = attended_keys(layer(True), *states(4, 4), None, backend="flash_attention_2", position_ids=positions)
        assert found.tolist() == [[[1, 2, 3, 4]]]


def test_a_paged_cache_is_refused():
    with pytest.raises(NotImplementedError, match="paged cache cannot be counted"):
        attended_keys(layer(True), *states(4, 4), None, backend="sdpa", cache=object())


# -- the block mask of flex attention


def test_a_block_mask_is_counted_once(monkeypatch):
    from torch.nn.attention.flex_attention import create_block_mask

    padding = torch.tensor([[0, 1, 1, 1, 1], [1, 1, 1, 0, 0]], dtype=torch.bool)
    calls = []

    def allowed(batch, head, query, key):
        calls.append(None)
        return (query >= key) & padding[batch, key]

    mask = create_block_mask(allowed, 2, None, 5, 5, device="cpu")
    monkeypatch.setattr(module, "_MASK_BYTES", 2 * 1 * 5 * 2)  # two rows at a time
    calls.clear()
    found = attended_keys(layer(True), *states(5, 5), mask, backend="flex_attention")
    assert found.tolist() == [[[0, 1, 2, 3, 4]], [[1, 2, 3, 3, 3]]]
    assert len(calls) == 3
    attended_keys(layer(True), *states(5, 5), mask, backend="flex_attention")
    assert len(calls) == 3
