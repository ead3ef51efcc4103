"""Memory, disks and folders that do not suffice are told."""

from collections import namedtuple
from pathlib import Path

import pytest

from gleclip_cli.tools.doctor import machine
from gleclip_cli.tools.doctor.machine import check_machine

Usage = namedtuple("Usage", "total used free")


def found(place: Path) -> dict[str, tuple[str, str]]:
    return {row.name: (row.state, row.found) for row in check_machine(place)}


def test_this_machine(tmp_path: Path) -> None:
    rows = found(tmp_path)
    assert set(rows) == {
        *("processors", "memory", "disk, runs", "disk, cache", "disk, temporary"),
        "writing here",
    }
    assert rows["writing here"][0] == "ok"
    assert "free of" in rows["memory"][1]


def test_a_container_with_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "memory.max"
    limit.write_text(f"{2**31}\n")
    monkeypatch.setattr(machine, "_CGROUP", (str(tmp_path / "none"), str(limit)))
    state, told = found(tmp_path)["memory"]
    assert (state, told.split(" of ")[1]) == ("note", "2.0 GiB")
    limit.write_text("max\n")
    assert not found(tmp_path)["memory"][1].endswith("of 2.0 GiB")


def test_a_full_disk_and_a_folder_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: Usage(1, 1, 2**20))
    rows = found(tmp_path / "none" / "such")
    assert rows["disk, runs"][0] == "note"
    assert rows["writing here"][0] == "fault"
