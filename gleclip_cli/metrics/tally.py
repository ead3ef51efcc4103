"""Scores of a set of masks, counted image by image, as they are written and shown."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from zlib_ng import zlib_ng

from gleclip_cli.artifacts.labels import Labels
from gleclip_cli.artifacts.per_image import ImageCounts
from gleclip_cli.artifacts.tables import Scores
from gleclip_cli.errors import BadInput
from gleclip_cli.metrics.bootstrap import TOO_FEW, Interval, Intervals
from gleclip_cli.metrics.boundary import boundary_overlap
from gleclip_cli.metrics.confusion import (
    Counts,
    Summary,
    confusion_of,
    mean_of_known,
    summarise,
)
from gleclip_cli.metrics.overlap import iou_of


@dataclass(frozen=True, eq=False)
class Counted:
    """One image: its confusion matrix (C, C + 1), pixels ignored, and its row of counts."""

    confusion: Counts
    ignored_pixels: int
    image: ImageCounts

    def facts(self) -> dict[str, Any]:
        """Return what the table of images tells of it, which has to have a pixel that counts."""
        hits, union = self.image.overlap.T
        seen, pixels = union > 0, int(self.confusion.sum())
        return {
            "miou": float((hits[seen] / union[seen]).mean()),
            "pixel_accuracy": int(hits.sum()) / pixels,
            "pixels": pixels,
            "undecided_pixels": int(self.confusion[:, -1].sum()),
        }


def count_image(name: str, gt_mask: Labels, pred_mask: Labels, num_classes: int) -> Counted:
    """Count the image `name`.

    Raises:
        BadInput: the masks differ in size, or hold values that are no class.
    """
    own = confusion_of(gt_mask, pred_mask, num_classes, name=name)
    bands = boundary_overlap(gt_mask, pred_mask, num_classes, name=name)
    true, predicted, hits = own.sum(axis=1), own[:, :-1].sum(axis=0), np.diagonal(own)
    counts = np.column_stack([true, predicted, hits, bands])
    truth = f"{zlib_ng.crc32(np.ascontiguousarray(gt_mask)):08x}"
    return Counted(own, gt_mask.size - int(own.sum()), ImageCounts(name, truth, counts))


class Tally:
    """Sums over all images; memory does not grow with their number.

    `images`: scored so far; `all_ignored`: images whose true mask is all ignored, which are not
    scored; `ignored_pixels`: of true masks.
    """

    def __init__(self, num_classes: int) -> None:
        self.confusion: Counts = np.zeros((num_classes, num_classes + 1), dtype=np.int64)
        self.bands: Counts = np.zeros((num_classes, 2), dtype=np.int64)
        self.images = 0
        self.all_ignored = 0
        self.ignored_pixels = 0

    def add(self, one: Counted) -> bool:
        """Take over an image; returns whether it is scored."""
        self.ignored_pixels += one.ignored_pixels
        scored = bool(one.confusion.any())
        self.images += scored
        self.all_ignored += not scored
        self.confusion += one.confusion
        self.bands += one.image.counts[:, 3:]
        return scored

    def require_pixels(self) -> None:
        """Raise BadInput when no pixel was counted, so there is no mIoU."""
        if not self.confusion.any():
            raise BadInput(
                "There is no pixel to score: every true mask is ignored or missing.",
                "Read failed.jsonl, or name another --split.",
            )

    def scores(self, class_names: tuple[str, ...], intervals: Intervals) -> Scores:
        """Return the scores of all images counted so far; `class_names` begin with background."""
        summary = summarise(self.confusion)
        return Scores(
            miou=summary.miou,
            per_class_iou=_named(class_names, summary.iou),
            images=self.images,
            extra={
                **self._facts(class_names),
                **_ratios(class_names, summary),
                **_contours(class_names, iou_of(self.bands)),
                **_bounds(class_names, intervals),
            },
        )

    def _facts(self, class_names: tuple[str, ...]) -> dict[str, Any]:
        true = self.confusion.sum(axis=1)
        predicted = self.confusion[:, :-1].sum(axis=0)
        names = np.array(class_names)
        return {
            "class_names": list(class_names),
            "miou_rule": "mean over classes that truth or prediction has, background among them",
            "images_all_ignored": self.all_ignored,
            "undecided_pixels": int(self.confusion[:, -1].sum()),
            "classes_absent": names[(true == 0) & (predicted == 0)].tolist(),
            "classes_only_predicted": names[(true == 0) & (predicted > 0)].tolist(),
        }


def _ratios(class_names: tuple[str, ...], summary: Summary) -> dict[str, Any]:
    return {
        "miou_foreground": _number(summary.miou_foreground),
        "pixel_accuracy": _number(summary.pixel_accuracy),
        "frequency_weighted_iou": _number(summary.frequency_weighted_iou),
        "fp_foreground": _number(mean_of_known(summary.false_positive[1:])),
        "fn_foreground": _number(mean_of_known(summary.false_negative[1:])),
        "over_activation": _number(summary.over),
        "under_activation": _number(summary.under),
        "per_class_precision": _named(class_names, summary.precision),
        "per_class_recall": _named(class_names, summary.recall),
        "per_class_fp": _named(class_names, summary.false_positive),
        "per_class_fn": _named(class_names, summary.false_negative),
    }


def _contours(class_names: tuple[str, ...], iou: NDArray[np.float64]) -> dict[str, Any]:
    return {
        "boundary_miou": _number(mean_of_known(iou)),
        "per_class_boundary_iou": _named(class_names, iou),
    }


def _bounds(class_names: tuple[str, ...], intervals: Intervals) -> dict[str, Any]:
    """Return 95 % intervals, [low, high], or why there is none."""
    return {
        "miou_interval": _ends(intervals.miou),
        "per_class_interval": dict(
            zip(class_names, map(_ends, intervals.iou), strict=True),
        ),
        "no_interval": TOO_FEW if np.isnan(intervals.miou.low) else None,
    }


def _ends(interval: Interval) -> list[float | None]:
    return [_number(interval.low), _number(interval.high)]


def _named(class_names: tuple[str, ...], values: NDArray[np.float64]) -> dict[str, float | None]:
    return dict(zip(class_names, map(_number, values), strict=True))


def _number(value: float) -> float | None:
    """JSON knows no NaN."""
    return None if np.isnan(value) else float(value)
