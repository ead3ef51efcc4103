"""What people see: bars, tables, one line per fault. Messages go to stderr, results to stdout."""

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from gleclip_cli.artifacts.run_dir import RunDir, printable
from gleclip_cli.progress import counted

if TYPE_CHECKING:  # `--help` loads neither numpy nor torch
    from gleclip_cli.artifacts.manifest import Manifest

T = TypeVar("T")

FAILED_ITEMS = 4
"""Exit code of a command that finished, with failed items."""
INTERRUPTED = 130
"""Exit code after Ctrl-C or SIGTERM."""


_NUMBERS = {
    *("share", "confidence", "IoU", "mIoU", "seconds", "images", "time", "MB"),
    *("precision", "recall", "FP", "FN", "boundary", "95 %", "95 % interval", "A", "B", "B - A"),
    *("cosine", "peak", "area"),
}


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "")


class Report:
    """A `Progress` on the terminal that also gathers what the summary says.

    Of several processes of one training, only the first tells more than errors. `run`: the run
    that the command works on, once it is known.
    """

    def __init__(self, command: str, flags: Mapping[str, Any]) -> None:
        self.command = command
        self.rank = int(os.environ.get("RANK", "0"))  # of the processes torchrun has started
        main = self.rank == 0
        self.quiet, self.verbose = flags["quiet"] or not main, main and flags.get("verbose", False)
        self.as_json, self.debug = main and flags["json_"], flags["debug"]
        self.dry_run = flags.get("dry_run", False)
        self.out, self.err = Console(highlight=False), Console(stderr=True, highlight=False)
        self.document: dict[str, Any] = {"command": command}
        self.run: RunDir | None = None
        self.warnings = 0
        self.failed = 0
        self.progress_of: dict[str, tuple[int, int]] = {}
        self.started = time.monotonic()
        self.bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            _Speed(),
            TimeRemainingColumn(),
            console=self.err,
            disable=self.quiet or self.as_json or not self.err.is_terminal,
        )

    def each(self, items: Iterable[T], *, total: int, label: str = "") -> Iterator[T]:
        """Yield `items` unchanged, moving a bar."""
        label = printable(label or self.command)
        self.bars.start()
        task = self.bars.add_task(label, total=total)
        for count, item in enumerate(items, start=1):
            yield item
            self.progress_of[label] = (count, total)
            self.bars.advance(task)

    def say(self, message: str) -> None:
        """Print one line for people."""
        if not self.quiet:
            self._line(message)

    def detail(self, message: str) -> None:
        """Print one line if asked to be verbose."""
        if self.verbose:
            self._line(message)

    def warn(self, message: str) -> None:
        """Print one line and count it."""
        self.warnings += 1
        self.say(f"Warning: {message}")

    def done(self, manifest: "Manifest") -> None:
        """Tell what a stage made; its failed items decide the exit code."""
        folder, counts = manifest.path.parent, manifest.counts
        self.failures(manifest)
        self.document |= {"output": str(folder), "counts": counts, "complete": manifest.complete}
        limit = manifest.data.get("config", {}).get("limit")
        cut = f", --limit {limit}" if limit else ""
        if self.dry_run:
            left = counts["to_do"]
            self.document["complete"] = not left
            what = f"{left} of {counts['items']} items to do" if counts["items"] else "to do"
            self.say(f"{folder}: {what if left else 'finished'}; nothing written{cut}.")
            return
        told = [named(name, number) for name, number in counts.items() if number]
        self.say(f"{folder}: {', '.join(told)}{cut}; {time.monotonic() - self.started:.1f} s.")

    def failures(self, manifest: "Manifest") -> None:
        """Tell the failed items of a stage."""
        failed = manifest.counts.get("failed", 0)
        if not failed:
            return
        self.failed += failed
        failures = manifest.data["failures"]
        self.document.setdefault("failures", []).extend(failures)
        rows = [[row["id"], row["reason"], row["remedy"]] for row in failures]
        title = f"{failed} failed, listed in {manifest.path.parent / 'failed.jsonl'}"
        if not self.quiet and not self.as_json:
            self.err.print(_table(title, ["image", "reason", "remedy"], rows))

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Show a result of the command as a table."""
        if not self.as_json:
            self.bars.stop()
            self.out.print(_table(title, columns, rows))

    def tell(self, line: str) -> None:
        """Show a result of the command in one line."""
        if not self.as_json:
            self.bars.stop()
            self.out.print(Text(printable(line)), soft_wrap=True)

    def error(self, cause: str, remedy: str, exit_code: int) -> None:
        """Print the cause, one line unless it lists many faults, and one line of remedy."""
        self.document |= {"error": cause, "remedy": remedy, "exit_code": exit_code}
        first, *others = cause.split("\n")
        who = f" in process {self.rank}" if self.rank else ""
        self._line(f"Error{who}: {first}", style="bold red")
        for line in [*others, remedy] if remedy else others:
            self._line(line)

    def close(self) -> None:
        """Stop the bars; print the JSON document if asked for."""
        self.bars.stop()
        if self.as_json:
            self.document["warnings"] = self.warnings
            self.document["seconds"] = round(time.monotonic() - self.started, 3)
            self.document.setdefault("exit_code", FAILED_ITEMS if self.failed else 0)
            typer.echo(json.dumps(self.document, indent=1))

    def interrupted(self) -> None:
        """Say how far the work had come."""
        for label, (count, total) in self.progress_of.items():
            self._line(f"{label}: {count} of {total}")
        self.error("Interrupted.", "Finished work is kept; the same command goes on.", INTERRUPTED)

    def _line(self, message: str, style: str = "") -> None:
        self.err.print(Text(printable(message), style=style), soft_wrap=True)


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    result = Table(title=Text(printable(title)), title_justify="left")
    for column in columns:
        result.add_column(column, justify="right" if column in _NUMBERS else "left")
    for row in rows:
        result.add_row(*(Text(printable(cell)) for cell in row))
    return result


def named(name: str, number: int) -> str:
    """Return an entry of a manifest's counts, such as `1 item` or `2 without maps`."""
    words = name.replace("_", " ")
    one = words if words.startswith("without") else words.removesuffix("s")
    return counted(number, one, words)


def percent(share: float | None) -> str:
    """Return a share in percent, without the sign; nothing for None."""
    return "" if share is None else f"{100 * share:.1f}"
