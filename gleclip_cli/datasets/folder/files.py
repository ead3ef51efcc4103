"""An own folder of pictures: which files it holds, and which of them a written name means."""

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

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

    `pictures`: files by image id, which is the path without its ending below `base` (`images/`, or
    nothing), with `/` between folders; `masks`: likewise below the folder of masks, ids in NFC.
    """

    root: Path
    base: str
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
    base, mask_base = _only(root, _PICTURE_FOLDERS), _only(root, _MASK_FOLDERS)
    walk = Walk(root)
    in_masks = [name for name in walk.files if mask_base and name.startswith(mask_base)]
    others = [name for name in walk.files if not (mask_base and name.startswith(mask_base))]
    pictures = _by_id(root, base, [name for name in others if name.startswith(base)])
    if not pictures and walk.problems:
        raise as_error(walk.problems, root)
    if not pictures:
        remedy = f"Put pictures there: {', '.join(sorted(PICTURES))}."
        raise BadInput(f"{printable(root / base)} holds no picture.", remedy)
    masks = {_normal(name): found for name, found in _by_id(root, mask_base, in_masks).items()}
    stray = masks.keys() - {_normal(name) for name in pictures}
    endings = Counter(ending for name in others if (ending := _split(name)[1]) in _UNREAD)
    notes = Counter({f"{ending}, a format that is not read": n for ending, n in endings.items()})
    notes[f"beside {base}, not used"] = sum(
        _split(name)[1] in PICTURES and not name.startswith(base) for name in others
    )
    notes["a mask without a picture"] = len(stray)
    shared = _shared([*pictures.values(), *(masks[name] for name in masks.keys() - stray)])
    return Files(root, base, pictures, masks, (*walk.problems, *shared), +notes)


class Walk:
    """Finds every file below a folder, and what is in the way; each folder is read once.

    `files`: paths below the folder, sorted, with `/` between folders. Links are followed last, so
    that a folder is found under its own name first.
    """

    def __init__(self, root: Path) -> None:
        self.files: list[str] = []
        self.problems: list[Problem] = []
        self._root = root
        self._seen: set[tuple[int, int]] = set()
        self._folders, self._links = [""], list[str]()
        while self._folders or self._links:
            folder = self._folders.pop() if self._folders else self._links.pop(0)
            try:
                self._read(folder)
            except OSError as error:
                self._blame(folder, f"cannot be read: {error.strerror}.", _ALLOW, structural=True)
        self.files.sort()

    def _read(self, folder: str) -> None:
        path = self._root / folder
        status = path.stat()
        if (status.st_dev, status.st_ino) in self._seen:
            self._blame(folder, "leads to a folder that is read already.", "Remove the link.")
            return
        self._seen.add((status.st_dev, status.st_ino))
        if folder and _is_run(path):
            return
        with os.scandir(path) as entries:
            for entry in sorted(entries, key=lambda e: e.name):
                if not entry.name.startswith("."):
                    self._sort_in(entry, f"{folder}{entry.name}")

    def _sort_in(self, entry: "os.DirEntry[str]", name: str) -> None:
        broken = entry.is_symlink() and not (self._root / name).exists()
        if broken and _split(name)[1] not in PICTURES:
            self._blame(name, "is a link that leads nowhere.", "Mend or remove the link.")
        elif broken or not entry.is_dir():
            self.files.append(name)  # a picture that is no file shows when it is opened
        elif entry.is_symlink():
            self._links.append(f"{name}/")
        else:
            self._folders.append(f"{name}/")

    def _blame(self, name: str, cause: str, remedy: str, *, structural: bool = False) -> None:
        where = printable(self._root / name)
        problem = Problem(f"{where} {cause}", remedy, structural=structural, path=where)
        self.problems.append(problem)


class Names:
    """Finds the picture that a label file means.

    A name is, in this order: the path below the data set or below `images/`, that path without
    its ending, the mere file name, the mere file name without its ending.
    """

    def __init__(self, files: Files) -> None:
        self._base = files.base
        self._levels: list[dict[str, tuple[str, ...]]] = [{}, {}, {}, {}]
        for image_id, paths in files.pictures.items():
            bare = image_id.rpartition("/")[2]
            for path in paths:
                ending = path.suffix
                keys = (f"{image_id}{ending}", image_id, f"{bare}{ending}", bare)
                for level, key in zip(self._levels, keys, strict=True):
                    known = level.setdefault(_normal(key).strip(), (image_id,))
                    if image_id not in known:
                        level[_normal(key).strip()] = (*known, image_id)

    def find(self, written: str) -> list[str]:
        """Ids of the pictures that a name may mean, sorted: none, one, or several."""
        plain = _normal(written).strip()
        slashed = plain.replace("\\", "/").removeprefix("./")
        for name in (plain, slashed, slashed.removeprefix(self._base)):
            for level in self._levels:
                if name in level:
                    return sorted(level[name])
        return []


def leads_out(written: str) -> bool:
    """Whether a written name is an absolute path, or climbs out of its folder."""
    absolute = written.startswith(("/", "\\")) or _DRIVE.match(written)
    return bool(absolute) or ".." in re.split(r"[/\\]", written)


def _only(root: Path, names: Sequence[str]) -> str:
    """The one folder of `names` that `root` holds, as `images/`; nothing if it holds none."""
    found = [name for name in names if (root / name).is_dir()]
    if len(found) > 1:
        cause = f"{printable(root)} holds both {' and '.join(names)}."
        raise BadInput(cause, "Rename or remove one of them.")
    return f"{found[0]}/" if found else ""


def _by_id(root: Path, base: str, names: Iterable[str]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = defaultdict(list)
    for name in names:
        bare, ending = _split(name)
        if ending in PICTURES:
            found[bare.removeprefix(base)].append(root / name)
    return dict(found)


def _split(name: str) -> tuple[str, str]:
    """A path without its ending, and the ending in small letters."""
    bare, dot, ending = name.rpartition(".")
    return bare, f"{dot}{ending.lower()}"


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
