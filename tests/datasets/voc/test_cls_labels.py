"""`cls_labels.npy`: image-level labels as peers pass them on."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gleclip_cli.datasets.voc.cls_labels import read_cls_labels
from gleclip_cli.errors import BadInput


def vector(*class_ids: int, classes: int = 20) -> Any:
    labels = np.zeros(classes, np.float32)
    labels[[class_id - 1 for class_id in class_ids]] = 1
    return labels


def write(folder: Path, table: object) -> Path:
    path = folder / "cls_labels.npy"
    np.save(path, table)  # type: ignore[arg-type]
    return path


def test_numbers_and_texts_are_ids(tmp_path: Path) -> None:
    table = {2007000032: vector(15, 1), np.int64(2011003276): vector(20), "2008_000002": vector()}
    assert read_cls_labels(write(tmp_path, table), 20) == {
        "2007_000032": [1, 15],
        "2011_003276": [20],
        "2008_000002": [],
    }


def test_other_class_tables_have_other_lengths(tmp_path: Path) -> None:
    table = {"a": vector(2, classes=3), "b": [1, 0, 0], "c": np.array([True, True, False])}
    assert read_cls_labels(write(tmp_path, table), 3) == {"a": [2], "b": [1], "c": [1, 2]}


@pytest.mark.parametrize("length", [19, 21, 0])
def test_fault_34_vectors_of_another_length_are_refused(tmp_path: Path, length: int) -> None:
    path = write(tmp_path, {"2007_000032": vector(1), "2007_000039": vector(classes=length)})
    with pytest.raises(BadInput, match=rf"npy: image 2007_000039.*\({length},\) for 20 classes"):
        read_cls_labels(path, 20)


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ([vector(1)], "holds no dictionary"),
        ({"a": np.eye(20, dtype=np.float32)}, r"\(20, 20\) for 20 classes"),
        ({"a": "horse"}, "for 20 classes"),
        ({"a": 0.5 * vector(1)}, "other than 0 and 1"),
        ({"a": np.nan * vector(1)}, "other than 0 and 1"),
        ({123: vector(1)}, "no id of VOC"),
        ({-2007000032: vector(1)}, "no id of VOC"),
        ({2007000032.0: vector(1)}, "no id of VOC"),
        ({2007000032: vector(1), "2007_000032": vector(2)}, "twice"),
    ],
)
def test_what_is_no_table_of_labels_is_named(tmp_path: Path, table: object, named: str) -> None:
    with pytest.raises(BadInput, match=named):
        read_cls_labels(write(tmp_path, table), 20)


class Touch:
    """Makes a file when it is unpickled as usual."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_fault_71_a_payload_among_the_labels_is_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    path = write(tmp_path, {"2007_000032": vector(1), "2007_000039": Touch(mark)})
    with pytest.raises(BadInput, match=r"names (posix|nt)\.mkdir"):
        read_cls_labels(path, 20)
    assert not mark.exists()
