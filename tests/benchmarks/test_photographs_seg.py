"""A small network with ImageNet weights learns photographs: COCO's true masks to VOC's pictures.

    pytest -m benchmark tests/benchmarks/test_photographs_seg.py -s

197 COCO photographs, masks drawn by pycocotools with VOC's 20 classes, others background; scored
on 40 VOC photographs. Beside it: background everywhere, and the same training from scratch.
`GLECLIP_BENCH_EPOCHS` (default 24) and `GLECLIP_BENCH_STARTS` (default both) shorten it.
"""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

EPOCHS = os.environ.get("GLECLIP_BENCH_EPOCHS", "24")
STARTS = os.environ.get("GLECLIP_BENCH_STARTS", "imagenet,scratch").split(",")
OF_COCO = {
    "airplane": "aeroplane", "bicycle": "bicycle", "bird": "bird", "boat": "boat",
    "bottle": "bottle", "bus": "bus", "car": "car", "cat": "cat", "chair": "chair", "cow": "cow",
    "dining table": "diningtable", "dog": "dog", "horse": "horse", "motorcycle": "motorbike",
    "person": "person", "potted plant": "pottedplant", "sheep": "sheep", "couch": "sofa",
    "train": "train", "tv": "tvmonitor",
}  # fmt: skip
CLASSES = sorted(OF_COCO.values())

pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.timeout(4 * 3600),
    # pycocotools 2.0.11 gives NumPy arrays in a way that NumPy 2 is about to drop.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]


def draw_voc(root: Path, coco: Path, voc: Path) -> None:
    """Lay out a VOC2012: train of COCO's photographs, val of VOC's."""
    for folder in ("JPEGImages", "SegmentationClass", "Annotations", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    lists: dict[str, list[str]] = {"train": [], "val": []}
    for split in ("train", "val"):
        data = COCO(coco / "annotations" / f"instances_{split}2014.json")
        for number, facts in data.imgs.items():
            name = Path(facts["file_name"]).stem
            file = coco / "images" / f"{split}2014" / facts["file_name"]
            add(root, name, file, coco_mask(data, number))
            lists["train"].append(name)
    for name in (voc / "ImageSets/Segmentation/val.txt").read_text().split():
        mask = np.array(Image.open(voc / "SegmentationClass" / f"{name}.png"))
        add(root, name, voc / "JPEGImages" / f"{name}.jpg", mask)
        lists["val"].append(name)
    for split, names in lists.items():
        listed = root / "ImageSets/Segmentation" / f"{split}.txt"
        listed.write_text("\n".join(names) + "\n")


def coco_mask(data: COCO, number: int) -> np.ndarray:
    """Objects in the order of the file, crowds ignored."""
    facts = data.imgs[number]
    mask = np.zeros((facts["height"], facts["width"]), np.uint8)
    for annotation in data.imgToAnns[number]:
        name = OF_COCO.get(data.cats[annotation["category_id"]]["name"])
        if name:
            label = 255 if annotation["iscrowd"] else 1 + CLASSES.index(name)
            mask[data.annToMask(annotation) > 0] = label
    return mask


def add(root: Path, name: str, photograph: Path, mask: np.ndarray) -> None:
    (root / "JPEGImages" / f"{name}.jpg").symlink_to(photograph)
    Image.fromarray(mask).save(root / "SegmentationClass" / f"{name}.png")
    shown = [CLASSES[label - 1] for label in np.unique(mask) if 0 < label < 255]
    objects = "".join(f"<object><name>{known}</name></object>" for known in shown)
    (root / "Annotations" / f"{name}.xml").write_text(f"<annotation>{objects}</annotation>")


def background_everywhere(root: Path) -> float:
    """mIoU of a network that sees nothing."""
    shown: set[int] = set()
    hits = total = 0
    for name in (root / "ImageSets/Segmentation/val.txt").read_text().split():
        mask = np.array(Image.open(root / "SegmentationClass" / f"{name}.png"))
        shown |= set(np.unique(mask)) - {255}
        hits, total = hits + int((mask == 0).sum()), total + int((mask != 255).sum())
    return hits / total / len(shown)


def words(start: str, weights: Path) -> tuple[object, ...]:
    pretrained: tuple[object, ...] = ("--pretrained", "none")
    if start == "imagenet":
        pretrained = ("--pretrained", weights, "--freeze-norms")
    return (
        "train-seg", "--dataset", "voc", "--targets", "gt", "--name", start, *pretrained,
        "--arch", "smp:deeplabv3plus:mobilenet_v2", "--epochs", EPOCHS, "--batch-size", 8,
        "--crop", 256, "--scales", "0.5,1.25", "--jitter", 0.2,
        "--learning-rate", 3e-4 if start == "imagenet" else 1e-3, "--weight-decay", 0.01,
        "--warmup", 0.05, "--ema", 0.98, "--channels-last", "--device", "cpu",
    )  # fmt: skip


def test_imagenet_weights_teach_photographs_in_half_an_hour(
    photographs: Callable[[str], Path],
    succeed: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = tmp_path / "VOCdevkit" / "VOC2012"
    voc = photographs("voc-photos") / "VOCdevkit" / "VOC2012"
    draw_voc(root, photographs("coco-photos"), voc)
    weights = photographs("weights") / "mobilenetv2_imagenet.safetensors"
    monkeypatch.chdir(tmp_path)
    succeed(("prepare-data", "--dataset", "voc", "--data", root))
    told: dict[str, float] = {"chance": round(100 * background_everywhere(root), 2)}
    for start in STARTS:
        wall, cpu = time.perf_counter(), time.process_time()
        succeed(words(start, weights))
        told[f"{start} seconds"] = round(time.perf_counter() - wall)
        told[f"{start} seconds of CPU"] = round(time.process_time() - cpu)
        succeed(("evaluate", "--what", start, "--dataset", "voc", "--no-flip"))
        scores = json.loads(Path(f"runs/voc/evaluate/{start}-val/scores.json").read_text())
        told[start] = round(100 * scores["miou"], 2)
    print(json.dumps(told))
    if {"imagenet", "scratch"} <= set(STARTS):
        assert told["imagenet seconds"] < 1800
        assert told["imagenet"] > told["scratch"]
        assert told["imagenet"] > told["chance"]
