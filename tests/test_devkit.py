"""A devkit in VOC's layout with a CLIP of its own: nothing depends on scenes or on micro-CLIP.

pytest -m slow tests/test_devkit.py -s
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from gleclip_cli.artifacts.checkpoint import load_checkpoint
from gleclip_cli.artifacts.maps import load_cam
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.cam.build import load_gleclip
from gleclip_cli.datasets.vocabulary import load_vocabulary, voc_palette

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# Unlike micro-CLIP in patch, widths, depth, resolution and activation.
CLIP = {
    "embed_dim": 40,
    "vision_cfg": {"image_size": 64, "layers": 6, "width": 96, "head_width": 32, "patch_size": 16},
    "text_cfg": {
        "context_length": 20,
        "vocab_size": 49408,
        "width": 32,
        "heads": 4,
        "layers": 2,
    },
}
PICTURES = 9


@pytest.fixture
def devkit(tiny_voc: Path) -> Path:
    """More pictures, with squares of one or two classes."""
    names = load_vocabulary("voc").classes
    for number in range(PICTURES):
        rng = np.random.default_rng(100 + number)
        height, width = 90 + 7 * number, 150 - 5 * number
        image = rng.integers(0, 80, (height, width, 3), np.uint8)
        mask = np.zeros((height, width), np.uint8)
        own = [1 + number % 4, 9][: 1 + number % 2]
        for place, class_id in enumerate(own):
            rows, columns = slice(20, 60), slice(10 + 55 * place, 50 + 55 * place)
            image[rows, columns] = 255 * np.array([class_id & 1, class_id >> 1 & 1, class_id > 5])
            mask[rows, columns] = class_id
        Image.fromarray(image).save(tiny_voc / "JPEGImages" / f"p{number}.jpg", quality=95)
        labels = Image.fromarray(mask)
        labels.putpalette(voc_palette().ravel().tolist())
        labels.save(tiny_voc / "SegmentationClass" / f"p{number}.png")
        objects = "".join(f"<object><name>{names[i - 1]}</name></object>" for i in own)
        xml = f"<annotation>{objects}</annotation>"
        (tiny_voc / "Annotations" / f"p{number}.xml").write_text(xml)
    with (tiny_voc / "ImageSets/Segmentation/train.txt").open("a") as file:
        file.writelines(f"p{number}\n" for number in range(PICTURES))
    return tiny_voc


@pytest.fixture
def own_clip(tmp_path: Path) -> tuple[str, ...]:
    """Options that name a folder's config.json and weights."""
    folder = tmp_path / "my clip"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CLIP))
    torch.manual_seed(3)
    clip = open_clip.CLIP(**CLIP)
    save_file(clip.state_dict(), folder / "weights.safetensors")
    weights = str(folder / "weights.safetensors")
    return ("--clip-model", str(folder / "config.json"), "--clip-weights", weights)


def test_its_own_clip_goes_through_train_cam_as_it_is_set(
    devkit: Path,
    own_clip: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    succeed: Callable[..., None],
) -> None:
    monkeypatch.chdir(tmp_path)
    succeed(
        ("prepare-data", "--dataset", "voc", "--data", devkit),
        ("train-cam", *own_clip, "--limit", 10),
        ("gen-cam", *own_clip),
        ("evaluate", "--what", "cam", "--split", "train"),
        ("refine",),
        ("evaluate", "--what", "pseudo", "--split", "train"),
        ("gen-cam", *own_clip, "--split", "val", "--labels", "none"),
        ("evaluate", "--what", "cam", "--split", "val"),
    )
    run = RunDir("runs/voc")
    _, meta = load_checkpoint(run.cam_checkpoint())
    assert meta["monitor"]["images"] == 1
    model = load_gleclip(run)
    assert model.blocks == (2, 3, 5, 6)
    cam = load_cam(run.cam("train", "p1"))
    assert cam.class_ids.tolist() == [2, 9]
    assert cam.scores.shape[1:] == tuple(4 * -(-side // 16) for side in cam.size)
    objects = {}
    for output, told in (("cam-train", True), ("pseudo-train", True), ("cam-val", False)):
        scores = scores_of(run, output)
        assert scores["image_level_labels_used"] is told
        print(f"{output}: mIoU {100 * scores['miou']:.1f}")
        objects[output] = scores["miou_foreground"]
    # losses of rounds cannot be compared; what noise cannot see, colours have taught
    untrained = RunDir("runs/untrained")
    to = ("--run", str(untrained.root))
    succeed(
        ("prepare-data", "--dataset", "voc", "--data", devkit, *to),
        ("gen-cam", *own_clip, "--method", "similarity", *to),
        ("evaluate", "--what", "cam", "--split", "train", *to),
    )
    assert objects["cam-train"] > scores_of(untrained, "cam-train")["miou_foreground"] + 0.03


def scores_of(run: RunDir, output: str) -> dict[str, Any]:
    scores: dict[str, Any] = json.loads((run.root / f"evaluate/{output}/scores.json").read_text())
    return scores
