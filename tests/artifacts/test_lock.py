"""One writer per folder, also across processes and crashes."""

import subprocess
import sys
from pathlib import Path

import pytest

from gleclip_cli.artifacts.lock import FolderLock
from gleclip_cli.errors import EnvironmentFault

HOLD = """
import sys
from pathlib import Path
from gleclip_cli.artifacts.lock import FolderLock
lock = FolderLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_fault_54_a_second_writer_is_kept_out_and_told_by_whom(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(EnvironmentFault, match=f"written by process {holder.pid}") as caught:
            FolderLock(path)
        assert caught.value.exit_code == 6
        holder.kill()
    # 055: the system has freed the lock of the dead process; its file is still there.
    assert path.exists()
    lock = FolderLock(path)
    assert lock.left_by == str(holder.pid)
    lock.release()
    assert not path.exists()


def test_a_released_lock_can_be_taken_again(tmp_path: Path) -> None:
    for _ in range(3):
        lock = FolderLock(tmp_path / ".lock")
        assert lock.left_by == ""
        with pytest.raises(EnvironmentFault):
            FolderLock(tmp_path / ".lock")
        lock.release()
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="no shared locks there")
def test_shards_share_and_a_writer_of_the_whole_does_not(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    shards = [FolderLock(path, shared=True) for _ in range(3)]
    with pytest.raises(EnvironmentFault):
        FolderLock(path)
    for shard in shards:
        assert path.exists()
        shard.release()
    assert not path.exists()
    whole = FolderLock(path)
    with pytest.raises(EnvironmentFault):
        FolderLock(path, shared=True)
    whole.release()


def test_a_file_removed_by_its_last_holder_locks_nobody_out(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    first = FolderLock(path)
    path.unlink()
    path.touch()
    second = FolderLock(path)
    with pytest.raises(EnvironmentFault):
        FolderLock(path)
    second.release()
    first.release()


def test_fault_51_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match="Cannot write in") as caught:
        FolderLock(tmp_path / "missing" / ".lock")
    assert "--run" not in caught.value.remedy  # it may be the folder of a download
