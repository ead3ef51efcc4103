"""`Journal`: what happens in a stage, told in log.jsonl, to people and in the manifest."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gleclip_cli.artifacts.atomic import append_line
from gleclip_cli.artifacts.json_files import json_line
from gleclip_cli.config import Execution
from gleclip_cli.progress import Progress

LOG_FILE = "log.jsonl"
OPENING = ("open", "warning")
"""Events of a stage before its work."""


class Journal:
    """What a stage tells while it works; in a dry run nothing is written.

    `warnings`: what `warn` was told; `listeners` are told what is logged.
    """

    def __init__(
        self, folder: Path, execution: Execution, arguments: Mapping[str, Any], progress: Progress
    ) -> None:
        self.warnings: list[str] = []
        self.listeners: list[Callable[[Mapping[str, Any]], None]] = []
        self._path = folder / LOG_FILE
        self._execution = execution
        self._progress = progress
        self._facts: dict[str, Any] = {"arguments": dict(arguments)}
        self._started = time.monotonic()

    def note(self, **facts: Any) -> None:
        """Add facts to the manifest."""
        self._facts.update(facts)

    def warn(self, message: str) -> None:
        """Say and record something the user should know."""
        self.warnings.append(message)
        self._progress.warn(message)
        self.log({"event": "warning", "message": message})

    def log(self, event: Mapping[str, Any]) -> None:
        """Append one event to log.jsonl."""
        if not self._execution.dry_run:
            moment = datetime.now(UTC).isoformat(timespec="milliseconds")
            append_line(self._path, json_line({"time": moment, **event}))
            for listen in self.listeners:
                listen(event)

    def about(self) -> dict[str, Any]:
        """What the manifest tells about this call, up to now."""
        return {
            **self._facts,
            "execution": asdict(self._execution),
            "warnings": self.warnings,
            "seconds": round(time.monotonic() - self._started, 3),
        }
