"""Folders of published code: pictures, labels and masks are found where each of them keeps them."""

import gzip
from pathlib import Path

import pytest

from gleclip_cli.datasets.coco.layout import SplitFiles, find_layout
from gleclip_cli.errors import BadInput

# pictures, labels and masks of train, then the folder to name; method.md, section 6
PUBLISHED = {
    "official": ("train2014", "annotations/instances_train2014.json", "", ""),
    "official 2017": ("train2017", "annotations/instances_train2017.json", "", ""),
    "images": ("images/train2014", "annotations/instances_train2014.json", "", ""),
    "SeCo": (
        "COCO/JPEGImages/train2014",
        "COCO/annotations/instances_train2014.json",
        "COCO/SegmentationClass/train2014",
        "",
    ),
    "WeCLIP": (
        "MSCOCO/JPEGImages/train",
        "MSCOCO/annotations/instances_train2014.json",
        "MSCOCO/SegmentationClass/train",
        "MSCOCO",
    ),
    "ToCo": (
        "MSCOCO/coco2014/train2014",
        "MSCOCO/annotations/instances_train2014.json",
        "MSCOCO/SegmentationClass/train2014",
        "MSCOCO",
    ),
    "ToCo, from inside": (
        "MSCOCO/coco2014/train2014",
        "MSCOCO/annotations/instances_train2014.json",
        "MSCOCO/SegmentationClass/train2014",
        "MSCOCO/coco2014",
    ),
    "CLIP-ES": (
        "COCO2014/JPEGImages/train2014",
        "COCO2014/coco14_train_labels.txt.gz",
        "COCO2014/SegmentationClass",
        "",
    ),
    "CLIMS": (
        "COCO/train2014",
        "COCO/annotations/instances_train2014.json",
        "COCO/mask/train2014",
        "COCO",
    ),
    "FMA-WSSS": ("coco2014/images", "coco2014/imagesLists/train2014.txt", "", ""),
    "WeakTr": (
        "data/coco/images",
        "data/coco/voc_format/train.txt",
        "data/coco/voc_format/class_labels",
        "",
    ),
}


def make(root: Path, images: str, labels: str, masks: str = "") -> None:
    files = [f"{images}/a.jpg", labels, *([f"{masks}/a.png"] if masks else [])]
    for file in (root / name for name in files if name):
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".gz":
            file.write_bytes(gzip.compress(b"a 1\n"))
        else:
            file.write_text("a 1\n")


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_layouts_are_found(tmp_path: Path, name: str) -> None:
    images, labels, masks, named = PUBLISHED[name]
    make(tmp_path, images, labels, masks)
    layout = find_layout(tmp_path / named)
    assert layout.splits == [
        SplitFiles(
            "train", tmp_path / images, tmp_path / labels, tmp_path / masks if masks else None
        )
    ]
    assert layout.problems == []
    assert layout.aside == 0


def test_instances_come_before_lists_and_2014_before_2017(tmp_path: Path) -> None:
    make(tmp_path, "train2014", "train2014.txt")
    make(tmp_path, "train2014", "annotations/instances_train2014.json")
    make(tmp_path, "train2017", "annotations/instances_train2017.json")
    (tmp_path / "train2017" / "b.jpg").write_text("")
    layout = find_layout(tmp_path)
    (train,) = layout.splits
    assert train.images == tmp_path / "train2014"
    assert train.labels == tmp_path / "annotations" / "instances_train2014.json"
    assert layout.aside == 2


def test_a_list_of_names_alone_is_no_list_of_labels(tmp_path: Path) -> None:
    make(tmp_path, "images", "voc_format/train.txt")
    (tmp_path / "voc_format" / "train.txt").write_text("a\n")
    with pytest.raises(BadInput, match="holds no COCO with labels"):
        find_layout(tmp_path)


def test_half_a_split_is_told(tmp_path: Path) -> None:
    make(tmp_path, "train2014", "annotations/instances_train2014.json")
    make(tmp_path, "val2014", "")
    (problem,) = find_layout(tmp_path).problems
    assert "val2014 has neither instances_val2014.json nor labels" in problem.cause
    (tmp_path / "val2014" / "a.jpg").unlink()
    (tmp_path / "annotations" / "instances_val2014.json").write_text("")
    (problem,) = find_layout(tmp_path).problems
    assert "instances_val2014.json has no folder of pictures val2014" in problem.cause


def test_a_folder_without_coco_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no COCO") as caught:
        find_layout(tmp_path)
    assert "train2014" in caught.value.remedy
    with pytest.raises(BadInput, match="is no folder"):
        find_layout(tmp_path / "nowhere")


def test_fault_29_links_that_lead_in_circles_end(tmp_path: Path) -> None:
    make(tmp_path, "train2014", "annotations/instances_train2014.json")
    (tmp_path / "coco").symlink_to(tmp_path)
    (tmp_path / "data").symlink_to("nowhere")
    assert find_layout(tmp_path).splits[0].images == tmp_path / "train2014"
