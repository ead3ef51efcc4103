"""Where VOC2012 is looked for, and the lists that come with it or lie beside it."""

import shutil
from pathlib import Path

import pytest

from gleclip_cli.datasets.voc.lists import find_root, read_list, read_splits
from gleclip_cli.errors import BadInput


@pytest.mark.parametrize("above", ["", "..", "../.."])
def test_the_data_set_is_found_from_its_folder_or_a_parent(tiny_voc: Path, above: str) -> None:
    assert find_root((tiny_voc / above).resolve()) == tiny_voc


@pytest.mark.parametrize("variant", ["data/VOCdevkit", "voc12/VOCdevkit", "TrainVal/VOCdevkit"])
def test_common_variants_are_found(tiny_voc: Path, tmp_path: Path, variant: str) -> None:
    moved = tmp_path / "elsewhere" / variant
    shutil.copytree(tiny_voc.parent, moved)
    assert find_root(tmp_path / "elsewhere") == moved / "VOC2012"


def test_a_folder_without_voc_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no VOC2012"):
        find_root(tmp_path)
    with pytest.raises(BadInput, match="is no folder"):
        find_root(tmp_path / "nowhere")


@pytest.mark.parametrize("place", ["VOCdevkit/train_aug_id.txt", "train_aug.txt"])
def test_a_list_beside_the_data_set_is_found(tiny_voc: Path, tmp_path: Path, place: str) -> None:
    (tmp_path / place).write_text("a\nc\n")
    assert read_splits(tiny_voc, tmp_path)["trainaug"] == ["a", "c"]


def test_lists_of_pairs_are_read(tmp_path: Path) -> None:
    path = tmp_path / "train_aug.txt"
    path.write_text("/JPEGImages/a b.jpg /SegmentationClassAug/a b.png\n/JPEGImages/c.jpg\n")
    assert read_list(path) == ["a b", "c"]
