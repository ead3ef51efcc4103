"""labels.json and class folders."""

import json
from pathlib import Path

import pytest

from gleclip_cli.datasets.folder.tags import Rows, read_json, read_subfolders
from gleclip_cli.errors import BadInput, UsageError


def read(tmp_path: Path, content: object) -> Rows:
    path = tmp_path / "labels.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return read_json(path)


@pytest.mark.parametrize(
    "content",
    [
        {"a.jpg": ["cat", "fat, dog"], "b.jpg": []},
        [{"file": "a.jpg", "tags": ["cat", " fat, dog "]}, {"image": "b.jpg", "labels": []}],
        '\ufeff{"a.jpg": ["cat", "fat, dog", "cat"], "b.jpg": ""}',
    ],
)
def test_both_forms(tmp_path: Path, content: object) -> None:
    rows = read(tmp_path, content)
    assert [(row.name, row.tags) for row in rows.rows] == [
        ("a.jpg", ("cat", "fat, dog")),
        ("b.jpg", ()),
    ]
    assert rows.problems == ()
    assert not rows.has_splits


def test_splits(tmp_path: Path) -> None:
    rows = read(
        tmp_path, [{"file": "a", "tags": "cat", "split": "VALID"}, {"file": "b", "tags": []}]
    )
    assert rows.has_splits
    assert [row.split for row in rows.rows] == ["val", ""]


def test_fault_25_a_name_that_stands_twice_does_not_vanish(tmp_path: Path) -> None:
    rows = read(tmp_path, '{"a.jpg": ["cat"], "a.jpg": ["dog"]}')
    assert [row.tags for row in rows.rows] == [("cat",), ("dog",)]


def test_entries_of_another_form_are_all_told(tmp_path: Path) -> None:
    rows = read(
        tmp_path, ["a.jpg", {"file": "b", "tags": [1]}, {"tags": []}, {"file": "c", "tags": []}]
    )
    assert [problem.cause for problem in rows.problems] == [
        f"labels.json entry {number} is no name with a list of tags." for number in (1, 2, 3)
    ]
    assert [row.name for row in rows.rows] == ["c"]


@pytest.mark.parametrize("content", ["{", "3", '"a"', "[" * 100_000, "NaN"])
def test_what_is_no_json_of_tags(tmp_path: Path, content: str) -> None:
    with pytest.raises(BadInput, match=r"labels\.json is no"):
        read(tmp_path, content)


@pytest.mark.parametrize("content", [{}, []])
def test_fault_27_without_a_name(tmp_path: Path, content: object) -> None:
    with pytest.raises(UsageError, match="names no image"):
        read(tmp_path, content)


def test_folders_are_tags_unless_all_are_splits() -> None:
    rows = read_subfolders(["cat/1", "val/2", "val/dog/3", "4"])
    assert [(row.name, row.tags, row.split) for row in rows.rows] == [
        ("cat/1", ("cat",), ""),
        ("val/2", ("val",), ""),
        ("val/dog/3", ("val",), ""),
    ]
    splits = read_subfolders(["train/cat/1", "test/2", "val/dog/new/3", "4"])
    assert splits.has_splits
    assert [(row.name, row.tags, row.split) for row in splits.rows] == [
        ("train/cat/1", ("cat",), "train"),
        ("val/dog/new/3", ("dog",), "val"),
    ]
