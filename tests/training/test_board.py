"""Curves for TensorBoard: the numbers of the log, at their steps."""

import sys
from pathlib import Path

import pytest

from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.stage import open_stage
from gleclip_cli.config import Execution, TrainCamConfig
from gleclip_cli.errors import EnvironmentFault
from gleclip_cli.training.board import board


def test_what_is_logged_can_be_read_back(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with (
        open_stage(
            RunDir(tmp_path / "run"), "train_cam", TrainCamConfig(), execution=Execution()
        ) as stage,
        board(stage, tmp_path / "board"),
    ):
        stage.log({"event": "step", "step": 0, "loss": 1.5, "rate": 0.1})
        stage.log({"event": "step", "step": 10, "loss": 0.5, "rate": 0.1})
        stage.log({"event": "monitor", "split": "val", "miou": 0.25})
    found = EventAccumulator(str(tmp_path / "board"))
    found.Reload()
    curves = {
        tag: [(e.step, round(e.value, 6)) for e in found.Scalars(tag)]
        for tag in found.Tags()["scalars"]
    }
    assert curves == {
        "step/loss": [(0, 1.5), (10, 0.5)],
        "step/rate": [(0, 0.1), (10, 0.1)],
        "monitor/miou": [(10, 0.25)],
    }


def test_without_tensorboard_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    opened = open_stage(RunDir(tmp_path), "train_cam", TrainCamConfig(), execution=Execution())
    missing = pytest.raises(EnvironmentFault, match="gleclip\\[tensorboard\\]")
    with opened as stage, missing, board(stage, tmp_path / "board"):
        pass
