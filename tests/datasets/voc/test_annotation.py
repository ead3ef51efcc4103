"""VOC annotations: what counts as a label, and files that must not be obeyed."""

from pathlib import Path

import pytest

from gleclip_cli.datasets.voc.annotation import read_object_names
from gleclip_cli.errors import BadInput


def write(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "a.xml"
    path.write_bytes(text.encode(encoding))
    return path


def test_every_listed_object_counts_and_its_parts_do_not(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "<annotation><source><name>flickr</name></source>"
        "<object><name> person </name><difficult>1</difficult>"
        "<part><name>head</name><bndbox/></part></object>"
        "<object><name>dog</name><truncated>1</truncated></object>"
        "<object><name>dog</name></object></annotation>",
    )
    assert read_object_names(path) == ["person", "dog", "dog"]


def test_no_object_is_no_label(tmp_path: Path) -> None:
    assert read_object_names(write(tmp_path, "<annotation/>")) == []


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_marks_are_read(tmp_path: Path, encoding: str) -> None:
    text = "<annotation><object><name>caf\u00e9 &amp; co</name></object></annotation>"
    assert read_object_names(write(tmp_path, text, encoding)) == ["caf\u00e9 & co"]


def test_fault_78_entity_bomb_is_refused(tmp_path: Path) -> None:
    entities = '<!ENTITY a "dog">' + "".join(
        f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(12)
    )
    bomb = f"<!DOCTYPE x [{entities}]><annotation><object><name>&m;</name></object></annotation>"
    with pytest.raises(BadInput, match=r"a\.xml.*document type"):
        read_object_names(write(tmp_path, bomb))


def test_fault_78_external_entity_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("dog")
    text = (
        f'<!DOCTYPE x [<!ENTITY s SYSTEM "{(tmp_path / "secret").as_uri()}">]>'
        "<annotation><object><name>&s;</name></object></annotation>"
    )
    with pytest.raises(BadInput, match="document type"):
        read_object_names(write(tmp_path, text))
    with pytest.raises(BadInput, match="document type"):
        read_object_names(write(tmp_path, '<!DOCTYPE x SYSTEM "x.dtd"><annotation/>'))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("<annotation><object>", "not VOC XML"),
        ("<html/>", "begins with <html>"),
        ("no xml", "not VOC XML"),
        ("", "empty"),
        ("<?xml version='1.0' encoding='klingon'?><annotation/>", "not VOC XML"),
        ("<annotation>" + " " * 2**22 + "</annotation>", "too large"),
    ],
)
def test_what_is_no_annotation_is_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(BadInput, match=named):
        read_object_names(write(tmp_path, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"b\.xml"):
        read_object_names(tmp_path / "b.xml")
