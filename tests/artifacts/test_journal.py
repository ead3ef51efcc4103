"""What a stage tells: in its log, to listeners, and in the manifest."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gleclip_cli.artifacts.journal import LOG_FILE, Journal
from gleclip_cli.config import Execution
from gleclip_cli.progress import SILENT


@pytest.mark.parametrize("dry_run", [False, True])
def test_events_are_logged_and_heard_unless_nothing_may_be_written(
    tmp_path: Path, dry_run: bool
) -> None:
    journal = Journal(tmp_path, Execution(dry_run=dry_run), {"seed": 3}, SILENT)
    heard: list[Mapping[str, Any]] = []
    journal.listeners.append(heard.append)
    journal.log({"event": "step", "step": 1})
    journal.warn("Mind this.")
    journal.note(device="cpu")
    about = journal.about()
    assert (about["arguments"], about["device"]) == ({"seed": 3}, "cpu")
    assert about["warnings"] == ["Mind this."]
    assert about["execution"]["dry_run"] == dry_run
    assert about["seconds"] >= 0
    events = [{"event": "step", "step": 1}, {"event": "warning", "message": "Mind this."}]
    assert heard == ([] if dry_run else events)
    assert (tmp_path / LOG_FILE).exists() != dry_run
    if not dry_run:
        logged = [json.loads(line) for line in (tmp_path / LOG_FILE).read_text().splitlines()]
        assert all(line.pop("time") for line in logged)
        assert logged == events
