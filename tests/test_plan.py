"""The plan of a run: images, time and disk of every step, and nothing written into the run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gleclip_cli import plan as module
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.config import (
    EvaluateConfig,
    Execution,
    GenCamConfig,
    PrepareDataConfig,
    RefineConfig,
    TrainSegConfig,
)
from gleclip_cli.datasets import readers
from gleclip_cli.errors import EnvironmentFault
from gleclip_cli.plan import plan

CONFIGS: dict[str, Any] = {
    "prepare-data": PrepareDataConfig(train_images=100, val_images=50),
    "gen-cam": GenCamConfig(limit=40),
    "refine": RefineConfig(),
    "train-seg": TrainSegConfig(epochs=3.0),
    "evaluate": EvaluateConfig(),
}
EXECUTIONS = {command: Execution() for command in CONFIGS}


def test_a_probe_is_scaled_to_the_images_of_every_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every step costs 5 s once and 2 s per image, 10 bytes once and 3 per image."""

    def probe(configs: Mapping[str, Any], executions: object, count: int) -> dict[str, Any]:
        splits = {"prepare-data": 2}
        return {
            label: (5.0 + 2 * count * splits.get(label, 1), 10.0 + 3 * count * splits.get(label, 1))
            for label in (
                "prepare-data",
                "gen-cam",
                "evaluate cam train",
                "refine",
                "evaluate pseudo train",
                "train-seg",
                "evaluate seg val",
            )
        }

    monkeypatch.setattr(module, "_probe", probe)
    found = {step.label: step for step in plan(RunDir(tmp_path / "run"), CONFIGS, EXECUTIONS).steps}
    assert found["prepare-data"].seconds == pytest.approx(5 + 2 * 150)
    assert found["prepare-data"].size == pytest.approx(10 + 3 * 150)
    assert found["gen-cam"].images == 40
    assert found["gen-cam"].seconds == pytest.approx(5 + 2 * 40)
    assert found["train-seg"].images == 300
    assert found["train-seg"].seconds == pytest.approx(5 + 2 * 300)
    assert found["train-seg"].size == pytest.approx(10 + 3 * 100)
    assert found["evaluate seg val"].seconds == pytest.approx(5 + 2 * 50)
    assert not (tmp_path / "run").exists()


def test_without_weights_images_are_counted_and_times_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> dict[str, Any]:
        raise EnvironmentFault("The weights cannot be had.")

    monkeypatch.setattr(module, "_probe", fails)
    steps = plan(RunDir(tmp_path / "run"), CONFIGS, EXECUTIONS).steps
    assert [step.images for step in steps] == [150, 40, 100, 100, 100, 300, 50]
    assert all(step.seconds is None and step.size is None for step in steps)


def test_a_real_probe_of_every_step(
    tiny_voc: Path, tiny_clip_json: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip: dict[str, Any] = {"clip_model": tiny_clip_json, "clip_weights": "random"}
    configs = {
        "prepare-data": PrepareDataConfig(dataset="voc", data=str(tiny_voc)),
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
    assert [step.images for step in made.steps] == [4, 3, 3, 3, 3, 3, 1]
    assert all(step.seconds and step.seconds > 0 for step in made.steps)
    assert all(step.size and step.size > 0 for step in made.steps)
    assert made.free > 0
    assert not (tmp_path / "run").exists()
