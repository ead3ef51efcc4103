"""Masks of COCO, drawn from the outlines in its JSON.

Objects are painted in the order of the file, later ones over earlier ones: over 195 photographs
this order alone leaves exactly the classes of the published lists of COCO 2014 visible. Crowds
(ignored) lie below: what is outlined inside them is known.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from gleclip_cli.artifacts.labels import Labels, ignore_index, label_dtype
from gleclip_cli.artifacts.run_dir import printable, safe_name
from gleclip_cli.datasets.coco.elements import read_element
from gleclip_cli.datasets.integrity import Drawing, Size
from gleclip_cli.datasets.vocabulary import BACKGROUND
from gleclip_cli.errors import BadInput

_LONGEST_OUTLINE = 1e6
_LARGEST_COORDINATE = 1e6
_CORNERS = 3


def outline_drawing(
    image_id: str, split: str, path: Path, spans: NDArray[np.int64], size: Size, ids: dict[int, int]
) -> Drawing:
    """Return the mask of one image, to be drawn when it is needed.

    `spans` as in `Annotated`; `ids`: category -> class id.
    """
    file = Path(split) / f"{safe_name(image_id)}.png"
    return Drawing(file, path, partial(draw_outlines, path, image_id, spans, size, ids))


def draw_outlines(
    path: Path, image_id: str, spans: NDArray[np.int64], size: Size, ids: Mapping[int, int]
) -> Labels:
    """Paint the annotations of one image, as wide as the largest of `ids` needs: (H, W).

    Raises:
        BadInput: an outline is malformed, or the file has changed.
    """
    dtype = label_dtype(max(ids.values(), default=0) + 1)
    labels = np.full(size, BACKGROUND, dtype, order="F")
    crowds = np.zeros(size, bool, order="F")
    try:
        for annotation in _annotations(path, spans):
            inside = fill(annotation["segmentation"], size)
            if annotation.get("iscrowd") == 1:
                crowds |= inside
            else:
                np.copyto(labels, dtype(ids[annotation["category_id"]]), where=inside)
    except (ValueError, LookupError, TypeError, OverflowError, OSError) as error:
        reason = printable(error) or type(error).__name__
        raise BadInput(
            f"{printable(path)}: the outlines of {printable(image_id)} cannot be drawn: {reason}.",
            "Mend its annotations, or unpack the file from its archive again.",
        ) from error
    labels[crowds & (labels == BACKGROUND)] = ignore_index(labels)
    return np.ascontiguousarray(labels)


def _annotations(path: Path, spans: NDArray[np.int64]) -> Iterator[dict[str, Any]]:
    with path.open("rb") as stream:
        for start, length in spans.tolist():
            yield read_element(stream, start, length)


def fill(segmentation: Any, size: Size) -> NDArray[np.bool_]:
    """Return the inside (H, W) of polygons or of run lengths, as pycocotools draws them.

    Raises:
        ValueError: neither, or not of a picture of that size.
    """
    if isinstance(segmentation, list):
        return _fill_polygons(segmentation, size)
    if not isinstance(segmentation, dict) or list(size) != segmentation.get("size"):
        raise ValueError(f"neither polygons nor run lengths of {size[1]} x {size[0]} pixels")
    counts = segmentation["counts"]
    return _inside(_unpacked(counts.encode()) if isinstance(counts, str) else counts, size)


def _inside(counts: Any, size: Size) -> NDArray[np.bool_]:
    """Return the second, fourth ... of runs that go down the columns."""
    runs, area = np.array(counts, np.int64), size[0] * size[1]
    # pycocotools reads beyond its memory where runs do not add up to the picture.
    if runs.ndim != 1 or not ((runs >= 0) & (runs <= area)).all() or runs.sum() != area:
        raise ValueError(f"runs do not add up to {size[1]} x {size[0]} pixels")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(size, order="F")


def _fill_polygons(polygons: list[Any], size: Size) -> NDArray[np.bool_]:
    """Fill polygons; one of fewer than three corners encloses nothing."""
    drawn = []
    for polygon in polygons:
        coordinates = np.array(polygon, np.float64)
        if coordinates.ndim != 1 or coordinates.size % 2:
            raise ValueError("a polygon is not a list of x, y, x, y ...")
        corners = coordinates.reshape(-1, 2)
        # A comparison with NaN is false.
        if len(corners) and not np.abs(corners).max() <= _LARGEST_COORDINATE:
            raise ValueError("coordinates far outside the picture, or no numbers")
        steps = np.abs(corners - np.roll(corners, 1, axis=0)).max(axis=1, initial=0)
        if steps.sum() > _LONGEST_OUTLINE:
            raise ValueError(f"an outline longer than {_LONGEST_OUTLINE:.0f} pixels")
        if len(corners) >= _CORNERS:
            drawn.append(corners.ravel().tolist())
    if not drawn:
        return np.zeros(size, bool, order="F")
    filled = coco_mask.merge(coco_mask.frPyObjects(drawn, *size))
    return _inside(_unpacked(filled["counts"]), size)


def _unpacked(text: bytes) -> list[int]:
    """Return the runs of COCO's compressed form.

    Source: rleFrString of COCO's mask API: numbers in groups of five bits, lowest first, sixth
    bit: more follow; fifth bit of the last: negative; from the fourth number on, the difference
    from the number before the last.
    """
    runs: list[int] = []
    value = shift = 0
    for letter in text:
        bits = letter - 48
        if not 0 <= bits < 64 or shift > 60:
            raise ValueError("damaged run lengths")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        value -= (bits >> 4 & 1) << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return runs
