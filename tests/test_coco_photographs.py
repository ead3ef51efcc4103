"""COCO photographs through every stage with a full-size ViT-B/16 of random weights.

pytest -m slow tests/test_coco_photographs.py -s

Labels, masks and scores are compared with an independent reading of the JSON by pycocotools.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from typer.testing import CliRunner

from gleclip_cli.cli.main import app

DATA = Path(os.environ.get("GLECLIP_TEST_DATA", Path(__file__).parents[1] / "../shared/data"))
PHOTOS = DATA / "coco-photos"
COUNTS = {"train": 109, "val": 86}  # two of train show nothing that is annotated

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not PHOTOS.is_dir(), reason="needs the shared photographs"),
    # pycocotools 2.0.11 gives NumPy arrays in a way that NumPy 2 is about to drop.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]


class Truth:
    """Labels and masks of one split, by pycocotools."""

    def __init__(self, split: str) -> None:
        self._coco = COCO(PHOTOS / "annotations" / f"instances_{split}2014.json")
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

    def miou(self, masks: Path) -> float:
        """Count in plain NumPy over the masks of a folder, crowds ignored."""
        confusion = np.zeros((81, 81), np.int64)
        for name in (n for n in self.ids if self.labels(n)):
            true, made = self.mask(name), np.array(Image.open(masks / f"{name}.png"))
            np.add.at(confusion, (true[true != 255], made[true != 255]), 1)
        inter = np.diag(confusion)
        union = confusion.sum(0) + confusion.sum(1) - inter
        return float(np.mean(inter[union > 0] / union[union > 0]))


def test_coco_photographs_go_through_all_stages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = PHOTOS.resolve()
    monkeypatch.chdir(tmp_path)
    seg = ["--arch", "deeplabv2-small", "--epochs", "1", "--batch-size", "4", "--crop", "161"]
    commands = [
        ["prepare-data", "--dataset", "coco", "--data", str(photos)],
        ["gen-cam", "--dataset", "coco", "--clip-weights", "random"],
        ["evaluate", "--what", "cam", "--split", "train"],
        ["refine"],
        ["evaluate", "--what", "pseudo", "--split", "train"],
        ["train-seg", *seg],
        ["evaluate"],
    ]
    for words in commands:
        result = CliRunner().invoke(app, words, prog_name="gleclip")
        assert result.exit_code == 0, result.output
    run = Path("runs/coco")
    truth = {split: Truth(split) for split in COUNTS}
    for split, count in COUNTS.items():
        labels = json.loads((run / "prepare_data" / "labels" / f"{split}.json").read_text())
        assert len(labels) == count
        for name, ids in labels.items():
            assert ids == truth[split].labels(name)
            drawn = np.array(Image.open(run / "prepare_data" / "masks" / split / f"{name}.png"))
            assert np.array_equal(drawn, truth[split].mask(name)), name
    made = {"pseudo-train": "refine/train/pseudo_masks", "seg-val": "evaluate/seg-val/pred_masks"}
    for output, folder in made.items():
        split = output.split("-")[1]
        scores = json.loads((run / "evaluate" / output / "scores.json").read_text())
        assert scores["images"] == COUNTS[split]
        assert scores["miou"] == pytest.approx(truth[split].miou(run / folder), abs=1e-9)
        print(f"{output}: mIoU {100 * scores['miou']:.2f}, equal to an independent count")
    settings = json.loads((run / "gen_cam" / "train" / "settings.json").read_text())
    assert '"caa_threshold": 0.7' in json.dumps(settings)
