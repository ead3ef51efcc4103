"""What the README tells to type can be typed."""

import os
import re
import shlex
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer

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
SPREAD = [f"gleclip {line.split(' gleclip_cli ')[1]}" for line in LINES if " gleclip_cli " in line]
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
    group: Any = typer.main.get_command(app)
    if words:
        group.commands[name].make_context(name, words)
    assert name in group.commands


def test_shell_blocks_hold_nothing_else() -> None:
    others = {line.split()[0] for line in LINES} - {"gleclip"}
    assert others == {"pip", "set", "torchrun"}


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


@pytest.mark.timeout(600)  # eight processes that load torch
def test_the_script_that_chains_the_stages_runs(tmp_path: Path) -> None:
    script = next(block for block in SHELL if block.startswith("set -e"))
    command = tmp_path / "bin" / "gleclip"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gleclip_cli "$@"\n')
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    environment = {
        **os.environ,
        "PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    result = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("Using runs/mine, the run used last.") == 7
    assert result.stdout.count("mean of") == 3
    run = tmp_path / "runs" / "mine"
    assert (run / "evaluate" / "seg-val" / "scores.json").exists()
    assert len(list((run / "refine" / "train" / "pseudo_masks").glob("*.png"))) == 8
