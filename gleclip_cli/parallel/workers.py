"""One function over many images: in this process, or in spawned ones of one thread each."""

import multiprocessing
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import partial
from typing import Any

from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.errors import BadInput

Work = Callable[[str], Any]
Build = Callable[..., Work]

_AHEAD = 2
"""Images handed out per worker; their results wait in memory."""


def over_images(
    build: Build, arguments: tuple[Any, ...], image_ids: Iterable[str], *, workers: int
) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield every id in order, with a function that returns its result or raises its error.

    `build(*arguments)` makes the work on one id, once per process; with `workers` above 0 both
    must be picklable, with 0 the work is done when the result is asked for, and ids are taken one
    by one as they come. Asking raises what
    the work raised, with a note of the id, or BadInput when the worker died on this image, twice.
    """
    if workers == 0:
        work: Work | None = None
        for image_id in image_ids:
            work = work or build(*arguments)
            yield image_id, partial(_named, work, image_id)
        return
    listed = list(image_ids)
    if not listed:
        return
    pool = _Pool(build, arguments, min(workers, len(listed)))
    try:
        yield from pool.results(listed)
    finally:
        pool.close()


def _named(work: Work, image_id: str) -> Any:
    try:
        return work(image_id)
    except Exception as error:  # ours or not: whoever reads it needs the image
        error.add_note(f"Image: {printable(image_id)}")
        raise


class _Pool:
    """Worker processes that are replaced when one of them dies."""

    def __init__(self, build: Build, arguments: tuple[Any, ...], workers: int) -> None:
        self._setup = (build, arguments)
        self._workers = workers
        self._executor = self._start(workers)

    def results(self, image_ids: Sequence[str]) -> Iterator[tuple[str, Callable[[], Any]]]:
        left = iter(image_ids)
        in_flight: deque[tuple[str, Future[Any]]] = deque()
        for image_id in image_ids:
            while len(in_flight) < _AHEAD * self._workers and (following := next(left, None)):
                in_flight.append((following, self._submit(following)))
            yield image_id, partial(self._result, *in_flight.popleft())

    def close(self) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _submit(self, image_id: str) -> Future[Any]:
        try:
            return self._executor.submit(_work_on, image_id)
        except BrokenProcessPool:
            self.close()
            self._executor = self._start(self._workers)
            return self._executor.submit(_work_on, image_id)

    def _result(self, image_id: str, future: Future[Any]) -> Any:
        try:
            return future.result()
        except BrokenProcessPool:
            pass  # any image in flight may be the cause, and this one may not have begun
        for _ in range(2):
            with self._start(1) as alone, suppress(BrokenProcessPool):
                return alone.submit(_work_on, image_id).result()
        raise BadInput(
            f"The worker process died twice on the image {printable(image_id)}.",
            "Lack of memory is the usual cause: use fewer --workers.",
        )

    def _start(self, workers: int) -> ProcessPoolExecutor:
        # Spawned, because a fork of a process with threads may deadlock.
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(workers, context, _prepare_worker, self._setup)


class _Worker:
    """What one worker process works with; made with its first image."""

    build: Build
    arguments: tuple[Any, ...]
    work: Work | None = None


def _prepare_worker(build: Build, arguments: tuple[Any, ...]) -> None:
    # Building waits for the first image: an error here would only break the pool.
    _Worker.build, _Worker.arguments = staticmethod(build), arguments
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the workers
    # Unpickling `build` has imported what the work needs; nothing more is loaded for it.
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    if cv2 := sys.modules.get("cv2"):
        cv2.setNumThreads(1)


def _work_on(image_id: str) -> Any:
    if _Worker.work is None:
        _Worker.work = staticmethod(_Worker.build(*_Worker.arguments))
    return _named(_Worker.work, image_id)
