"""Which images a gallery shows: of every class the worst, the best and some at random, in turn."""

import hashlib
import os
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle


@dataclass(frozen=True)
class Candidate:
    """An image that may be shown; `iou`: class id -> IoU there, where it was scored.

    `splits`: all lists that hold this picture.
    """

    splits: tuple[str, ...]
    image_id: str
    class_ids: tuple[int, ...]
    iou: Mapping[int, float] = field(default_factory=dict, compare=False)


def pick(candidates: Sequence[Candidate], *, most: int) -> list[Candidate]:
    """Return all candidates if they are few enough, else `most` of them, in their own order.

    Classes take turns, and each takes in turn its worst, its best and a random image; images
    without a class, and without a score, are drawn at random. Chance depends on ids alone.
    """
    if len(candidates) <= most:
        return list(candidates)
    by_class: dict[int, list[Candidate]] = {}
    for candidate in candidates:
        for class_id in candidate.class_ids or (0,):
            by_class.setdefault(class_id, []).append(candidate)
    queues = [_queues(members, class_id) for class_id, members in sorted(by_class.items())]
    turns = cycle([queue for three in zip(*queues, strict=True) for queue in three])
    taken: set[Candidate] = set()
    while len(taken) < most:
        queue = next(turns)
        while queue and queue[0] in taken:
            queue.popleft()
        if queue:
            taken.add(queue.popleft())
    return [candidate for candidate in candidates if candidate in taken]


def _queues(members: list[Candidate], class_id: int) -> tuple[deque[Candidate], ...]:
    """Return a class's images from the worst on, from the best on, and at random."""
    shuffled = sorted(members, key=lambda c: chance(c.splits, c.image_id))
    scored = [c for c in shuffled if class_id in c.iou]
    worst = sorted(scored, key=lambda c: c.iou[class_id])
    return deque(worst), deque(reversed(worst)), deque(shuffled)


def chance(splits: Sequence[str], image_id: str) -> bytes:
    """Return a hash of an image's name: its place in a random order."""
    return hashlib.sha256(os.fsencode(f"{splits[0]}/{image_id}")).digest()


def share_out(totals: Mapping[str, int], most: int) -> dict[str, int]:
    """Divide `most` among splits evenly; what a small one leaves goes to the others."""
    left, shares = most, dict.fromkeys(totals, 0)
    for place, name in enumerate(sorted(totals, key=lambda n: (totals[n], n))):
        shares[name] = min(totals[name], left // (len(totals) - place))
        left -= shares[name]
    return shares
