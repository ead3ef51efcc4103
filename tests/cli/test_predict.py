"""The command from words to exit code."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import Tensor
from typer.testing import Result

from gleclip_cli.artifacts.checkpoint import save_checkpoint
from gleclip_cli.artifacts.run_dir import RunDir, last_run, remember_run
from gleclip_cli.seg.network import NetworkSpec, build_network

Run = Callable[..., Result]


SPEC = NetworkSpec(arch="deeplabv2-small", num_classes=3)


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    return build_network(SPEC).weights()


@pytest.fixture
def network(weights: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A checkpoint in the working folder, beside two pictures, one of them bad."""
    monkeypatch.chdir(tmp_path)
    meta = {"network": asdict(SPEC), "clip_sha256": "", "classes": ["background", "cat", "dog"]}
    save_checkpoint(Path("net/checkpoint.safetensors"), weights, meta)
    Path("a").mkdir()
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save("a/1.jpg")
    Path("a/2.jpg").write_text("no picture")
    return "net"


def test_pictures_are_labelled_and_bad_ones_named(network: str, gleclip: Run) -> None:
    words = ("predict", "a", "--checkpoint", network, "--device", "cpu", "--no-flip")
    result = gleclip(*words, "--out", "o", "--json")
    assert result.exit_code == 4
    told = json.loads(result.stdout)
    assert (told["counts"]["done"], told["counts"]["failed"]) == (1, 1)
    assert told["failures"][0]["id"] == "a/2"
    assert sum(area["pixels"] for area in told["classes"].values()) == 600
    assert sorted(path.name for path in Path("o").iterdir() if path.is_dir()) == [
        "areas",
        "masks",
        "overlays",
    ]
    assert last_run() is None
    Path("a/2.jpg").unlink()
    again = gleclip(*words, "--out", "o")
    assert again.exit_code == 0
    assert "Pixels of all pictures" in again.stdout
    refused = gleclip(*words, "--out", "o", "--crf")
    assert refused.exit_code == 5


def test_with_a_network_of_any_place_no_run_is_used(network: str, gleclip: Run) -> None:
    Path("runs/mine").mkdir(parents=True)
    remember_run(RunDir("runs/mine"))
    words = ("predict", "a", "--out", "o", "--dry-run")
    assert "Using runs/mine, the run used last." in gleclip(*words).stderr
    result = gleclip(*words, "--checkpoint", network)
    assert result.exit_code == 0
    assert "runs" not in result.stderr


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("a", "--out", "o"), 3, "There is no network runs/scenes"),
        (("empty", "--out", "o", "--checkpoint", "net"), 2, "No picture in empty"),
        (("a", "--out", ".", "--checkpoint", "net"), 2, "folder of the output"),
        (("a", "--out", "o", "--checkpoint", "net", "--tags", "dgo"), 2, "no class 'dgo'"),
        (("a", "--out", "o", "--checkpoint", "net", "--method", "clip-es"), 2, "uses none"),
        (("a", "--out", "o", "--window", "8", "--stride", "9"), 2, "--stride is 9"),
        (("a", "--out", "o", "--method", "gle-clip"), 3, "No prepared data"),
        (("a", "--out", "o", "--method", "similarity", "--window", "8"), 2, "whole pictures"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_written(
    network: str, gleclip: Run, words: tuple[str, ...], code: int, told: str
) -> None:
    Path("empty").mkdir()
    result = gleclip("predict", *words)
    assert result.exit_code == code, result.stderr
    assert told in result.stderr
    assert not Path("o").exists()
