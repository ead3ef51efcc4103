"""Masks that were corrected elsewhere, and the pictures of a data set they belong to.

What they are is told by the path: a .zip is CVAT's, a .json that begins with [ Label Studio's, any
other .json COCO's, a folder with .json in it labelme's, and one without holds PNG masks.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from urllib.parse import unquote

from gleclip_cli.artifacts.lines import sha256_of
from gleclip_cli.artifacts.run_dir import printable, safe_name
from gleclip_cli.config import PrepareDataConfig
from gleclip_cli.datasets.integrity import Drawing, Picture, Problem
from gleclip_cli.datasets.readers import read_source
from gleclip_cli.datasets.source import Source
from gleclip_cli.datasets.vocabulary import Vocabulary
from gleclip_cli.errors import BadInput
from gleclip_cli.interop.coco_json import read_coco
from gleclip_cli.interop.cvat import read_cvat
from gleclip_cli.interop.label_studio import read_label_studio
from gleclip_cli.interop.labelme import read_labelme
from gleclip_cli.interop.masked import Stored
from gleclip_cli.progress import SILENT, Progress, counted

_FOLDER = Path("given")
_FORMS = "Name CVAT's .zip, COCO's or Label Studio's .json, or a folder of labelme's or of PNGs."


def read_with_masks(config: PrepareDataConfig, *, progress: Progress = SILENT) -> Source:
    """Read a data set, with the masks that were given for it.

    Raises:
        BadInput: as `read_source` and `with_given_masks`.
        UsageError: as `read_source`.
    """
    return with_given_masks(read_source(config), config.masks, progress=progress)


def with_given_masks(source: Source, masks: str, *, progress: Progress = SILENT) -> Source:
    """Give pictures the masks that `masks`, if named, holds for them; the others keep their own.

    A data set without a split val gets one: the pictures that have such a mask.

    Raises:
        BadInput: no such file, one in no known form, or one that names no picture of the data set.
    """
    if not masks:
        return source
    path = Path(masks).expanduser()
    found, problems = _read(path, source.vocabulary)
    ids = [picture.image_id for picture in source.pictures]
    matched, stray = _matched(path, found, ids, printable(source.root))
    digest = cache(sha256_of)
    given = {image_id: _mask(image_id, found[name], digest) for image_id, name in matched.items()}
    splits = dict(source.splits)
    if "val" not in splits:
        splits["val"] = sorted(set(source.image_ids) & given.keys())
    members = {split: set(listed) for split, listed in splits.items()}
    pictures = [
        Picture(
            picture.image_id,
            picture.image,
            {
                split: given.get(picture.image_id, picture.masks.get(split))
                for split, listed in members.items()
                if picture.image_id in listed
            },
        )
        for picture in source.pictures
    ]
    progress.say(f"{counted(len(given), 'image')} got a mask of {printable(path)}.")
    unused = {f"in {printable(path)}, but not in the data set": stray}
    notes = Counter(source.notes) + Counter(unused)
    return replace(
        source,
        splits=splits,
        pictures=pictures,
        problems=(*source.problems, *problems),
        notes=notes,
    )


def require_masks(masks: str, image_ids: Iterable[str], vocabulary: Vocabulary) -> None:
    """Refuse what `with_given_masks` would refuse, before the pictures of `image_ids` are drawn.

    Raises:
        BadInput: as `with_given_masks`.
    """
    if masks:
        path = Path(masks).expanduser()
        _matched(path, _read(path, vocabulary)[0], image_ids, "the data set")


def _read(path: Path, vocabulary: Vocabulary) -> tuple[Mapping[str, Stored | Path], list[Problem]]:
    if path.is_dir():
        if found := read_labelme(path, vocabulary):
            return found, []
        files = sorted(path.rglob("*.png"))
        return {file.relative_to(path).with_suffix("").as_posix(): file for file in files}, []
    if not path.is_file():
        raise BadInput(f"{printable(path)} does not exist.", _FORMS)
    with path.open("rb") as stream:
        start = stream.read(1024).removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"PK"):
        return read_cvat(path, vocabulary), []
    if start.startswith(b"["):
        return read_label_studio(path, vocabulary), []
    if start.startswith(b"{"):
        return read_coco(path, vocabulary)
    raise BadInput(f"{printable(path)} is in no form that is read.", _FORMS)


def _matched(
    path: Path, found: Mapping[str, Stored | Path], image_ids: Iterable[str], pictures_of: str
) -> tuple[dict[str, str], int]:
    """As `_match`; names that belong to no image at all are refused."""
    matched, stray = _match(found, image_ids)
    if not matched:
        first = f", but for example {printable(next(iter(found)))}" if found else ""
        cause = f"{printable(path)} holds no mask of a picture of {pictures_of}{first}."
        raise BadInput(cause, "Masks are known by the path or by the name of their picture.")
    return matched, stray


def _match(names: Iterable[str], image_ids: Iterable[str]) -> tuple[dict[str, str], int]:
    """Image id -> name of its mask, and how many names belong to none.

    A name is the id, the id as a file name of a run, or what is last in the id if that is unique.
    """
    known = dict.fromkeys(image_ids)
    bare = defaultdict(list)
    for image_id in known:
        bare[image_id.rpartition("/")[2]].append(image_id)
    matched: dict[str, str] = {}
    stray = 0
    for name in names:
        last = bare.get(unquote(name).rpartition("/")[2], [])
        exact = [form for form in (name, unquote(name)) if form in known]
        meant = exact[:1] or (last if len(last) == 1 else [])
        if meant and meant[0] not in matched:
            matched[meant[0]] = name
        else:
            stray += 1
    return matched, stray


def _mask(image_id: str, stored: Stored | Path, digest: Callable[[Path], str]) -> Drawing | Path:
    if isinstance(stored, Path):
        return stored
    # Another content gets another file, so that whatever used the old one is made again.
    folder = _FOLDER / digest(stored.source)[:12]
    return Drawing(folder / f"{safe_name(image_id)}.png", stored.source, stored.draw)
