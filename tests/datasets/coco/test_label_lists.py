"""Lists of image-level labels, plain and gzipped, good and bad."""

import gzip
from pathlib import Path

import pytest

from gleclip_cli.datasets.coco.label_lists import is_label_list, read_label_list
from gleclip_cli.datasets.vocabulary import load_vocabulary
from gleclip_cli.errors import BadInput

COCO = load_vocabulary("coco")
LINES = "COCO_train2014_000000000009 45 49 50 45\nb.jpg 0\nnothing\n\nc  79 0\n"


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_names_and_labels_counted_from_one(tmp_path: Path, packed: bool, end: str) -> None:
    content = LINES.replace("\n", end).encode("utf-8-sig")
    path = tmp_path / ("a.txt.gz" if packed else "a.txt")
    path.write_bytes(gzip.compress(content) if packed else content)
    found = read_label_list(path, COCO)
    assert found.problems == []
    assert found.listed == ["COCO_train2014_000000000009", "b", "nothing", "c"]
    assert found.labels == {
        "COCO_train2014_000000000009": (46, 50, 51),
        "b": (1,),
        "c": (1, 80),
    }


@pytest.mark.parametrize("word", ["80", "90", "-1", "dog", "1.0", "\u00b2", "9" * 5000])
def test_fault_33_41_an_unknown_label_is_named_once(tmp_path: Path, word: str) -> None:
    path = tmp_path / "train.txt"
    path.write_text(f"a 1\nb {word}\nc 2 {word}\n", encoding="utf-8")
    found = read_label_list(path, COCO)
    (problem,) = found.problems
    assert problem.structural
    assert f"the unknown label {word} in 2 images, b first." in problem.cause
    assert "0 to 79; not COCO's own ids" in problem.remedy


@pytest.mark.parametrize("length", [79, 80, 81, 91])
def test_fault_34_vectors_are_not_taken_for_places(tmp_path: Path, length: int) -> None:
    vector = " ".join("01"[place in (1, 17)] for place in range(length))
    (tmp_path / "train.txt").write_text(f"a {vector}\nb 1 0 0 0 1\nc {vector}\n")
    (problem,) = read_label_list(tmp_path / "train.txt", COCO).problems
    assert problem.structural
    assert "a vector of zeros and ones in 2 images, a first." in problem.cause


def test_damaged_and_oversized_files_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt.gz"
    whole = gzip.compress(b"a 1\n" * 1000)
    for content in (b"a 1\n", whole[:-4], whole[:20] + b"\0\0" + whole[22:]):
        path.write_bytes(content)
        with pytest.raises(BadInput, match=r"a\.txt\.gz cannot be read"):
            read_label_list(path, COCO)
    path.write_bytes(gzip.compress(bytes(10**6)))
    monkeypatch.setattr("gleclip_cli.datasets.coco.label_lists._LARGEST", 10**5)
    with pytest.raises(BadInput, match="more than 100000 bytes"):  # fault 75
        read_label_list(path, COCO)


@pytest.mark.parametrize(
    ("content", "labels"), [("a 1 2\n", True), ("a\n", False), ("a b.png\n", False), ("", False)]
)
def test_lists_of_labels_and_of_names_are_told_apart(
    tmp_path: Path, content: str, labels: bool
) -> None:
    (tmp_path / "a.txt").write_text(content)
    assert is_label_list(tmp_path / "a.txt") == labels
