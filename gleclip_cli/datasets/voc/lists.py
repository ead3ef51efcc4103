"""The VOC2012 layout: where it lies, and which images its splits name.

train, val and test are the lists in `ImageSets/Segmentation`; trainaug is a list there or beside
the data set, else every file of `SegmentationClassAug`, else every file of SBD and of train, that
is not in val.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.datasets.integrity import Problem, check_case, check_ids
from gleclip_cli.datasets.voc.sbd import find_sbd
from gleclip_cli.errors import BadInput, UsageError

SPLITS = ("train", "val", "trainaug", "test")

_PARENTS = ("", "data", "VOC", "voc12", "TrainVal")
_ROOTS = ("", "VOC2012", "VOCdevkit/VOC2012")
_LISTS = "ImageSets/Segmentation"
_TRAINAUG_NAMES = ("trainaug.txt", "train_aug.txt", "train_aug_id.txt")
_ALLOW = "Give yourself the permission to read it."
# Lists of pairs, "/JPEGImages/<id>.jpg /SegmentationClassAug/<id>.png", are common beside VOC.
_PAIR = re.compile(r"/?JPEGImages/(?P<id>.+?)\.jpg(\s+\S.*)?", re.IGNORECASE)


@dataclass(frozen=True)
class Listing:
    """Which images a data set names: usable ids by split, sorted, and faults of the lists.

    `sbd` is the folder of SBD's masks and `cls_labels` the file of image-level labels that peers
    pass on, if they lie beside the data set.
    """

    root: Path
    sbd: Path | None
    cls_labels: Path | None
    splits: dict[str, list[str]]
    problems: tuple[Problem, ...]

    @property
    def image_ids(self) -> list[str]:
        """Ids of all splits, sorted, each once."""
        return sorted(set().union(*self.splits.values()))


def list_images(data: Path, *, limit: int | None = None) -> Listing:
    """Find a data set and read its lists; `limit` keeps the first ids of every split.

    Raises:
        BadInput: no VOC2012, no lists, or lists and folders that cannot be read.
        UsageError: a list names no image.
    """
    root = find_root(data).absolute()
    around = [root, root.parent, root.parent.parent, data.absolute(), data.absolute() / "voc12"]
    sbd = find_sbd(around)
    tables = (folder / "cls_labels.npy" for folder in around)
    cls_labels = next((table for table in tables if table.is_file()), None)
    problems: list[Problem] = []
    splits: dict[str, list[str]] = {}
    for split, listed in read_splits(root, data, sbd).items():
        ids, faults = check_ids(split, listed)
        splits[split] = ids[:limit]
        problems += faults
    problems += check_case(set().union(*splits.values()))
    return Listing(root, sbd, cls_labels, splits, tuple(problems))


def find_root(data: Path) -> Path:
    """Find `VOC2012` at, or not far below, the folder a user named.

    Raises:
        BadInput: no folder `JPEGImages` in any of the usual places.
    """
    for parent in _PARENTS:
        for root in _ROOTS:
            if (data / parent / root / "JPEGImages").is_dir():
                return data / parent / root
    state = "holds no VOC2012" if data.is_dir() else "is no folder"
    raise BadInput(
        f"{printable(data)} {state}.",
        "Name VOCdevkit, VOC2012 (the folder of JPEGImages) or their parent with --data.",
    )


def read_list(path: Path) -> list[str]:
    """Ids of a list, as written; byte order mark, CRLF, blank lines and outer spaces are dropped.

    Raises:
        UsageError: the list names no image.
        BadInput: it cannot be read.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise BadInput(f"{printable(path)} cannot be read: {error.strerror}.", _ALLOW) from error
    lines = [line.strip() for line in text.replace("\r", "\n").split("\n")]
    ids = [pair["id"] if (pair := _PAIR.fullmatch(line)) else line for line in lines if line]
    if not ids:
        raise UsageError(f"The list {printable(path)} names no image.", "Fill it or remove it.")
    return ids


def read_splits(root: Path, data: Path, sbd: Path | None = None) -> dict[str, list[str]]:
    """Ids of every split that the data set has, as listed.

    Raises:
        BadInput: there is no list at all.
        UsageError: a list names no image.
    """
    folder = root / _LISTS
    splits = {
        split: read_list(folder / f"{split}.txt")
        for split in SPLITS
        if (folder / f"{split}.txt").is_file()
    }
    if "trainaug" not in splits and (ids := _trainaug(root, data, sbd, splits)):
        splits["trainaug"] = ids
    if not splits:
        raise BadInput(
            f"{printable(folder)} holds no list of images.",
            f"Put {', '.join(f'{split}.txt' for split in SPLITS[:2])} there, one id per line.",
        )
    return splits


def _trainaug(
    root: Path, data: Path, sbd: Path | None, splits: Mapping[str, Sequence[str]]
) -> list[str]:
    for folder in (root / _LISTS, root, root.parent, data, data / "voc12"):
        for name in _TRAINAUG_NAMES:
            if (folder / name).is_file():
                return read_list(folder / name)
    ids = set(files_by_name(root / "SegmentationClassAug", {".png"}))
    if sbd and not ids:
        ids = set(files_by_name(sbd, {".mat"})) | set(splits.get("train", ()))
    return sorted(ids - set(splits.get("val", ())))


def files_by_name(folder: Path, endings: set[str]) -> dict[str, list[Path]]:
    """Files of a folder by name without ending; an absent folder has none."""
    found: dict[str, list[Path]] = {}
    try:
        paths = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise BadInput(f"{printable(folder)} cannot be read: {error.strerror}.", _ALLOW) from error
    for path in paths:
        if path.suffix.lower() in endings:
            found.setdefault(path.stem, []).append(path)
    return found
