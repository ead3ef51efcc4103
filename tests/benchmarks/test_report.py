"""report on 2,000 cards of photographs: size of the page, seconds of the processor, peak memory.

    pytest -m benchmark tests/benchmarks/test_report.py -s

The photographs and true masks of VOC's layout (`GLECLIP_TEST_DATA`), each many times; maps and
masks made from the true ones, so that every card has six panels.
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from gleclip_cli.artifacts.maps import Cam, load_image, load_label_image, save_cam, save_label_image
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.stage import open_stage
from gleclip_cli.artifacts.tables import ImageRecord, save_prepared
from gleclip_cli.config import EvaluateConfig, Execution, GenCamConfig, RefineConfig
from gleclip_cli.datasets.vocabulary import IGNORE_INDEX, voc_palette

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("GLECLIP_TEST_DATA", ROOT.parent / "shared" / "data"))
VOC = DATA / "voc-photos" / "VOCdevkit" / "VOC2012"
CARDS = 2000
MEASURE = """
import json, resource, sys
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.tools.report import report

page = report(RunDir(sys.argv[1]), images=int(sys.argv[2]))
used = resource.getrusage(resource.RUSAGE_SELF)
seconds = used.ru_utime + used.ru_stime
print(json.dumps([page.images, page.size / 1e6, seconds, used.ru_maxrss / 1024]))
"""

pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not VOC.exists(), reason=f"no photographs under {DATA}"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run whose 2,000 images are hard links to the outputs of a few."""
    made = RunDir(tmp_path_factory.mktemp("runs") / "voc")
    config = EvaluateConfig(split="train")
    outputs = (("gen_cam", GenCamConfig()), ("refine", RefineConfig()), ("evaluate", config))
    for name, settings in outputs:
        folder = "seg-train" if name == "evaluate" else "train"
        with open_stage(made, name, settings, name=folder, execution=Execution()) as stage:
            stage.finish()
    masks = sorted((VOC / "SegmentationClass").glob("*.png"))
    photos = [VOC / "JPEGImages" / f"{mask.stem}.jpg" for mask in masks]
    names = [f"{number:04d}_{masks[number % len(masks)].stem}" for number in range(CARDS)]
    records: dict[str, ImageRecord] = {}
    labels: dict[str, list[int]] = {}
    for number, name in enumerate(names):
        place = number % len(masks)
        if number < len(masks):
            first = _make(made, name, photos[place], masks[place])
        else:
            first = (records[names[place]], labels[names[place]])
            for path in (made.cam, made.pseudo_mask):
                _link(path("train", names[place]), path("train", name))
            pred = [made.pred_mask("seg", "train", n) for n in (names[place], name)]
            _link(*pred)
        records[name], labels[name] = first
    with open_stage(made, "prepare_data", {}, execution=Execution()) as stage:
        paths = save_prepared(
            made, dataset="voc", vocabulary="voc", root=VOC,
            records={"train": records}, labels={"train": labels},
        )  # fmt: skip
        stage.finish(*paths)
    scores = {"miou": 0.5, "per_class_iou": {}, "images": CARDS}
    (made.evaluation("seg", "train") / "scores.json").write_text(json.dumps(scores))
    return made


def _make(run: RunDir, name: str, photo: Path, mask: Path) -> tuple[ImageRecord, list[int]]:
    truth = load_label_image(mask, 21)
    moved = np.roll(np.where(truth == IGNORE_INDEX, 0, truth), (7, -11), axis=(0, 1))
    class_ids = np.unique(moved)[1:].astype(np.int64)
    height, width = (side // 8 for side in truth.shape)
    grids = [cv2.resize((moved == c).astype(np.float32), (width, height)) for c in class_ids]
    save_cam(run.cam("train", name), Cam(np.stack(grids), class_ids, truth.shape))
    for path in (run.pseudo_mask("train", name), run.pred_mask("seg", "train", name)):
        save_label_image(path, moved.astype(np.uint8), voc_palette())
    digest = hashlib.sha256(photo.read_bytes()).hexdigest()
    return ImageRecord(photo, mask, load_image(photo).shape[:2], digest), class_ids.tolist()


def _link(old: Path, new: Path) -> None:
    new.parent.mkdir(parents=True, exist_ok=True)
    new.hardlink_to(old)


def test_two_thousand_cards(run: RunDir) -> None:
    found = {}
    for images in (200, CARDS):
        words = [sys.executable, "-c", MEASURE, str(run.root), str(images)]
        told = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT).stdout
        found[images] = json.loads(told)
        shown, size, seconds, memory = found[images]
        print(f"{shown} cards: {size:.1f} MB, {seconds:.1f} s of one core, {memory:.0f} MB memory")
        assert shown == images
        assert size < 60
    assert found[CARDS][3] < found[200][3] + 40  # cards do not stay in memory
