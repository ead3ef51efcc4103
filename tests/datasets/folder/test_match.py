"""Rows and lists meet pictures: what is read of either, and what is unclear."""

from pathlib import Path

import pytest

from gleclip_cli.datasets.folder.files import find_files
from gleclip_cli.datasets.folder.match import Tagged, tag_pictures


@pytest.fixture
def own(tmp_path: Path) -> Path:
    for name in ("x/a.jpg", "y/a.jpg", "b.jpg", "masks/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def match(own: Path, labels: str) -> Tagged:
    (own / "labels.csv").write_text(labels)
    return tag_pictures(find_files(own))


def test_tags_and_counts(own: Path) -> None:
    tagged = match(own, "x/a.jpg,dog\ny/a,cat;dog\nb.jpg,\n")
    assert tagged.tags == {"x/a": ["dog"], "y/a": ["cat", "dog"], "b": []}
    assert tagged.counts == {"cat": 1, "dog": 2}
    assert tagged.splits == {"train": {"x/a", "y/a", "b"}, "val": {"b"}}
    assert not tagged.problems


def test_a_name_of_several_pictures_is_a_fault_of_the_list(own: Path) -> None:
    tagged = match(own, "x/a,dog\ny/a,cat\nb,\na.jpg,cat\n")
    (problem,) = tagged.problems
    assert problem.structural
    assert problem.cause == "labels.csv line 4: a.jpg may be x/a or y/a."


def test_a_row_without_a_name_is_told(own: Path) -> None:
    tagged = match(own, "x/a,dog\ny/a,cat\nb,\n,cat\n")
    assert [p.cause for p in tagged.problems] == [
        "labels.csv line 4 names nothing, which is not there."
    ]


def test_what_is_missing_is_in_train_whatever_the_lists_say(own: Path) -> None:
    (own / "train.txt").write_text("x/a\n")
    (own / "val.txt").write_text("b\nalso lost\n")
    tagged = match(own, "x/a,dog\nb,\nlost,cat\n")
    assert tagged.splits == {"train": {"x/a", "lost"}, "val": {"b", "also lost"}}
    assert {problem.image_id for problem in tagged.problems} == {"lost", "also lost"}
    assert tagged.notes["in no split, not used"] == 1


def test_a_file_of_tags_that_is_a_dead_link_is_not_passed_over(own: Path) -> None:
    (own / "labels.csv").symlink_to("nowhere.csv")
    with pytest.raises(Exception, match=r"labels\.csv is a link to nothing"):
        tag_pictures(find_files(own))
