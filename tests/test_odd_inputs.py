"""What is odd but legal goes the whole road; what cannot work says why before anything runs."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from gleclip_cli.artifacts.maps import load_cam
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.cli.main import app

pytestmark = pytest.mark.usefixtures("short_walks")

ODD = "Fahrräder am Café"


def gleclip(*words: object) -> Result:
    return CliRunner().invoke(app, [str(w) for w in words], prog_name="gleclip")


def add_picture(voc: Path, name: str, size: tuple[int, int], classes: list[str]) -> None:
    """Add a picture of `size` (H, W) with its annotation and mask to the train list."""
    pixels = np.random.default_rng(len(name)).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(pixels).save(voc / "JPEGImages" / f"{name}.jpg")
    Image.fromarray(np.zeros(size, np.uint8)).convert("P").save(
        voc / "SegmentationClass" / f"{name}.png"
    )
    objects = "".join(f"<object><name>{c}</name></object>" for c in classes)
    xml = f"<annotation>{objects}</annotation>"
    (voc / "Annotations" / f"{name}.xml").write_text(xml, encoding="utf-8")
    with (voc / "ImageSets/Segmentation/train.txt").open("a", encoding="utf-8") as file:
        file.write(f"{name}\n")


@pytest.fixture
def odd_voc(tiny_voc: Path) -> Path:
    add_picture(tiny_voc, ODD, (24, 40), ["bicycle"])
    add_picture(tiny_voc, "dot", (5, 7), ["cat"])  # smaller than a patch of 8
    return tiny_voc


@pytest.mark.parametrize("workers", [0, pytest.param(8, marks=pytest.mark.slow)])
def test_fault_13_19_32_odd_pictures_go_the_whole_road(
    odd_voc: Path, tiny_clip_json: str, tmp_path: Path, workers: int
) -> None:
    run = tmp_path / "run"
    common = ("--run", run, "--workers", workers)
    clip = ("--clip-model", tiny_clip_json, "--clip-weights", "random")
    seg = ("--arch", "clip-decoder", "--epochs", 1, "--batch-size", 2, "--crop", 32)
    for words in (
        ("prepare-data", "--dataset", "voc", "--data", odd_voc, *common),
        ("train-cam", *clip, "--epochs", 2, "--batch-size", 2, "--crop", 32, *common),
        ("gen-cam", *clip, *common),
        ("refine", "--par-iterations", 2, *common),
        ("evaluate", "--what", "pseudo", "--split", "train", *common),
        ("train-seg", *clip, *seg, *common),
        ("evaluate", *common),
    ):
        result = gleclip(*words)
        assert result.exit_code == 0, result.output
    paths = RunDir(run)
    for name, size in {ODD: (24, 40), "dot": (5, 7), "c": None}.items():
        mask = np.array(Image.open(paths.pseudo_mask("train", name)))
        assert size is None or mask.shape == size
        if name == "c":  # shows nothing
            assert not mask.any()
            assert load_cam(paths.cam("train", name)).scores.shape[0] == 0
    counts = json.loads((run / "gen_cam/train/manifest.json").read_text())["counts"]
    assert counts["without_classes"] == 1
    assert counts["done"] == 5


def test_fault_27_an_empty_list_is_told_at_once(tiny_voc: Path, tmp_path: Path) -> None:
    (tiny_voc / "ImageSets/Segmentation/train.txt").write_text("\n")
    result = gleclip(
        "prepare-data", "--dataset", "voc", "--data", tiny_voc, "--run", tmp_path / "r"
    )
    assert result.exit_code == 2, result.output
    assert "train" in result.stderr
    assert "nan" not in result.output
