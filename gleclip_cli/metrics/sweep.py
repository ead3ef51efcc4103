"""Every background threshold in one pass over the images.

A pixel is foreground when its best class score exceeds the threshold, and then of that class:
a threshold only moves pixels between background and their best class. So a histogram over (true
class, best class, number of thresholds exceeded) holds the confusion matrix of all thresholds.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gleclip_cli.artifacts.labels import Labels, ignore_index
from gleclip_cli.artifacts.manifest import Manifest, load_manifest
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.config import TRAIN
from gleclip_cli.errors import BadInput, MissingInput
from gleclip_cli.metrics.confusion import Counts, refuse_others, size_fault, summarise
from gleclip_cli.metrics.scope import made_for

THRESHOLDS: NDArray[np.float32] = (np.arange(101) / 100).astype(np.float32)
"""Constant background scores that are tried: 0 to 1 in steps of .01."""


@dataclass(frozen=True)
class Sweep:
    """mIoU of each of `THRESHOLDS`, and the best: the lowest threshold among equals."""

    miou: NDArray[np.float64]
    best: int

    @property
    def threshold(self) -> float:
        """The background score with the highest mIoU, in [0, 1]."""
        return round(float(THRESHOLDS[self.best]), 2)


class BackgroundSweep:
    """Sums images into confusion matrices of all thresholds; memory does not grow with images."""

    def __init__(self, num_classes: int) -> None:
        self._num_classes = num_classes
        # axis 2: how many thresholds a pixel's best score exceeds
        self._histogram: Counts = np.zeros(
            (num_classes, num_classes, len(THRESHOLDS) + 1), dtype=np.int64
        )

    def add(
        self,
        gt_mask: Labels,
        scores: NDArray[np.float32],
        class_ids: NDArray[np.int64],
        *,
        name: str = "an image",
    ) -> None:
        """Count the image `name`: `scores` (k, H, W) of the classes `class_ids` (k,), 1..C-1.

        Raises:
            BadInput: the sizes differ, or the true mask or `class_ids` hold unknown classes.
        """
        if scores.shape[1:] != gt_mask.shape:
            raise size_fault(scores.shape[1:], gt_mask.shape, name)
        refuse_others(gt_mask, self._num_classes, f"true mask of {name}")
        if len(class_ids) == 0:
            scores, class_ids = np.zeros((1, *gt_mask.shape), np.float32), np.zeros(1, np.int64)
        if class_ids.max() >= self._num_classes:
            raise BadInput(
                f"The maps of {name} have class {class_ids.max()}, there are {self._num_classes}.",
                "Make the maps again with this vocabulary.",
            )
        counted = gt_mask != ignore_index(gt_mask)
        best, level = _best_and_level(scores)
        shape = (self._num_classes, len(class_ids), len(THRESHOLDS) + 1)
        joint = np.ravel_multi_index((gt_mask[counted], best[counted], level[counted]), shape)
        counts = np.bincount(joint, minlength=int(np.prod(shape)))
        self._histogram[:, class_ids] += counts.reshape(shape)

    def confusion(self, index: int) -> Counts:
        """Return the confusion matrix (C, C + 1) when the background scores `THRESHOLDS[index]`."""
        confusion = np.zeros((self._num_classes, self._num_classes + 1), dtype=np.int64)
        confusion[:, :-1] = self._histogram[:, :, index + 1 :].sum(axis=2)
        confusion[:, 0] += self._histogram[:, :, : index + 1].sum(axis=(1, 2))
        return confusion

    def result(self) -> Sweep:
        """Return the mIoU of every threshold."""
        miou = np.array([summarise(self.confusion(i)).miou for i in range(len(THRESHOLDS))])
        best = 0 if np.isnan(miou).all() else int(np.nanargmax(miou))
        return Sweep(miou, best)


def _best_and_level(
    scores: NDArray[np.float32],
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return, per pixel, the best class's place and how many thresholds its score exceeds."""
    best = np.zeros(scores.shape[1:], dtype=np.intp)
    highest = scores[0].copy()
    for place, score in enumerate(scores[1:], start=1):  # faster than argmax over a short axis
        best[score > highest] = place
        np.maximum(highest, score, out=highest)
    return best, np.searchsorted(THRESHOLDS, highest, side="left")


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
