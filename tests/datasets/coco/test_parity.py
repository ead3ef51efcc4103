"""Labels and masks of COCO against pycocotools and an independent reading of the JSON."""

import gzip
import json
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO

from gleclip_cli.datasets.coco.raw_ids import RAW_IDS
from gleclip_cli.datasets.coco.reader import read_coco

# pycocotools 2.0.11 gives NumPy arrays in a way that NumPy 2 is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

PHOTOS = (
    Path(os.environ.get("GLECLIP_TEST_DATA", Path(__file__).parents[4] / "shared" / "data"))
    / "coco-photos"
)


def independent_mask(coco: COCO, image: int, class_ids: dict[int, int]) -> np.ndarray:
    """Merge pycocotools' own masks: objects in the order of the file, then crowds below them."""
    entry = coco.imgs[image]
    objects = np.zeros((entry["height"], entry["width"]), int)
    crowds = np.zeros_like(objects)
    for annotation in coco.imgToAnns[image]:
        inside = coco.annToMask(annotation).astype(bool)
        if annotation["iscrowd"]:
            crowds[inside] = 255
        else:
            objects[inside] = class_ids[annotation["category_id"]]
    return np.where(objects > 0, objects, crowds)


def test_masks_are_those_of_pycocotools(tiny_coco: Any) -> None:
    source = read_coco(tiny_coco.save())
    drawn = {}
    for picture in source.pictures:
        masks: dict[str, Any] = dict(picture.masks)
        ((split, drawing),) = masks.items()
        number = int(picture.image_id[-3:])
        drawn[number] = drawing.draw()
        expected = independent_mask(
            COCO(tiny_coco.path(split)), number, {1: 1, 17: 16, 18: 17, 90: 80}
        )
        assert np.array_equal(drawn[number], expected)
    # by hand: the dog lies over the cat, the person over the crowd
    one, two = drawn[1], drawn[2]
    assert (one[10, 4], one[10, 15], one[22, 4]) == (16, 17, 0)
    assert (two[6, 10], two[6, 14], two[20, 10], two[20, 14]) == (1, 1, 255, 0)


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="needs the shared photographs")
def test_real_photographs() -> None:
    source = read_coco(PHOTOS)
    assert source.problems == ()
    assert {split: len(ids) for split, ids in source.splits.items()} == {"train": 109, "val": 86}
    for split, ids in source.splits.items():
        said = json.loads((PHOTOS / "annotations" / f"instances_{split}2014.json").read_text())
        order = sorted(category["id"] for category in said["categories"])
        shown = defaultdict(set)
        for annotation in said["annotations"]:
            shown[annotation["image_id"]].add(order.index(annotation["category_id"]) + 1)
        assert {int(name): set(source.labels[name]) for name in ids} == shown
    assert {label for ids in source.labels.values() for label in ids} == set(range(1, 81))
    coco = COCO(PHOTOS / "annotations" / "instances_val2014.json")
    class_ids = {raw: place for place, raw in enumerate(sorted(coco.cats), start=1)}
    assert tuple(class_ids) == RAW_IDS
    crowded = {a["image_id"] for a in coco.anns.values() if a["iscrowd"]}
    chosen = sorted(crowded)[:5] + sorted(set(coco.imgs) - crowded)[:5]
    pictures = {int(picture.image_id): picture for picture in source.pictures}
    for image in chosen:
        drawing: Any = pictures[image].masks["val"]
        assert np.array_equal(drawing.draw(), independent_mask(coco, image, class_ids))


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="needs the shared photographs")
def test_visible_classes_are_those_of_the_published_lists() -> None:
    published = {}
    for split in ("train", "val"):
        path = PHOTOS.parent / "voc-lists" / f"coco14_{split}_labels.txt.gz"
        for line in gzip.decompress(path.read_bytes()).decode().splitlines():
            name, *ids = line.split()
            published[int(name.rpartition("_")[2])] = {int(word) + 1 for word in ids}
    for picture in read_coco(PHOTOS).pictures:
        (drawing,) = dict[str, Any](picture.masks).values()
        visible = set(np.unique(drawing.draw()).tolist()) - {0, 255}
        assert visible == published[int(picture.image_id)], picture.image_id
