"""Files appear whole or not at all."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gleclip_cli.artifacts.atomic import (
    append_line,
    as_item_fault,
    atomic_write,
    remove_temporaries,
    write_bytes,
    write_text,
)
from gleclip_cli.errors import BadInput, EnvironmentFault


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.bin"
    write_bytes(path, b"old")

    def fail() -> None:
        with atomic_write(path) as temporary:
            assert temporary.parent == path.parent
            assert temporary.name == f".file.bin.tmp-{os.getpid()}"
            temporary.write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_fault_58_the_temporary_file_lies_beside_its_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda a, b: (seen.append((a.parent, b)), replace(a, b)))
    write_text(tmp_path / "x", "content")
    assert seen == [(tmp_path, tmp_path / "x")]


def test_stale_temporaries_are_removed_and_nothing_else(tmp_path: Path) -> None:
    kept = ["a.npz", "a.tmp-12", ".a.tmp-x", ".hidden"]
    for name in [*kept, ".a.npz.tmp-12", ".b.png.tmp-99999"]:
        (tmp_path / "sub").mkdir(exist_ok=True)
        (tmp_path / "sub" / name).touch()
    remove_temporaries(tmp_path)
    assert sorted(path.name for path in (tmp_path / "sub").iterdir()) == sorted(kept)


def test_undecodable_names_survive_a_text_file(tmp_path: Path) -> None:
    write_text(tmp_path / "x", "\udcffä\n")
    assert (tmp_path / "x").read_bytes() == b"\xff\xc3\xa4\n"


FULL = """
import resource, sys
from pathlib import Path
from gleclip_cli.artifacts.atomic import write_bytes
from gleclip_cli.errors import EnvironmentFault
folder = Path(sys.argv[1])
write_bytes(folder / "first", b"x" * 1000)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
try:
    write_bytes(folder / "second", b"x" * 9000)
except EnvironmentFault as fault:
    print(fault.cause, fault.exit_code)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of POSIX")
def test_fault_50_a_full_disk_says_what_is_needed_and_keeps_what_is_there(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL, str(tmp_path)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert "The disk is full: 9000 bytes are needed" in answer.stdout
    assert answer.stdout.strip().endswith("6")
    assert [path.name for path in tmp_path.iterdir()] == ["first"]
    assert (tmp_path / "first").read_bytes() == b"x" * 1000


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_fault_50_51_every_fault_of_the_disk_is_one_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(EnvironmentFault):
        write_bytes(tmp_path / "x", b"content")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(EnvironmentFault):
        append_line(tmp_path / "x", "line\n")


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(EnvironmentFault, match="Cannot write"):
        write_bytes(tmp_path / "x" / "y", b"content")


def test_errors_of_one_file_are_no_faults_of_the_disk() -> None:
    fault = as_item_fault(OSError(errno.ENOENT, "No such file", "a\x1bb.jpg"))
    assert isinstance(fault, BadInput)
    assert fault.cause == r"a\x1bb.jpg: No such file."
    assert isinstance(as_item_fault(OSError(errno.ENOSPC, "No space")), EnvironmentFault)
