"""COCO 2014 or 2017: pictures, labels and masks of train and val, as its files describe them.

Image-level labels are the categories annotated in the instances, crowds too; without instances,
those of a list of labels; never those of masks. Masks are drawn from the instances; without them,
label images are used, in class ids or in COCO's own ids. Images without objects are left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.datasets.coco.instances import read_instances
from gleclip_cli.datasets.coco.label_lists import read_label_list
from gleclip_cli.datasets.coco.layout import ENDINGS, SplitFiles, find_layout
from gleclip_cli.datasets.coco.masks import outline_drawing
from gleclip_cli.datasets.coco.raw_ids import RAW_IDS, count_numberings, raw_drawing
from gleclip_cli.datasets.integrity import Drawing, Picture, Problem, check_case, check_ids
from gleclip_cli.datasets.source import Source
from gleclip_cli.datasets.voc.lists import files_by_name
from gleclip_cli.datasets.vocabulary import Vocabulary, load_vocabulary
from gleclip_cli.errors import BadInput, UsageError

_PROBES = 200  # masks that are opened to tell their numbering


@dataclass
class _Split:
    """What was read of one split: ids that are used, their labels and masks."""

    ids: list[str] = field(default_factory=list)
    labels: dict[str, tuple[int, ...]] = field(default_factory=dict)
    masks: dict[str, Path | Drawing] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    notes: dict[str, int] = field(default_factory=dict)

    def keep(
        self, files: SplitFiles, listed: Sequence[str], labelled: set[str], limit: int | None
    ) -> None:
        """Use the first ids that show something; note how many show nothing."""
        ids, faults = check_ids(files.split, listed)
        self.ids = [name for name in ids if name in labelled][:limit]
        self.problems += faults
        self.notes[f"of {files.split} without objects, left out"] = len(set(ids) - labelled)
        if not self.ids and not self.problems:
            cause = f"The list {printable(files.labels)} names no image with objects."
            raise UsageError(cause, "Fill it or remove it.")


def read_coco(data: Path, classes: Vocabulary | None = None, *, limit: int | None = None) -> Source:
    """Read instances or lists of labels, and find pictures and masks; `limit` ids of every split.

    `classes` takes the place of COCO's own eighty.

    Raises:
        BadInput: no COCO, or a folder or list that cannot be read.
        UsageError: a list names no image.
    """
    vocabulary = classes or load_vocabulary("coco")
    layout = find_layout(data)
    splits: dict[str, list[str]] = {}
    labels: dict[str, Sequence[int]] = {}
    pictures: list[Picture] = []
    problems = list(layout.problems)
    notes = {"of another year beside them, not read": layout.aside}
    for files in layout.splits:
        read = _read_instances if files.labels.suffix == ".json" else _read_list
        found = read(files, vocabulary, limit)
        twice = sorted(set(found.ids) & set(labels))
        problems += [
            Problem(f"{printable(name)} is in train and in val.", "Rename one.", structural=True)
            for name in twice
        ]
        splits[files.split] = found.ids
        labels.update({name: found.labels[name] for name in found.ids})
        own, missing = _find_pictures(files, found)
        pictures += own
        problems += [*found.problems, *missing]
        notes.update(found.notes)
    problems += check_case(labels)
    noted = {note: count for note, count in notes.items() if count}
    return Source(layout.root, vocabulary, splits, labels, pictures, tuple(problems), noted)


def _read_instances(files: SplitFiles, vocabulary: Vocabulary, limit: int | None) -> _Split:
    found = _Split()
    try:
        instances = read_instances(files.labels, vocabulary)
    except BadInput as error:
        path = printable(files.labels)
        found.problems = [Problem(error.cause, error.remedy, structural=True, path=path)]
        return found
    found.problems = instances.problems
    images = instances.images
    found.keep(files, instances.listed, set(images), limit)
    for name in found.ids:
        image = images[name]
        found.labels[name] = image.class_ids
        if image.outlined:
            found.masks[name] = outline_drawing(
                name, files.split, files.labels, image.spans, image.size, instances.categories
            )
    crowded = sum(images[name].crowded for name in found.masks)
    found.notes[f"of {files.split} show crowds, ignored in masks"] = crowded
    bare = len(found.ids) - len(found.masks)
    found.notes[f"of {files.split} have objects without outline, and so no mask"] = bare
    return found


def _read_list(files: SplitFiles, vocabulary: Vocabulary, limit: int | None) -> _Split:
    found = _Split()
    listing = read_label_list(files.labels, vocabulary)
    found.problems = listing.problems
    found.labels = listing.labels
    found.keep(files, listing.listed, set(listing.labels), limit)
    if files.masks:
        _use_label_images(found, files.split, files.masks, len(vocabulary.classes))
    return found


def _use_label_images(found: _Split, split: str, folder: Path, classes: int) -> None:
    """Take the label images of a folder, made contiguous if they are certain to hold raw ids."""
    files = _Files(folder, {".png"})
    masks = {name: paths[0] for name in found.ids if (paths := files.of(name))}
    found.masks.update(masks)
    if classes != len(RAW_IDS):
        return
    # Where no label differs in the two numberings, a mask tells nothing.
    telling = [
        name for name in masks if any(RAW_IDS[label - 1] != label for label in found.labels[name])
    ]
    probed = telling[:: max(1, len(telling) // _PROBES)]
    raw, contiguous = count_numberings((masks[name], found.labels[name]) for name in probed)
    if raw and (contiguous or 2 * raw < len(probed)):
        cause = (
            f"{printable(folder)}: of {len(probed)} masks {raw} hold COCO's own 91 ids, "
            f"{contiguous} hold 1 to 80."
        )
        remedy = "Number all of them alike."
        found.problems.append(Problem(cause, remedy, structural=True, path=printable(folder)))
    elif raw:
        found.masks.update({name: raw_drawing(name, split, path) for name, path in masks.items()})
        found.notes[f"of {split} have masks in COCO's own ids, renumbered 1 to 80"] = len(masks)


def _find_pictures(files: SplitFiles, found: _Split) -> tuple[list[Picture], list[Problem]]:
    images = _Files(files.images, ENDINGS)
    pictures, problems = [], []
    for name in found.ids:
        paths = images.of(name)
        if len(paths) == 1:
            pictures.append(Picture(name, paths[0], {files.split: found.masks.get(name)}))
        elif paths:
            cause = f"{' and '.join(printable(path) for path in paths)} share one id."
            problems.append(Problem(cause, "Keep one of them.", structural=True))
        else:
            cause = f"{printable(files.images / name)}.jpg is missing."
            remedy = f"Add the image, or take it out of {printable(files.labels.name)}."
            problems.append(Problem(cause, remedy, name))
    return pictures, problems


class _Files:
    """Files of a folder by the name of an image, or by its number alone.

    Published folders keep or drop COCO's prefix: COCO_train2014_000000000009, 000000000009.
    """

    def __init__(self, folder: Path, endings: set[str]) -> None:
        self._by_name = files_by_name(folder, endings)

    def of(self, name: str) -> list[Path]:
        """Files of one image."""
        return self._by_name.get(name) or self._by_number.get(_number(name), [])

    @cached_property
    def _by_number(self) -> Mapping[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        for name, paths in self._by_name.items():
            found.setdefault(_number(name), []).extend(paths)
        return found


def _number(name: str) -> str:
    return name.rpartition("_")[2]
