"""labelme: a JSON per picture with polygons; a hole is joined to its outline by a slit.

`imagePath` leads from the JSON to the picture. Polygons are filled at the centres of pixels;
labelme's own tools also fill the pixels that an outline touches.
"""

import base64
import binascii
import json
import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gleclip_cli.artifacts.atomic import write_text
from gleclip_cli.artifacts.json_files import read_json
from gleclip_cli.artifacts.labels import Labels, ignore_index, label_dtype
from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.datasets.coco.masks import fill
from gleclip_cli.datasets.vocabulary import BACKGROUND, Vocabulary
from gleclip_cli.errors import BadInput
from gleclip_cli.interop.masked import Masked, Stored, class_id, path_of, regions
from gleclip_cli.interop.outlines import polygons
from gleclip_cli.interop.pngs import decoded

_VERSION = "5.5.0"
_IGNORED, _BACKGROUND = "__ignore__", "_background_"
_MOST_PIXELS = 2**27
_AGAIN = "Open it in labelme and save it again."


def write_labelme(
    out: Path, place: Path, masks: Iterable[Masked], vocabulary: Vocabulary, *, simplify: float
) -> int:
    """Write the folder `out`, which will stand at `place`; return the number of polygons.

    `simplify`: by how many pixels an outline may be moved.
    """
    written = 0
    for masked in masks:
        shapes = [
            _shape(name, ring.tolist())
            for name, inside in _named(masked, vocabulary)
            for ring in polygons(inside, simplify)
        ]
        path = path_of(masked.image_id, ".json")
        height, width = masked.labels.shape
        content = {
            "version": _VERSION,
            "flags": {},
            "shapes": shapes,
            "imagePath": os.path.relpath(masked.image.absolute(), (place / path).absolute().parent),
            "imageData": None,
            "imageHeight": height,
            "imageWidth": width,
        }
        write_text(out / path, json.dumps(content) + "\n")
        written += len(shapes)
    return written


def read_labelme(folder: Path, vocabulary: Vocabulary) -> dict[str, Stored]:
    """Find the masks of a folder by name of picture, which is that of the JSON."""
    found = {}
    for path in sorted(folder.rglob("*.json")):
        name = path.relative_to(folder).with_suffix("").as_posix()
        found[name] = Stored(path, partial(_draw, path, vocabulary))
    return found


def _named(masked: Masked, vocabulary: Vocabulary) -> Iterable[tuple[str, NDArray[np.bool_]]]:
    for value, inside in regions(masked):
        yield vocabulary.class_names[value], inside
    ignored = masked.labels == ignore_index(masked.labels)
    if ignored.any():
        yield _IGNORED, ignored


def _shape(name: str, points: list[list[int]]) -> dict[str, Any]:
    shape = {"label": name, "points": points, "shape_type": "polygon"}
    return {**shape, "group_id": None, "description": "", "flags": {}, "mask": None}


def _draw(path: Path, vocabulary: Vocabulary) -> Labels:
    content = read_json(path)
    dtype = label_dtype(len(vocabulary.class_names))
    try:
        size = int(content["imageHeight"]), int(content["imageWidth"])
        if not 0 < size[0] * size[1] <= _MOST_PIXELS or min(size) < 1:
            raise ValueError(f"{size[1]} x {size[0]} pixels")
        labels = np.full(size, BACKGROUND, dtype)
        for shape in content["shapes"]:
            inside = _inside(shape, size, printable(path))
            labels[inside] = _value(str(shape["label"]), labels, vocabulary, path)
    except (KeyError, ValueError, TypeError, OverflowError, binascii.Error) as error:
        cause = f"{printable(path)} cannot be drawn: {printable(error)}."
        raise BadInput(cause, _AGAIN) from error
    return labels


def _value(name: str, labels: Labels, vocabulary: Vocabulary, path: Path) -> int:
    if name in vocabulary.class_names:
        return vocabulary.class_names.index(name)
    special = {_IGNORED: ignore_index(labels), _BACKGROUND: BACKGROUND}
    return special[name] if name in special else class_id(vocabulary, name, path)


def _inside(shape: dict[str, Any], size: tuple[int, int], where: str) -> NDArray[np.bool_]:
    """Return the pixels (H, W) of a polygon, a rectangle or a mask."""
    kind, points = shape.get("shape_type") or "polygon", shape["points"]
    if kind == "polygon":
        return fill([np.array(points, np.float64).ravel().tolist()], size)
    if kind not in ("rectangle", "mask"):
        raise ValueError(f"a shape is a {kind}, not a polygon, rectangle or mask")
    (left, top), (right, bottom) = np.sort(np.array(points, np.float64).reshape(2, 2), axis=0)
    if kind == "rectangle":
        return fill([[left, top, right, top, right, bottom, left, bottom]], size)
    part = np.array(decoded(base64.b64decode(shape["mask"]), where).convert("L")) > 0
    inside = np.zeros(size, bool)
    place = inside[round(top) :, round(left) :][: part.shape[0], : part.shape[1]]
    place |= part[: place.shape[0], : place.shape[1]]
    return inside
