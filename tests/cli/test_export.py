"""The command `export`, as typed."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gleclip_cli.cli.main import app


def typed(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["export", *map(str, words)], prog_name="gleclip")
    return result.exit_code, result.stdout if "--json" in words else result.output


def test_a_run_without_masks_names_the_command_that_makes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_voc: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    prepare = ["prepare-data", "--dataset", "voc", "--data", str(tiny_voc)]
    assert CliRunner().invoke(app, prepare).exit_code == 0
    code, told = typed("--format", "coco", "--out", "a.json")
    assert (code, "gleclip refine" in told) == (3, True)
    code, told = typed("--format", "coco", "--out", "a.json", "--what", "cam")
    assert (code, "has no --format coco" in told) == (2, True)
    code, told = typed("--format", "onnx", "--out", "a", "--what", "seg", "--json")
    assert code == 3
    assert json.loads(told)["exit_code"] == 3
    assert not Path("a.json").exists()
