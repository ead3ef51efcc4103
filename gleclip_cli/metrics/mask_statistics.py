"""What pseudo masks hold, by class and by image, without looking at the truth."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from gleclip_cli.artifacts.labels import Labels
from gleclip_cli.artifacts.maps import load_confidence, load_label_image
from gleclip_cli.artifacts.run_dir import RunDir

_DIGITS = 4


class MaskStatistics:
    """Sums over masks; `class_names`: background first.

    Confidence is a mean over pixels, `tagged` and `won` count images: those whose tags name a
    class, and those where it has a pixel.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        self._names = class_names
        self._pixels = np.zeros(len(class_names), np.int64)
        self._confidence = np.zeros(len(class_names))
        self._tagged, self._won = Counter[int](), Counter[int]()
        self._images: dict[str, dict[str, Any]] = {}

    def add(
        self, image_id: str, labels: Labels, confidence: np.ndarray, tags: Iterable[int]
    ) -> None:
        """Count one mask (H, W) and its confidence (H, W) in [0, 1]."""
        flat, count = labels.ravel(), len(self._names)
        pixels = np.bincount(flat, minlength=count)
        self._pixels += pixels
        self._confidence += np.bincount(flat, confidence.ravel(), minlength=count)
        lost = [class_id for class_id in tags if not pixels[class_id]]
        self._tagged.update(tags)
        self._won.update(np.flatnonzero(pixels).tolist())
        self._images[image_id] = {
            "background": round(pixels[0] / labels.size, _DIGITS),
            "confidence": round(float(confidence.mean()), _DIGITS),
            "lost": [self._names[class_id] for class_id in lost],
        }

    def table(self) -> dict[str, Any]:
        """Return everything as plain values: `classes` by name, `images` by id."""
        total = max(1, int(self._pixels.sum()))
        means = self._confidence / np.maximum(1, self._pixels)
        classes = {
            name: {
                "tagged": self._tagged[number],
                "won": self._won[number],
                "share": round(int(self._pixels[number]) / total, _DIGITS),
                "confidence": round(float(means[number]), _DIGITS),
            }
            for number, name in enumerate(self._names)
        }
        return {
            "confidence": round(float(self._confidence.sum()) / total, _DIGITS),
            "classes": classes,
            "images": self._images,
        }

    def summary(self) -> str:
        """Return one line for people."""
        table = self.table()
        background, *classes = table["classes"].values()
        tagged = sum(entry["tagged"] for entry in classes)
        lost = sum(len(image["lost"]) for image in self._images.values())
        line = (
            f"{100 * background['share']:.1f} % of all pixels are background, mean confidence "
            f"{table['confidence']:.2f}; "
        )
        if not lost:
            return f"{line}every tagged class got a pixel."
        worst = max(self._names[1:], key=lambda name: self._lost(table["classes"][name]))
        most = f"most often {worst} ({self._lost(table['classes'][worst])})"
        return f"{line}{lost} of {tagged} tagged classes got no pixel, {most}."

    @staticmethod
    def _lost(entry: Mapping[str, int]) -> int:
        return entry["tagged"] - entry["won"]


def measure_masks(
    run: RunDir,
    split: str,
    image_ids: Iterable[str],
    tags: Mapping[str, Sequence[int]],
    class_names: Sequence[str],
) -> MaskStatistics:
    """Return the statistics of the stored pseudo masks of these images."""
    statistics = MaskStatistics(class_names)
    for image_id in image_ids:
        labels = load_label_image(run.pseudo_mask(split, image_id), len(class_names))
        confidence = load_confidence(run.confidence(split, image_id))
        statistics.add(image_id, labels, confidence, tags[image_id])
    return statistics
