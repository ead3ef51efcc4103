"""The whole road on real photographs with a full-size ViT-B/16: random weights, real formats.

pytest -m slow tests/test_photographs.py -s

The masks mean nothing with such weights; that every stage works on real files is the point.
"""

import json
import os
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner

from gleclip_cli.cli.main import app

DATA = Path(os.environ.get("GLECLIP_TEST_DATA", Path(__file__).parents[1] / "../shared/data"))
VOC = DATA / "voc-photos" / "VOCdevkit" / "VOC2012"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not VOC.is_dir(), reason="the photographs of GLECLIP_TEST_DATA are absent"),
]


@pytest.fixture(params=["random", "file"])
def weights(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """`random`, or a local file as open_clip would save it."""
    if request.param == "random":
        return "random"
    torch.manual_seed(1)
    path = tmp_path / "vit.safetensors"
    save_file(open_clip.create_model("ViT-B-16-quickgelu").state_dict(), path)
    return str(path)


def independent_miou(run: Path, what: str, split: str, folder: Path) -> float:
    """Per-class counting in plain NumPy over the masks on disk."""
    inter, union = np.zeros(21), np.zeros(21)
    for name in (run / "prepare_data" / "lists" / f"{split}.txt").read_text().split():
        true = np.array(Image.open(VOC / "SegmentationClass" / f"{name}.png"))
        made = np.array(Image.open(folder / f"{name}.png"))
        for label in range(21):
            a, b = (true == label), (made == label) & (true != 255)
            inter[label] += (a & b).sum()
            union[label] += (a | b).sum()
    return float(np.mean(inter[union > 0] / union[union > 0]))


def test_voc_photographs_go_through_all_stages(
    weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    clip = ["--clip-model", "ViT-B-16-quickgelu", "--clip-weights", weights]
    arch = "deeplabv2-small" if weights == "random" else "clip-decoder"
    seg = ["--arch", arch, "--epochs", "1", "--batch-size", "4", "--crop", "161"]
    seg += clip if arch == "clip-decoder" else []
    commands = [
        ["prepare-data", "--dataset", "voc", "--data", str(VOC)],
        ["gen-cam", "--dataset", "voc", *clip],
        ["evaluate", "--what", "cam", "--split", "train"],
        ["refine"],
        ["evaluate", "--what", "pseudo", "--split", "train"],
        ["train-seg", *seg],
        ["evaluate"],
    ]
    for words in commands:
        result = CliRunner().invoke(app, words, prog_name="gleclip")
        assert result.exit_code == 0, result.output
    run = Path("runs/voc")
    made = {"pseudo-train": "refine/train/pseudo_masks", "seg-val": "evaluate/seg-val/pred_masks"}
    for output, folder in made.items():
        what, split = output.split("-")
        scores = json.loads((run / "evaluate" / output / "scores.json").read_text())
        assert scores["images"] == (60 if split == "train" else 40)
        expected = independent_miou(run, what, split, run / folder)
        assert scores["miou"] == pytest.approx(expected, abs=1e-9)
        print(f"{output} {weights}: mIoU {100 * scores['miou']:.2f}, equal to an independent count")
    assert len(list((run / "gen_cam" / "train" / "cams").rglob("*.npz"))) == 60
    assert len(list((run / "refine" / "train" / "confidence").glob("*.png"))) == 60
