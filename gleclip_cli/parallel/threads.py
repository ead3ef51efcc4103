"""Torch on several pictures at once: a thread for each, computing alone."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def picture_threads(device: torch.device) -> Iterator[int]:
    """Yield how many pictures to work on at once; until the end, torch gives each one thread.

    On a CPU that is faster than all threads for one picture after the other, and numbers do not
    depend on how many there are. Other devices: 0, the work is done where it is asked for.
    """
    if device.type != "cpu":
        yield 0
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)
