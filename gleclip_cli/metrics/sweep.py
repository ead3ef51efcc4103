"""Every background threshold in one pass over the images.

A pixel is foreground when its best class score exceeds the threshold, and then of that class:
a threshold only moves pixels between background and their best class. So a histogram over (true
class, best class, number of thresholds exceeded) holds the confusion matrices of all thresholds.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gleclip_cli.artifacts.labels import Labels, ignore_index, label_dtype
from gleclip_cli.artifacts.manifest import Manifest, load_manifest
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.config import TRAIN
from gleclip_cli.errors import BadInput, MissingInput
from gleclip_cli.metrics.confusion import Counts, refuse_others, size_fault, summarise
from gleclip_cli.metrics.counting import count_levels, take_higher
from gleclip_cli.metrics.scope import made_for

THRESHOLDS: NDArray[np.float32] = (np.arange(101) / 100).astype(np.float32)
"""Constant background scores that are tried: 0 to 1 in steps of .01."""


@dataclass(frozen=True, eq=False)
class Peaks:
    """Per pixel (H, W) the place of the strongest class in `class_ids` (k,), and its score.

    An image without classes has class 0 everywhere, at score 0.
    """

    class_ids: NDArray[np.int64]
    place: NDArray[np.uint16]
    score: NDArray[np.float32]

    def labels(self, threshold: float, num_classes: int) -> Labels:
        """Return the labels (H, W) when the background scores `threshold`; it wins a tie."""
        class_ids: Labels = self.class_ids.astype(label_dtype(num_classes))
        labels: Labels = class_ids[self.place]
        labels[self.score <= np.float32(threshold)] = 0
        return labels


def peaks_of(
    maps: Iterable[NDArray[np.float32]], class_ids: NDArray[np.int64], size: tuple[int, int]
) -> Peaks:
    """Return the peaks of scores (H, W) of `class_ids`, each read once; the first wins a tie."""
    place, score = np.zeros(size, np.uint16), np.zeros(size, np.float32)
    for number, own in enumerate(maps):
        if number == 0:
            score[:] = own
        take_higher(own.ravel(), place.ravel(), np.uint16(number), score.ravel())
    return Peaks(class_ids if len(class_ids) else np.zeros(1, np.int64), place, score)


def levels_of(gt_mask: Labels, peaks: Peaks, num_classes: int, *, name: str = "an image") -> Counts:
    """Count the image `name` (C, k, t + 1): true class, strongest, thresholds its score exceeds.

    Raises:
        BadInput: the sizes differ, or the true mask or the maps hold unknown classes.
    """
    if peaks.place.shape != gt_mask.shape:
        raise size_fault(peaks.place.shape, gt_mask.shape, name)
    if peaks.class_ids.max() >= num_classes:
        raise BadInput(
            f"The maps of {name} have class {peaks.class_ids.max()}, there are {num_classes}.",
            "Make the maps again with this vocabulary.",
        )
    levels = np.zeros((num_classes, len(peaks.class_ids), len(THRESHOLDS) + 1), np.int64)
    flat = gt_mask.ravel(), ignore_index(gt_mask), peaks.place.ravel(), peaks.score.ravel()
    if not count_levels(*flat, THRESHOLDS, levels):
        refuse_others(gt_mask, num_classes, f"true mask of {name}")
    return levels


@dataclass(frozen=True)
class Sweep:
    """Scores at each of `THRESHOLDS`, and the best by mIoU: the lowest threshold among equals.

    `over` and `under`: over- and under-activation, as in `confusion.Summary`.
    """

    miou: NDArray[np.float64]
    over: NDArray[np.float64]
    under: NDArray[np.float64]
    best: int

    @property
    def threshold(self) -> float:
        """The background score with the highest mIoU, in [0, 1]."""
        return round(float(THRESHOLDS[self.best]), 2)

    def curves(self) -> dict[str, list[float | None]]:
        """Return, for people and JSON, all scores by threshold."""
        named = {
            "miou": self.miou,
            "over_activation": self.over,
            "under_activation": self.under,
        }
        thresholds: list[float | None] = [round(float(t), 2) for t in THRESHOLDS]
        return {"thresholds": thresholds} | {
            name: [None if np.isnan(value) else float(value) for value in values]
            for name, values in named.items()
        }


class BackgroundSweep:
    """Sums images into confusion matrices of all thresholds; memory does not grow with images."""

    def __init__(self, num_classes: int) -> None:
        self._num_classes = num_classes
        self._levels: Counts = np.zeros((num_classes, num_classes, len(THRESHOLDS) + 1), np.int64)

    def add(self, class_ids: NDArray[np.int64], levels: Counts) -> None:
        """Add the `levels_of` one image, whose peaks are of `class_ids`."""
        self._levels[:, class_ids] += levels

    def confusions(self) -> Iterator[Counts]:
        """Yield the confusion matrix (C, C + 1) of every background score of `THRESHOLDS`."""
        below = np.zeros(self._num_classes, np.int64)
        above = self._levels.sum(axis=2)
        for index in range(len(THRESHOLDS)):
            lost = self._levels[:, :, index]
            below += lost.sum(axis=1)
            above -= lost
            confusion = np.zeros((self._num_classes, self._num_classes + 1), np.int64)
            confusion[:, :-1] = above
            confusion[:, 0] += below
            yield confusion

    def result(self) -> Sweep:
        """Return the scores at every threshold."""
        each = [summarise(confusion) for confusion in self.confusions()]
        miou, over, under = np.array([(one.miou, one.over, one.under) for one in each]).T
        return Sweep(miou, over, under, 0 if np.isnan(miou).all() else int(np.nanargmax(miou)))


def sweep_of_train(run: RunDir, maps: Manifest) -> Manifest | None:
    """Return the finished evaluation of train's maps, if those were made as `maps` were.

    It decides the threshold of every other split: nothing is chosen on val.
    """
    try:
        swept = load_manifest(run, "evaluate", f"cam-{TRAIN}")
        of_train = load_manifest(run, "gen_cam", made_for(run, "gen_cam", TRAIN))
    except MissingInput:
        return None
    one, other = (
        {
            **made.data["config"],
            "split": "",
            "limit": None,
            "weights": made.data["weights"],
            "training": made.data["digests"].get("train_cam"),
        }
        for made in (maps, of_train)
    )
    current = swept.data["digests"].get(of_train.name) == of_train.digest
    return swept if current and one == other else None
