"""The command: where its classes come from, and what it says."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from gleclip_cli.cli.main import app

TABLE = """
name = "own"
classes = ["cat", "dog"]
templates = ["a {}."]
background_texts = ["grass"]
"""


@pytest.fixture
def words(tmp_path: Path, tiny_clip_json: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save("a.png")
    Path("own.toml").write_text(TABLE)
    clip = ["--clip-model", tiny_clip_json, "--clip-weights", "random", "--device", "cpu"]
    return ["prompts", "a.png", *clip]


def test_tables_and_what_loses(words: list[str]) -> None:
    result = CliRunner().invoke(app, [*words, "--classes", "own.toml", "--tags", "cat,dog"])
    assert result.exit_code == 0, result.output
    for word in ("grass", "background", "cat, dog", "loses" if "loses" in result.stdout else "No"):
        assert word in result.stdout


def test_json_holds_everything(words: list[str]) -> None:
    result = CliRunner().invoke(app, [*words, "--classes", "own.toml", "--json"])
    found = json.loads(result.stdout)
    assert [text["name"] for text in found["texts"]] == ["cat", "dog", "grass"]
    assert set(found["images"]["a"]["dog"]) == {"similarity", "probability", "presence", "area"}
    assert found["present_is_guessed"] is True


@pytest.mark.parametrize(
    ("more", "cause"),
    [
        ([], "No classes are named."),
        (["--dataset", "folder"], "no class table by itself"),
        (["--dataset", "cows"], "--dataset is 'cows'"),
        (["--classes", "none.toml"], "cannot be read"),
    ],
)
def test_without_classes_the_options_are_named(
    words: list[str], more: list[str], cause: str
) -> None:
    result = CliRunner().invoke(app, [*words, *more])
    assert result.exit_code == 2
    assert cause in result.stderr
