"""The plan of a run: images, time and disk of every step, and nothing written into the run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from PIL import Image

from gleclip_cli import pipeline
from gleclip_cli import plan as module
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.config import (
    EvaluateConfig,
    Execution,
    GenCamConfig,
    PrepareDataConfig,
    RefineConfig,
    TrainCamConfig,
    TrainSegConfig,
)
from gleclip_cli.datasets import readers
from gleclip_cli.errors import EnvironmentFault
from gleclip_cli.plan import plan
from gleclip_cli.training.cached import CACHE_LIMIT

pytestmark = pytest.mark.usefixtures("short_walks")

CONFIGS: dict[str, Any] = {
    "prepare-data": PrepareDataConfig(train_images=100, val_images=50),
    "train-cam": TrainCamConfig(epochs=5.0),
    "gen-cam": GenCamConfig(limit=40),
    "refine": RefineConfig(),
    "train-seg": TrainSegConfig(epochs=3.0),
    "evaluate": EvaluateConfig(),
}
EXECUTIONS = {command: Execution() for command in CONFIGS}
LABELS = (
    "prepare-data",
    "train-cam",
    "gen-cam",
    "evaluate cam train",
    "refine",
    "evaluate pseudo train",
    "train-seg",
    "evaluate seg val",
)


def test_a_probe_is_scaled_to_the_images_of_every_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every step costs 5 s once and 2 s per image, 10 bytes once and 3 per image; no cache."""

    def probe(
        configs: Mapping[str, Any], executions: object, count: int, *_: object
    ) -> dict[str, Any]:
        images = {label: count * (2 if label == "prepare-data" else 1) for label in LABELS}
        return {label: (5.0 + 2 * n, 10.0 + 3 * n, 0.0) for label, n in images.items()}

    monkeypatch.setattr(module, "_probe", probe)
    found = {step.label: step for step in plan(RunDir(tmp_path / "run"), CONFIGS, EXECUTIONS).steps}
    assert found["prepare-data"].seconds == pytest.approx(5 + 2 * 150)
    assert found["prepare-data"].size == pytest.approx(10 + 3 * 150)
    assert found["train-cam"].images == 100  # the probe has all passes
    assert found["train-cam"].seconds == pytest.approx(5 + 2 * 100)
    assert found["gen-cam"].images == 40
    assert found["gen-cam"].seconds == pytest.approx(5 + 2 * 40)
    assert found["train-seg"].images == 300
    assert found["train-seg"].seconds == pytest.approx(5 + 2 * 300)
    assert found["train-seg"].size == pytest.approx(10 + 3 * 100)
    assert found["evaluate seg val"].seconds == pytest.approx(5 + 2 * 50)
    assert not (tmp_path / "run").exists()


def test_features_that_memory_cannot_hold_are_computed_in_every_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    each = CACHE_LIMIT / 90

    def probe(
        configs: Mapping[str, Any], executions: object, count: int, *_: object
    ) -> dict[str, Any]:
        return {
            label: (2.0 * count, 3.0 * count, each * count * (label == "train-cam"))
            for label in LABELS
        }

    monkeypatch.setattr(module, "_probe", probe)
    for images, more in ((80, 0), (100, 4 * 2 * 100)):
        configs = {**CONFIGS, "train-cam": TrainCamConfig(epochs=5.0, limit=images)}
        steps = plan(RunDir(tmp_path / "run"), configs, EXECUTIONS).steps
        found = {step.label: step.seconds for step in steps}
        assert found["train-cam"] == pytest.approx(2 * images + more)
        assert found["train-seg"] == pytest.approx(2 * 300)


def test_without_weights_images_are_counted_and_times_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> dict[str, Any]:
        raise EnvironmentFault("The weights cannot be had.")

    monkeypatch.setattr(module, "_probe", fails)
    steps = plan(RunDir(tmp_path / "run"), CONFIGS, EXECUTIONS).steps
    assert [step.images for step in steps] == [150, 100, 40, 100, 100, 100, 300, 50]
    assert all(step.seconds is None and step.size is None for step in steps)


