"""The written layout: what goes in comes out of independent readers."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
from PIL import Image

from gleclip_cli.datasets.voc.writer import annotation_text, write_image, write_list
from gleclip_cli.datasets.vocabulary import load_vocabulary

VOC = load_vocabulary("voc")


def test_boxes_are_the_extent_of_the_pixels_counted_from_one() -> None:
    mask = np.zeros((5, 7), np.uint8)
    mask[1, 2] = 3
    mask[3, 4] = 3
    tree = ElementTree.fromstring(annotation_text("a", mask, [3, 8], VOC))
    bird, cat = tree.findall("object")
    assert bird.findtext("name") == "bird"
    assert [int(side.text or "") for side in bird.find("bndbox") or []] == [3, 2, 5, 4]
    assert bird.findtext("difficult") == "0"
    # A hidden class stays an image-level label; its box says nothing.
    assert cat.findtext("name") == "cat"
    assert [int(side.text or "") for side in cat.find("bndbox") or []] == [1, 1, 7, 5]
    assert cat.findtext("difficult") == "1"


def test_pixels_and_labels_survive(tmp_path: Path) -> None:
    image = np.full((16, 24, 3), (200, 30, 60), np.uint8)
    mask = np.zeros((16, 24), np.uint8)
    mask[4:8] = 255
    mask[9:] = 20
    files = write_image(tmp_path, "a", image, mask, [20], VOC)
    assert all(file.is_file() for file in files)
    with Image.open(tmp_path / "JPEGImages/a.jpg") as photo:
        assert photo.format == "JPEG"
        assert np.abs(np.asarray(photo).astype(int) - image).max() <= 3
    with Image.open(tmp_path / "SegmentationClass/a.png") as labels:
        assert labels.mode == "P"
        assert np.array_equal(np.asarray(labels), mask)
        assert labels.convert("RGB").getpixel((0, 10)) == (0, 64, 128)
    path = write_list(tmp_path, "val", ["a", "b"])
    assert path == tmp_path / "ImageSets/Segmentation/val.txt"
    assert path.read_text() == "a\nb\n"
