"""The rules a data set has to meet, whatever its layout: ids, pictures and masks.

Every rule returns its faults as `Problem`s, so that all of them can be told at once.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from gleclip_cli.artifacts.labels import Labels, as_wide_as, ignore_index, label_fault
from gleclip_cli.artifacts.maps import load_label_image
from gleclip_cli.artifacts.photos import Photo, load_photo
from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.errors import BadInput
from gleclip_cli.progress import Progress, counted

_LEAVE_OUT = "Or leave such images out with `--on-bad skip`."
_COCO_CLASSES, _COCO_LARGEST_ID = 80, 90
_CORRECT = "Correct this and run the same command again."

Size = tuple[int, int]
_In = TypeVar("_In")
_Out = TypeVar("_Out")


@dataclass(frozen=True)
class Problem:
    """One fault: a line of cause, a line of remedy.

    `image_id` names the image that can be left out because of it, if leaving out helps;
    a `structural` fault stops the work even when bad images are skipped; `path` is the file at
    fault, if it is one.
    """

    cause: str
    remedy: str
    image_id: str = ""
    structural: bool = False
    path: str = ""


@dataclass(frozen=True)
class Drawing:
    """A mask that is stored as something else than a picture: outlines, run lengths, a matrix.

    `file` is where a drawn mask is kept, below the masks of the run; `source` the file it comes
    from, for messages; `draw` gives it as labels (H, W) and may raise `BadInput`.
    """

    file: Path
    source: Path
    draw: Callable[[], Labels]


@dataclass(frozen=True)
class Picture:
    """One picture and the masks that belong to it (None: there is none), by split."""

    image_id: str
    image: Path
    masks: Mapping[str, Path | Drawing | None]


@dataclass(frozen=True)
class Checked:
    """A picture after it was decoded; one with problems must not be used.

    `size` is (H, W), EXIF orientation applied; `notes` tells what was odd but harmless.
    """

    picture: Picture
    size: Size = (0, 0)
    sha256: str = ""
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


def as_error(problems: Sequence[Problem], where: Path) -> BadInput:
    """All problems in one message, those with the same remedy together."""
    by_remedy: dict[str, list[str]] = defaultdict(list)
    for problem in problems:
        by_remedy[problem.remedy].append(problem.cause)
    lines = [f"{counted(len(problems), 'problem')} in {printable(where)}:"]
    for remedy, causes in by_remedy.items():
        lines += [f"  {cause}" for cause in causes]
        lines.append(f"    {remedy}")
    fatal = any(problem.structural for problem in problems)
    return BadInput("\n".join(lines), _CORRECT if fatal else _LEAVE_OUT)


def check_ids(split: str, ids: Sequence[str]) -> tuple[list[str], list[Problem]]:
    """Return the usable ids of a list, sorted and each once, and what is wrong with the others."""
    problems = [
        Problem(f"{split}: {printable(name)} is listed {count} times.", "List every image once.")
        for name, count in Counter(ids).items()
        if count > 1
    ]
    unsafe = {name for name in ids if not _plain(name)}
    problems += [
        Problem(
            f"{split}: the id {printable(name)} is a path, not a name.",
            "Use file names without folder and ending as ids.",
            structural=True,
        )
        for name in sorted(unsafe)
    ]
    return sorted(set(ids) - unsafe), problems


def check_case(ids: Iterable[str]) -> list[Problem]:
    """Find ids that differ in case only: some file systems would mix up their outputs."""
    groups: dict[str, set[str]] = defaultdict(set)
    for name in ids:
        groups[name.casefold()].add(name)
    return [
        Problem(
            f"{' and '.join(printable(name) for name in sorted(group))} differ in case only.",
            "Rename all but one of them.",
            structural=True,
        )
        for group in groups.values()
        if len(group) > 1
    ]


def check_picture(
    picture: Picture, classes: int, keep: Callable[[Drawing, Labels], None] | None = None
) -> Checked:
    """Decode one picture and its masks completely and compare them; `keep` gets drawn masks."""
    problems: list[Problem] = []
    photo = None
    try:
        photo = load_photo(picture.image)
    except BadInput as error:
        problems.append(_unreadable(error, picture.image_id, printable(picture.image)))
    for source in {mask: None for mask in picture.masks.values() if mask}:
        where = printable(
            source if isinstance(source, Path) else f"{source.source}, {picture.image_id},"
        )
        try:
            mask = _load_mask(source, classes + 1)
        except BadInput as error:
            problems.append(_unreadable(error, picture.image_id, where))
            continue
        faults = [*_size_fault(mask, photo), *_value_fault(mask, classes)]
        problems += [
            Problem(f"{where} {cause}", remedy, picture.image_id, path=where)
            for cause, remedy in faults
        ]
        if isinstance(source, Drawing) and keep and not faults:
            keep(source, mask)
    if photo is None:
        return Checked(picture, problems=tuple(problems))
    size = (photo.image.shape[0], photo.image.shape[1])
    return Checked(picture, size, photo.sha256, photo.notes, tuple(problems))


def _unreadable(error: BadInput, image_id: str, where: str) -> Problem:
    # A missing permission is no fault of the picture, which should not be left out for it.
    locked = isinstance(error.__cause__, PermissionError)
    return Problem(error.cause, error.remedy, image_id, structural=locked, path=where)


def _load_mask(source: Path | Drawing, num_classes: int) -> Labels:
    if isinstance(source, Path):
        return load_label_image(source, num_classes)
    return as_wide_as(num_classes, source.draw())


def _size_fault(mask: Labels, photo: Photo | None) -> Iterator[tuple[str, str]]:
    if photo and mask.shape != photo.image.shape[:2]:
        turned = " It fits the picture as stored, before its EXIF orientation."
        cause = (
            f"is {mask.shape[1]} x {mask.shape[0]}, "
            f"its picture {photo.image.shape[1]} x {photo.image.shape[0]}."
            f"{turned if mask.shape == photo.unrotated_size else ''}"
        )
        yield cause, "Give every picture a mask of its own size."


def _value_fault(mask: Labels, classes: int) -> Iterator[tuple[str, str]]:
    if fault := label_fault(mask, classes + 1):
        remedy = "Use indexed masks with class ids as values."
        largest = mask[mask != ignore_index(mask)].max()
        if classes == _COCO_CLASSES and largest <= _COCO_LARGEST_ID:
            remedy = "COCO's own ids run to 90, with gaps: number all masks alike, so or 1 to 80."
        yield f"{fault}.", remedy


def in_threads(
    work: Callable[[_In], _Out],
    items: Sequence[_In],
    *,
    workers: int,
    progress: Progress,
    label: str,
) -> list[_Out]:
    """Results of `work` in the order of `items`; 0 workers means one per core.

    Threads, because decoding releases the interpreter lock.
    """
    pool = ThreadPoolExecutor(max_workers=workers or min(8, os.cpu_count() or 1))
    try:
        return list(progress.each(pool.map(work, items), total=len(items), label=label))
    finally:
        pool.shutdown(cancel_futures=True)


def _plain(name: str) -> bool:
    return name not in ("", ".", "..") and not any(c in name for c in "/\\\0")