def test_a_real_probe_of_every_step(
    tiny_voc: Path, tiny_clip_json: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip: dict[str, Any] = {"clip_model": tiny_clip_json, "clip_weights": "random"}
    configs = {
        "prepare-data": PrepareDataConfig(dataset="voc", data=str(tiny_voc)),
        "train-cam": TrainCamConfig(**clip, epochs=2.0, batch_size=2, crop=32),
        "gen-cam": GenCamConfig(**clip),
        "refine": RefineConfig(),
        "train-seg": TrainSegConfig(**clip, arch="clip-decoder", epochs=1.0, batch_size=2, crop=32),
        "evaluate": EvaluateConfig(),
    }
    read: list[object] = []
    own = readers.READERS["voc"]
    monkeypatch.setitem(
        readers.READERS, "voc", lambda *words, **limit: read.append(words) or own(*words, **limit)
    )
    made = plan(RunDir(tmp_path / "run"), configs, EXECUTIONS)
    assert len(read) == 1
    assert [step.images for step in made.steps] == [4, 3, 3, 3, 3, 3, 3, 1]
    assert all(step.seconds and step.seconds > 0 for step in made.steps)
    assert all(step.size and step.size > 0 for step in made.steps)
    assert made.free > 0
    assert not (tmp_path / "run").exists()


def test_what_is_finished_costs_nothing(
    tiny_voc: Path, tiny_clip_json: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip: dict[str, Any] = {"clip_model": tiny_clip_json, "clip_weights": "random"}
    configs = {
        **CONFIGS,
        "prepare-data": PrepareDataConfig(dataset="voc", data=str(tiny_voc)),
        "train-cam": TrainCamConfig(**clip, epochs=1.0, batch_size=2, crop=32),
        "gen-cam": GenCamConfig(**clip),
    }
    run = RunDir(tmp_path / "run")
    for command in ("prepare-data", "train-cam", "gen-cam"):
        pipeline._stage(command)(run, configs[command], execution=Execution(device="cpu"))
    monkeypatch.setattr(module, "_probe", lambda *_: dict.fromkeys(LABELS, (2.0, 3.0, 0.0)))
    found = {step.label: step for step in plan(run, configs, EXECUTIONS).steps}
    for label in LABELS:
        done = label in ("prepare-data", "train-cam", "gen-cam")
        assert (found[label].seconds == 0) == done, label
        assert (found[label].images == 0) == done, label


def test_evaluations_without_true_masks_are_left_out_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("cat/1.jpg", "dog/2.jpg"):
        (tmp_path / "own" / name).parent.mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "own" / name)
    data = PrepareDataConfig(dataset="folder", data=str(tmp_path / "own"))
    configs = {**CONFIGS, "prepare-data": data}
    monkeypatch.setattr(module, "_probe", lambda *_: dict.fromkeys(LABELS, (2.0, 3.0, 0.0)))
    steps = plan(RunDir(tmp_path / "run"), configs, EXECUTIONS).steps
    notes = {step.label: step.note for step in steps if step.note}
    assert notes == {
        "evaluate cam train": "no true masks",
        "evaluate pseudo train": "no true masks",
        "evaluate seg val": "no split val",
    }
    assert all(step.seconds is not None for step in steps)
    pipeline._stage("prepare-data")(RunDir(tmp_path / "run"), data, execution=Execution())
    steps = plan(RunDir(tmp_path / "run"), configs, EXECUTIONS).steps
    assert {step.label: step.note for step in steps if step.note} == {
        **notes,
        "prepare-data": "finished",
    }


def test_a_probe_fetches_no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probed: list[str] = []

    def probe(configs: Mapping[str, Any], *_: object) -> dict[str, Any]:
        stages = ("train-cam", "gen-cam", "train-seg")
        probed.extend(configs[command].clip_weights for command in stages)
        probed.append(configs["train-seg"].pretrained)
        return {}

    monkeypatch.setattr(module, "_probe", probe)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    micro = {"clip_model": "micro-clip", "clip_weights": "micro-clip"}
    configs = {
        **CONFIGS,
        "gen-cam": GenCamConfig(**micro),
        "train-seg": TrainSegConfig(pretrained="imagenet", freeze_norms=True),
    }
    plan(RunDir(tmp_path / "run"), configs, EXECUTIONS)
    assert probed == ["random", "micro-clip", "random", "none"] * 3
