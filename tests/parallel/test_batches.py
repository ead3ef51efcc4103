import os
import threading

import pytest

from gleclip_cli.parallel.batches import Buckets, helpers, prefetched


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_items_come_in_order_with_what_they_load(workers: int) -> None:
    pairs = [
        (item, call()) for item, call in prefetched(range(50), lambda n: n * n, workers=workers)
    ]
    assert pairs == [(n, n * n) for n in range(50)]


@pytest.mark.parametrize("workers", [0, 2])
def test_fault_67_what_loading_raises_is_raised_by_the_call(workers: int) -> None:
    def load(number: int) -> int:
        if number == 1:
            raise KeyError("one")
        return number

    outcomes = []
    for number, call in prefetched(range(3), load, workers=workers):
        try:
            outcomes.append(call())
        except KeyError:
            outcomes.append(-number)
    assert outcomes == [0, -1, 2]


def test_no_more_than_four_items_per_worker_are_loaded_ahead() -> None:
    loaded: list[int] = []
    stream = prefetched(range(100), loaded.append, workers=2)
    _, first = next(stream)
    first()
    stream.close()
    assert len(loaded) <= 8


def test_threads_end_with_the_stream() -> None:
    stream = prefetched(range(100), str, workers=2)
    next(stream)
    stream.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("prefetch")]


def test_full_buckets_are_due_and_the_rest_comes_at_the_end() -> None:
    buckets = Buckets[str](key=len, capacity=lambda item: 2, look_ahead=10)
    assert [buckets.add(word) for word in ("a", "bb", "c", "ddd")] == [[], [], ["a", "c"], []]
    assert list(buckets.rest()) == [["bb"], ["ddd"]]
    assert list(buckets.rest()) == []


def test_when_too_many_wait_the_fullest_bucket_is_due() -> None:
    buckets = Buckets[str](key=len, capacity=lambda item: 9, look_ahead=3)
    assert [buckets.add(word) for word in ("aa", "b", "cc")] == [[], [], []]
    assert buckets.add("ddd") == ["aa", "cc"]
    assert buckets.add("e") == []


def test_capacity_is_asked_anew() -> None:
    room = [3]
    buckets = Buckets[str](key=len, capacity=lambda item: room[0], look_ahead=10)
    assert buckets.add("a") == []
    room[0] = 1
    assert buckets.add("b") == ["a", "b"]


def test_every_processor_helps_and_more_if_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    assert [helpers(asked) for asked in (0, 2, 8)] == [3, 3, 8]
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    assert [helpers(asked) for asked in (0, 2)] == [0, 2]
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert helpers(0) == 0
