"""`gleclip check`: all faults at once, as a table and as JSON, and nothing written."""

import json
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gleclip_cli.cli.main import app


def check(*words: object) -> Result:
    return CliRunner().invoke(app, ["check", *(str(w) for w in words)])


def test_a_clean_data_set_ends_with_0(tiny_voc: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    result = check("--dataset", "voc", "--data", tiny_voc, "--json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["problems"] == []
    assert document["counts"]["images"] == 4
    assert sorted(tmp_path.rglob("*")) == before


def test_every_fault_is_told_with_path_reason_and_remedy(tiny_voc: Path) -> None:
    (tiny_voc / "JPEGImages" / "a.jpg").write_bytes(b"")
    (tiny_voc / "Annotations" / "d.xml").unlink()
    result = check("--dataset", "voc", "--data", tiny_voc, "--json")
    assert result.exit_code == 3
    problems = {row["image"]: row for row in json.loads(result.stdout)["problems"]}
    assert set(problems) == {"a", "d"}
    assert problems["a"]["path"] == str(tiny_voc / "JPEGImages" / "a.jpg")
    assert all(row["reason"] and row["remedy"] for row in problems.values())
    table = check("--dataset", "voc", "--data", tiny_voc)
    assert table.exit_code == 3
    assert "2 problems" in table.stdout


def test_the_remedy_can_be_typed_as_it_stands(tiny_voc: Path, tmp_path: Path) -> None:
    place = tmp_path / "my data"
    tiny_voc.parent.rename(place)
    (place / "VOC2012" / "JPEGImages" / "a.jpg").write_bytes(b"")
    told = check("--data", place).stderr
    assert f"{place} is read as voc; --dataset names another layout." in told
    assert "Error: 1 problem in" in told
    (command,) = re.findall(r"`gleclip (.*)`", told)
    words = [*shlex.split(command), "--run", str(tmp_path / "run")]
    assert words[:5] == ["prepare-data", "--dataset", "voc", "--data", str(place)]
    assert CliRunner().invoke(app, words).exit_code == 4


def test_without_data_there_is_nothing_to_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLECLIP_DATA", raising=False)
    result = check("--json")
    assert result.exit_code == 2
    assert "--data DIR" in json.loads(result.stdout)["remedy"]


@pytest.mark.parametrize("words", [["--dataset", "scenes"], ["--dataset", "voc"]])
def test_what_cannot_be_checked_is_a_usage_error(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GLECLIP_DATA", raising=False)
    assert check(*words).exit_code == 2
