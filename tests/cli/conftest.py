"""Commands without their work: stages that only record how they were called."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gleclip_cli.artifacts.manifest import Manifest
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.cli.main import app
from gleclip_cli.config import Execution
from gleclip_cli.progress import Progress

ALL_DONE = {"items": 3, "done": 3, "failed": 0, "to_do": 0}


@dataclass
class Called:
    """One call of a stage."""

    stage: str
    run: RunDir
    config: Any
    execution: Execution


@dataclass
class Stages:
    """The recorded calls; `counts` is what every stage answers, `act` what it does first."""

    calls: list[Called] = field(default_factory=list)
    counts: dict[str, int] = field(
        default_factory=lambda: {"items": 3, "done": 3, "failed": 0, "to_do": 0}
    )
    act: Callable[[Called, Progress], None] = lambda called, progress: None
    failures: list[dict[str, str]] = field(default_factory=list)

    @property
    def last(self) -> Called:
        return self.calls[-1]

    def make(self, stage: str) -> Callable[..., Manifest]:
        def call(run: RunDir, config: Any, *, execution: Execution, progress: Progress) -> Manifest:
            self.calls.append(Called(stage, run, config, execution))
            self.act(self.last, progress)
            data = {"failures": self.failures}
            complete = not self.counts["failed"]
            return Manifest(stage, "", self.counts, complete, run.output(stage) / "m.json", data)

        return call


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stages:
    """Stand-ins for all stages, in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GLECLIP_DATA", raising=False)
    recorded = Stages()
    for name in ("prepare_data", "train_cam", "gen_cam", "refine", "train_seg", "evaluate"):
        module = ModuleType(f"gleclip_cli.stages.{name}")
        setattr(module, name, recorded.make(name))
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return recorded


@pytest.fixture
def gleclip() -> Callable[..., Result]:
    """Run the command line in this process."""
    return lambda *words: CliRunner().invoke(app, [str(w) for w in words], prog_name="gleclip")
