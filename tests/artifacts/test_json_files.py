"""JSON: sorted, ASCII, no NaN; damage is told."""

import json
from pathlib import Path

import pytest

from gleclip_cli.artifacts.json_files import json_line, read_json, write_json
from gleclip_cli.errors import BadInput


def test_json_comes_back(tmp_path: Path) -> None:
    content = {"b": [1, 2.5, None], "a": {"ä\udcff": "x"}, "c": (1, 2)}
    write_json(tmp_path / "a.json", content)
    assert read_json(tmp_path / "a.json") == {**content, "c": [1, 2]}
    assert (tmp_path / "a.json").read_text("ascii").index('"a"') < 5


def test_fault_79_a_line_holds_no_control_character() -> None:
    line = json_line({"id": "a\x1b[2J\nb\u202e\x9b"})
    assert line.endswith("}\n")
    assert all(" " <= letter <= "~" for letter in line[:-1])
    assert json.loads(line) == {"id": "a\x1b[2J\nb\u202e\x9b"}


def test_nan_is_no_value_and_infinity_an_error(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"miou": float("nan"), "all": [float("nan"), 1.0]})
    assert read_json(tmp_path / "a.json") == {"miou": None, "all": [None, 1.0]}
    with pytest.raises(ValueError, match="JSON"):
        json_line({"loss": float("inf")})


@pytest.mark.parametrize("content", ["", '{"a": ', "[1]", "\udcff"])
def test_fault_52_damaged_json_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(BadInput, match=r"a\.json is damaged"):
        read_json(tmp_path / "a.json")
    with pytest.raises(BadInput, match=r"b\.json cannot be read"):
        read_json(tmp_path / "b.json")
