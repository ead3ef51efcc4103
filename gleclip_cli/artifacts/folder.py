"""Entering an output folder: make it, lock it, claim it for these settings."""

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from gleclip_cli.artifacts.atomic import remove_temporaries
from gleclip_cli.artifacts.lock import FolderLock
from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.artifacts.settings import claim_folder
from gleclip_cli.config import Execution
from gleclip_cli.errors import EnvironmentFault


def enter_folder(
    folder: Path,
    settings: Mapping[str, Any],
    execution: Execution,
    stack: ExitStack,
    *,
    by_items: bool,
) -> list[str]:
    """Keep other writers out until `stack` closes and claim the folder; returns warnings.

    Raises:
        EnvironmentFault: somebody else is writing there, or it cannot be written.
        OtherSettings: it holds output of other settings.
    """
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
