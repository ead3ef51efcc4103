"""Counts of every scored image, in two tables: written row by row, read row by row."""

import csv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from gleclip_cli.artifacts.atomic import atomic_write
from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.errors import BadInput

IMAGE_TABLE, CLASS_TABLE = "per_image.csv", "per_class.csv"
IMAGE_COLUMNS = ("image", "miou", "pixel_accuracy", "pixels", "undecided_pixels", "truth")
COUNTS = ("true", "predicted", "hits", "band_hits", "band_union")


@dataclass(frozen=True, eq=False)
class ImageCounts:
    """What was counted in one image: pixels int64 (C, 5) per class, columns as `COUNTS`.

    `truth`: CRC-32 of the true mask as decoded. `overlap` and `bands` (C, 2): intersection and
    union of the masks, and of the bands along their contours.
    """

    image_id: str
    truth: str
    counts: NDArray[np.int64]

    @property
    def overlap(self) -> NDArray[np.int64]:
        """Intersection and union of the masks (C, 2)."""
        true, predicted, hits = self.counts[:, :3].T
        return np.stack([hits, true + predicted - hits], axis=-1)


class ImageTables:
    """Takes one image after the other; made by `open_image_tables`."""

    def __init__(self, images: Any, classes: Any) -> None:
        self._images, self._classes = (
            csv.writer(file, lineterminator="\n") for file in (images, classes)
        )
        self._images.writerow(IMAGE_COLUMNS)
        self._classes.writerow(("image", "class", *COUNTS))

    def add(self, image: ImageCounts, facts: Mapping[str, Any]) -> None:
        """Write an image's row, and one for each class that truth or prediction has there."""
        row = {"image": image.image_id, "truth": image.truth, **facts}
        self._images.writerow([row[name] for name in IMAGE_COLUMNS])
        for class_id in np.flatnonzero(image.counts[:, :2].any(axis=1)).tolist():
            numbers = image.counts[class_id].tolist()
            self._classes.writerow([image.image_id, class_id, *numbers])


@contextmanager
def open_image_tables(folder: Path) -> Iterator[ImageTables]:
    """Yield tables that appear in `folder` when all images are in."""
    with (
        atomic_write(folder / IMAGE_TABLE, durable=False) as one,
        atomic_write(folder / CLASS_TABLE, durable=False) as other,
        _text(one, "w") as images,
        _text(other, "w") as classes,
    ):
        yield ImageTables(images, classes)


def read_image_tables(folder: Path, num_classes: int) -> Iterator[ImageCounts]:
    """Yield every image of an evaluation in its order; one is in memory at a time.

    Raises:
        BadInput: a table is missing or damaged.
    """
    try:
        with (
            _text(folder / IMAGE_TABLE) as images,
            _text(folder / CLASS_TABLE) as classes,
        ):
            by_image = groupby(csv.DictReader(classes), lambda row: row["image"])
            for row, (name, rows) in zip(csv.DictReader(images), by_image, strict=True):
                if row["image"] != name:
                    raise ValueError(f"{printable(name)} is out of place")
                counts = np.zeros((num_classes, len(COUNTS)), np.int64)
                for own in rows:
                    counts[int(own["class"])] = [int(own[column]) for column in COUNTS]
                yield ImageCounts(name, row["truth"], counts)
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise BadInput(
            f"The tables of images in {printable(folder)} are missing or damaged: "
            f"{printable(error)}.",
            "Run `gleclip evaluate --no-resume` for it again.",
        ) from error


def _text(path: Path, mode: str = "r") -> IO[str]:
    """Open a table; undecodable bytes of image ids come back as they were."""
    return path.open(mode, encoding="utf-8", errors="surrogateescape", newline="")
