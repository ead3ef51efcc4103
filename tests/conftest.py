"""What many tests stand on: a tiny CLIP with random weights, in open_clip's own formats."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gleclip_cli.datasets.vocabulary import voc_palette

# As in gleclip_cli/__main__.py, before torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

TINY = {
    "embed_dim": 24,
    "quick_gelu": True,
    "vision_cfg": {
        "image_size": 32,
        "layers": 4,
        "width": 64,
        "head_width": 16,
        "patch_size": 8,
        "patch_dropout": 0.5,
    },
    "text_cfg": {
        "context_length": 16,
        "vocab_size": 49408,
        "width": 16,
        "heads": 2,
        "layers": 2,
    },
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what this machine cannot do, saying why."""
    marked = {name for item in items for name in ("gpu", "network", "weights") if _has(item, name)}
    missing = {name: reason for name, reason in _missing(marked).items() if reason}
    for item in items:
        for name, reason in missing.items():
            if _has(item, name):
                item.add_marker(pytest.mark.skip(reason=reason))


def _has(item: pytest.Item, name: str) -> bool:
    return item.get_closest_marker(name) is not None


def _missing(marked: set[str]) -> dict[str, str]:
    reasons = {}
    if "gpu" in marked:
        import torch

        reasons["gpu"] = "" if torch.cuda.is_available() else "no CUDA device"
    if "network" in marked and not os.environ.get("GLECLIP_TEST_NETWORK"):
        reasons["network"] = "GLECLIP_TEST_NETWORK is not set"
    if "weights" in marked and not os.environ.get("GLECLIP_TEST_WEIGHTS"):
        reasons["weights"] = "GLECLIP_TEST_WEIGHTS names no file of CLIP weights"
    return reasons


@pytest.fixture(scope="session")
def tiny_clip_json(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of a configuration for `load_clip(path, "random")`: 32 px, patch 8, 4 blocks."""
    path: Path = tmp_path_factory.mktemp("tiny_clip") / "config.json"
    path.write_text(json.dumps(TINY))
    return str(path)


@pytest.fixture
def tiny_voc(tmp_path: Path) -> Path:
    """A VOC2012 of four small pictures with masks: train a, b, c (c shows nothing), val d."""
    root = tmp_path / "VOCdevkit" / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "Annotations", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    objects = {"a": {"cat": 8}, "b": {"dog": 12, "person": 15}, "c": {}, "d": {"cat": 8}}
    for number, (name, classes) in enumerate(objects.items()):
        rng = np.random.default_rng(number)
        height, width = 32 + 8 * number, 48
        pixels = rng.integers(0, 256, (height // 8, width // 8, 3), np.uint8)
        picture = Image.fromarray(pixels).resize((width, height))
        picture.save(root / "JPEGImages" / f"{name}.jpg", quality=95)
        labels = np.zeros((height, width), np.uint8)
        for place, label in enumerate(classes.values()):
            labels[8:24, 4 + 20 * place : 20 + 20 * place] = label
        mask = Image.fromarray(labels)
        mask.putpalette(voc_palette().ravel().tolist())
        mask.save(root / "SegmentationClass" / f"{name}.png")
        body = "".join(f"<object><name>{known}</name></object>" for known in classes)
        (root / "Annotations" / f"{name}.xml").write_text(f"<annotation>{body}</annotation>")
    (root / "ImageSets/Segmentation/train.txt").write_text("a\nb\nc\n")
    (root / "ImageSets/Segmentation/val.txt").write_text("d\n")
    return root
