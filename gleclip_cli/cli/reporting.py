"""Errors and signals become messages and exit codes; every command works inside `reporting`."""

import json
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from gleclip_cli.artifacts.run_dir import printable, remember_run
from gleclip_cli.cli.console import FAILED_ITEMS, INTERRUPTED, Report
from gleclip_cli.errors import EnvironmentFault, GleclipError


class Commands(TyperGroup):
    """The group of all commands: under --json, what Typer refuses is a JSON document, too."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        """Run a command line; ends with SystemExit in standalone mode."""
        given = arguments[0] if arguments else options.get("args")
        words = list(sys.argv[1:] if given is None else given)
        if "--json" not in words:
            return super().main(*arguments, **options)
        try:
            sys.exit(super().main(*arguments, **{**options, "standalone_mode": False}) or 0)
        except TyperException as error:
            cause, code = printable(error.format_message()), error.exit_code
            command = next((word for word in words if not word.startswith("-")), "")
            remedy = f"See `{' '.join(['gleclip', command]).strip()} --help`."
            typer.echo(f"Error: {cause}\n{remedy}", err=True)
            document = {"command": command, "error": cause, "remedy": remedy, "exit_code": code}
            typer.echo(json.dumps(document, indent=1))
            sys.exit(code)


@contextmanager
def reporting(context: typer.Context) -> Iterator[Report]:
    """Turn errors, Ctrl-C and SIGTERM into messages and exit codes.

    Raises:
        typer.Exit: with the exit code of `faults.md` when that is not 0.
    """
    report = Report(context.info_name or "gleclip", context.params)
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
    # What was refused at once is not the run used last; what was interrupted is.
    if report.run and not report.dry_run and (report.run.opened or not code):
        remember_run(report.run)
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
