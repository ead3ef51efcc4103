"""Where the parts of COCO lie: pictures, instances, lists of labels, masks.

The layouts are those of published code; folders are looked for at, above and a little below the
folder a user named, every part by itself, because they often lie in different places.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.datasets.coco.label_lists import is_label_list
from gleclip_cli.datasets.integrity import Problem
from gleclip_cli.errors import BadInput

SPLITS = ("train", "val")
ENDINGS = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".gif", ".webp"}

_YEARS = ("2014", "2017")
_NAMES = {"coco", "mscoco", "coco14", "coco17", "coco2014", "coco2017", "data"}
_LEVELS = 2
# s: split, y: year; a folder that serves both splits comes last.
_IMAGES = ("{s}{y}", "images/{s}{y}", "JPEGImages/{s}{y}", "JPEGImages/{s}", "images/{s}")
_SHARED_IMAGES = ("images", "JPEGImages")
_MASKS = (
    "SegmentationClass/{s}{y}",
    "SegmentationClass/{s}",
    "mask/{s}{y}",
    "mask/{s}",
    "SegmentationClass",
    "mask",
    "voc_format/class_labels",
)
_INSTANCES = ("annotations/instances_{s}{y}.json", "instances_{s}{y}.json")
_LISTS = (".", "annotations", "imagesLists", "voc_format", "ImageSets", "ImageSets/Segmentation")
_LIST_NAME = r"(coco(14|17)?_)?{s}({y})?(_labels)?\.txt(\.gz)?"


@dataclass(frozen=True)
class SplitFiles:
    """Where one split lies; `labels` is its instances (.json) or its list of labels."""

    split: str
    images: Path
    labels: Path
    masks: Path | None


@dataclass(frozen=True)
class Layout:
    """What was found; `aside` counts pictures of another year that are not read."""

    root: Path
    splits: list[SplitFiles]
    problems: list[Problem]
    aside: int = 0


def find_layout(data: Path) -> Layout:
    """Find COCO of one year; 2014, that of the literature, comes before 2017.

    Raises:
        BadInput: in no year a split has pictures and labels.
    """
    places = list(_places(data.absolute()))
    found = [layout for year in _YEARS if (layout := _of_year(places, year)).splits]
    if found:
        first, *others = found
        # Without a year in their names, the same pictures are found twice.
        taken = {files.images for files in first.splits}
        aside = {files.images for layout in others for files in layout.splits} - taken
        count = sum(1 for folder in aside for _ in _entries(folder))
        return Layout(first.root, first.splits, first.problems, count)
    state = "holds no COCO with labels" if data.is_dir() else "is no folder"
    raise BadInput(
        f"{printable(data)} {state}.",
        "Name the folder of train2014, val2014 and annotations/instances_*2014.json with --data.",
    )


def _places(data: Path) -> Iterator[Path]:
    yield data
    if data.name.casefold() in _NAMES and data.parent.name.casefold() in _NAMES:
        yield data.parent
    level = [data] if data.is_dir() else []
    for _ in range(_LEVELS):
        level = [
            child
            for folder in level
            for child in sorted(_entries(folder))
            if child.name.casefold() in _NAMES and child.is_dir()
        ]
        yield from level


def _entries(folder: Path) -> Iterator[Path]:
    try:
        yield from folder.iterdir()
    except OSError as error:
        cause = f"{printable(folder)} cannot be read: {error.strerror}."
        raise BadInput(cause, "Give yourself the permission to read it.") from error


def _of_year(places: list[Path], year: str) -> Layout:
    layout = Layout(places[0], [], [])
    for split in SPLITS:
        images = _first_folder(places, _IMAGES, split, year, ENDINGS)
        shared = images or _first_folder(places, _SHARED_IMAGES, split, year, ENDINGS)
        instances = next(filter(Path.is_file, _paths(places, _INSTANCES, split, year)), None)
        labels = instances or _find_list(places, split, year)
        if shared and labels:
            masks = _first_folder(places, _MASKS, split, year, {".png"})
            layout.splits.append(SplitFiles(split, shared, labels, masks))
        elif images:
            cause = f"{printable(images)} has neither instances_{split}{year}.json nor labels."
            remedy = f"Unpack COCO's annotations into {printable(places[0] / 'annotations')}."
            layout.problems.append(Problem(cause, remedy, path=printable(images)))
        elif labels:
            cause = f"{printable(labels)} has no folder of pictures {split}{year}."
            layout.problems.append(
                Problem(cause, "Unpack the pictures beside it.", path=printable(labels))
            )
    return layout


def _paths(places: Iterable[Path], patterns: Iterable[str], s: str, y: str) -> Iterator[Path]:
    for pattern in patterns:
        for place in places:
            yield place / pattern.format(s=s, y=y)


def _first_folder(
    places: list[Path], patterns: Iterable[str], split: str, year: str, endings: set[str]
) -> Path | None:
    """Return the first folder that holds files of its own, not folders only."""
    for folder in _paths(places, patterns, split, year):
        if folder.is_dir() and any(p.suffix.lower() in endings for p in _entries(folder)):
            return folder
    return None


def _find_list(places: Iterable[Path], split: str, year: str) -> Path | None:
    name = re.compile(_LIST_NAME.format(s=split, y=year))
    for place in places:
        for folder in _LISTS:
            if (place / folder).is_dir():
                files = sorted(p for p in _entries(place / folder) if name.fullmatch(p.name))
                if found := next(filter(is_label_list, files), None):
                    return found
    return None
