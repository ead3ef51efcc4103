"""COCO photographs through every stage with a full-size ViT-B/16 of random weights.

pytest -m slow tests/test_coco_photographs.py -s

Labels, masks and scores are compared with an independent reading of the JSON by pycocotools.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

COUNTS = {"train": 109, "val": 86}  # two of train show nothing that is annotated

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    # pycocotools 2.0.11 gives NumPy arrays in a way that NumPy 2 is about to drop.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]


class Truth:
    """Labels and masks of one split, by pycocotools."""

    def __init__(self, data: Path, split: str) -> None:
        self._coco = COCO(data / "annotations" / f"instances_{split}2014.json")
        self._class_ids = {raw: n for n, raw in enumerate(sorted(self._coco.cats), start=1)}
        self.ids = {Path(i["file_name"]).stem: k for k, i in self._coco.imgs.items()}

    def labels(self, name: str) -> list[int]:
        shown = self._coco.imgToAnns[self.ids[name]]
        return sorted({self._class_ids[annotation["category_id"]] for annotation in shown})

    def mask(self, name: str) -> np.ndarray:
        entry = self._coco.imgs[self.ids[name]]
        objects = np.zeros((entry["height"], entry["width"]), int)
        crowds = np.zeros_like(objects)
        for annotation in self._coco.imgToAnns[self.ids[name]]:
            inside = self._coco.annToMask(annotation) == 1
            if annotation["iscrowd"]:
                crowds[inside] = 255
            else:
                objects[inside] = self._class_ids[annotation["category_id"]]
        return np.where(objects > 0, objects, crowds)


def test_coco_photographs_go_through_all_stages(
    photographs: Callable[[str], Path], whole_road: Callable[..., None]
) -> None:
    data = photographs("coco-photos")
    truth = {split: Truth(data, split) for split in COUNTS}

    def masks(split: str, folder: Path) -> Iterator[tuple[np.ndarray, Path]]:
        for name in truth[split].ids:
            if truth[split].labels(name):
                yield truth[split].mask(name), folder / f"{name}.png"

    whole_road(
        "coco",
        data,
        clip=("--clip-weights", "random"),
        seg=("--arch", "deeplabv2-small", "--pretrained", "none"),
        images={"pseudo-train": COUNTS["train"], "seg-val": COUNTS["val"]},
        masks=masks,
    )
    run = Path("runs/coco")
    for split, count in COUNTS.items():
        labels = json.loads((run / "prepare_data" / "labels" / f"{split}.json").read_text())
        assert len(labels) == count
        for name, ids in labels.items():
            assert ids == truth[split].labels(name)
            drawn = np.array(Image.open(run / "prepare_data" / "masks" / split / f"{name}.png"))
            assert np.array_equal(drawn, truth[split].mask(name)), name
    settings = json.loads((run / "gen_cam" / "train" / "settings.json").read_text())
    assert '"caa_threshold": 0.7' in json.dumps(settings)
