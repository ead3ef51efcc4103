"""`kill -9` at ten random moments of every stage of `run scenes --quick` changes no byte.

pytest -m slow tests/test_kill.py -s
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

OUTPUTS = (
    "prepare_data",
    "train_cam",
    "gen_cam/train",
    "evaluate/cam-train",
    "refine/train",
    "evaluate/pseudo-train",
    "train_seg/seg",
    "evaluate/seg-val",
)
KILLS = 10
TELL_TIMES = ("log.jsonl", "manifest.json", "verified.json")


def start(folder: Path) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "gleclip_cli", "run", "scenes", "--quick", "--device", "cpu"]
    return subprocess.Popen(
        [*words, "--run", str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def contents(folder: Path) -> dict[str, bytes]:
    files = [f for f in folder.rglob("*") if f.is_file() and f.name not in TELL_TIMES]
    return {str(f.relative_to(folder)): f.read_bytes() for f in files}


def seconds_of(folder: Path) -> dict[str, float]:
    """How long each stage took: from its first to its last file."""
    spans = {}
    for output in OUTPUTS:
        begun = (folder / output / "settings.json").stat().st_mtime
        spans[output] = (folder / output / "manifest.json").stat().st_mtime - begun
    return spans


def opened(folder: Path) -> int:
    """How often a stage has begun or gone on."""
    log = folder / "log.jsonl"
    return log.read_bytes().count(b'"open"') if log.exists() else 0


def kill_within(folder: Path, output: str, span: float, moment: random.Random) -> bool:
    """Start the run and kill it some time into a stage; False if the stage ended before that."""
    before = opened(folder / output)
    process = start(folder)
    while process.poll() is None and opened(folder / output) == before:
        time.sleep(0.01)
    time.sleep(moment.uniform(0, span))
    finished = (folder / output / "manifest.json").exists()
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return not finished


def test_a_killed_run_ends_with_the_bytes_of_an_undisturbed_one(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert start(whole).wait() == 0
    moment = random.Random(0)
    for output, span in seconds_of(whole).items():
        # what a killed stage had done stays done: ten kills share its time
        share = 2 * span / (KILLS + 2)
        hits = sum(kill_within(cut, output, share, moment) for _ in range(KILLS))
        print(
            f"{output:22} {span:5.1f} s undisturbed, killed in the middle {hits} of {KILLS} times"
        )
    assert start(cut).wait() == 0
    expected, found = contents(whole), contents(cut)
    assert found.keys() == expected.keys()
    assert [name for name in expected if found[name] != expected[name]] == []
