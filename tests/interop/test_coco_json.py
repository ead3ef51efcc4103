"""COCO's JSON, read by pycocotools and by gleclip."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from gleclip_cli.datasets.vocabulary import Vocabulary, load_vocabulary
from gleclip_cli.interop.coco_json import write_coco
from gleclip_cli.interop.masked import Masked

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # of pycocotools


@pytest.mark.parametrize("simplify", [None, 0.0])
def test_pycocotools_and_gleclip_read_identical_masks(
    simplify: float | None,
    masks: list[Masked],
    vocabulary: Vocabulary,
    tmp_path: Path,
    back: Callable[..., dict[str, np.ndarray]],
) -> None:
    out = tmp_path / "out.json"
    assert write_coco(out, iter(masks), vocabulary, simplify=simplify) == 4
    coco = COCO(out)
    named = {row["id"]: row["name"] for row in coco.loadCats(coco.getCatIds())}
    own = back(masks, out)
    for image in coco.loadImgs(coco.getImgIds()):
        (masked,) = (m for m in masks if f"{m.image_id}.jpg" == image["file_name"])
        labels = np.zeros(masked.size, np.uint8)
        for row in coco.loadAnns(coco.getAnnIds(image["id"])):
            inside = coco.annToMask(row).astype(bool)
            labels[inside] = vocabulary.class_names.index(named[row["category_id"]])
            assert row["area"] == inside.sum()
            x, y, width, height = row["bbox"]
            assert inside[y : y + height, x : x + width].sum() == row["area"]
            assert isinstance(row["segmentation"], dict if simplify is None else list)
        np.testing.assert_array_equal(labels, masked.labels)
        if labels.any():
            np.testing.assert_array_equal(own[masked.image_id], masked.labels)


def test_a_picture_without_annotations_gets_no_mask(
    masks: list[Masked],
    vocabulary: Vocabulary,
    tmp_path: Path,
    back: Callable[..., dict[str, np.ndarray]],
) -> None:
    """Tools list pictures that nobody has looked at yet."""
    write_coco(tmp_path / "out.json", masks, vocabulary, simplify=None)
    assert back(masks, tmp_path / "out.json").keys() == {"farm/kuh 1", "b"}


def test_coco_keeps_its_own_category_ids(tmp_path: Path) -> None:
    labels = np.full((4, 4), 80, np.uint8)
    picture = Masked("a", Path("a.jpg"), (4, 4), labels)
    write_coco(tmp_path / "out.json", [picture], load_vocabulary("coco"), simplify=None)
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["annotations"][0]["category_id"] == 90
    assert content["categories"][-1] == {"id": 90, "name": "toothbrush"}


def test_ignored_pixels_are_no_class(vocabulary: Vocabulary, tmp_path: Path) -> None:
    picture = Masked("a", Path("a.jpg"), (2, 2), np.full((2, 2), 255, np.uint8))
    assert write_coco(tmp_path / "out.json", [picture], vocabulary, simplify=None) == 0
