"""The order of the data: fresh permutations, the same for one process and for two."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

from kexue.training.order import BatchOrder, batch_source, data_digest

CPU = torch.device("cpu")


def items(data, start=0, steps=6, **options):
    _, batches = batch_source(data, **{"batch_size": 4, "seed": 3, "device": CPU, **options})
    return list(batches(start, steps))


def test_an_epoch_sees_each_item_once_and_drops_the_rest():
    order = BatchOrder(10, batch_size=4, seed=0)
    assert order.steps_per_epoch == 2
    epochs = [torch.cat([order[step], order[step + 1]]).tolist() for step in (0, 2, 4)]
    assert all(len(set(epoch)) == 8 for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert order[1].tolist() == epochs[0][4:], "a step has no memory"


def test_processes_share_a_batch():
    whole = BatchOrder(20, batch_size=6, seed=1)
    parts = [BatchOrder(20, batch_size=6, seed=1, rank=rank, processes=3) for rank in range(3)]
    for step in (0, 5, 2):
        assert torch.cat([part[step] for part in parts]).tolist() == whole[step].tolist()


def test_forms_of_data():
    x, y = torch.arange(10.0)[:, None], np.arange(10)
    (first, *_) = items((x, y))
    assert isinstance(first, tuple)
    assert first[0].squeeze(1).tolist() == first[1].tolist()
    (first, *_) = items({"x": x, "y": y})
    assert set(first) == {"x", "y"}
    assert [batch.tolist() for batch in items(y)] == [batch.squeeze(1).int().tolist() for batch in items(x)]


class Squares(Dataset):
    def __len__(self):
        return 10

    def __getitem__(self, number):
        return {"number": number, "square": torch.tensor(number**2)}


@pytest.mark.parametrize("workers", [0, 2])
def test_a_dataset_has_the_order_of_a_tensor(workers):
    expected = items(torch.arange(10))
    found = items(Squares(), workers=workers)
    assert [batch["number"].tolist() for batch in found] == [batch.tolist() for batch in expected]
    assert [batch["square"].tolist() for batch in found] == [(batch**2).tolist() for batch in expected]
    assert [batch["number"].tolist() for batch in items(Squares(), start=3, workers=workers)] == [
        batch.tolist() for batch in expected[3:]
    ]


def test_a_tensor_dataset():
    (first, *_) = items(TensorDataset(torch.arange(10), -torch.arange(10)))
    assert (first[0] == -first[1]).all()


@pytest.mark.parametrize(
    ("data", "options", "error", "message"),
    [
        (torch.zeros(3), {}, ValueError, "batch_size must be at most the number of items, 3, got 4"),
        (torch.zeros(8), {"processes": 3}, ValueError, "multiple of the number of processes, 3, got 4"),
        (torch.zeros(8), {"batch_size": 0}, ValueError, "batch_size must be"),
        (torch.zeros(8), {"batch_size": 2.0}, TypeError, "batch_size must be"),
        (torch.zeros(8), {"workers": 2}, ValueError, "workers must be 0 for tensors"),
        ((torch.zeros(8), torch.zeros(9)), {}, ValueError, r"as many items in each tensor, got \[8, 9\]"),
        ((), {}, ValueError, "must hold a tensor"),
        (torch.zeros(()), {}, ValueError, "along the first dimension"),
        ([1, 2, 3, 4], {}, TypeError, "data must be a tensor, .* got int"),
        (DataLoader(TensorDataset(torch.zeros(8))), {}, TypeError, "got DataLoader: pass loader.dataset"),
        (iter("abcd"), {}, TypeError, "got str_iterator|got .*iterator"),
    ],
)
def test_wrong_data(data, options, error, message):
    with pytest.raises(error, match=message):
        items(data, **options)


@pytest.mark.parametrize(
    "data",
    [
        torch.ones(3, 2, dtype=torch.bfloat16),
        np.zeros((200, 3000), dtype=bool),
        {"x": torch.zeros(2, 0), "y": torch.ones(2, dtype=torch.complex64)},
        (torch.zeros(0, 3), torch.zeros(0)),
    ],
)
def test_data_are_known_again(data):
    assert data_digest(data) == data_digest(copy.deepcopy(data)) != ""
    assert data_digest(data) != data_digest(torch.ones(3, 2))


def test_a_data_set_is_not_known_again():
    assert data_digest([torch.ones(1), torch.ones(1)]) != data_digest([torch.ones(1)])
    assert data_digest(TensorDataset(torch.ones(3))) == ""
