"""What a folder's own files say about its pictures: `labels.csv`, `labels.json`, or sub-folders.

`labels.csv`, UTF-8: one row per picture, its name first. The separator is the one of comma,
semicolon, tab and space with which most rows begin with a picture's name; a cell that holds it is
quoted ("a, b.jpg"). Tags stand in the further cells, several of them in one cell parted by `|`,
`;` or `,`. A row without a tag is a picture that shows none of the classes.

A first row that begins with `image`, `file`, `name`, `id` ... is a header. Columns called `label`,
`tags`, `class` ... hold tags; without any of these the table is one-hot: the other columns are
called like the classes and hold 0 or 1. A column `split` holds train, val or test.

`labels.json`, UTF-8: {"a.jpg": ["cat", "dog"]} or [{"file": "a.jpg", "tags": ["cat"]}], there with
"split" at will. Tags are taken as they are.

Without such a file the sub-folder of a picture is its only tag: `cat/1.jpg`, `cat/2024/2.jpg`. If
those folders are called train, val and test only, they are the splits: `train/cat/1.jpg`.
"""

import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.datasets.integrity import Problem
from gleclip_cli.errors import BadInput, UsageError

SPLITS = ("train", "val", "test")
_ALSO_VAL = ("valid", "validation")

_JSON_FORMS = 'Use {"a.jpg": ["cat"]} or [{"file": "a.jpg", "tags": ["cat"]}].'


@dataclass(frozen=True)
class Row:
    """What is said about one picture, and where; `split` is empty if none is named."""

    name: str
    tags: tuple[str, ...]
    split: str
    place: str


@dataclass(frozen=True)
class Rows:
    """All rows of a file of tags, called `origin`; sub-folders have none.

    `has_splits`: every row should name one.
    """

    origin: str
    rows: Sequence[Row]
    has_splits: bool = False
    problems: tuple[Problem, ...] = ()
    notes: Mapping[str, int] = field(default_factory=dict)


def read_json(path: Path) -> Rows:
    """Read tags from JSON.

    Raises:
        BadInput: it cannot be read, or is something else.
        UsageError: it names no image.
    """
    try:
        # Objects as tuples of pairs: a name that stands twice must not vanish.
        content = json.loads(read_text(path), object_pairs_hook=tuple)
    except (ValueError, RecursionError) as error:
        cause = f"{printable(path)} is not JSON: {printable(error)}."
        raise BadInput(cause, _JSON_FORMS) from error
    if not content:
        raise UsageError(f"{printable(path)} names no image.", _JSON_FORMS)
    if isinstance(content, tuple):
        entries = [(name, tags, "") for name, tags in content]
    elif isinstance(content, list):
        entries = [_entry(item) for item in content]
    else:
        raise BadInput(f"{printable(path)} is no object and no list.", _JSON_FORMS)
    rows: list[Row] = []
    problems = []
    for number, (name, tags, split) in enumerate(entries, 1):
        place = f"{path.name} entry {number}"
        tags = [tags] if isinstance(tags, str) else tags
        if not isinstance(tags, list) or not all(isinstance(t, str) for t in (name, split, *tags)):
            cause = f"{place} is no name with a list of tags."
            problems.append(Problem(cause, _JSON_FORMS, structural=True))
            continue
        cleaned = dict.fromkeys(tag for tag in map(clean, tags) if tag)
        rows.append(Row(name, tuple(cleaned), split_name(split), place))
    return Rows(path.name, rows, any(row.split for row in rows), tuple(problems))


def _entry(item: object) -> tuple[Any, Any, Any]:
    if not isinstance(item, tuple):
        return None, None, None
    facts: dict[str, Any] = dict(item)
    name, tags = facts.get("file", facts.get("image")), facts.get("tags", facts.get("labels"))
    return name, tags, facts.get("split", "")


def read_subfolders(image_ids: Iterable[str]) -> Rows:
    """Take the folders of the pictures for their tags; a picture beside them gets no row."""
    parts = {name: PurePosixPath(name).parts for name in image_ids}
    top = {split_name(folders[0]) for folders in parts.values() if len(folders) > 1}
    has_splits = bool(top) and top <= set(SPLITS)
    rows = [
        Row(
            name,
            (clean(folders[has_splits]),),
            split_name(folders[0]) if has_splits else "",
            printable(name),
        )
        for name, folders in sorted(parts.items())
        if len(folders) > 1 + has_splits
    ]
    return Rows("", rows, has_splits)


def read_text(path: Path) -> str:
    """Text of a user's file, a byte order mark dropped.

    Raises:
        BadInput: it is missing, cannot be read, or is not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        lost = "is a link to nothing" if path.is_symlink() else "does not exist"
        raise BadInput(f"{printable(path)} {lost}.", "Check its name.") from error
    except OSError as error:
        cause = f"{printable(path)} cannot be read: {error.strerror}."
        raise BadInput(cause, "Give yourself the permission to read it.") from error
    except UnicodeDecodeError as error:
        cause = f"{printable(path)} is not UTF-8: byte {error.object[error.start]:#x}"
        line = error.object.count(b"\n", 0, error.start) + 1
        remedy = "Save it as UTF-8; spreadsheets call it `CSV UTF-8`."
        raise BadInput(f"{cause} in line {line}.", remedy) from error


def split_name(written: str) -> str:
    """The name of a split as it is spelled here."""
    name = written.strip().casefold()
    return "val" if name in _ALSO_VAL else name


def clean(tag: str) -> str:
    """A tag or class name as it is compared: accents composed, no outer spaces."""
    return unicodedata.normalize("NFC", tag.strip())
