"""One line of cause, one of remedy, and the exit code."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from gleclip_cli.errors import (
    BadInput,
    Diverged,
    EnvironmentFault,
    MissingInput,
    OtherSettings,
    UsageError,
)

Run = Callable[..., Result]


def failing(error: BaseException) -> Callable[..., None]:
    def act(called: Any, progress: Any) -> None:
        raise error

    return act


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("Cause.", "Remedy."), 2),
        (BadInput("Cause.", "Remedy."), 3),
        (MissingInput("Cause.", "Remedy."), 3),
        (OtherSettings("Cause.", "Remedy."), 5),
        (EnvironmentFault("Cause.", "Remedy."), 6),
        (Diverged("Cause.", "Remedy."), 1),
    ],
)
def test_a_known_fault_is_two_lines_and_a_code(
    stages: Any, gleclip: Run, error: Exception, code: int
) -> None:
    stages.act = failing(error)
    result = gleclip("refine", "--run", "r")
    assert result.exit_code == code
    assert result.stderr.splitlines() == ["Error: Cause.", "Remedy."]
    assert result.stdout == ""


class OutOfMemoryError(RuntimeError):
    """Named like torch's."""


@pytest.mark.parametrize(
    ("error", "code", "cause"),
    [
        (ValueError("odd"), 1, "Internal error: ValueError: odd"),
        (OSError(28, "No space left on device", "x.npz"), 6, "No space left on device: x.npz"),
        (MemoryError(), 6, "Out of memory"),
        (OutOfMemoryError("CUDA"), 6, "Out of memory"),
        (ModuleNotFoundError("No module named 'pydensecrf'"), 6, "No module named 'pydensecrf'"),
    ],
)
def test_other_errors_are_told_apart(
    stages: Any, gleclip: Run, error: Exception, code: int, cause: str
) -> None:
    stages.act = failing(error)
    result = gleclip("refine", "--run", "r")
    assert result.exit_code == code
    assert cause in result.stderr
    assert "Traceback" not in result.stderr


def test_a_list_of_faults_keeps_its_lines(stages: Any, gleclip: Run) -> None:
    stages.act = failing(BadInput("2 problems:\n  a\x1b[1m is broken\n  b is broken", "Mend them."))
    assert gleclip("refine", "--run", "r").stderr.splitlines() == [
        "Error: 2 problems:",
        "  a\\x1b[1m is broken",
        "  b is broken",
        "Mend them.",
    ]


def test_debug_shows_the_traceback(stages: Any, gleclip: Run) -> None:
    stages.act = failing(ValueError("odd"))
    assert "Traceback" in gleclip("refine", "--run", "r", "--debug").stderr


def test_failed_items_are_listed_and_exit_4(stages: Any, gleclip: Run) -> None:
    stages.counts = {"items": 3, "done": 2, "failed": 1}
    stages.failures = [{"id": "a\x1b[31mb", "reason": "broken", "remedy": "mend it"}]
    result = gleclip("refine", "--run", "r")
    assert result.exit_code == 4
    assert "broken" in result.stderr
    assert "failed.jsonl" in result.stderr
    assert "\x1b" not in result.stderr
    assert "\\x1b" in result.stderr


def test_fault_79_terminal_escapes_in_names_are_spelled_out(stages: Any, gleclip: Run) -> None:
    def act(called: Any, progress: Any) -> None:
        progress.warn("bad \x1b]0;title\x07 name")
        raise BadInput("bad \x1b[2J name\r", "look at \udc80")

    stages.act = act
    result = gleclip("refine", "--run", "r")
    assert "\x1b" not in result.stderr
    assert "\r" not in result.stderr
    assert "bad \\x1b[2J name\\r" in result.stderr
    assert "\\udc80" in result.stderr


def test_markup_in_names_stays_text(stages: Any, gleclip: Run) -> None:
    stages.act = failing(BadInput("no [red]file[/red] [all]"))
    assert "no [red]file[/red] [all]" in gleclip("refine", "--run", "r").stderr


def test_the_summary_counts_what_is_there(stages: Any, gleclip: Run) -> None:
    stages.counts = {"items": 3, "done": 1, "failed": 0, "without_maps": 2}
    told = gleclip("refine", "--run", "r").stderr
    assert told.startswith("r/refine: 3 items, 1 done, 2 without maps; ")
    stages.counts = {"items": 1, "done": 1, "failed": 0, "without_maps": 1}
    told = gleclip("refine", "--run", "r").stderr
    assert told.startswith("r/refine: 1 item, 1 done, 1 without maps; ")


