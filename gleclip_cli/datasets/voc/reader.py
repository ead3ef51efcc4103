"""The VOC2012 layout: pictures, labels and masks of every split, as its files describe them.

Image-level labels are the objects listed in `Annotations` (difficult and truncated ones too), or
without that folder those of `cls_labels.npy`; never masks. Masks of train and val come from
`SegmentationClass`; those of trainaug from `SegmentationClassAug`, else from `SegmentationClass`,
else from SBD, whose borders are coarser. Without masks everything but scoring works.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.datasets.integrity import Drawing, Picture, Problem
from gleclip_cli.datasets.source import Source
from gleclip_cli.datasets.voc.annotation import read_object_names
from gleclip_cli.datasets.voc.cls_labels import read_cls_labels
from gleclip_cli.datasets.voc.lists import Listing, files_by_name, list_images
from gleclip_cli.datasets.voc.sbd import sbd_drawing
from gleclip_cli.datasets.vocabulary import Vocabulary, load_vocabulary
from gleclip_cli.errors import BadInput

_ADD = "Add the annotation, or take the id off."
_SBD = "SBD"
_MASKS: dict[str, tuple[str, ...]] = {
    "train": ("SegmentationClass",),
    "val": ("SegmentationClass",),
    "trainaug": ("SegmentationClassAug", "SegmentationClass", _SBD),
}
_ENDINGS = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".gif", ".webp"}


def read_voc(data: Path, classes: Vocabulary | None = None, *, limit: int | None = None) -> Source:
    """Read the lists, annotations and folders of a VOC2012; `limit` ids of every split at most.

    `classes` takes the place of VOC's own twenty.

    Raises:
        BadInput: no VOC2012, no lists, or a folder that cannot be read.
        UsageError: a list names no image.
    """
    vocabulary = classes or load_vocabulary("voc")
    listing = list_images(data, limit=limit)
    names = listing.image_ids
    labels, unlabelled = _read_labels(listing, names, vocabulary)
    pictures, missing = _find_pictures(listing, names)
    problems = (*listing.problems, *unlabelled, *missing)
    return Source(listing.root, vocabulary, listing.splits, labels, pictures, problems)


def _read_labels(
    listing: Listing, names: Sequence[str], vocabulary: Vocabulary
) -> tuple[dict[str, list[int]], list[Problem]]:
    """Class ids of every image; only images of the test split may lack an annotation."""
    folder = listing.root / "Annotations"
    needed = {name for split, ids in listing.splits.items() if split != "test" for name in ids}
    if not folder.is_dir() and listing.cls_labels:
        known = read_cls_labels(listing.cls_labels, len(vocabulary.classes))
        where = printable(listing.cls_labels)
        lost = sorted(needed - set(known))
        problems = [Problem(f"{where} has no labels of {printable(n)}.", _ADD, n) for n in lost]
        return {name: known[name] for name in names if name in known}, problems
    if needed and not folder.is_dir():
        remedy = "Unpack the annotations too: image-level labels are read from them."
        return {}, [Problem(f"{printable(folder)} is missing.", remedy, structural=True)]
    present = files_by_name(folder, {".xml"})
    labels: dict[str, list[int]] = {}
    problems = []
    for name in names:
        if name in present:
            labels[name], faults = _labels_of(name, present[name][0], vocabulary)
            problems += faults
        elif name in needed:
            cause = f"{printable(folder / name)}.xml is missing."
            problems.append(Problem(cause, _ADD, name))
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
        named = f"{printable(unknown)!r} ({vocabulary.guess(unknown)})"
        cause = f"{printable(path)} names the unknown class {named}."
        remedy = f"Use the class names of the table {vocabulary.name}."
        problems.append(Problem(cause, remedy, image_id))
    return [i for i, name in enumerate(vocabulary.classes, 1) if name in names], problems


def _find_pictures(listing: Listing, names: Sequence[str]) -> tuple[list[Picture], list[Problem]]:
    """Pair ids with files by one look into every folder."""
    root, splits = listing.root, listing.splits
    images = files_by_name(root / "JPEGImages", _ENDINGS)
    masks = {
        folder: files_by_name(root / folder, {".png"})
        for folder in ("SegmentationClass", "SegmentationClassAug")
    }
    masks[_SBD] = files_by_name(listing.sbd, {".mat"}) if listing.sbd else {}
    members = {split: set(ids) for split, ids in splits.items()}
    pictures, problems = [], []
    for name in names:
        files = images.get(name, [])
        if len(files) == 1:
            own = {
                split: _mask(f for folder in folders for f in masks[folder].get(name, ()))
                for split, folders in _MASKS.items()
                if name in members.get(split, ())
            }
            pictures.append(Picture(name, files[0], own))
        elif files:
            cause = f"{' and '.join(printable(file) for file in files)} share one id."
            problems.append(Problem(cause, "Keep one of them.", structural=True))
        else:
            cause = f"{printable(root / 'JPEGImages' / name)}.jpg is missing."
            problems.append(Problem(cause, "Add the image, or take the id off the lists.", name))
    return pictures, problems


def _mask(files: Iterable[Path]) -> Path | Drawing | None:
    """Return the first mask; MATLAB files are drawn."""
    path = next(iter(files), None)
    return sbd_drawing(path) if path and path.suffix.lower() == ".mat" else path
