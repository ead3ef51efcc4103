"""An own folder of pictures: which files it holds, and which of them a written name means."""

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from gleclip_cli.artifacts.manifest import SETTINGS_FILE
from gleclip_cli.artifacts.run_dir import RunDir, printable
from gleclip_cli.datasets.integrity import Problem, as_error
from gleclip_cli.errors import BadInput

PICTURES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".gif", ".webp"}
_UNREAD = {".heic", ".heif", ".avif", ".jxl", ".jp2", ".psd", ".dng", ".cr2", ".nef", ".arw"}
_PICTURE_FOLDERS = ("images", "JPEGImages")
_MASK_FOLDERS = ("masks", "SegmentationClass")
_ALLOW = "Give yourself the permission to read it."
_DRIVE = re.compile(r"[A-Za-z]:[/\\]")


@dataclass(frozen=True)
class Files:
    """Pictures and masks of a folder.

    `pictures`: files by image id, which is the path below `base` without its ending, with `/`
    between folders; `masks`: likewise below the folder of masks, ids normalised to NFC.
    """

    root: Path
    base: Path
    pictures: Mapping[str, Sequence[Path]]
    masks: Mapping[str, Sequence[Path]]
    problems: tuple[Problem, ...]
    notes: Mapping[str, int]

    def mask(self, image_id: str) -> Path | None:
        """The mask of a picture; of several (a fault), the first."""
        return next(iter(self.masks.get(_normal(image_id), ())), None)


def find_files(root: Path) -> Files:
    """Look for pictures in `images/` or `JPEGImages/`, without them everywhere below `root`.

    Masks lie in `masks/` or `SegmentationClass/`. Hidden files and runs are left out.

    Raises:
        BadInput: no folder, no picture in it, or two folders for one purpose.
    """
    if not root.is_dir():
        raise BadInput(f"{printable(root)} is no folder.", "Name your folder with --data.")
    base = _only(root, _PICTURE_FOLDERS) or root
    mask_base = _only(root, _MASK_FOLDERS)
    walk = _Walk(root)
    in_masks = [path for path in walk.files if mask_base and path.is_relative_to(mask_base)]
    others = [path for path in walk.files if not (mask_base and path.is_relative_to(mask_base))]
    pictures = _by_id((path for path in others if path.is_relative_to(base)), base)
    if not pictures and walk.problems:
        raise as_error(walk.problems, base)
    if not pictures:
        remedy = f"Put pictures there: {', '.join(sorted(PICTURES))}."
        raise BadInput(f"{printable(base)} holds no picture.", remedy)
    masks = {_normal(name): found for name, found in _by_id(in_masks, mask_base or root).items()}
    stray = masks.keys() - {_normal(name) for name in pictures}
    notes = Counter(
        f"{path.suffix.lower()}, a format that is not read"
        for path in others
        if path.suffix.lower() in _UNREAD
    )
    notes[f"beside {base.name}/, not used"] = sum(
        path.suffix.lower() in PICTURES and not path.is_relative_to(base) for path in others
    )
    notes["a mask without a picture"] = len(stray)
    shared = _shared([*pictures.values(), *(masks[name] for name in masks.keys() - stray)])
    return Files(root, base, pictures, masks, (*walk.problems, *shared), +notes)


class _Walk:
    """Finds every file below a folder, and what is in the way; each folder is read once.

    Links are followed last, so that a folder is found under its own name first.
    """

    def __init__(self, root: Path) -> None:
        self.files: list[Path] = []
        self.problems: list[Problem] = []
        self._root = root
        self._seen: set[tuple[int, int]] = set()
        self._folders, self._links = [root], list[Path]()
        while self._folders or self._links:
            folder = self._folders.pop() if self._folders else self._links.pop(0)
            try:
                self._read(folder)
            except OSError as error:
                self._blame(folder, f"cannot be read: {error.strerror}.", _ALLOW, structural=True)

    def _read(self, folder: Path) -> None:
        status = folder.stat()
        if (status.st_dev, status.st_ino) in self._seen:
            self._blame(folder, "leads to a folder that is read already.", "Remove the link.")
            return
        self._seen.add((status.st_dev, status.st_ino))
        if folder != self._root and _is_run(folder):
            return
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda e: e.name):
                if not entry.name.startswith("."):
                    self._sort_in(entry, folder / entry.name)

    def _sort_in(self, entry: "os.DirEntry[str]", path: Path) -> None:
        broken = entry.is_symlink() and not path.exists()
        if broken and path.suffix.lower() not in PICTURES:
            self._blame(path, "is a link that leads nowhere.", "Mend or remove the link.")
        elif broken or not entry.is_dir():
            self.files.append(path)  # a picture that is no file shows when it is opened
        elif entry.is_symlink():
            self._links.append(path)
        else:
            self._folders.append(path)

    def _blame(self, path: Path, cause: str, remedy: str, *, structural: bool = False) -> None:
        where = printable(path)
        problem = Problem(f"{where} {cause}", remedy, structural=structural, path=where)
        self.problems.append(problem)


class Names:
    """Finds the picture that a label file means.

    A name is, in this order: the path below the data set or below `images/`, that path without
    its ending, the mere file name, the mere file name without its ending.
    """

    def __init__(self, files: Files) -> None:
        self._levels: list[dict[str, set[str]]] = [defaultdict(set) for _ in range(4)]
        for image_id, paths in files.pictures.items():
            for path in paths:
                for place in (path.relative_to(files.root), path.relative_to(files.base)):
                    self._add(image_id, place)

    def _add(self, image_id: str, place: PurePath) -> None:
        keys = (place.as_posix(), place.with_suffix("").as_posix(), place.name, place.stem)
        for level, key in zip(self._levels, keys, strict=True):
            level[_normal(key).strip()].add(image_id)

    def find(self, written: str) -> list[str]:
        """Ids of the pictures that a name may mean, sorted: none, one, or several."""
        plain = _normal(written).strip()
        for name in (plain, plain.replace("\\", "/").removeprefix("./")):
            for level in self._levels:
                if name in level:
                    return sorted(level[name])
        return []


def leads_out(written: str) -> bool:
    """Whether a written name is an absolute path, or climbs out of its folder."""
    absolute = written.startswith(("/", "\\")) or _DRIVE.match(written)
    return bool(absolute) or ".." in re.split(r"[/\\]", written)


def _only(root: Path, names: Sequence[str]) -> Path | None:
    """The one folder of `names` that `root` holds, if it holds any."""
    found = [root / name for name in names if (root / name).is_dir()]
    if len(found) > 1:
        raise BadInput(
            f"{printable(root)} holds both {' and '.join(names)}.", "Rename or remove one of them."
        )
    return found[0] if found else None


def _by_id(paths: Iterable[Path], base: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        if path.suffix.lower() in PICTURES:
            found[path.relative_to(base).with_suffix("").as_posix()].append(path)
    return dict(found)


def _shared(groups: Iterable[Sequence[Path]]) -> list[Problem]:
    return [
        Problem(
            f"{' and '.join(printable(path) for path in group)} share one id.",
            "Rename one of them.",
            structural=True,
            path=printable(group[0]),
        )
        for group in groups
        if len(group) > 1
    ]


def _is_run(folder: Path) -> bool:
    return (RunDir(folder).output("prepare_data") / SETTINGS_FILE).is_file()


def _normal(name: str) -> str:
    # Composed and decomposed accents are the same name to people, and to some file systems.
    return unicodedata.normalize("NFC", name)
