"""Arrays of a JSON file, element by element: what json says, wherever the pieces are cut."""

import json
from pathlib import Path
from typing import Any

import pytest

from gleclip_cli.datasets.coco import elements as module
from gleclip_cli.datasets.coco.elements import read_arrays, read_element
from gleclip_cli.errors import BadInput

CONTENT = {
    "info": {"year": 2014, "text": 'brackets ]}" and \\ in a text'},
    "version": 1234567,
    "images": [{"name": "Caf\u00e9 \u4e2d \U0001f431", "n": [1.5, -2e3]}, {"name": "]}"}, {}],
    "licenses": [],
    "annotations": [{"a": [[1, 2], [3]]}, {"b": None}],
}


def elements(path: Path) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {"images": [], "annotations": [], "licenses": []}
    take = {name: (lambda v, s, n, to=to: to.append((v, s, n))) for name, to in found.items()}
    names = read_arrays(path, take)
    assert names == {"images", "annotations", "licenses"}
    return found


@pytest.mark.parametrize("piece", [1, 7, 64, 2**22])
@pytest.mark.parametrize("escaped", [True, False])
@pytest.mark.parametrize("indent", [None, 2])
def test_every_element_is_what_json_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int, escaped: bool, indent: int | None
) -> None:
    monkeypatch.setattr(module, "_PIECE", piece)
    path = tmp_path / "a.json"
    path.write_text(json.dumps(CONTENT, ensure_ascii=escaped, indent=indent), encoding="utf-8")
    found = elements(path)
    assert [value for value, _, _ in found["images"]] == CONTENT["images"]
    assert [value for value, _, _ in found["annotations"]] == CONTENT["annotations"]
    with path.open("rb") as stream:
        for value, start, length in found["images"] + found["annotations"]:
            assert read_element(stream, start, length) == value


def test_fault_26_a_byte_order_mark_and_blanks_are_accepted(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"\xef\xbb\xbf\r\n" + json.dumps(CONTENT, indent=1).encode() + b"\r\n\n")
    assert len(elements(path)["images"]) == 3


@pytest.mark.parametrize(
    ("content", "at"),
    [
        (b"", 0),
        (b"<html>", 0),
        (b"[1, 2]", 0),
        (b"{}", 1),
        (b'{"images": [{"a": 1}, {"a": ]}', 22),
        (b'{"images": [{"a": 1}', 12),
        (b'{"images": [{"a": 1}] "b": 2}', 22),
        (b'{"images": [{"a": "\xff\xfe"}]}', 12),
        (b'{"images": [' + b"[" * 100_000, 12),
        (b'{"images": [' + b"1" * 5000 + b"]}", 12),
        ('{"images": []}'.encode("utf-16"), 0),
    ],
)
def test_damage_is_told_with_its_place(tmp_path: Path, content: bytes, at: int) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=rf"a\.json is not valid JSON at byte {at},"):
        read_arrays(path, {"images": lambda *_: None})


def test_a_text_that_never_ends_is_not_taken_in_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PIECE", 1000)
    monkeypatch.setattr(module, "_LARGEST_ELEMENT", 5000)
    path = tmp_path / "a.json"
    path.write_text('{"images": ["' + "x" * 100_000 + '"]}')
    with pytest.raises(BadInput, match="byte 12"):
        read_arrays(path, {})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"b\.json cannot be read"):
        read_arrays(tmp_path / "b.json", {})
