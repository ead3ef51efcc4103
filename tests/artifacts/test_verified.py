"""The notebook of verified pictures: what it spares, and when it must not."""

import os
from pathlib import Path

import pytest

from gleclip_cli.artifacts.verified import Facts, Verified

FACTS: Facts = ((3, 4), "abc", ("PNG named .jpg",))


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"12345")
    return path


def noted(picture: Path, image_id: str = "a") -> Verified:
    notebook = Verified(picture.with_name("verified.json"))
    notebook.put(image_id, [picture], 20, FACTS)
    notebook.save()
    return Verified(picture.with_name("verified.json"))


@pytest.mark.parametrize("image_id", ["a", "\udcff\n"])
def test_an_unchanged_picture_is_known(picture: Path, image_id: str) -> None:
    assert noted(picture, image_id).get(image_id, [picture], 20) == FACTS


def test_fault_56_57_a_changed_picture_is_not_known_even_with_its_old_time(picture: Path) -> None:
    before = picture.stat()
    notebook = noted(picture)
    picture.write_bytes(b"54321")
    os.utime(picture, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert picture.stat().st_mtime_ns == before.st_mtime_ns
    assert notebook.get("a", [picture], 20) is None


def test_other_files_or_classes_are_not_known(picture: Path) -> None:
    notebook, mask = noted(picture), picture.with_name("a.png")
    mask.write_bytes(b"1")
    assert notebook.get("a", [picture, mask], 20) is None
    assert notebook.get("a", [picture], 21) is None
    picture.unlink()
    assert notebook.get("a", [picture], 20) is None


def test_what_nobody_asks_for_is_forgotten(picture: Path) -> None:
    noted(picture).save()
    assert noted_ids(picture) == []


def noted_ids(picture: Path) -> list[str]:
    notebook = Verified(picture.with_name("verified.json"))
    return [name for name in ("a",) if notebook.get(name, [picture], 20)]


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"format": 0, "pictures": {"a": 1}}', b"\xff"])
def test_a_damaged_notebook_is_an_empty_one(picture: Path, content: bytes) -> None:
    picture.with_name("verified.json").write_bytes(content)
    assert noted_ids(picture) == []
