"""The command line of an output, read back by the command line itself."""

import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.tables import save_prepared
from gleclip_cli.config import STAGE_CONFIGS
from gleclip_cli.tools.report.commands import command_line

CHANGED: dict[str, dict[str, Any]] = {
    "prepare-data": {"dataset": "voc", "data": "my data/VOC $HOME", "limit": 7},
    "train-cam": {"epochs": 2.5, "limit": 30},
    "gen-cam": {"scales": (0.5, 1.0), "split": "val", "flip": True},
    "refine": {"steps": (), "bg_threshold": 0.3},
    "train-seg": {"name": "a b", "flip": False, "scales": (0.5, 2.0)},
    "evaluate": {"what": "cam", "bg_threshold": 0.25},
}


@pytest.mark.parametrize("command", STAGE_CONFIGS)
def test_the_line_says_what_the_manifest_says(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gleclip_cli.cli import main, settings

    made = STAGE_CONFIGS[command](**CHANGED[command])
    manifest = json.loads(json.dumps({"config": asdict(made)}))
    line = command_line(command.replace("-", "_"), manifest, run=tmp_path / "a run", dataset="voc")
    seen: list[Any] = []

    def look(self: settings.Settings, name: str) -> Any:
        seen.append(read(self, name))
        raise KeyboardInterrupt

    stage = command.replace("-", "_")  # in place of the real one, which would load torch
    stand_in = SimpleNamespace(**{stage: None})
    monkeypatch.setitem(sys.modules, f"gleclip_cli.stages.{stage}", stand_in)
    read: Callable[[settings.Settings, str], Any] = settings.Settings.config
    monkeypatch.setattr(settings.Settings, "config", look)
    monkeypatch.chdir(tmp_path)
    run = RunDir(tmp_path / "a run")
    tables: dict[str, Any] = {"records": {"trainaug": {}}, "labels": {"trainaug": {}}}
    save_prepared(run, dataset="voc", vocabulary="voc", root=tmp_path, **tables)
    words = shlex.split(line)
    assert words[:2] == ["gleclip", command]
    with pytest.raises(SystemExit):
        main.app(words[1:], prog_name="gleclip")
    assert asdict(seen[0]) == asdict(made)


def test_partial_input_and_hostile_values_are_told() -> None:
    settings = {"config": {"name": "x; rm -rf \x1b"}, "execution": {"allow_partial": True}}
    line = command_line("train_seg", settings, run="a b", dataset="scenes")
    assert "--run 'a b'" in line
    assert "--name 'x; rm -rf \\x1b'" in line
    assert line.endswith("--allow-partial")
