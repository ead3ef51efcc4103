"""Stages over images in two processes, as users start them: the same bytes as one."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gleclip_cli.artifacts.json_files import read_json

ROOT = Path(__file__).resolve().parents[1]
SIMILARITY = ("--method", "similarity", "--clip-model", "micro-clip", "--clip-weights")
MAPS = ("gen-cam", *SIMILARITY, "micro-clip", "--split", "train")
MASKS = ("refine", "--steps", "none", "--split", "train")
PREDICT = ("predict", "photos", *SIMILARITY, "micro-clip", "--tags", "horse,boat", "--no-flip")


def torchrun(*words: str) -> subprocess.CompletedProcess[str]:
    """Two processes; `--` keeps torchrun from reading --run."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, "-m", "--", "gleclip_cli", *words],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
    )


def content(folder: str) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file() and path.name not in ("log.jsonl", "manifest.json")
    }


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_make_what_one_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, succeed: Callable[..., None]
) -> None:
    monkeypatch.chdir(tmp_path)
    for run in ("one", "two"):
        counts = ("--train-images", "6", "--val-images", "1")
        succeed(("prepare-data", "--dataset", "scenes", *counts, "--run", run))
    Path("photos").symlink_to(next(Path("one").rglob("*.jpg")).parent)
    succeed((*MAPS, "--run", "one"), (*MASKS, "--run", "one"), (*PREDICT, "--out", "of-one"))
    for words in ((*MAPS, "--run", "two"), (*MASKS, "--run", "two"), (*PREDICT, "--out", "of-two")):
        result = torchrun(*words)
        assert result.returncode == 0, result.stderr
        assert result.stderr.count(" done, ") == 1, result.stderr  # of two, one speaks
    for stage in ("gen_cam", "refine"):
        ours, theirs = content(f"two/{stage}/train"), content(f"one/{stage}/train")
        assert {n: b for n, b in ours.items() if n != "settings.json"} == {
            n: b for n, b in theirs.items() if n != "settings.json"
        }
    assert content("of-two") == content("of-one")

    Path("bad.jpg").write_text("no picture")
    result = torchrun(*PREDICT, "bad.jpg", "--out", "of-two")
    assert result.returncode  # torchrun has codes of its own
    manifest = read_json(Path("of-two/manifest.json"))
    assert [row["id"] for row in manifest["failures"]] == ["bad"]
    refused = torchrun(*MAPS, "--run", "two", "--shard", "0/2")
    assert "--shard splits the images" in refused.stderr
