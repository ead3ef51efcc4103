"""What stands in a run: every output of every stage, finished or not, and what its log tells."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gleclip_cli.artifacts.journal import LOG_FILE
from gleclip_cli.artifacts.json_files import read_json
from gleclip_cli.artifacts.lines import read_lines
from gleclip_cli.artifacts.manifest import MANIFEST_FILE, SETTINGS_FILE
from gleclip_cli.artifacts.run_dir import RunDir, printable
from gleclip_cli.config import STAGE_CONFIGS
from gleclip_cli.errors import BadInput
from gleclip_cli.tools.report.commands import command_line

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Training:
    """What a log tells of a training: losses and rates by step, scores at the step they follow."""

    losses: Points = field(default_factory=list)
    rates: Points = field(default_factory=list)
    monitored: Points = field(default_factory=list)
    monitored_split: str = ""


@dataclass(frozen=True)
class Output:
    """One output folder: `state` is finished, incomplete (items failed), unfinished or damaged.

    `data`: the manifest, or the settings of what is unfinished; `ended`: when the log ends.
    """

    stage: str
    name: str
    folder: Path
    state: str
    command: str
    data: dict[str, Any]
    training: Training
    ended: str

    @property
    def title(self) -> str:
        """Stage and output as in the pipeline's summary, such as `gen-cam train`."""
        return f"{self.stage.replace('_', '-')} {self.name}".strip()

    @property
    def exists(self) -> bool:
        """Whether there is anything to show of it."""
        return self.state in ("finished", "incomplete")

    @property
    def seconds(self) -> float | None:
        """Wall time of the session that finished it."""
        seconds = self.data.get("seconds")
        return float(seconds) if isinstance(seconds, int | float) else None

    @property
    def images(self) -> int:
        """How many images it worked on, as far as it says."""
        counts = self.data.get("counts", {})
        return int(counts.get("done") or counts.get("images") or 0)

    @property
    def manifest_text(self) -> str:
        """The manifest as people read it."""
        return json.dumps(self.data, indent=1, sort_keys=True, ensure_ascii=False)


def read_outputs(run: RunDir, dataset: str) -> list[Output]:
    """Return every output of the run in pipeline order; damaged ones are among them."""
    found = []
    for command in STAGE_CONFIGS:
        stage = command.replace("-", "_")
        found += [_read(run, stage, folder, dataset) for folder in run.outputs(stage)]
    return found


def _read(run: RunDir, stage: str, folder: Path, dataset: str) -> Output:
    state, data = _state(folder)
    events = read_lines(folder / LOG_FILE)
    ended = max((str(event.get("time", "")) for event in events), default="")
    name = str(data.get("name", "" if folder.parent == run.root else folder.name))
    command = command_line(stage, data, run=run.root, dataset=dataset)
    return Output(stage, name, folder, state, command, data, training_of(events), ended)


def _state(folder: Path) -> tuple[str, dict[str, Any]]:
    """Return the state of an output, and the most that can be read of it."""
    try:
        if (folder / MANIFEST_FILE).exists():
            data = read_json(folder / MANIFEST_FILE)
            return ("finished" if data.get("complete") else "incomplete"), data
        return "unfinished", read_json(folder / SETTINGS_FILE)
    except BadInput as error:
        return "damaged", {"warnings": [printable(error.cause)]}


def training_of(events: list[dict[str, Any]]) -> Training:
    """Read a training from its log; steps that were done again count as done the last time."""
    losses: dict[float, float] = {}
    rates: dict[float, float] = {}
    monitored: dict[float, float] = {}
    split, last = "", -1.0
    for event in events:
        step = _number(event, "step")
        if event.get("event") == "step" and step is not None:
            if step <= last:
                for table in (losses, rates, monitored):
                    for later in [known for known in table if known >= step]:
                        del table[later]
            last = step
            for table, key in ((losses, "loss"), (rates, "rate")):
                value = _number(event, key)
                if value is not None:
                    table[step] = value
        elif event.get("event") == "monitor":
            miou = _number(event, "miou")
            split = str(event.get("split", split))
            if miou is not None:
                monitored[max(last, 0.0)] = miou
    return Training(sorted(losses.items()), sorted(rates.items()), sorted(monitored.items()), split)


def _number(event: Mapping[str, Any], key: str) -> float | None:
    value = event.get(key)
    return float(value) if isinstance(value, int | float) else None
