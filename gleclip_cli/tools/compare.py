"""The difference between two evaluations on the same images, and how sure it is."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gleclip_cli.artifacts.manifest import MANIFEST_FILE, load_manifest
from gleclip_cli.artifacts.per_image import ImageCounts, read_image_tables
from gleclip_cli.artifacts.run_dir import RunDir, printable
from gleclip_cli.artifacts.tables import Scores, load_scores
from gleclip_cli.errors import BadInput, MissingInput
from gleclip_cli.metrics.bootstrap import (
    RESAMPLES,
    TOO_FEW,
    Interval,
    Intervals,
    paired_bootstrap_of,
)


@dataclass(frozen=True)
class Comparison:
    """Two evaluations, A and B, of `images` images; `difference`: B - A, in [-1, 1].

    Its bounds are NaN if the images are too few.
    """

    names: tuple[str, str]
    first: Scores
    second: Scores
    class_names: tuple[str, ...]
    images: int
    difference: Intervals

    def by_class(self) -> Iterator[tuple[str, float | None, float | None, Interval]]:
        """Yield name, IoU of A, IoU of B, and the difference."""
        one, other = self.first.per_class_iou, self.second.per_class_iou
        for name, interval in zip(self.class_names, self.difference.iou, strict=True):
            yield name, one[name], other[name], interval

    def as_json(self) -> dict[str, Any]:
        """Return all figures, as shares."""
        miou = self.difference.miou
        return {
            "first": self.names[0],
            "second": self.names[1],
            "images": self.images,
            "resamples": RESAMPLES,
            "confidence": 0.95,
            "miou": [self.first.miou, self.second.miou],
            "difference": _figures(miou),
            "contains_0": None if np.isnan(miou.low) else bool(miou.low <= 0 <= miou.high),
            "no_interval": TOO_FEW if np.isnan(miou.low) else None,
            "per_class_iou": {name: [a, b] for name, a, b, _ in self.by_class()},
            "per_class_difference": {name: _figures(own) for name, _, _, own in self.by_class()},
        }


def compare(first: Path, second: Path, *, what: str, split: str) -> Comparison:
    """Compare two runs by their finished evaluations of `what` on `split`.

    Either may be the folder of an evaluation itself, `<run>/evaluate/<what>-<split>`: so networks
    of one run are compared. Images are read from disk twice, one at a time.

    Raises:
        MissingInput: one of them is not finished.
        BadInput: they scored other images, or against other true masks or classes.
    """
    folders = _evaluation(first, what, split), _evaluation(second, what, split)
    scores = load_scores(folders[0]), load_scores(folders[1])
    names = [_class_names(folder, one) for folder, one in zip(folders, scores, strict=True)]
    if names[0] != names[1]:
        raise BadInput("The two runs have other classes.", "Use the same class table for both.")
    images = _same_images(folders, len(names[0]))
    pairs = (
        np.stack([one.overlap, other.overlap]) for one, other in _paired(folders, len(names[0]))
    )
    return Comparison(
        (str(folders[0]), str(folders[1])),
        *scores,
        class_names=names[0],
        images=images,
        difference=paired_bootstrap_of(pairs, images).of_enough(images),
    )


def _evaluation(path: Path, what: str, split: str) -> Path:
    """Return the folder of a finished evaluation, of a run or the one that is named."""
    if (path / "scores.json").exists() and (path / MANIFEST_FILE).exists():
        return path
    if not path.is_dir():
        raise MissingInput(f"There is no run {printable(path)}.", "Name a folder under runs/.")
    return load_manifest(RunDir(path), "evaluate", f"{what}-{split}").path.parent


def _class_names(folder: Path, scores: Scores) -> tuple[str, ...]:
    try:
        return tuple(scores.extra["class_names"])
    except KeyError:
        raise BadInput(
            f"{printable(folder)} was written by an older gleclip, without counts of images.",
            "Run `gleclip evaluate --no-resume` for it again.",
        ) from None


def _paired(
    folders: tuple[Path, Path], num_classes: int
) -> Iterator[tuple[ImageCounts, ImageCounts]]:
    """Yield the counts of each image by both; ends with the shorter list."""
    tables = (read_image_tables(folder, num_classes) for folder in folders)
    yield from zip(*tables, strict=False)


def _same_images(folders: tuple[Path, Path], num_classes: int) -> int:
    """Return the number of images, which both have scored against the same masks."""
    images, other_truth, first = 0, 0, ""
    tables = [read_image_tables(folder, num_classes) for folder in folders]
    for one, other in zip_longest(*tables):
        if one is None or other is None or one.image_id != other.image_id:
            name = printable((one or other).image_id)
            raise BadInput(
                f"The two runs have scored other images: {name} is in one of them alone, or not "
                "at the same place.",
                "Evaluate both on the same list, without --limit and --allow-missing.",
            )
        images += 1
        if one.truth != other.truth:
            other_truth += 1
            first = first or printable(one.image_id)
    if other_truth:
        raise BadInput(
            f"The true masks of {other_truth} of {images} images differ, first of {first}.",
            "Evaluate both runs again, against the same masks.",
        )
    return images


def _figures(interval: Interval) -> dict[str, float | None]:
    values: NDArray[np.float64] = np.array([interval.value, interval.low, interval.high])
    known = [None if np.isnan(value) else float(value) for value in values]
    return dict(zip(("value", "low", "high"), known, strict=True))
