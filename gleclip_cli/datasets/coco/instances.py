"""Instances in COCO's JSON: which image shows which classes, and where its outlines stand.

An annotated category is an image-level label, however small the object or large the crowd.
Outlines stay in the file until they are drawn.
"""

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.datasets.coco.elements import read_arrays
from gleclip_cli.datasets.integrity import Problem, Size
from gleclip_cli.datasets.vocabulary import Vocabulary
from gleclip_cli.errors import BadInput

_MOST_PIXELS = 2**27
_AGAIN = "Unpack it from its archive again, or mend what made it."


@dataclass(frozen=True, slots=True)
class Annotated:
    """One image and its annotations, in the order of the file.

    `spans`: int64 (n, 2), position and length in bytes of every annotation; `outlined`: whether
    each of them says where its object is; `class_ids`: sorted, 1-based; `size`: (H, W).
    """

    size: Size
    class_ids: tuple[int, ...]
    spans: NDArray[np.int64]
    outlined: bool
    crowded: bool


@dataclass(frozen=True)
class Instances:
    """What one file says: listed images in order, those with annotations, ids of its categories."""

    listed: list[str]
    images: dict[str, Annotated]
    categories: dict[int, int]
    problems: list[Problem]


@dataclass
class _Rows:
    """Columns of a table with one row per annotation."""

    images: "array[int]" = field(default_factory=partial(array, "q"))
    categories: "array[int]" = field(default_factory=partial(array, "q"))
    starts: "array[int]" = field(default_factory=partial(array, "q"))
    lengths: "array[int]" = field(default_factory=partial(array, "q"))
    outlined: "array[int]" = field(default_factory=partial(array, "b"))
    crowds: "array[int]" = field(default_factory=partial(array, "b"))


class _Collector:
    """Takes the elements of a file in; the order of its arrays does not matter."""

    def __init__(self) -> None:
        self.images: dict[int, tuple[str, Size]] = {}
        self.names: dict[int, str] = {}
        self.rows = _Rows()
        self.malformed: dict[str, list[int]] = {"images": [], "annotations": [], "categories": []}

    def image(self, value: Any, start: int, _: int) -> None:
        match value:
            case {"id": int(key), "file_name": str(name), "height": int(h), "width": int(w)} if (
                name and key not in self.images and min(h, w) > 0 and h * w <= _MOST_PIXELS
            ):
                suffix = PurePosixPath(name).suffix
                self.images[key] = name.removesuffix(suffix), (h, w)
            case _:
                self.malformed["images"].append(start)

    def category(self, value: Any, start: int, _: int) -> None:
        match value:
            case {"id": int(key), "name": str(name)} if self.names.setdefault(key, name) == name:
                pass
            case _:
                self.malformed["categories"].append(start)

    def annotation(self, value: Any, start: int, length: int) -> None:
        match value:
            case {"image_id": int(image), "category_id": int(category)} if (
                max(abs(image), abs(category)) < 2**63
            ):
                self.rows.images.append(image)
                self.rows.categories.append(category)
                self.rows.starts.append(start)
                self.rows.lengths.append(length)
                self.rows.outlined.append(bool(value.get("segmentation")))
                self.rows.crowds.append(value.get("iscrowd") == 1)
            case _:
                self.malformed["annotations"].append(start)


def read_instances(path: Path, vocabulary: Vocabulary) -> Instances:
    """Read `instances_*.json`; categories are known by their names.

    Raises:
        BadInput: the file cannot be read, is no JSON, or lacks images, annotations or categories.
    """
    found = _Collector()
    take = {"images": found.image, "annotations": found.annotation, "categories": found.category}
    if missing := sorted(set(take) - read_arrays(path, take)):
        cause = f"{printable(path)} lacks {' and '.join(missing)}: it holds no instances."
        raise BadInput(cause, "Use COCO's instances_*.json, not its captions or key points.")
    categories = {
        key: vocabulary.classes.index(name) + 1
        for key, name in found.names.items()
        if name in vocabulary.classes
    }
    problems = [*_malformed(path, found), *_unknown(path, found, categories, vocabulary)]
    listed = [name for name, _ in found.images.values()]
    return Instances(listed, _group(found, categories), categories, problems)


def _group(found: _Collector, categories: Mapping[int, int]) -> dict[str, Annotated]:
    """Bring the rows of every image together, in the order of the file."""
    rows = found.rows
    owners = np.array(rows.images, np.int64)
    order = np.argsort(owners, kind="stable")
    table = np.unique(owners[order], return_index=True, return_counts=True)
    spans = np.array([rows.starts, rows.lengths], np.int64).T[order]
    groups: dict[str, Annotated] = {}
    for key, start, count in zip(*(column.tolist() for column in table), strict=True):
        if key not in found.images:
            continue
        name, size = found.images[key]
        own = order[start : start + count].tolist()
        class_ids = {categories.get(rows.categories[row], 0) for row in own} - {0}
        groups[name] = Annotated(
            size,
            tuple(sorted(class_ids)),
            spans[start : start + count],
            all(rows.outlined[row] for row in own),
            any(rows.crowds[row] for row in own),
        )
    return groups


def _malformed(path: Path, found: _Collector) -> Iterator[Problem]:
    wanted = {
        "images": "an id of their own, file_name, height and width",
        "annotations": "image_id and category_id",
        "categories": "an id of their own and a name",
    }
    for kind, places in found.malformed.items():
        if places:
            cause = (
                f"{printable(path)}: {len(places)} {kind} lack {wanted[kind]}, "
                f"the first at byte {places[0]}."
            )
            yield Problem(cause, _AGAIN, structural=True, path=printable(path))
    if lost := [key for key in found.rows.images if key not in found.images]:
        first = ", ".join(str(key) for key in sorted(set(lost))[:5])
        cause = f"{printable(path)}: {len(lost)} annotations belong to no image ({first} ...)."
        yield Problem(cause, "List their images too, or remove them.", path=printable(path))


def _unknown(
    path: Path, found: _Collector, categories: Mapping[int, int], vocabulary: Vocabulary
) -> Iterator[Problem]:
    for key, uses in sorted(Counter(found.rows.categories).items()):
        if key in categories:
            continue
        name = found.names.get(key)
        if name is None:
            cause = f"{printable(path)}: {uses} annotations have the unknown category {key}."
            yield Problem(cause, _AGAIN, structural=True, path=printable(path))
            continue
        unknown = f"{printable(name)!r} ({vocabulary.guess(name)})"
        cause = f"{printable(path)} names the unknown class {unknown}."
        remedy = (
            f"Use the class names of the table {vocabulary.name}, "
            "or name a table of your own with --classes."
        )
        yield Problem(cause, remedy, structural=True, path=printable(path))
