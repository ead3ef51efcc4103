"""What the README tells to type can be typed."""

import os
import re
import shlex
import stat
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from gleclip_cli.cli.main import app
from gleclip_cli.cli.settings import read_toml
from gleclip_cli.cli.values import build
from gleclip_cli.config import STAGE_CONFIGS, PrepareDataConfig
from gleclip_cli.presets import PRESETS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)
SHELL = [block for kind, block in BLOCKS if kind == "sh"]
LINES = [line for block in SHELL for line in block.splitlines()]
COMMANDS = [line for line in LINES if line.startswith("gleclip ")]
_SPREAD = [line.split(" gleclip_cli ")[1] for line in LINES if " gleclip_cli " in line]
SPREAD = [f"gleclip {words.removesuffix(chr(39))}" for words in _SPREAD]
SPREAD += re.findall(r"--wrap '(gleclip [^']*)'", README)
GROUP: Any = typer.main.get_command(app)
INLINE = re.findall(r"`(gleclip [a-z][^`]*)`", README)


def test_the_first_two_commands() -> None:
    assert LINES[:3] == [
        "pip install .",
        "gleclip run scenes",
        "pip install -e '.[dev]' && pytest",
    ]


@pytest.mark.parametrize("line", sorted({*COMMANDS, *INLINE, *SPREAD}))
def test_every_command_exists_with_its_options(line: str) -> None:
    _, name, *words = shlex.split(line)
    if words:
        GROUP.commands[name].make_context(name, words)
    assert name in GROUP.commands


def test_shell_blocks_hold_nothing_else() -> None:
    others = {line.split()[0] for line in LINES} - {"gleclip"}
    assert others == {"pip", "set", "torchrun", "sbatch"}


def test_the_settings_file_is_one(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text(next(block for kind, block in BLOCKS if kind == "toml"))
    tables = read_toml(file)
    for command in STAGE_CONFIGS:
        build(STAGE_CONFIGS[command], tables["all"], tables.get(command, {}))


def test_numbers_of_scenes_are_the_defaults() -> None:
    config = build(PrepareDataConfig, PRESETS["scenes"]["prepare-data"])
    assert f"{config.train_images} training and {config.val_images} validation scenes" in README


def test_the_exit_codes_are_the_ones_of_help() -> None:
    codes = re.findall(r"^\| (\d+) \|", README, re.MULTILINE)
    epilog = str(app.info.epilog)
    assert codes == re.findall(r"\b(\d+) ", epilog)


def test_extras_named_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    assert set(re.findall(r"'\.\[(\w+)\]'", README)) <= set(extras)


SCRIPT = next(block for block in SHELL if block.startswith("set -e"))


def told_by_a_shell(folder: Path) -> tuple[str, str]:
    """Run the script as its readers do; returns stdout and stderr."""
    command = folder / "bin" / "gleclip"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gleclip_cli "$@"\n')
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    environment = {
        **os.environ,
        "PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    result = subprocess.run(
        ["sh", "-c", SCRIPT], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout, result.stderr


LESS = {
    "prepare-data": ["--train-images", "2", "--val-images", "1"],
    "gen-cam": ["--no-flip"],
    "evaluate": ["--no-flip"],
}


def told_in_this_process(folder: Path) -> tuple[str, str]:
    """Run the script's commands with less work each; torch is loaded once."""
    results = []
    for line in SCRIPT.splitlines()[1:]:
        words = shlex.split(line)[1:]
        words += LESS.get(words[0], [])
        results.append(CliRunner().invoke(app, words, prog_name="gleclip"))
        assert results[-1].exit_code == 0, results[-1].output
    return "".join(r.stdout for r in results), "".join(r.stderr for r in results)


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("short_walks")
@pytest.mark.parametrize(
    ("run", "images"),
    [(told_in_this_process, 2), pytest.param(told_by_a_shell, 8, marks=pytest.mark.slow)],
)
def test_the_script_that_chains_the_stages_runs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run: Callable[[Path], tuple[str, str]],
    images: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    results, messages = run(tmp_path)
    assert messages.count("Using runs/mine, the run used last.") == 7
    assert results.count("mean of") == 3
    made = tmp_path / "runs" / "mine"
    assert (made / "evaluate" / "seg-val" / "scores.json").exists()
    assert len(list((made / "refine" / "train" / "pseudo_masks").glob("*.png"))) == images
