"""Files appear whole or not at all: temporary file beside the target, fsync, rename."""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.errors import BadInput, EnvironmentFault

_TEMPORARY = re.compile(r"\..*\.tmp-\d+")
_LONGEST_NAME = 255

FULL_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR}


@contextmanager
def atomic_write(path: Path, *, size: int | None = None, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it replaces `path`.

    `size`: bytes about to be written, for the message when the disk is full. `durable`: survive
    a power failure, too; costs milliseconds, and is off for files whose hash an index keeps.

    Raises:
        EnvironmentFault: the disk is full or the folder cannot be written.
    """
    temporary = _temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if durable:
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise as_fault(error, path, size) from error
    finally:
        with suppress(OSError):  # renamed, or never made
            temporary.unlink()


def write_bytes(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write `data` atomically."""
    with atomic_write(path, size=len(data), durable=durable) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 atomically; undecodable bytes of file names come back as they were."""
    write_bytes(path, text.encode("utf-8", "surrogateescape"))


def remove_temporaries(folder: Path) -> None:
    """Delete what killed writers left under `folder`; only the lock's holder may call this."""
    for parent, _, names in os.walk(folder):
        for name in names:
            if _TEMPORARY.fullmatch(name):
                Path(parent, name).unlink(missing_ok=True)


def append_line(path: Path, line: str) -> None:
    """Add one line in one write.

    Raises:
        EnvironmentFault: the disk is full or the folder cannot be written.
    """
    try:
        with path.open("a", encoding="ascii") as file:
            file.write(line)
    except OSError as error:
        raise as_fault(error, path, len(line)) from error


def as_item_fault(error: BadInput | OSError) -> BadInput | EnvironmentFault:
    """Say an operating system's error as a fault of one item, or of the disk."""
    if isinstance(error, BadInput):
        return error
    if error.errno in FULL_DISK:
        return EnvironmentFault(f"The disk is full: {printable(error)}.", "Free some space.")
    where = f"{printable(error.filename)}: " if error.filename else ""
    return BadInput(
        f"{where}{error.strerror or printable(error)}.",
        "Check the file and run the same command again.",
    )


def _temporary_name(path: Path) -> Path:
    ending = f".tmp-{os.getpid()}"
    room = _LONGEST_NAME - len(ending) - 1
    return path.with_name(os.fsdecode(b"." + os.fsencode(path.name)[:room]) + ending)


def as_fault(error: OSError, path: Path, size: int | None = None) -> OSError | EnvironmentFault:
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
            "Make the folder writable, or name another one.",
        )
    return error


def _free_bytes(folder: Path) -> int:
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
