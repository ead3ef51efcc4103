"""Entering an output folder: make it, lock it, claim it for these settings; and leaving it."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from gleclip_cli.artifacts.atomic import remove_temporaries
from gleclip_cli.artifacts.journal import LOG_FILE, OPENING
from gleclip_cli.artifacts.lines import read_lines
from gleclip_cli.artifacts.lock import FolderLock
from gleclip_cli.artifacts.manifest import SETTINGS_FILE
from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.artifacts.settings import claim_folder
from gleclip_cli.config import Execution
from gleclip_cli.errors import EnvironmentFault


@contextmanager
def entered_folder(
    folder: Path, settings: Mapping[str, Any], execution: Execution, *, by_items: bool
) -> Iterator[list[str]]:
    """Keep other writers out and claim the folder; yields warnings.

    What ends by an error before anything was made takes its claim back: the next call may have
    other settings.

    Raises:
        EnvironmentFault: somebody else is writing there, or it cannot be written.
        OtherSettings: it holds output of other settings.
    """
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    with ExitStack() as untouched, ExitStack() as locks:
        warnings = _enter(folder, settings, execution, locks, by_items=by_items)
        untouched.push(partial(_take_back_claim, folder, new))  # once the locks are released
        yield warnings


def _enter(
    folder: Path,
    settings: Mapping[str, Any],
    execution: Execution,
    stack: ExitStack,
    *,
    by_items: bool,
) -> list[str]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentFault(
            f"Cannot create {printable(folder)}: {error.strerror}.",
            "Make the folder above it writable, or choose another one.",
        ) from error
    index, count = execution.shard
    lock = FolderLock(folder / (".lock" if count == 1 else f".lock.{index}-of-{count}"))
    stack.callback(lock.release)
    claim = partial(claim_folder, folder, settings, execution, by_items=by_items)
    if count == 1:
        remove_temporaries(folder)
        warning = claim(alone=True)
    else:
        warning = _share(folder, claim, stack)
    recovered = f"Recovered the lock of process {lock.left_by}." if lock.left_by else ""
    return [text for text in (recovered, warning) if text]


def _share(folder: Path, claim: Callable[..., str], stack: ExitStack) -> str:
    """Let shards write beside each other, never beside a writer of the whole."""
    with ExitStack() as entrance:
        entrance.callback(FolderLock(folder / ".lock.index", wait=True).release)
        try:
            whole = FolderLock(folder / ".lock")
        except EnvironmentFault:
            stack.callback(FolderLock(folder / ".lock", shared=True).release)
            return claim(alone=False)
        try:
            warning = claim(alone=True)
        finally:
            whole.release()
        stack.callback(FolderLock(folder / ".lock", shared=True).release)
        return warning


def _take_back_claim(
    folder: Path, new: Sequence[Path], kind: object, error: BaseException | None, trace: object
) -> None:
    """Remove settings and log after an error, unless something was made or others are at work.

    `new`: folders that were made to enter, from `folder` up.
    """
    if not isinstance(error, Exception):
        return
    with suppress(EnvironmentFault, OSError):  # others are at work; what is not empty stays
        with ExitStack() as stack:
            stack.callback(FolderLock(folder / ".lock.index", wait=True).release)
            stack.callback(FolderLock(folder / ".lock").release)
            if _is_untouched(folder):
                for path in folder.iterdir():
                    if path.is_dir():
                        shutil.rmtree(path)
                    elif path.name in (LOG_FILE, SETTINGS_FILE):
                        path.unlink()
        for path in new:
            path.rmdir()


def _is_untouched(folder: Path) -> bool:
    """Whether a folder holds no file but settings, hidden ones, and a log without any work."""
    for path in folder.rglob("*"):
        own = path.name in (LOG_FILE, SETTINGS_FILE) or path.name.startswith(".")
        if not path.is_dir() and not (own and path.parent == folder):
            return False
    return all(line.get("event") in OPENING for line in read_lines(folder / LOG_FILE))


def check_inodes(folder: Path, files: int) -> None:
    """Refuse before work what would fail in the middle of it.

    Raises:
        EnvironmentFault: the file system has no room for that many files.
    """
    if sys.platform == "win32":
        return
    status = os.statvfs(folder)
    if status.f_files and status.f_favail < files:  # some file systems do not count inodes
        raise EnvironmentFault(
            f"{printable(folder)}: {files} files are to be written, "
            f"and the file system has room for {status.f_favail} more.",
            "Delete files, or choose a folder on another file system.",
        )
