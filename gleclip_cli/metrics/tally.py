"""Scores of a set of masks, counted image by image, as they are written and shown."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gleclip_cli.artifacts.labels import Labels
from gleclip_cli.artifacts.tables import Scores
from gleclip_cli.errors import BadInput
from gleclip_cli.metrics.confusion import Counts, Summary, confusion_of, summarise


class Tally:
    """One confusion matrix over all images, and one row of scores for each.

    `all_ignored` counts images whose true mask is all ignored; they are in no row.
    `ignored_pixels` counts pixels that true masks ignore.
    """

    def __init__(self, num_classes: int) -> None:
        self.confusion: Counts = np.zeros((num_classes, num_classes + 1), dtype=np.int64)
        self.rows: list[dict[str, Any]] = []
        self.all_ignored = 0
        self.ignored_pixels = 0

    def add(self, name: str, gt_mask: Labels, pred_mask: Labels) -> None:
        """Count the image `name`.

        Raises:
            BadInput: the masks differ in size, or hold values that are no class.
        """
        own = confusion_of(gt_mask, pred_mask, len(self.confusion), name=name)
        self.ignored_pixels += gt_mask.size - int(own.sum())
        if not own.any():
            self.all_ignored += 1
            return
        self.confusion += own
        summary = summarise(own)
        self.rows.append(
            {
                "image": name,
                "miou": summary.miou,
                "pixel_accuracy": summary.pixel_accuracy,
                "pixels": int(own.sum()),
                "undecided_pixels": int(own[:, -1].sum()),
            }
        )

    def scores(self, class_names: tuple[str, ...]) -> Scores:
        """Return the scores of all images counted so far; `class_names` begin with background.

        Raises:
            BadInput: no pixel was counted, so there is no mIoU.
        """
        summary = summarise(self.confusion)
        if np.isnan(summary.miou):
            raise BadInput(
                "There is no pixel to score: every true mask is ignored or missing.",
                "Read failed.jsonl, or name another --split.",
            )
        return Scores(
            miou=summary.miou,
            per_class_iou=_named(class_names, summary.iou),
            images=len(self.rows),
            extra={**self._facts(class_names), **_ratios(class_names, summary)},
        )

    def _facts(self, class_names: tuple[str, ...]) -> dict[str, Any]:
        true = self.confusion.sum(axis=1)
        predicted = self.confusion[:, :-1].sum(axis=0)
        names = np.array(class_names)
        return {
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
        "per_class_precision": _named(class_names, summary.precision),
        "per_class_recall": _named(class_names, summary.recall),
    }


def _named(class_names: tuple[str, ...], values: NDArray[np.float64]) -> dict[str, float | None]:
    return dict(zip(class_names, map(_number, values), strict=True))


def _number(value: float) -> float | None:
    """JSON knows no NaN."""
    return None if np.isnan(value) else float(value)
