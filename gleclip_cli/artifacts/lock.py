"""One writer per output folder; the shards of one stage may share it."""

import os
import sys
from pathlib import Path

from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.errors import EnvironmentFault

if sys.platform == "win32":
    import msvcrt

    _BEYOND_TEXT = 1024

    def _lock(descriptor: int, *, shared: bool, wait: bool) -> None:
        if not shared:  # no shared locks here: a shard is guarded by its own lock alone
            os.lseek(descriptor, _BEYOND_TEXT, os.SEEK_SET)  # others may read who holds it
            msvcrt.locking(descriptor, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
            os.lseek(descriptor, 0, os.SEEK_SET)
else:
    import fcntl

    def _lock(descriptor: int, *, shared: bool, wait: bool) -> None:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(descriptor, kind if wait else kind | fcntl.LOCK_NB)


class FolderLock:
    """A lock file that the system frees when its process dies.

    `left_by`: the dead process whose lock was recovered, if there was one.
    """

    def __init__(self, path: Path, *, shared: bool = False, wait: bool = False) -> None:
        self._path = path
        self._shared = shared
        self._wait = wait
        self._descriptor = self._acquire()
        self.left_by = os.read(self._descriptor, 32).decode("ascii", "replace").strip()
        if not shared:
            self._write(f"{os.getpid()}\n")

    def release(self) -> None:
        """Free the lock; its file goes with the last holder."""
        try:
            if self._shared:
                _lock(self._descriptor, shared=False, wait=False)
            self._write("")
            self._path.unlink(missing_ok=True)
        except OSError:
            pass  # other shards still hold it, or the folder has become read-only
        finally:
            os.close(self._descriptor)

    def _write(self, text: str) -> None:
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        os.write(self._descriptor, text.encode())

    def _acquire(self) -> int:
        while True:
            try:
                descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            except OSError as error:
                raise EnvironmentFault(
                    f"Cannot write in {printable(self._path.parent)}: {error.strerror}.",
                    "Make the folder writable, or name another one.",
                ) from error
            try:
                _lock(descriptor, shared=self._shared, wait=self._wait)
            except OSError as error:
                holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
                os.close(descriptor)
                who = f"process {holder}" if holder else "another process"
                raise EnvironmentFault(
                    f"{printable(self._path.parent)} is being written by {who}.",
                    "Wait until it has finished, or stop it.",
                ) from error
            if self._is_current(descriptor):
                return descriptor
            os.close(descriptor)

    def _is_current(self, descriptor: int) -> bool:
        """A lock on a file that its last holder has just removed keeps nobody out."""
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.stat())
        except FileNotFoundError:
            return False
