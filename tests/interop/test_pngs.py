"""Plain PNG masks."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gleclip_cli.datasets.vocabulary import Vocabulary
from gleclip_cli.errors import BadInput
from gleclip_cli.interop.masked import Masked
from gleclip_cli.interop.pngs import decoded, write_pngs


@pytest.mark.parametrize(("kind", "mode"), [("png", "P"), ("png-rgb", "RGB"), ("png-grey", "L")])
def test_three_kinds(
    kind: str, mode: str, masks: list[Masked], vocabulary: Vocabulary, tmp_path: Path
) -> None:
    assert write_pngs(tmp_path, iter(masks), vocabulary, kind=kind) == 3
    for masked in masks:
        with Image.open(tmp_path / f"{masked.image_id}.png") as picture:
            assert picture.mode == mode
            values = np.array(picture)
            shown = np.array(picture.convert("RGB"))
        if kind != "png-rgb":
            np.testing.assert_array_equal(values, masked.labels)
        if kind != "png-grey":
            np.testing.assert_array_equal(shown, vocabulary.palette[masked.labels])


def test_many_classes_are_grey(vocabulary: Vocabulary, tmp_path: Path) -> None:
    labels = np.full((2, 3), 300, np.uint16)
    write_pngs(tmp_path, [Masked("a", Path("a"), (2, 3), labels)], vocabulary, kind="png")
    np.testing.assert_array_equal(np.array(Image.open(tmp_path / "a.png")), labels)


def test_bytes_that_are_no_picture_are_refused() -> None:
    with pytest.raises(BadInput, match="here: not an image"):
        decoded(b"<html>", "here")
