"""Evaluations of a run as the report tells them: figures, intervals, confusions, sweeps."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gleclip_cli.artifacts.arrays import load_arrays
from gleclip_cli.artifacts.per_image import read_image_tables
from gleclip_cli.artifacts.tables import Scores, load_scores
from gleclip_cli.config import TRAIN
from gleclip_cli.errors import BadInput
from gleclip_cli.metrics.overlap import iou_of
from gleclip_cli.tools.report.outputs import Output

KINDS = ("Maps", "Pseudo masks", "Network")
_KIND = {"cam": 0, "pseudo": 1}
Bounds = tuple[float, float]


@dataclass(frozen=True)
class Evaluation:
    """One scored output; `kind`: its place in KINDS; `confusion` (C, C + 1), rows are the truth.

    `interval`, `intervals`: bounds of the mIoU and of the IoU by class name, where known.
    """

    what: str
    split: str
    kind: int
    scores: Scores
    confusion: NDArray[np.int64] | None
    interval: Bounds | None
    intervals: dict[str, Bounds]
    folder: Path

    @property
    def title(self) -> str:
        """What was scored and where, such as `Maps, train`."""
        named = KINDS[self.kind] if self.kind < 2 else f"Network {self.what}"
        return f"{named}, {self.split}"

    def fact(self, name: str) -> Any:
        """One of the further facts of scores.json, or None."""
        return self.scores.extra.get(name)


def read_evaluations(outputs: list[Output]) -> tuple[list[Evaluation], list[str]]:
    """Return what can be read, in pipeline order, and the causes of what cannot."""
    found, faults = [], []
    for output in outputs:
        if output.stage != "evaluate" or not output.exists:
            continue
        try:
            found.append(_read(output))
        except BadInput as error:
            faults.append(error.cause)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            faults.append(f"{output.title} is damaged: {error!r}.")
    order = {"seg": 0}  # the default network first, then by name
    found.sort(key=lambda e: (e.kind, order.get(e.what, 1), e.what, e.split != TRAIN, e.split))
    return found, faults


def _read(output: Output) -> Evaluation:
    scores = load_scores(output.folder)
    what = str(output.data["config"]["what"])
    try:
        confusion = load_arrays(output.folder / "confusion.npz")["confusion"]
    except (BadInput, KeyError):
        confusion = None
    by_class = scores.extra.get("per_class_interval", {})
    bounds = {name: _interval(pair) for name, pair in by_class.items()}
    split = str(output.data["config"]["split"])
    return Evaluation(
        what=what,
        split=split,
        kind=_KIND.get(what, 2),
        scores=scores,
        confusion=confusion,
        interval=_interval(scores.extra.get("miou_interval")),
        intervals={name: pair for name, pair in bounds.items() if pair},
        folder=output.folder,
    )


def _interval(value: Any) -> Bounds | None:
    """Read [low, high], if it is one."""
    known = isinstance(value, list) and len(value) == 2 and None not in value
    return (float(value[0]), float(value[1])) if known else None


def main_of_each_kind(evaluations: list[Evaluation]) -> list[Evaluation]:
    """Return at most one evaluation of each kind: the first network, and not on train if it can."""
    chosen = []
    for kind in range(len(KINDS)):
        of_kind = [e for e in evaluations if e.kind == kind]
        if of_kind:
            best = [e for e in of_kind if e.what == of_kind[0].what]
            chosen.append(next((e for e in best if e.split != TRAIN), best[0]))
    return chosen


def row_shares(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return each true class's pixels as shares (C, C + 1) of its sum; zeros without pixels."""
    sums = confusion.sum(axis=1, keepdims=True)
    shares: NDArray[np.float64] = confusion / np.maximum(sums, 1)
    return shares


def largest_confusions(
    confusion: NDArray[np.int64], names: tuple[str, ...], *, most: int = 10
) -> list[tuple[str, str, float]]:
    """Return (true class, predicted class, share of the true class's pixels), largest first."""
    shares = row_shares(confusion)[:, : len(names)].copy()
    np.fill_diagonal(shares, 0)
    order = np.argsort(-shares, axis=None, kind="stable")[:most]
    pairs = [np.unravel_index(place, shares.shape) for place in order]
    return [(names[i], names[j], float(shares[i, j])) for i, j in pairs if shares[i, j] > 0]


def image_scores(
    evaluations: Sequence[Evaluation], split: str, num_classes: int
) -> dict[str, dict[int, float]]:
    """Return the IoU of every class of every image of a split, by the last evaluation that tells.

    Image id -> class id -> IoU; an evaluation whose tables cannot be read is passed over.
    """
    for evaluation in reversed(evaluations):
        if evaluation.split != split:
            continue
        scores = {}
        with suppress(BadInput):
            for image in read_image_tables(evaluation.folder, num_classes):
                iou = iou_of(image.overlap)
                scores[image.image_id] = {int(i): float(iou[i]) for i in np.flatnonzero(iou >= 0)}
            return scores
    return {}
