"""Errors and signals become messages and exit codes; every command works inside `reporting`."""

import signal
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import typer

from gleclip_cli.cli.console import FAILED_ITEMS, INTERRUPTED, Report
from gleclip_cli.errors import EnvironmentFault, GleclipError


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
