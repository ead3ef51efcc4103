"""What export refuses before anything is read."""

from typing import Any

import pytest

from gleclip_cli.config import ExportConfig
from gleclip_cli.errors import UsageError


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"format": "jpeg"}, "--format is 'jpeg'"),
        ({"format": "coco", "what": "cam"}, "--what cam has no --format coco"),
        ({"format": "irn"}, "--what pseudo has no --format irn"),
        ({"format": "irn", "what": "seg"}, "--what seg has no --format irn"),
        ({"format": "onnx"}, "no --format onnx"),
        ({"format": "png", "polygons": True}, "--polygons is for coco"),
        ({"format": "labelme", "simplify": -1.0}, "--simplify is -1.0"),
        ({"format": "png", "ignore_band": -1}, "--ignore-band is -1"),
        ({"format": "coco", "ignore_band": 2}, "knows no ignored pixels"),
        ({"format": "voc-test", "allow_missing": True}, "every image"),
    ],
)
def test_what_makes_no_sense_is_refused(values: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError) as caught:
        ExportConfig(**values)
    assert told in str(caught.value)


def test_the_split_follows_what_is_exported() -> None:
    assert ExportConfig(format="png").split == "train"
    assert ExportConfig(format="png", what="seg").split == "val"
    assert ExportConfig(format="png", what="seg", split="test").split == "test"
    assert ExportConfig(format="voc-test", what="seg").split == "test"