@pytest.mark.parametrize(
    ("items", "to_do", "message"),
    [
        (3, 2, "2 of 3 items to do"),
        (3, 0, "finished"),
        (0, 1, "to do"),
        (0, 0, "finished"),
    ],
)
def test_a_dry_run_tells_what_is_left(
    stages: Any, gleclip: Run, items: int, to_do: int, message: str
) -> None:
    stages.counts = {"items": items, "done": items - to_do, "failed": 0, "to_do": to_do}
    told = gleclip("refine", "--run", "r", "--dry-run")
    assert told.stderr == f"r/refine: {message}; nothing written.\n"
    document = json.loads(gleclip("refine", "--run", "r", "--dry-run", "--json").stdout)
    assert document["complete"] == (not to_do)


def test_quiet_leaves_only_errors(stages: Any, gleclip: Run) -> None:
    stages.act = lambda called, progress: (progress.say("hello"), progress.warn("careful"))[0]
    assert gleclip("refine", "--run", "r", "--quiet").stderr == ""
    assert "hello" in gleclip("refine", "--run", "r").stderr
    stages.act = failing(BadInput("Cause."))
    assert gleclip("refine", "--run", "r", "--quiet").stderr == "Error: Cause.\n"


def test_json_is_one_document_on_stdout(stages: Any, gleclip: Run) -> None:
    stages.act = lambda called, progress: progress.warn("careful")
    document = json.loads(gleclip("refine", "--run", "r", "--json").stdout)
    assert document["counts"] == stages.counts
    assert (document["exit_code"], document["warnings"]) == (0, 1)
    stages.act = failing(OtherSettings("Cause.", "Remedy."))
    result = gleclip("refine", "--run", "r", "--json")
    document = json.loads(result.stdout)
    assert (document["error"], document["remedy"]) == ("Cause.", "Remedy.")
    assert document["exit_code"] == result.exit_code == 5


@pytest.mark.parametrize("words", [("gen-cam", "--nope"), ("nope",), ("run",)])
def test_what_typer_refuses_is_json_too(gleclip: Run, words: tuple[str, ...]) -> None:
    result = gleclip(*words, "--json")
    document = json.loads(result.stdout)
    assert document["exit_code"] == result.exit_code == 2
    assert document["command"] == words[0]
    assert f"Error: {document['error']}\n{document['remedy']}\n" == result.stderr
    assert document["remedy"] == f"See `gleclip {words[0]} --help`."


def test_no_bars_without_a_terminal(stages: Any, gleclip: Run) -> None:
    def act(called: Any, progress: Any) -> None:
        assert list(progress.each(iter("abc"), total=3, label="letters")) == ["a", "b", "c"]

    stages.act = act
    assert "letters" not in gleclip("refine", "--run", "r").stderr


def test_fault_49_ctrl_c_tells_how_far_it_came_and_exits_130(stages: Any, gleclip: Run) -> None:
    def act(called: Any, progress: Any) -> None:
        for item in progress.each(range(5), total=5, label="maps"):
            if item == 3:
                raise KeyboardInterrupt

    stages.act = act
    result = gleclip("refine", "--run", "r")
    assert result.exit_code == 130
    assert "maps: 3 of 5" in result.stderr
    assert "Interrupted." in result.stderr


# Whoever starts the tests in the background has SIGINT ignored, which children inherit.
SLEEPER = """
import signal, sys, time, types
signal.signal(signal.SIGINT, signal.default_int_handler)
module = types.ModuleType("gleclip_cli.stages.refine")
def refine(run, config, *, execution, progress):
    print("ready", flush=True)
    time.sleep(60)
module.refine = refine
sys.modules[module.__name__] = module
from gleclip_cli.__main__ import main
sys.argv = ["gleclip", "refine", "--run", "r"]
main()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_fault_49_signals_end_a_process_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    process = subprocess.Popen(
        [sys.executable, "-c", SLEEPER],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    started = time.monotonic()
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert time.monotonic() - started < 10
    assert errors.splitlines()[-2:] == [
        "Error: Interrupted.",
        "Finished work is kept; the same command goes on.",
    ]
