"""Tags of all pictures, or of a table that tells each one's."""

from pathlib import Path

import pytest

from gleclip_cli.datasets.vocabulary import load_vocabulary
from gleclip_cli.errors import BadInput, UsageError
from gleclip_cli.tools.predict.tags import Tags, find_tags


@pytest.fixture
def pictures(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "images").mkdir()
    names = ("images/1.jpg", "images/farm/1.jpg", "images/farm/2.png", "elsewhere.jpg")
    return {f"photos/{Path(name).with_suffix('')}": tmp_path / name for name in names}


def test_words_hold_for_all_and_none_for_nothing(pictures: dict[str, Path]) -> None:
    assert set(find_tags(["cat", " dog", "cat"], pictures).of.values()) == {("cat", "dog")}
    assert set(find_tags([], pictures).of.values()) == {None}


@pytest.mark.parametrize("ending", [".csv", ".json"])
def test_a_table_names_pictures_from_its_folder(
    pictures: dict[str, Path], tmp_path: Path, ending: str
) -> None:
    csv = "image,labels\nfarm/1.jpg,cow;dog\n2.png,cat\nimages/1.jpg,\nnot here.jpg,sheep\n"
    json = '{"farm/1.jpg": ["cow", "dog"], "2.png": ["cat"], "images/1.jpg": [], "no.jpg": ["x"]}'
    table = tmp_path / f"labels{ending}"
    table.write_text(csv if ending == ".csv" else json)
    assert find_tags([str(table)], pictures).of == {
        "photos/images/1": (),
        "photos/images/farm/1": ("cow", "dog"),
        "photos/images/farm/2": ("cat",),
        "photos/elsewhere": None,
    }


def test_a_name_of_several_pictures_is_refused(pictures: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    table = tmp_path / "elsewhere" / "labels.csv"
    table.write_text("1.jpg,cat\n2.png,cow\n")
    with pytest.raises(UsageError, match=r"line 1: 1.jpg may be .*farm/1"):
        find_tags([str(table)], pictures)


def test_a_table_of_other_pictures_is_refused(pictures: dict[str, Path], tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("image,labels\nq.jpg,cat\n")
    with pytest.raises(BadInput, match="names no picture"):
        find_tags([str(table)], pictures)


def test_a_table_that_is_missing_is_called_so(pictures: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"nofile\.csv does not exist") as caught:
        find_tags([str(tmp_path / "nofile.csv")], pictures)
    assert caught.value.remedy == "Check its name."


def test_fault_33_an_unknown_tag_is_named_with_near_ones() -> None:
    vocabulary = load_vocabulary("voc")
    tags = Tags({"a": ("dog", "cat"), "b": None, "c": ()})
    assert tags.class_ids(vocabulary) == {"a": [8, 12], "b": None, "c": []}
    with pytest.raises(UsageError, match="no class 'hrose'") as caught:
        Tags({"a": ("hrose",)}).class_ids(vocabulary)
    assert caught.value.remedy == "Did you mean horse?"
