"""Unpacking zip and tar so that no archive can do harm, and whole or not at all.

Every member is looked at before the first is written. Only plain files and folders inside the
target are accepted; links are not, even harmless ones: no data set needs them.
"""

import gzip
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from gleclip_cli.artifacts.atomic import FULL_DISK, as_fault
from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.errors import BadInput, EnvironmentFault
from gleclip_cli.progress import SILENT, Progress

_MOST_MEMBERS = 500_000
_MOST_RATIO = 200
_CHUNK = 2**20
_BLOCK = 4096  # what a file takes on disk beyond its bytes, at most
_REMEDY = "Do not use this archive: get it from its official address."
_DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError),
    *(RuntimeError, ValueError),  # encrypted or in an unknown method; a broken field
)


@dataclass(frozen=True)
class _Member:
    """One entry; `kind` is empty for files and folders, else it says what it is."""

    name: str
    size: int
    folder: bool
    kind: str
    open: Callable[[], IO[bytes]]


def unpack(
    archive: Path, target: Path, folder: str, *, most_bytes: int, progress: Progress = SILENT
) -> None:
    """Unpack the folder `folder` of an archive to `target`/`folder`; the rest is left out.

    Raises:
        BadInput: a member that leads out of the archive, a link or a device, more than
            `most_bytes`, a damaged archive, or no such folder in it.
        EnvironmentFault: too little room.
    """
    temporary = target / f".{archive.name}.unpacking"
    shutil.rmtree(temporary, ignore_errors=True)  # of one that was killed
    try:
        with _translated(archive, target), archive.open("rb") as stream:
            limit = min(most_bytes, _MOST_RATIO * archive.stat().st_size)
            members = _checked(_members(stream, limit), limit)
            wanted = [m for m in members if PurePosixPath(m.name).is_relative_to(folder)]
            if not wanted:
                raise ValueError(f"it holds no folder {folder}")
            check_room(target, sum(member.size + _BLOCK for member in wanted))
            label = f"Unpacking {folder}"
            for member in progress.each(wanted, total=len(wanted), label=label):
                _write(member, temporary)
            (target / folder).parent.mkdir(parents=True, exist_ok=True)
            (temporary / folder).rename(target / folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_room(folder: Path, needed: int) -> None:
    """Make sure that the disk has `needed` bytes left.

    Raises:
        EnvironmentFault: it has not.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise EnvironmentFault(
            f"{needed / 1e9:.1f} GB are needed in {printable(folder)}, {free / 1e9:.1f} are free.",
            "Free some space, or name a folder on another disk with --data.",
        )


@contextmanager
def _translated(archive: Path, target: Path) -> Iterator[None]:
    """Say what is wrong with an archive, or with the disk."""
    try:
        yield
    except _DAMAGE as error:
        cause = f"{printable(archive)} is refused: {printable(error).rstrip('.')}."
        raise BadInput(cause, _REMEDY) from error
    except OSError as error:
        if error.errno in FULL_DISK or isinstance(error, PermissionError):
            raise as_fault(error, target) from error
        # A file and a folder of one name, two files, a name that is too long.
        cause = f"{printable(archive)} cannot be unpacked: {printable(error)}."
        raise BadInput(cause, _REMEDY) from error


def _checked(members: Iterator[_Member], limit: int) -> list[_Member]:
    """List the members, unless there are too many, too large or dangerous ones."""
    found: list[_Member] = []
    left = limit
    for member in members:
        left -= member.size
        if member.size < 0 or left < 0:
            raise ValueError(f"it unpacks to more than {limit} bytes")
        if len(found) == _MOST_MEMBERS:
            raise ValueError(f"it holds more than {_MOST_MEMBERS} files")
        path = PureWindowsPath(member.name)  # knows both slashes, drives and shares
        if path.anchor or ".." in path.parts or "\0" in member.name:
            raise ValueError(f"{member.name} leads out of it")
        if member.kind:
            raise ValueError(f"{member.name} is {member.kind}, no file")
        found.append(member)
    return found


def _members(stream: IO[bytes], limit: int) -> Iterator[_Member]:
    """Entries of an archive in their order, its kind known by its first bytes."""
    head = stream.read(4)
    stream.seek(0)
    if head == b"PK\x03\x04":
        return _zip_members(zipfile.ZipFile(stream))
    plain = _BoundedGzip(stream, limit) if head[:2] == b"\x1f\x8b" else stream
    return _tar_members(tarfile.open(fileobj=plain, mode="r:"))


def _zip_members(archive: zipfile.ZipFile) -> Iterator[_Member]:
    for info in archive.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        what = {0: "", stat.S_IFREG: "", stat.S_IFDIR: "", stat.S_IFLNK: "a link"}
        yield _Member(
            info.filename,
            info.file_size,
            info.is_dir(),
            what.get(kind, "a device"),
            partial(archive.open, info),
        )


def _tar_members(archive: tarfile.TarFile) -> Iterator[_Member]:
    for info in archive:
        what = "a link" if info.issym() or info.islnk() else "a device"
        yield _Member(
            info.name,
            info.size,
            info.isdir(),
            "" if info.isfile() or info.isdir() else what,
            partial(_content, archive, info),
        )


def _content(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    stream = archive.extractfile(info)
    if stream is None:
        raise ValueError(f"{info.name} has no content")
    return stream


def _write(member: _Member, folder: Path) -> None:
    path = folder / member.name
    if member.folder:
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with member.open() as source, path.open("xb") as file:
        shutil.copyfileobj(source, file, _CHUNK)


class _BoundedGzip(gzip.GzipFile):
    """Ends with an error after `limit` bytes: tar's own headers may be bombs, too."""

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        super().__init__(fileobj=stream, mode="rb")
        self._limit = limit

    def read(self, size: int | None = -1) -> bytes:
        """Read exactly `size` bytes, or up to the end."""
        if size is None or size < 0 or self.tell() + size > self._limit + tarfile.RECORDSIZE:
            raise ValueError(f"it unpacks to more than {self._limit} bytes")
        return super().read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place within the limit."""
        if offset > self._limit + tarfile.RECORDSIZE:
            raise ValueError(f"it unpacks to more than {self._limit} bytes")
        return super().seek(offset, whence)
