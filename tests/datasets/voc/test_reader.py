"""The VOC2012 layout: places, lists, labels, masks, and every fault told at once."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gleclip_cli.datasets.source import DataIndex, verify
from gleclip_cli.datasets.voc.reader import read_voc
from gleclip_cli.datasets.vocabulary import load_vocabulary
from gleclip_cli.errors import BadInput, UsageError

VOC = load_vocabulary("voc")
PHOTOS = (
    Path(os.environ.get("GLECLIP_TEST_DATA", Path(__file__).parents[4] / "shared" / "data"))
    / "voc-photos"
)


def index(data: Path, limit: int | None = None) -> DataIndex:
    return verify(read_voc(data, limit=limit), workers=2)


def causes(data: Path) -> str:
    return "\n".join(problem.cause for problem in index(data).problems)


def set_list(root: Path, split: str, content: bytes) -> None:
    (root / "ImageSets" / "Segmentation" / f"{split}.txt").write_bytes(content)


def test_splits_labels_masks_and_sizes(tiny_voc: Path) -> None:
    found = index(tiny_voc)
    assert found.problems == ()
    assert found.labels == {"train": {"a": [8], "b": [12, 15], "c": []}, "val": {"d": [8]}}
    record = found.records["train"]["b"]
    assert record.image == tiny_voc / "JPEGImages" / "b.jpg"
    assert record.mask == tiny_voc / "SegmentationClass" / "b.png"
    assert record.size == (40, 48)
    assert found.counts == {
        "images": 4,
        "without_objects": 1,
        "train": 3,
        "train_masks": 3,
        "val": 1,
        "val_masks": 1,
    }


def test_labels_come_from_annotations_never_from_masks(tiny_voc: Path) -> None:
    text = "<annotation><object><name>sofa</name></object></annotation>"
    (tiny_voc / "Annotations" / "a.xml").write_text(text)
    shutil.rmtree(tiny_voc / "SegmentationClass")
    found = index(tiny_voc)
    assert found.problems == ()
    assert found.labels["train"]["a"] == [VOC.classes.index("sofa") + 1]
    assert found.records["train"]["a"].mask is None
    assert found.counts["train_masks"] == 0


def test_trainaug_is_every_file_of_the_augmented_masks_but_val(tiny_voc: Path) -> None:
    augmented = tiny_voc / "SegmentationClassAug"
    shutil.copytree(tiny_voc / "SegmentationClass", augmented)
    found = index(tiny_voc)
    assert list(found.records["trainaug"]) == ["a", "b", "c"]
    assert found.records["trainaug"]["a"].mask == augmented / "a.png"
    assert found.records["train"]["a"].mask == tiny_voc / "SegmentationClass" / "a.png"


def test_a_list_comes_before_the_augmented_masks(tiny_voc: Path) -> None:
    shutil.copytree(tiny_voc / "SegmentationClass", tiny_voc / "SegmentationClassAug")
    set_list(tiny_voc, "trainaug", b"b\na\n")
    assert list(index(tiny_voc).records["trainaug"]) == ["a", "b"]


def test_fault_26_crlf_byte_order_mark_and_blanks_are_accepted(tiny_voc: Path) -> None:
    set_list(tiny_voc, "train", b"\xef\xbb\xbfa\r\nb  \r\n\r\n c\t\r\n\r\n")
    found = index(tiny_voc)
    assert found.problems == ()
    assert list(found.records["train"]) == ["a", "b", "c"]


def test_fault_27_an_empty_list_is_a_usage_error(tiny_voc: Path) -> None:
    set_list(tiny_voc, "val", b"\n\r\n")
    with pytest.raises(UsageError, match=r"val\.txt names no image") as caught:
        index(tiny_voc)
    assert caught.value.exit_code == 2


def test_without_any_list_it_stops(tiny_voc: Path) -> None:
    shutil.rmtree(tiny_voc / "ImageSets")
    with pytest.raises(BadInput, match="no list of images"):
        index(tiny_voc)


@pytest.mark.parametrize("name", ["ein Hund \u00fcber \u4e2d\u6587", "a.b", "\U0001f431", "a'b&c"])
def test_fault_19_any_name_works(tiny_voc: Path, name: str) -> None:
    for folder, ending in (
        ("JPEGImages", "jpg"),
        ("SegmentationClass", "png"),
        ("Annotations", "xml"),
    ):
        (tiny_voc / folder / f"d.{ending}").rename(tiny_voc / folder / f"{name}.{ending}")
    set_list(tiny_voc, "val", f"{name}\n".encode())
    found = index(tiny_voc)
    assert found.problems == ()
    assert found.labels["val"] == {name: [8]}


def test_fault_21_names_that_are_not_utf8_work(tiny_voc: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    try:
        (tiny_voc / "JPEGImages" / "d.jpg").rename(tiny_voc / "JPEGImages" / f"{name}.jpg")
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    (tiny_voc / "Annotations" / "d.xml").rename(tiny_voc / "Annotations" / f"{name}.xml")
    set_list(tiny_voc, "val", b"caf\xe9\n")
    found = index(tiny_voc)
    assert found.problems == ()
    assert found.labels["val"] == {name: [8]}


def test_all_faults_are_collected_in_one_pass(tiny_voc: Path) -> None:
    set_list(tiny_voc, "train", b"a\nb\nc\nlost\nb\n")
    (tiny_voc / "JPEGImages" / "a.jpg").write_bytes(b"<html>")
    text = "<annotation><object><name>Potted Plant</name></object></annotation>"
    (tiny_voc / "Annotations" / "b.xml").write_text(text)
    (tiny_voc / "Annotations" / "c.xml").unlink()
    Image.fromarray(np.zeros((3, 3), np.uint8)).save(tiny_voc / "SegmentationClass" / "d.png")
    found = index(tiny_voc)
    told = "\n".join(problem.cause for problem in found.problems)
    for named in (
        "train: b is listed 2 times.",
        "lost.jpg is missing.",
        "lost.xml is missing.",
        "c.xml is missing.",
        "a.jpg",
        "unknown class 'Potted Plant' (pottedplant?)",
        "d.png is 3 x 3",
    ):
        assert named in told
    assert len(found.problems) == 7
    # What is bad stands in no split; the rest is there.
    assert found.records == {"train": {}, "val": {}}


def test_fault_23_every_id_without_an_image_is_listed(tiny_voc: Path) -> None:
    set_list(tiny_voc, "train", b"a\nx\ny\n")
    for name in "xy":
        (tiny_voc / "Annotations" / f"{name}.xml").write_text("<annotation/>")
    assert [p.image_id for p in index(tiny_voc).problems] == ["x", "y"]
    assert all("jpg is missing" in p.cause for p in index(tiny_voc).problems)


def test_fault_24_every_image_without_labels_is_listed(tiny_voc: Path) -> None:
    for name in "bc":
        (tiny_voc / "Annotations" / f"{name}.xml").unlink()
    assert [p.image_id for p in index(tiny_voc).problems] == ["b", "c"]
    assert all("xml is missing" in p.cause for p in index(tiny_voc).problems)


def test_fault_33_an_unknown_class_is_named_with_near_matches(tiny_voc: Path) -> None:
    text = "<annotation><object><name>areoplane</name></object></annotation>"
    (tiny_voc / "Annotations" / "a.xml").write_text(text)
    (problem,) = index(tiny_voc).problems
    assert "unknown class 'areoplane' (aeroplane?)" in problem.cause


def test_fault_22_two_files_of_one_id(tiny_voc: Path) -> None:
    shutil.copy(tiny_voc / "JPEGImages" / "a.jpg", tiny_voc / "JPEGImages" / "a.png")
    shutil.copy(tiny_voc / "JPEGImages" / "b.jpg", tiny_voc / "JPEGImages" / "A.jpg")
    shutil.copy(tiny_voc / "Annotations" / "b.xml", tiny_voc / "Annotations" / "A.xml")
    set_list(tiny_voc, "val", b"A\nd\n")
    found = index(tiny_voc)
    assert "A and a differ in case only." in causes(tiny_voc)
    assert "a.jpg and" in causes(tiny_voc)
    assert all(problem.structural for problem in found.problems)


def test_fault_29_links_that_lead_nowhere(tiny_voc: Path) -> None:
    for name in "ab":
        (tiny_voc / "JPEGImages" / f"{name}.jpg").unlink()
    (tiny_voc / "JPEGImages" / "a.jpg").symlink_to("nowhere.jpg")
    (tiny_voc / "JPEGImages" / "b.jpg").symlink_to("b.jpg")
    found = index(tiny_voc)
    assert sorted(problem.image_id for problem in found.problems) == ["a", "b"]


def test_annotations_missing_altogether_are_one_problem(tiny_voc: Path) -> None:
    shutil.rmtree(tiny_voc / "Annotations")
    (problem,) = index(tiny_voc).problems
    assert problem.structural
    assert "Annotations is missing" in problem.cause


def test_without_annotations_labels_are_those_that_peers_pass_on(tiny_voc: Path) -> None:
    shutil.rmtree(tiny_voc / "Annotations")
    table = {name: np.eye(20, dtype=np.float32)[k] for k, name in enumerate("abc")}
    (tiny_voc.parent.parent / "voc12").mkdir()
    file = tiny_voc.parent.parent / "voc12" / "cls_labels.npy"
    np.save(file, np.array(table, dtype=object), allow_pickle=True)
    found = index(tiny_voc.parent.parent)
    assert found.labels["train"] == {"a": [1], "b": [2], "c": [3]}
    (problem,) = found.problems
    assert problem.image_id == "d"
    assert "no labels of d" in problem.cause


def test_only_test_images_may_lack_an_annotation(tiny_voc: Path) -> None:
    shutil.copy(tiny_voc / "JPEGImages" / "a.jpg", tiny_voc / "JPEGImages" / "t.jpg")
    set_list(tiny_voc, "test", b"t\n")
    found = index(tiny_voc)
    assert found.problems == ()
    assert found.labels["test"] == {"t": []}
    assert found.counts["without_objects"] == 1


def test_odd_but_harmless_is_counted(tiny_voc: Path) -> None:
    with Image.open(tiny_voc / "JPEGImages" / "a.jpg") as photo:
        photo.save(tiny_voc / "JPEGImages" / "a.jpg", format="PNG")
    set_list(tiny_voc, "trainaug", b"a\nd\n")
    notes = index(tiny_voc).notes
    assert notes["in trainaug and in val"] == 1
    assert len(notes) == 2


def test_limit_keeps_the_first_of_every_split(tiny_voc: Path) -> None:
    (tiny_voc / "JPEGImages" / "c.jpg").unlink()
    found = index(tiny_voc, limit=2)
    assert found.problems == ()
    assert {split: list(table) for split, table in found.records.items()} == {
        "train": ["a", "b"],
        "val": ["d"],
    }


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="needs the shared photographs")
def test_real_photographs() -> None:
    found = index(PHOTOS)
    assert found.problems == ()
    assert {split: len(table) for split, table in found.records.items()} == {
        "train": 60,
        "val": 40,
        "trainaug": 60,
    }
    train = found.labels["train"]
    assert train["2011_000095"] == [6, 7, 15]  # bus, car, person: read from its XML by eye
    assert {label for ids in train.values() for label in ids} == set(range(1, 21))
    assert sum(len(ids) for table in (train, found.labels["val"]) for ids in table.values()) == 171
    for record in found.records["val"].values():
        with Image.open(record.image) as photo:
            assert record.size == (photo.height, photo.width)
        assert record.mask
        assert record.mask.parent.name == "SegmentationClass"
    assert found.records["trainaug"]["2011_000095"].mask == (
        found.root / "SegmentationClassAug" / "2011_000095.png"
    )
