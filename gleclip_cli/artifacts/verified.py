"""What was verified before: spares opening files that have not changed since.

A file counts as unchanged while size, inode, and the times of its last change of content and of
inode (which no program can set back) are the same. Only this notebook trusts times: stages that
use a picture compare the hash of its bytes.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gleclip_cli.artifacts.atomic import write_text

Facts = tuple[tuple[int, int], str, tuple[str, ...]]
"""Size (H, W), SHA-256 and notes of a picture."""

_FORMAT = 1


class Verified:
    """Facts about good pictures by image id; a damaged notebook is an empty one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._old: dict[str, list[Any]] = {}
        self._new: dict[str, list[Any]] = {}
        try:
            content = json.loads(path.read_bytes())
        except (OSError, ValueError):
            return
        if isinstance(content, dict) and content.get("format") == _FORMAT:
            self._old = content["pictures"]

    def get(self, image_id: str, files: Sequence[Path], classes: int) -> Facts | None:
        """Return what is known of a picture if none of `files` changed, nor the class count."""
        known = self._old.get(image_id)
        if known is None or known[0] is None or known[0] != _state(files, classes):
            return None
        self._new[image_id] = known
        _, (height, width), sha256, notes = known
        return (height, width), sha256, tuple(notes)

    def put(self, image_id: str, files: Sequence[Path], classes: int, facts: Facts) -> None:
        """Note the facts of a picture whose files were all found good."""
        size, sha256, notes = facts
        self._new[image_id] = [_state(files, classes), list(size), sha256, list(notes)]

    def save(self) -> None:
        """Write what was asked for or noted since the start; ids in order."""
        pictures = dict(sorted(self._new.items()))
        write_text(self._path, json.dumps({"format": _FORMAT, "pictures": pictures}) + "\n")


def _state(files: Sequence[Path], classes: int) -> list[object] | None:
    """Return what tells whether files changed; None if one cannot be asked."""
    try:
        facts = [file.stat() for file in files]
    except OSError:
        return None
    rows = [[f.st_size, f.st_ino, f.st_mtime_ns, f.st_ctime_ns] for f in facts]
    return [classes, *([os.fspath(p), *row] for p, row in zip(files, rows, strict=True))]
