"""What people see: bars, tables, errors, exit codes. Messages go to stderr, results to stdout."""

import json
import signal
import threading
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
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

from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.errors import EnvironmentFault, GleclipError

if TYPE_CHECKING:  # `--help` loads neither numpy nor torch
    from gleclip_cli.artifacts.manifest import Manifest
    from gleclip_cli.artifacts.tables import Scores
    from gleclip_cli.pipeline import Summary

T = TypeVar("T")

FAILED_ITEMS = 4
INTERRUPTED = 130


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "")


class Report:
    """A `Progress` on the terminal that also gathers what the summary says."""

    def __init__(self, command: str, *, quiet: bool, verbose: bool, as_json: bool, debug: bool):
        self.command, self.quiet, self.verbose = command, quiet, verbose
        self.as_json, self.debug = as_json, debug
        self.out, self.err = Console(highlight=False), Console(stderr=True, highlight=False)
        self.document: dict[str, Any] = {"command": command}
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
            disable=quiet or as_json or not self.err.is_terminal,
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
        folder = manifest.path.parent
        self.failed += manifest.counts.get("failed", 0)
        self.document |= {"output": str(folder), "counts": manifest.counts}
        counts = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in manifest.counts.items())
        self.say(f"{folder}: {counts or 'done'}.")
        if manifest.counts.get("failed"):
            self.say(f"The failed items stand in {folder / 'failed.jsonl'}.")

    def scores(self, scores: "Scores") -> None:
        """Show IoU per class and the mean."""
        self.document |= {
            "miou": scores.miou,
            "per_class_iou": scores.per_class_iou,
            "images": scores.images,
        }
        rows = [*scores.per_class_iou.items(), (f"mean of {scores.images} images", scores.miou)]
        self._table("IoU", ["class", "IoU"], [[name, _percent(iou)] for name, iou in rows])

    def summary(self, summary: "Summary") -> None:
        """Show what a whole run made: seconds and mIoU per step."""
        scored = {r.label: r.scores.miou for r in summary.results if r.scores}
        self.failed += sum(r.manifest.counts.get("failed", 0) for r in summary.results)
        self.document |= {
            "run": str(summary.run.root),
            "miou": scored,
            "seconds_per_step": {r.label: round(r.seconds, 3) for r in summary.results},
            "unscored": summary.unscored,
            "waiting": summary.waiting,
        }
        rows = [
            [r.label, f"{r.seconds:.1f}", _percent(scored.get(r.label))] for r in summary.results
        ]
        rows += [[name, "", "no true masks"] for name in summary.unscored]
        rows += [[name, "", "not reached"] for name in summary.waiting]
        self._table(f"Run {summary.run.root}", ["step", "seconds", "mIoU"], rows)

    def _table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        if self.as_json:
            return
        table = Table(title=Text(printable(title)), title_justify="left")
        for number, column in enumerate(columns):
            table.add_column(column, justify="right" if number else "left")
        for row in rows:
            table.add_row(*(Text(printable(cell)) for cell in row))
        self.bars.stop()
        self.out.print(table)

    def error(self, cause: str, remedy: str, exit_code: int) -> None:
        """Print one line of cause and one of remedy."""
        self.document |= {
            "error": printable(cause),
            "remedy": printable(remedy),
            "exit_code": exit_code,
        }
        self._line(f"Error: {cause}", style="bold red")
        if remedy:
            self._line(remedy)

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


@contextmanager
def reporting(context: typer.Context) -> Iterator[Report]:
    """Turn errors, Ctrl-C and SIGTERM into messages and exit codes.

    Raises:
        typer.Exit: with the exit code of `faults.md` when that is not 0.
    """
    flags = context.params
    report = Report(
        context.info_name or "gleclip",
        quiet=flags["quiet"],
        verbose=flags["verbose"],
        as_json=flags["json_"],
        debug=flags["debug"],
    )
    code = 0
    with _sigterm_as_interrupt():
        try:
            yield report
        except KeyboardInterrupt:
            report.interrupted()
            code = INTERRUPTED
        except Exception as error:
            if report.debug:
                traceback.print_exc()
            known = _known(error)
            report.error(known.cause, known.remedy, known.exit_code)
            code = known.exit_code
        finally:
            report.close()
    code = code or (FAILED_ITEMS if report.failed else 0)
    if code:
        raise typer.Exit(code)


def _known(error: Exception) -> GleclipError:
    """Return `error` as something a user can act on."""
    if isinstance(error, GleclipError):
        return error
    if isinstance(error, OSError):
        where = f": {error.filename}" if error.filename else ""
        return EnvironmentFault(
            f"{error.strerror or error}{where}", "Check disk space, permissions and the path."
        )
    # torch.OutOfMemoryError is told by its name: this module must not load torch.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return EnvironmentFault("Out of memory.", "Use smaller images or batches, or --device cpu.")
    if isinstance(error, ImportError):
        return EnvironmentFault(f"{error}.", "Install gleclip again, with the extra it names.")
    return GleclipError(
        f"Internal error: {type(error).__name__}: {error}",
        "This is a fault of gleclip; --debug shows where.",
    )


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Treat SIGTERM like Ctrl-C, so that batch systems end a run cleanly."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"
