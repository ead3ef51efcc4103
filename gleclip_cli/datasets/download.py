"""Official archives of the data sets: fetched, compared with their checksums, unpacked.

`data/downloads.toml` lists them. A file under way is `<archive>.part` in the target; the next
command goes on where it ends.
"""

import hashlib
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx2

from gleclip_cli.artifacts.atomic import as_fault
from gleclip_cli.artifacts.lock import FolderLock
from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.datasets.archives import check_room, unpack
from gleclip_cli.errors import BadInput, EnvironmentFault, UsageError
from gleclip_cli.progress import SILENT, Progress
from gleclip_cli.resources import data_file

_MIB = 2**20
_TIMEOUT = 60.0
_PAUSES = (1.0, 5.0, 25.0)
"""Seconds before each new attempt; counted anew whenever more bytes have come."""
_OTHERWISE = "Otherwise get the data yourself and name their folder with --data."


@dataclass(frozen=True)
class Archive:
    """One entry of the table, which explains the fields."""

    url: str
    size: int
    unpacked: int
    checksum: str
    folder: str

    @property
    def name(self) -> str:
        """File name."""
        return self.url.rpartition("/")[2]


def download(name: str, target: Path, *, progress: Progress = SILENT) -> Path:
    """Fetch and unpack the data set `name` (voc, sbd or coco) below `target`; return `target`.

    What has been unpacked there already is kept, and not fetched again.

    Raises:
        UsageError: no such data set.
        BadInput: an archive differs from its checksum or size (it is deleted), or is hostile.
        EnvironmentFault: no connection, too little room, or a folder that cannot be written.
    """
    archives, missing = _archives(name), missing_archives(name, target)
    for archive in archives:
        if archive not in missing:
            progress.say(f"{printable(target / archive.folder)} is there already.")
    if missing:
        lock = _lock(target)
        try:
            _check_room(missing, target)
            for archive in missing:
                _get(archive, target, progress)
        finally:
            lock.release()
    return target


def missing_archives(name: str, target: Path) -> list[Archive]:
    """Return what of the data set `name` is not unpacked below `target`.

    Raises:
        UsageError: no such data set.
    """
    return [archive for archive in _archives(name) if not (target / archive.folder).exists()]


def _archives(name: str) -> list[Archive]:
    table = tomllib.loads(data_file("downloads.toml").read_text(encoding="utf-8"))
    if name not in table:
        known = ", ".join(table)
        raise UsageError(f"{printable(name)} cannot be downloaded.", f"Choose one of: {known}.")
    return [Archive(**entry) for entry in table[name]]


def _lock(target: Path) -> FolderLock:
    path = target / ".download.lock"
    try:
        target.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError as error:
        cause = f"Cannot write in {printable(target)}: {error.strerror}."
        raise EnvironmentFault(cause, "Name another folder with --data.") from error
    return FolderLock(path)


def _check_room(archives: Sequence[Archive], target: Path) -> None:
    """An archive is deleted once it is unpacked, so it needs room beside its predecessors only."""
    kept = most = 0
    for archive in archives:
        kept += archive.unpacked
        most = max(most, kept + archive.size - _bytes_of(_part(archive, target)))
    check_room(target, most)


def _get(archive: Archive, target: Path, progress: Progress) -> None:
    part = _part(archive, target)
    _fetch(archive, part, progress)
    progress.say(f"Comparing {archive.name} with its checksum.")
    _verify(archive, part)
    unpack(part, target, archive.folder, most_bytes=archive.unpacked, progress=progress)
    part.unlink()


def _part(archive: Archive, target: Path) -> Path:
    return target / f"{archive.name}.part"


def _bytes_of(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _fetch(archive: Archive, part: Path, progress: Progress) -> None:
    """Bring `part` to its full size, going on after every interruption that brought something."""
    failures, first = 0, _bytes_of(part)
    with httpx2.Client(timeout=_TIMEOUT, follow_redirects=True) as client:
        while (before := _bytes_of(part)) < archive.size:
            reason = "it ended too early"
            try:
                _receive(client, archive, part, before, progress)
            except httpx2.HTTPError as error:
                reason = printable(str(error).partition("\n")[0]) or type(error).__name__
                if _hopeless(error, begun=before > first):
                    failures = len(_PAUSES)
            now = _bytes_of(part)
            if now >= archive.size:
                return
            failures = 0 if now > before else failures + 1
            if failures > len(_PAUSES):
                kept = f"; the {now} bytes that have come are kept" if now else ""
                raise EnvironmentFault(
                    f"{archive.url} cannot be fetched: {reason}.",
                    f"Run the same command again later{kept}. {_OTHERWISE}",
                )
            progress.say(f"{archive.name}: {reason}; trying again from byte {now}.")
            time.sleep(_PAUSES[max(failures - 1, 0)])


def _hopeless(error: httpx2.HTTPError, *, begun: bool) -> bool:
    """Whether asking again would not help: refused, or no connection to begin with."""
    if isinstance(error, httpx2.HTTPStatusError):
        return bool(error.response.is_client_error)
    return isinstance(error, httpx2.ConnectError) and not begun


def _receive(
    client: httpx2.Client, archive: Archive, part: Path, before: int, progress: Progress
) -> None:
    """Append what is missing, or start anew where the server cannot go on."""
    headers = {"Accept-Encoding": "identity"}
    if before:
        headers["Range"] = f"bytes={before}-"
    with client.stream("GET", archive.url, headers=headers) as response:
        response.raise_for_status()
        goes_on = response.status_code == httpx2.codes.PARTIAL_CONTENT
        have = before if goes_on else 0
        left = int(response.headers.get("Content-Length", archive.size - have))
        if have + left != archive.size:
            cause = f"{archive.url} has {have + left} bytes, not {archive.size}."
            raise BadInput(cause, f"It is not the file that gleclip knows. {_OTHERWISE}")
        try:
            with part.open("ab" if goes_on else "wb") as file:
                steps = _store(response, file, left)
                for _ in progress.each(steps, total=left // _MIB, label=f"{archive.name}, MiB"):
                    pass
        except OSError as error:
            raise as_fault(error, part, left) from error


def _store(response: httpx2.Response, file: IO[bytes], most: int) -> Iterator[int]:
    """Write what comes, as it comes, so that little is lost; yield once per MiB."""
    stored = 0
    for piece in response.iter_raw():
        stored += file.write(piece)
        yield from range((stored - len(piece)) // _MIB, stored // _MIB)
        if stored > most:
            return  # the checksum will tell


def _verify(archive: Archive, part: Path) -> None:
    """Delete a file that is not what was asked for."""
    kind, _, expected = archive.checksum.partition(":")
    with part.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False))
    if digest.hexdigest() != expected:
        part.unlink()
        cause = f"{archive.url} came with the {kind} {digest.hexdigest()}, not {expected}."
        raise BadInput(cause, f"It was deleted: run the same command again. {_OTHERWISE}")
