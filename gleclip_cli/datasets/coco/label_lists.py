"""Lists of image-level labels: a line `name id id ...` per image, ids counted from 0."""

import gzip
import zlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.datasets.integrity import Problem
from gleclip_cli.datasets.vocabulary import Vocabulary
from gleclip_cli.errors import BadInput
from gleclip_cli.progress import counted

_LARGEST = 2**28


@dataclass(frozen=True)
class LabelList:
    """Names in the order of the list, and sorted 1-based class ids of those with objects."""

    listed: list[str]
    labels: dict[str, tuple[int, ...]]
    problems: list[Problem]


def read_label_list(path: Path, vocabulary: Vocabulary) -> LabelList:
    """Read a list, plain or gzipped.

    Raises:
        BadInput: it cannot be read.
    """
    known = {str(index): index + 1 for index in range(len(vocabulary.classes))}
    found = LabelList([], {}, [])
    wrong: dict[str, list[str]] = defaultdict(list)
    vectors: list[str] = []
    for line in _lines(path):
        name, *words = line.split()
        name = name.removesuffix(".jpg")
        found.listed.append(name)
        if set(words) <= {"0", "1"} and 2 * len(words) > max(len(known), 2 * len(set(words))):
            vectors.append(name)
        for word in words:
            if word not in known:
                wrong[word].append(name)
        if ids := {known[word] for word in words if word in known}:
            found.labels[name] = tuple(sorted(ids))
    for word, names in sorted(wrong.items()):
        cause = (
            f"{printable(path)}: the unknown label {printable(word)} in "
            f"{counted(len(names), 'image')}, {printable(names[0])} first."
        )
        remedy = f"Labels are places in the class table, 0 to {len(known) - 1}; not COCO's own ids."
        found.problems.append(Problem(cause, remedy, structural=True, path=printable(path)))
    if vectors:
        cause = (
            f"{printable(path)}: a vector of zeros and ones in "
            f"{counted(len(vectors), 'image')}, {printable(vectors[0])} first."
        )
        remedy = "Name the places of the ones, counted from 0."
        found.problems.append(Problem(cause, remedy, structural=True, path=printable(path)))
    return found


def is_label_list(path: Path) -> bool:
    """Whether the first line of a text names an image and class ids, not an image alone."""
    _, *words = [*_lines(path), ""][0].split() or [""]
    return bool(words) and all(word.isdecimal() for word in words)


def _lines(path: Path) -> list[str]:
    """Lines that hold something, without byte order mark and outer spaces."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            content = stream.read(_LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        cause = f"{printable(path)} cannot be read: {printable(error)}."
        raise BadInput(cause, "Unpack or copy it again.") from error
    if len(content) > _LARGEST:
        raise BadInput(f"{printable(path)} holds more than {_LARGEST} bytes.", "Take it away.")
    text = content.decode("utf-8-sig", "surrogateescape").replace("\r", "\n")
    return [line.strip() for line in text.split("\n") if line.strip()]
