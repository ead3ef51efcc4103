"""Files appear whole or not at all: temporary file beside the target, fsync, rename."""

import errno
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.errors import EnvironmentFault

_TEMPORARY = re.compile(r"\..*\.tmp-\d+")
_LONGEST_NAME = 255

FULL_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR}


@contextmanager
def atomic_write(path: Path, *, size: int | None = None) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it replaces `path`.

    `size`: bytes about to be written, for the message when the disk is full.

    Raises:
        EnvironmentFault: the disk is full or the folder cannot be written.
    """
    temporary = _temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise _as_fault(error, path, size) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` atomically."""
    with atomic_write(path, size=len(data)) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 atomically; undecodable bytes of file names come back as they were."""
    write_bytes(path, text.encode("utf-8", "surrogateescape"))


def write_json(path: Path, value: Any) -> None:
    """Write sorted, indented, plain ASCII JSON atomically; NaN is refused (ValueError)."""
    text = json.dumps(value, sort_keys=True, indent=1, allow_nan=False)
    write_text(path, text + "\n")


def remove_temporaries(folder: Path) -> None:
    """Delete what killed writers left under `folder`; only the lock's holder may call this."""
    for parent, _, names in os.walk(folder):
        for name in names:
            if _TEMPORARY.fullmatch(name):
                Path(parent, name).unlink(missing_ok=True)


def _temporary_name(path: Path) -> Path:
    ending = f".tmp-{os.getpid()}"
    room = _LONGEST_NAME - len(ending) - 1
    return path.with_name(os.fsdecode(b"." + os.fsencode(path.name)[:room]) + ending)


def _as_fault(error: OSError, path: Path, size: int | None) -> OSError | EnvironmentFault:
    """Tell faults of the machine, which no other item escapes, from faults of one file."""
    place = printable(path)
    if error.errno in FULL_DISK:
        needed = "more bytes than it has are" if size is None else f"{size} bytes are"
        free = _free_bytes(path.parent)
        return EnvironmentFault(
            f"The disk is full: {needed} needed for {place}, {free} are free.",
            "Free some space and run the same command again; finished work is kept.",
        )
    if error.errno in _REFUSED:
        return EnvironmentFault(
            f"Cannot write {place}: {error.strerror}.",
            "Make the folder writable or choose another --run.",
        )
    return error


def _free_bytes(folder: Path) -> int:
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
