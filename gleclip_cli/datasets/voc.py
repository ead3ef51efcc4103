"""The VOC2012 layout: pictures, labels and masks of every split, read and verified.

Image-level labels are the objects listed in `Annotations` (difficult and truncated ones too),
never masks. Masks come from `SegmentationClassAug` for trainaug, from `SegmentationClass` for
train and val; without them everything but scoring works.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.artifacts.tables import ImageRecord
from gleclip_cli.datasets import integrity
from gleclip_cli.datasets.integrity import Checked, Picture, Problem
from gleclip_cli.datasets.voc_annotation import read_object_names
from gleclip_cli.datasets.voc_lists import Listing, files_by_name
from gleclip_cli.datasets.vocabulary import Vocabulary
from gleclip_cli.errors import BadInput
from gleclip_cli.progress import SILENT, Progress

_MASKS = {
    "train": "SegmentationClass",
    "val": "SegmentationClass",
    "trainaug": "SegmentationClassAug",
}
_ENDINGS = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".gif", ".webp"}


@dataclass(frozen=True)
class VocIndex:
    """What a data set holds: per split the good ids, their labels (1-based ids) and files.

    `problems` are the faults found; images named by them stand in no split.
    `notes` counts what was odd about image files that are used all the same.
    """

    root: Path
    labels: dict[str, dict[str, list[int]]]
    records: dict[str, dict[str, ImageRecord]]
    problems: tuple[Problem, ...]
    notes: Counter[str]

    @property
    def fingerprints(self) -> dict[str, str]:
        """Id of every good image -> SHA-256 of its file."""
        return {n: record.sha256 for table in self.records.values() for n, record in table.items()}

    @property
    def counts(self) -> dict[str, int]:
        """Different images, those that list no object (test aside); images and masks by split."""
        tables = [table for split, table in self.labels.items() if split != "test"]
        empty = {name for table in tables for name, ids in table.items() if not ids}
        images = set().union(*self.records.values())
        counts = {"images": len(images), "without_objects": len(empty)}
        for split, table in self.records.items():
            counts[split] = len(table)
            counts[f"{split}_masks"] = sum(record.mask is not None for record in table.values())
        return counts


def index_voc(
    listing: Listing, vocabulary: Vocabulary, *, workers: int = 0, progress: Progress = SILENT
) -> VocIndex:
    """Read and verify everything that is listed; faults are collected, not raised.

    Raises:
        BadInput: a folder cannot be read.
    """
    names = listing.image_ids
    labels, unlabelled = _read_labels(listing, names, vocabulary)
    pictures, missing = _find_pictures(listing, names)
    checked = integrity.in_threads(
        lambda picture: integrity.check_picture(picture, len(vocabulary.classes)),
        pictures,
        workers=workers,
        progress=progress,
        label="Checking images",
    )
    faults = [problem for one in checked for problem in one.problems]
    return _assemble(listing, labels, checked, [*listing.problems, *unlabelled, *missing, *faults])


def _read_labels(
    listing: Listing, names: Sequence[str], vocabulary: Vocabulary
) -> tuple[dict[str, list[int]], list[Problem]]:
    """Class ids of every image; only images of the test split may lack an annotation."""
    folder = listing.root / "Annotations"
    needed = {name for split, ids in listing.splits.items() if split != "test" for name in ids}
    if needed and not folder.is_dir():
        remedy = "Unpack the annotations too: image-level labels are read from them."
        return {}, [Problem(f"{printable(folder)} is missing.", remedy, structural=True)]
    present = files_by_name(folder, {".xml"})
    labels: dict[str, list[int]] = {}
    problems: list[Problem] = []
    for name in names:
        if name in present:
            labels[name], faults = _labels_of(name, present[name][0], vocabulary)
            problems += faults
        elif name in needed:
            cause = f"{printable(folder / name)}.xml is missing."
            problems.append(Problem(cause, "Add the annotation, or take the id off.", name))
    return labels, problems


def _labels_of(
    image_id: str, path: Path, vocabulary: Vocabulary
) -> tuple[list[int], list[Problem]]:
    try:
        names = set(read_object_names(path))
    except BadInput as error:
        return [], [Problem(error.cause, error.remedy, image_id)]
    problems = []
    for unknown in sorted(names - set(vocabulary.classes)):
        near = " or ".join(vocabulary.near(unknown)) or "none is near"
        cause = f"{printable(path)} names the unknown class {printable(unknown)!r} ({near}?)."
        remedy = f"Use the class names of the table {vocabulary.name}."
        problems.append(Problem(cause, remedy, image_id))
    return [i for i, name in enumerate(vocabulary.classes, 1) if name in names], problems


def _find_pictures(listing: Listing, names: Sequence[str]) -> tuple[list[Picture], list[Problem]]:
    """Pair ids with files by one look into every folder."""
    root, splits = listing.root, listing.splits
    images = files_by_name(root / "JPEGImages", _ENDINGS)
    folders = {folder: files_by_name(root / folder, {".png"}) for folder in set(_MASKS.values())}
    members = {split: set(ids) for split, ids in splits.items()}
    pictures, problems = [], []
    for name in names:
        files = images.get(name, [])
        if len(files) == 1:
            masks = {
                split: next(iter(folders[folder].get(name, [])), None)
                for split, folder in _MASKS.items()
                if name in members.get(split, ())
            }
            pictures.append(Picture(name, files[0], masks))
        elif files:
            cause = f"{' and '.join(printable(file) for file in files)} share one id."
            problems.append(Problem(cause, "Keep one of them.", structural=True))
        else:
            cause = f"{printable(root / 'JPEGImages' / name)}.jpg is missing."
            problems.append(Problem(cause, "Add the image, or take the id off the lists.", name))
    return pictures, problems


def _assemble(
    listing: Listing,
    labels: Mapping[str, list[int]],
    checked: Sequence[Checked],
    problems: Sequence[Problem],
) -> VocIndex:
    splits = listing.splits
    bad = {problem.image_id for problem in problems}
    good = {c.picture.image_id: c for c in checked if c.picture.image_id not in bad}
    notes = Counter(note for one in good.values() for note in one.notes)
    for split in ("train", "trainaug"):
        if shared := set(splits.get(split, ())).intersection(splits.get("val", ())):
            notes[f"in {split} and in val"] = len(shared)
    records = {
        split: {
            name: ImageRecord(
                image=one.picture.image,
                mask=one.picture.masks.get(split),
                size=one.size,
                sha256=one.sha256,
            )
            for name in ids
            if (one := good.get(name))
        }
        for split, ids in splits.items()
    }
    return VocIndex(
        root=listing.root,
        labels={s: {name: labels.get(name, []) for name in of} for s, of in records.items()},
        records=records,
        problems=tuple(problems),
        notes=notes,
    )
