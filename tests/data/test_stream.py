"""Each item exactly once, in an order that no worker changes; and nothing stays behind, whatever happens."""

from __future__ import annotations

import gc
import itertools
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import Dataset, IterableDataset, TensorDataset, get_worker_info

from kexue.data import SafeIterable
from kexue.data.stream_plan import BatchPlan
from kexue.data.stream_sources import LANES, Source, open_source
from kexue.data.stream_workers import Workers

ROOT = Path(__file__).parents[2]
# Started once with torch inside, so that a worker is there at once; where there is none, it only takes longer.
METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
# The processes of a test find one another without a network, whatever the name of the machine resolves to.
LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}
TAILS = ("exact", "pad", "drop")
RANKS = (1, 2, 3)
SIZES = list(itertools.product((0, 1, 7, 100), (1, 3, 8)))
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")


@pytest.fixture(autouse=True)
def _workers_find_this_module(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", [str(ROOT), *sys.path])
    if METHOD == "forkserver":
        multiprocessing.set_forkserver_preload(["torch", "kexue.data.stream_workers"])
    yield
    gc.collect()
    assert multiprocessing.active_children() == []


# -- sources


class Squares(Dataset[int]):
    def __init__(self, items: int = 20) -> None:
        self.items = items

    def __len__(self) -> int:
        return self.items

    def __getitem__(self, number: int) -> int:
        return number * number


class Augmented(Squares):
    def __getitem__(self, number: int, generator: torch.Generator | None = None) -> tuple[int, int]:  # type: ignore[override]
        return number, int(torch.randint(10**9, (), generator=generator))


class Counted(Squares):
    """Counts what each worker has made."""

    def __init__(self, items: int) -> None:
        super().__init__(items)
        self.made = torch.zeros(8, dtype=torch.int64).share_memory_()

    def __getitem__(self, number: int) -> int:
        info = get_worker_info()
        self.made[0 if info is None else info.id] += 1
        return number


class DemandingError(Exception):
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{reason} ({code})")


class Broken(Squares):
    def __init__(self, kind: str) -> None:
        super().__init__(20)
        self.kind = kind

    def __getitem__(self, number: int) -> Any:
        if number == 7:
            if self.kind == "key":
                raise KeyError("seven")
            if self.kind == "demanding":
                raise DemandingError(7, reason="no seven")
            return (x for x in range(3))  # a generator cannot be pickled
        return number


def numbers(items: int) -> Iterator[int]:
    return iter(range(items))


def noisy(items: int, generator: torch.Generator) -> Iterator[tuple[int, int]]:
    for number in range(items):
        yield number, int(torch.randint(10**9, (), generator=generator))


def fails(items: int) -> Iterator[int]:
    yield from range(items)
    raise LookupError("the stream tore")


def spelled(shard: tuple[int, int]) -> Iterator[int]:
    return iter(range(*shard))


def spelled_noisily(shard: tuple[int, int], generator: torch.Generator) -> Iterator[tuple[int, int]]:
    for number in range(*shard):
        yield number, int(torch.randint(10**9, (), generator=generator))


def shards_of(items: int, *, length: int = 5) -> list[tuple[int, int]]:
    """Shards of unequal lengths, with empty ones."""
    edges = [0]
    while edges[-1] < items:
        edges.append(min(items, edges[-1] + len(edges) % length))
    return list(itertools.pairwise(edges))


def as_list(items: list[Any]) -> list[Any]:
    return list(items)


def source_of(kind: str, items: int, plan: BatchPlan, **options: Any) -> Source:
    options = {"seed": 3, "shuffle": kind != "stream"} | options
    match kind:
        case "indexed":
            return open_source(range(items), None, plan, **options)
        case "stream":
            return open_source(partial(numbers, items), None, plan, **options)
        case _:
            return open_source(shards_of(items), spelled, plan, **options)


def delivered(source: Source, workers: int, *, epoch: int = 0, start: int = 0) -> list[tuple[int, list[Any]]]:
    """What a loader delivers in order that asks its workers in turn, and no longer asks those that have ended."""
    running = [source.batches(epoch, start, worker, workers) for worker in range(workers)]
    result = []
    while running:
        for batches in list(running):
            found = next(batches, None)
            if found is None:
                running.remove(batches)
            elif found[1] is not None:
                result.append((found[0], found[1]))
    return result


def items_of(batches: list[tuple[int, list[Any]]]) -> list[Any]:
    return [item for _, batch in batches for item in batch]


# -- which items make which batch


@pytest.mark.parametrize("kind", ["indexed", "stream", "shards"])
def test_every_item_is_delivered_exactly_once(kind: str) -> None:
    for (items, size), ranks, workers in itertools.product(SIZES, RANKS, (1, 2, 3)):
        everything: list[int] = []
        for rank in range(ranks):
            source = source_of(kind, items, BatchPlan(size, rank, ranks))
            batches = delivered(source, workers)
            if kind != "shards":
                assert all(len(batch) == size for _, batch in batches[:-1])
            everything += items_of(batches)
        assert sorted(everything) == list(range(items)), (items, size, ranks, workers)


@pytest.mark.parametrize("kind", ["indexed", "stream", "shards"])
@pytest.mark.parametrize("drop_last", [False, True])
def test_workers_change_neither_order_nor_content(kind: str, drop_last: bool) -> None:
    for (items, size), ranks, tail in itertools.product(SIZES, RANKS, TAILS):
        if kind == "shards" and ranks > 1 and tail != "exact":
            continue
        for rank in range(ranks):
            source = source_of(kind, items, BatchPlan(size, rank, ranks, tail, drop_last))
            alone = delivered(source, 1)
            assert all(delivered(source, workers) == alone for workers in (2, 3, 5))
            if source.count() is not None:
                assert source.count() == len(alone)
            if drop_last:
                assert all(len(batch) == size for _, batch in alone)


def test_a_stream_makes_the_batches_of_a_sequence_in_order() -> None:
    for (items, size), ranks, tail, drop_last in itertools.product(SIZES, RANKS, TAILS, (False, True)):
        for rank in range(ranks):
            plan = BatchPlan(size, rank, ranks, tail, drop_last)
            streamed = delivered(source_of("stream", items, plan), 2)
            assert streamed == delivered(source_of("indexed", items, plan, shuffle=False), 1)


def test_global_batch_j_belongs_to_rank_j_mod_r() -> None:
    for (items, size), ranks in itertools.product(SIZES, RANKS):
        for rank in range(ranks):
            batches = delivered(source_of("stream", items, BatchPlan(size, rank, ranks)), 1)
            for number, batch in batches:
                j = number * ranks + rank
                assert batch == list(range(j * size, min((j + 1) * size, items)))


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("kind", ["indexed", "stream"])
def test_tails_give_ranks_equally_many_batches(kind: str, drop_last: bool) -> None:
    for (items, size), ranks in itertools.product([*SIZES, (25, 4), (26, 4), (9, 2)], RANKS):
        whole = items - items % size if drop_last else items
        batches = -(-whole // size)
        for tail in ("pad", "drop"):
            shares = [
                delivered(source_of(kind, items, BatchPlan(size, r, ranks, tail, drop_last), shuffle=False), 1)
                for r in range(ranks)
            ]
            assert len({len(share) for share in shares}) == 1
            counts = Counter(item for share in shares for item in items_of(share))
            total = len(shares[0]) * ranks
            if tail == "drop":
                assert batches - ranks < total <= batches
                assert set(counts.values()) <= {1}
            else:
                assert batches <= total < batches + ranks
                assert sorted(counts) == list(range(whole))
                repeated = sum(counts.values()) - whole
                rest = whole % (size * ranks)
                # The fewest that give each rank a batch, or with drop_last a full one.
                assert repeated == ((total - batches) * size if drop_last else max(ranks - rest, 0) if rest else 0)


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    plan = BatchPlan(10)
    source = source_of("indexed", 100, plan)
    first, second = items_of(delivered(source, 1)), items_of(delivered(source, 1, epoch=1))
    assert first != second
    assert sorted(first) == sorted(second) == list(range(100))
    assert first == items_of(delivered(source_of("indexed", 100, plan), 1))
    assert first != items_of(delivered(source_of("indexed", 100, plan, seed=4), 1))
    shards = source_of("shards", 100, plan)
    assert items_of(delivered(shards, 1)) != items_of(delivered(shards, 1, epoch=1))


@pytest.mark.parametrize("kind", ["indexed", "stream", "shards"])
def test_any_batch_can_be_the_first(kind: str) -> None:
    for rank in (0, 1):
        source = source_of(kind, 100, BatchPlan(3, rank, 2))
        whole = delivered(source, 1)
        for k, workers in itertools.product(range(len(whole)), (1, 3)):
            assert delivered(source, workers, start=whole[k][0] + 1) == whole[k + 1 :]


def test_a_worker_reads_its_shards_alone() -> None:
    opened: list[tuple[int, int]] = []

    def reading(shard: tuple[int, int]) -> Iterator[int]:
        opened.append(shard)
        return iter(range(*shard))

    shards = [(5 * k, 5 * k + 5) for k in range(2 * LANES + 3)]
    source = open_source(shards, reading, BatchPlan(2), seed=0, shuffle=False)
    shares = []
    for worker in range(3):
        opened.clear()
        assert list(source.batches(0, 0, worker, 3))
        shares.append(set(opened))
        assert len(opened) == len(shares[-1])
    assert set.union(*shares) == set(shards)
    assert sum(map(len, shares)) == len(shards)


def test_a_stream_reads_no_further_than_its_round() -> None:
    read: list[int] = []

    def endless() -> Iterator[int]:
        for number in itertools.count():
            read.append(number)
            yield number

    batches = iter(SafeIterable(endless, batch_size=4, collate_fn=as_list, rank=1, world_size=2))
    assert next(batches) == [4, 5, 6, 7]
    assert len(read) == 8


# -- in this process


def test_batches_are_those_of_a_loader() -> None:
    x, y = torch.arange(10.0), torch.arange(10)
    ours = list(SafeIterable(TensorDataset(x, y), batch_size=4))
    theirs = list(torch.utils.data.DataLoader(TensorDataset(x, y), batch_size=4))
    for one, other in zip(ours, theirs, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_tensors_and_arrays_are_sources() -> None:
    for source in (torch.arange(5), torch.arange(5).numpy(), [0, 1, 2, 3, 4], (0, 1, 2, 3, 4)):
        assert [batch.tolist() for batch in SafeIterable(source, batch_size=3)] == [[0, 1, 2], [3, 4]]


def test_items_one_by_one_and_what_is_fetched_together() -> None:
    class Together(Squares):
        def __getitems__(self, chosen: list[int]) -> list[str]:
            return [f"{number}" for number in chosen]

    assert list(SafeIterable(Squares(4))) == [0, 1, 4, 9]
    assert list(SafeIterable(Squares(3), collate_fn=str)) == ["0", "1", "4"]
    assert list(SafeIterable(Together(3), batch_size=2)) == [["0", "1"], ["2"]]


def test_length() -> None:
    assert [len(SafeIterable(range(10), batch_size=3, rank=r, world_size=3)) for r in range(3)] == [2, 1, 1]
    with pytest.raises(TypeError, match="has no length"):
        len(SafeIterable(partial(numbers, 3)))


def test_a_pass_that_ends_goes_on_to_the_next_epoch_and_one_that_is_left_does_not() -> None:
    stream = SafeIterable(range(50), batch_size=10, shuffle=True, collate_fn=as_list)
    next(iter(stream))
    assert stream.epoch == 0
    first, second = list(stream), list(stream)
    assert stream.epoch == 2
    assert first != second
    stream.set_epoch(0)
    assert list(stream) == first
    stream.set_epoch(1)
    assert list(stream) == second


def test_an_epoch_set_within_a_loop_is_that_of_the_next_pass() -> None:
    stream = SafeIterable(range(50), batch_size=10, shuffle=True, collate_fn=as_list)
    epochs = [list(stream) for _ in range(5)]
    stream.set_epoch(0)
    seen = []
    for batch in stream:
        stream.set_epoch(4)
        seen.append(batch)
    assert seen == epochs[0]
    assert list(stream) == epochs[4]


@pytest.mark.parametrize("kind", ["indexed", "stream", "shards"])
def test_a_state_goes_on_with_the_next_batch(kind: str) -> None:
    def make() -> SafeIterable:
        match kind:
            case "indexed":
                return SafeIterable(range(23), batch_size=3, shuffle=True, collate_fn=as_list)
            case "stream":
                return SafeIterable(partial(numbers, 23), batch_size=3, collate_fn=as_list)
            case _:
                return SafeIterable(shards_of(23), open_shard=spelled, batch_size=3, shuffle=True, collate_fn=as_list)

    stream = make()
    expected = [list(stream), list(stream), list(stream)]
    for k in range(len(expected[1]) + 1):
        stream, other = make(), make()
        assert list(stream) == expected[0]
        seen = list(itertools.islice(stream, k))
        state = json.loads(json.dumps(stream.state_dict()))
        other.load_state_dict(state)
        other.set_epoch(other.epoch)  # a loop over epochs may call it
        assert seen + list(other) == expected[1]
        assert other.epoch == 2
        assert list(other) == expected[2]  # and then from the start


def test_resuming_reads_no_item_again() -> None:
    data = Counted(40)
    stream = SafeIterable(data, batch_size=4, shuffle=True)
    list(itertools.islice(stream, 7))
    state = stream.state_dict()
    data.made.zero_()
    other = SafeIterable(data, batch_size=4, shuffle=True)
    other.load_state_dict(state)
    assert len(list(other)) == 3
    assert data.made.sum() == 12


def test_generators_give_each_item_its_own_seed() -> None:
    data = Augmented(12)
    one = dict(map(tuple, SafeIterable(data, seed=1)))
    assert len(set(one.values())) == 12
    assert dict(map(tuple, SafeIterable(data, seed=1, shuffle=True))) == one
    assert not set(dict(map(tuple, SafeIterable(data, seed=2))).values()) & set(one.values())
    stream = SafeIterable(data, seed=1)
    assert list(stream) != list(stream)
    halves = [list(SafeIterable(partial(noisy, 12), seed=1, rank=r, world_size=2)) for r in (0, 1)]
    assert sorted(itertools.chain(*halves)) == list(SafeIterable(partial(noisy, 12), seed=1))
    shards = {"open_shard": spelled_noisily, "seed": 1}
    some = sorted(SafeIterable([(0, 3), (3, 8)], **shards))
    assert len({value for _, value in some}) == 8
    assert sorted(SafeIterable([(0, 3), (3, 8)], shuffle=True, **shards)) == some


def test_global_streams_are_left_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    list(SafeIterable(Augmented(5), batch_size=2, shuffle=True))
    assert torch.equal(torch.rand(3), expected)


# -- at the door


@pytest.mark.parametrize(
    ("source", "options", "error", "message"),
    [
        (iter([1]), {}, TypeError, "got the list_iterator itself, which can be neither started again nor split"),
        ((x for x in "ab"), {}, TypeError, "got the generator itself"),
        (5, {}, TypeError, "a function without arguments that starts an iterator; got int$"),
        ({1, 2}, {}, TypeError, r"got set; pass a function that returns iter\(source\)"),
        ({0: 1}, {}, TypeError, "got dict"),
        ("text", {}, TypeError, "got str"),
        (range(3), {"batch_size": 0}, ValueError, "batch_size must be an integer >= 1, got 0"),
        (range(3), {"seed": -1}, ValueError, "seed must be an integer >= 0, got -1"),
        (range(3), {"num_workers": -1}, ValueError, "num_workers must be"),
        (range(3), {"prefetch": 0}, ValueError, "prefetch must be"),
        (range(3), {"tail": "wrap"}, ValueError, "tail must be one of exact, pad, drop, got 'wrap'"),
        (range(3), {"start_method": "thread"}, ValueError, "start_method must be one of"),
        (range(3), {"collate_fn": 3}, TypeError, "collate_fn must be callable, got int"),
        (range(3), {"rank": 1}, ValueError, "both or neither, got 1 and None"),
        (range(3), {"rank": 2, "world_size": 2}, ValueError, "rank must be below world_size, 2, got 2"),
        (numbers, {"shuffle": True}, ValueError, "shuffle must be False for an iterator"),
        (numbers, {"open_shard": spelled}, TypeError, "source must be a sequence of shards"),
        ([(0, 1)], {"open_shard": 3}, TypeError, "open_shard a function of one of them; got list and int"),
        (
            [(0, 1)],
            {"open_shard": spelled, "tail": "pad", "rank": 0, "world_size": 2},
            ValueError,
            'tail must be "exact" for shards',
        ),
    ],
)
def test_what_cannot_be_is_told_at_the_door(source: Any, options: dict[str, Any], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        SafeIterable(source, **options)


def test_an_iterable_dataset_of_torch_is_told_what_to_pass() -> None:
    class Endless(IterableDataset[int]):
        def __iter__(self) -> Iterator[int]:
            return itertools.count()

    with pytest.raises(TypeError, match="pass a function"):
        SafeIterable(Endless())


def test_a_state_of_other_settings_is_refused() -> None:
    state = SafeIterable(range(10), batch_size=2, seed=1).state_dict()
    for options, message in [
        ({"batch_size": 3, "seed": 1}, "batch_size 3, got 2"),
        ({"batch_size": 2}, "seed 0, got 1"),
        ({"batch_size": 2, "seed": 1, "rank": 0, "world_size": 2}, "world_size 2, got 1"),
    ]:
        with pytest.raises(ValueError, match=message):
            SafeIterable(range(10), **options).load_state_dict(state)
    with pytest.raises(ValueError, match="items 11, got 10"):
        SafeIterable(range(11), batch_size=2, seed=1).load_state_dict(state)
    with pytest.raises(ValueError, match="must have the entries"):
        SafeIterable(range(10)).load_state_dict({"epoch": 1})
    with pytest.raises(ValueError, match="epoch must be"):
        SafeIterable(range(10)).set_epoch(-1)


def test_ranks_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert list(SafeIterable(range(7))) == [1, 4]
    assert list(SafeIterable(range(7), rank=0, world_size=1)) == list(range(7))


# -- with workers


def options_of(kind: str) -> dict[str, Any]:
    options: dict[str, Any] = {"batch_size": 3, "collate_fn": as_list, "seed": 1}
    match kind:
        case "indexed":
            return {"source": Augmented(20), "shuffle": True, **options}
        case "stream":
            return {"source": partial(noisy, 20), **options}
        case _:
            return {"source": shards_of(20), "open_shard": spelled_noisily, "shuffle": True, **options}


@pytest.mark.parametrize("kind", ["indexed", "stream", "shards"])
@pytest.mark.parametrize("workers", [1, 3])
def test_workers_deliver_what_none_does_in_every_epoch_and_stay(kind: str, workers: int) -> None:
    alone = SafeIterable(**options_of(kind))
    stream = SafeIterable(**options_of(kind), num_workers=workers, start_method=METHOD)
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    assert list(stream) == list(alone)
    processes = {process.pid for process in multiprocessing.active_children()}
    assert len(processes) == workers
    assert list(stream) == list(alone)
    stream.set_epoch(7)
    alone.set_epoch(7)
    assert list(stream) == list(alone)
    assert {process.pid for process in multiprocessing.active_children()} == processes
    assert torch.equal(torch.rand(3), expected)
    state = alone.state_dict() | {"position": 3}
    stream.load_state_dict(state)
    alone.load_state_dict(state)
    assert list(stream) == list(alone)
    stream.close()
    assert multiprocessing.active_children() == []


def test_nothing_comes_of_nothing() -> None:
    stream = SafeIterable([], num_workers=1, start_method=METHOD)
    assert list(stream) == list(stream) == []
    assert stream.epoch == 2
    stream.close()


def test_workers_can_be_spawned() -> None:
    x = torch.arange(12.0).reshape(6, 2)
    stream = SafeIterable(TensorDataset(x), batch_size=4, num_workers=1)
    assert torch.equal(torch.cat([batch for (batch,) in stream]), x)
    del stream
    gc.collect()
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        ("key", KeyError, "'seven'"),
        ("demanding", RuntimeError, r"DemandingError: no seven \(7\)"),
        ("unpicklable", TypeError, "cannot pickle 'generator' object"),
    ],
)
def test_an_exception_reaches_the_caller_and_ends_the_workers(kind: str, error: type, message: str) -> None:
    stream = SafeIterable(Broken(kind), batch_size=2, collate_fn=as_list, num_workers=2, start_method=METHOD)
    seen = []
    with pytest.raises(error, match=message) as caught:
        for batch in stream:
            seen.append(batch)
    assert multiprocessing.active_children() == []
    assert seen == [[0, 1], [2, 3], [4, 5]]
    notes = "\n".join(caught.value.__notes__)
    assert "In worker 1:\nTraceback" in notes
    if kind == "unpicklable":
        assert "A batch must be picklable" in notes
    else:
        assert "in __getitem__" in notes


def test_a_stream_that_tears_says_so_where_it_tears() -> None:
    stream = SafeIterable(partial(fails, 7), batch_size=2, collate_fn=as_list, num_workers=2, start_method=METHOD)
    seen = []
    with pytest.raises(LookupError, match="^the stream tore"):
        for batch in stream:
            seen.append(batch)
    assert seen == [[0, 1], [2, 3], [4, 5]]


def test_without_workers_exceptions_are_as_they_are() -> None:
    with pytest.raises(DemandingError, match="no seven"):
        list(SafeIterable(Broken("demanding")))


def test_nothing_stays_after_a_break_or_a_deletion() -> None:
    stream = SafeIterable(Squares(100), batch_size=2, num_workers=2, start_method=METHOD)
    for _ in stream:
        assert len(multiprocessing.active_children()) == 2
        break
    assert multiprocessing.active_children() == []
    assert len(list(stream)) == 50  # and it can be begun again
    assert len(multiprocessing.active_children()) == 2
    del stream
    gc.collect()
    assert multiprocessing.active_children() == []


def test_closing_ends_a_pass_whose_iterator_is_held() -> None:
    stream = SafeIterable(Squares(100), batch_size=2, num_workers=1, start_method=METHOD)
    held = iter(stream)
    next(held)
    assert len(multiprocessing.active_children()) == 1
    stream.close()
    assert multiprocessing.active_children() == []
    held.close()  # type: ignore[attr-defined]
    assert len(list(stream)) == 50
    stream.close()


def test_an_exception_in_the_loop_ends_the_workers() -> None:
    stream = SafeIterable(Squares(100), batch_size=2, num_workers=1, start_method=METHOD)
    with pytest.raises(ArithmeticError):
        for _ in stream:
            raise ArithmeticError
    assert multiprocessing.active_children() == []


def test_two_passes_at_once_have_workers_of_their_own() -> None:
    stream = SafeIterable(Squares(8), batch_size=2, collate_fn=as_list, num_workers=1, start_method=METHOD)
    assert all(one == other for one, other in zip(stream, stream, strict=True))
    assert len(multiprocessing.active_children()) == 1
    stream.close()


def test_no_more_is_made_ahead_than_asked_for() -> None:
    data, workers, prefetch = Counted(60), 2, 2
    stream = SafeIterable(data, batch_size=1, num_workers=workers, prefetch=prefetch, start_method=METHOD)
    ahead = []
    for delivered_until_now, _ in enumerate(stream, start=1):
        if delivered_until_now in (1, 10, 30):
            time.sleep(0.3)  # let them go as far as they may
        ahead.append(int(data.made.sum()) - delivered_until_now)
    assert 0 < max(ahead) <= workers * prefetch
    stream.close()


def test_what_cannot_be_sent_to_workers_is_told() -> None:
    stream = SafeIterable(lambda: iter("ab"), num_workers=1, start_method=METHOD)
    with pytest.raises(TypeError, match="must be picklable to reach workers: define functions and classes at the top"):
        list(stream)


def test_a_worker_that_is_killed_is_not_waited_for() -> None:
    stream = SafeIterable(Squares(100), batch_size=2, num_workers=2, start_method=METHOD)
    with pytest.raises(RuntimeError, match="worker"):
        for _ in stream:
            multiprocessing.active_children()[0].kill()
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("error", [ConnectionResetError, EOFError, FileNotFoundError])
def test_a_worker_that_is_killed_with_a_batch_on_its_way_is_told(monkeypatch, error) -> None:
    def lost(self: Workers) -> Iterator[Any]:
        yield 0, "first", True
        raise error

    monkeypatch.setattr(Workers, "_start", lost)
    batches = iter(SafeIterable(Squares(8), batch_size=2, num_workers=1, start_method=METHOD))
    assert next(batches) == "first"
    with pytest.raises(RuntimeError, match="a worker ended with a batch on its way"):
        next(batches)


SHARE = """
import json
from pathlib import Path

from accelerate import Accelerator
from kexue.data import SafeIterable

accelerator = Accelerator(cpu=True)
assert accelerator.num_processes == 2
batches = [batch.tolist() for batch in SafeIterable(range(23), batch_size=4, shuffle=True, seed=5)]
Path(f"{accelerator.process_index}.json").write_text(json.dumps(batches), encoding="utf-8")
accelerator.end_training()
"""


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no torch.distributed")
def test_two_processes_share_the_items(tmp_path: Path) -> None:
    (tmp_path / "share.py").write_text(SHARE, encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "share.py"]
    settings = {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1", **LOOPBACK}
    outcome = subprocess.run(
        command, cwd=tmp_path, env=os.environ | settings, capture_output=True, text=True, encoding="utf-8", timeout=120
    )
    assert outcome.returncode == 0, outcome.stderr[-3000:]
    shares = [json.loads((tmp_path / f"{rank}.json").read_text(encoding="utf-8")) for rank in range(2)]
    assert sorted(itertools.chain(*itertools.chain(*shares))) == list(range(23))
    expected = [SafeIterable(range(23), batch_size=4, shuffle=True, seed=5, rank=r, world_size=2) for r in (0, 1)]
    assert shares == [[batch.tolist() for batch in stream] for stream in expected]
