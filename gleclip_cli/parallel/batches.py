"""Items on their way through a stage: loaded ahead by threads, grouped by shape, memory bounded."""

import os
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_AHEAD_PER_WORKER = 4


def prefetched(
    items: Iterable[T], load: Callable[[T], R], *, workers: int
) -> Iterator[tuple[T, Callable[[], R]]]:
    """Yield every item in order with a call that returns `load(item)`, or raises what it raised.

    With workers, at most four items each are loaded ahead in threads; without, `load` runs when
    called.
    """
    if not workers:
        for item in items:
            yield item, partial(load, item)
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="prefetch")
    try:
        left = iter(items)
        queue: deque[tuple[T, Future[R]]] = deque()

        def fill(count: int) -> None:
            queue.extend((item, pool.submit(load, item)) for item in islice(left, count))

        fill(workers * _AHEAD_PER_WORKER)
        while queue:
            item, future = queue.popleft()
            yield item, future.result
            fill(1)
    finally:
        pool.shutdown(cancel_futures=True)


def helpers(asked: int) -> int:
    """Return how many threads shall do work that needs no network: one per processor at least."""
    affinity = getattr(os, "sched_getaffinity", None)  # not everywhere
    processors = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(asked, processors if processors > 1 else 0)


class Buckets(Generic[T]):
    """Groups items of the same key into batches, holding back at most `look_ahead` of them.

    `key`: what items of one batch share; `capacity`: most items of a batch with that key, asked
    anew each time.
    """

    def __init__(
        self,
        key: Callable[[T], Hashable],
        capacity: Callable[[T], int],
        *,
        look_ahead: int,
    ) -> None:
        self._key = key
        self._capacity = capacity
        self._look_ahead = look_ahead
        self._held: dict[Hashable, list[T]] = {}

    def add(self, item: T) -> list[T]:
        """Take one item; return a batch that is due, or nothing.

        A bucket is due when it is full; when too many items wait, the fullest one is.
        """
        key = self._key(item)
        bucket = self._held.setdefault(key, [])
        bucket.append(item)
        if len(bucket) >= self._capacity(item):
            return self._held.pop(key)
        if sum(map(len, self._held.values())) > self._look_ahead:
            return self._held.pop(max(self._held, key=lambda k: len(self._held[k])))
        return []

    def rest(self) -> Iterator[list[T]]:
        """Yield what is left, bucket by bucket."""
        while self._held:
            yield self._held.pop(next(iter(self._held)))
