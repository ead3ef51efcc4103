"""What many tests stand on: a tiny CLIP, a tiny VOC, and the road over real photographs."""

import functools
import gc
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from gleclip_cli.datasets.vocabulary import voc_palette

# As in gleclip_cli/__main__.py, before torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Tensors of tests are tiny: a second thread costs a quarter more processor time and gains nothing.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Tests do not stand where pytest was started.
for place in {"GLECLIP_TEST_DATA", "GLECLIP_TEST_WEIGHTS"} & set(os.environ):
    os.environ[place] = str(Path(os.environ[place]).resolve())

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


def pytest_collection(session: pytest.Session) -> None:
    """Leave garbage until all is loaded: what tests import stays."""
    gc.disable()


def pytest_collection_finish(session: pytest.Session) -> None:
    """From now on look for garbage, but not among the hundred thousands of things loaded."""
    gc.freeze()
    gc.enable()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Let libraries end as they expect."""
    gc.unfreeze()


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


@pytest.fixture(scope="session", autouse=True)
def nowhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty folder to stand in; no test waits for a disk to be safe from power failures."""
    folder: Path = tmp_path_factory.mktemp("nowhere")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(os, "fsync", lambda _: None)
        yield folder


@pytest.fixture(autouse=True)
def elsewhere(request: pytest.FixtureRequest, nowhere: Path) -> Iterator[None]:
    """A test stands in its own folder, if it has one; it never writes into the checkout."""
    os.chdir(request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else nowhere)
    yield
    if left := list(nowhere.iterdir()):
        shutil.rmtree(nowhere)
        nowhere.mkdir()
        pytest.fail(f"needs tmp_path, because it writes {left}")


@pytest.fixture(scope="module")
def short_walks() -> Iterator[None]:
    """Teachers walk 4 steps instead of 256, which are most of the time of a small training."""
    from gleclip_cli.refine.walk import walked

    with pytest.MonkeyPatch.context() as patch:
        short = functools.partial(walked, steps=4)
        patch.setattr("gleclip_cli.cam.grounded.walked", short)
        yield


@pytest.fixture(scope="session")
def tiny_clip_json(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of a configuration for `load_clip(path, "random")`: 32 px, patch 8, 4 blocks."""
    path: Path = tmp_path_factory.mktemp("tiny_clip") / "config.json"
    path.write_text(json.dumps(TINY))
    return str(path)


@pytest.fixture
def tiny_voc(tmp_path: Path) -> Path:
    """A VOC2012 of four small pictures with masks: train a, b, c (c shows nothing), val d."""
    return _tiny_voc(tmp_path)


@pytest.fixture(scope="session")
def make_tiny_voc() -> Callable[[Path], Path]:
    """Draw the same into any folder."""
    return _tiny_voc


def _tiny_voc(folder: Path) -> Path:
    root = folder / "VOCdevkit" / "VOC2012"
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


@pytest.fixture(scope="session")
def photographs() -> Callable[[str], Path]:
    """Return a folder of the shared photographs, or skip the test without them."""
    shared = os.environ.get("GLECLIP_TEST_DATA", Path(__file__).parents[1] / "../shared/data")

    def find(name: str) -> Path:
        folder = Path(shared).resolve() / name
        if not folder.is_dir():
            pytest.skip(f"needs {name} of GLECLIP_TEST_DATA")
        return folder

    return find


def _succeed(*commands: tuple[object, ...]) -> None:
    from gleclip_cli.cli.main import app

    for words in commands:
        result = CliRunner().invoke(app, [str(word) for word in words], prog_name="gleclip")
        assert result.exit_code == 0, f"{words}: {result.output}"


@pytest.fixture
def succeed() -> Callable[..., None]:
    """Run commands in this process; each has to end well."""
    return _succeed


Masks = Iterator[tuple[np.ndarray, Path]]


@pytest.fixture
def whole_road(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Run all stages on photographs, in an empty folder, and count their scores by other means.

    `images`: scored ones by output; `masks`: split and folder of predictions -> every true mask
    with the file of its prediction.
    """

    def go(
        dataset: str,
        data: Path,
        *,
        clip: tuple[str, ...],
        seg: tuple[str, ...],
        images: Mapping[str, int],
        masks: Callable[[str, Path], Masks],
    ) -> None:
        monkeypatch.chdir(tmp_path)
        _succeed(
            ("prepare-data", "--dataset", dataset, "--data", data),
            ("train-cam", *clip, "--limit", 8, "--epochs", 1),
            ("gen-cam", *clip),
            ("evaluate", "--what", "cam", "--split", "train"),
            ("refine", "--par-iterations", 2),
            ("evaluate", "--what", "pseudo", "--split", "train"),
            ("train-seg", *seg, "--epochs", 1, "--batch-size", 4, "--crop", 161),
            ("evaluate", "--no-flip"),
        )
        run = Path("runs") / dataset
        (pseudo,) = (run / "refine").iterdir()
        made = {
            "pseudo-train": pseudo / "pseudo_masks",
            "seg-val": run / "evaluate/seg-val/pred_masks",
        }
        for output, folder in made.items():
            scores = json.loads((run / "evaluate" / output / "scores.json").read_text())
            assert scores["images"] == images[output]
            expected = _miou(masks(output.split("-")[1], folder), len(scores["per_class_iou"]))
            assert scores["miou"] == pytest.approx(expected, abs=1e-9)
            print(f"{dataset} {output}: mIoU {100 * expected:.2f}, equal to an independent count")

    return go


def _miou(masks: Masks, classes: int) -> float:
    """Per-class counting in plain NumPy."""
    confusion = np.zeros((classes, classes), np.int64)
    for true, file in masks:
        made = np.array(Image.open(file))
        np.add.at(confusion, (true[true != 255], made[true != 255]), 1)
    both = np.diag(confusion)
    union = confusion.sum(0) + confusion.sum(1) - both
    return float(np.mean(both[union > 0] / union[union > 0]))


@pytest.fixture
def in_two_processes() -> Callable[..., list[int]]:
    """Run a Python file with arguments in two processes as torchrun does; gives their exit codes.

    accelerate keeps its state for the life of a process: the tests' own must not join.
    """

    def run(file: str, *arguments: str) -> list[int]:
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = str(free.getsockname()[1])
        root = str(Path(__file__).resolve().parents[1])
        common = {"PYTHONPATH": root, "OMP_NUM_THREADS": "1", "WORLD_SIZE": "2"}
        address = {"MASTER_ADDR": "localhost", "MASTER_PORT": port}
        started = [
            subprocess.Popen(
                [sys.executable, file, *arguments],
                env={**os.environ, **common, **address, "RANK": rank, "LOCAL_RANK": rank},
            )
            for rank in "01"
        ]
        return [process.wait(timeout=100) for process in started]

    return run
