"""Masks in other forms: painted in the colours of the classes, or indexed with other colours."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gleclip_cli.artifacts.maps import load_label_image
from gleclip_cli.datasets.source import DataIndex, verify
from gleclip_cli.datasets.voc.reader import read_voc
from gleclip_cli.datasets.vocabulary import load_vocabulary


def index(data: Path, drawn: Path) -> DataIndex:
    return verify(read_voc(data), masks=drawn, workers=1)


def paint(mask: Path, mode: str) -> np.ndarray:
    labels = np.array(Image.open(mask))
    labels[:2] = 255
    colours = load_vocabulary("voc").palette[labels]
    Image.fromarray(colours).convert(mode).save(mask)
    return labels


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_fault_36_a_painted_mask_is_read_by_the_colours_of_the_classes(
    tiny_voc: Path, tmp_path: Path, mode: str
) -> None:
    mask = tiny_voc / "SegmentationClass" / "b.png"
    labels = paint(mask, mode)
    before = mask.read_bytes()
    found = index(tiny_voc, tmp_path / "drawn")
    assert found.problems == ()
    drawn = found.records["train"]["b"].mask
    assert drawn is not None
    assert drawn.is_relative_to(tmp_path / "drawn")
    assert np.array_equal(load_label_image(drawn), labels)
    assert mask.read_bytes() == before


def test_fault_36_a_colour_of_no_class_is_named(tiny_voc: Path, tmp_path: Path) -> None:
    Image.new("RGB", (48, 32), (1, 2, 3)).save(tiny_voc / "SegmentationClass" / "a.png")
    (problem,) = index(tiny_voc, tmp_path / "drawn").problems
    assert "#010203 is the colour of no class" in problem.cause
    assert problem.image_id == "a"


def test_fault_37_a_palette_of_its_own_is_counted_and_the_values_count(
    tiny_voc: Path, tmp_path: Path
) -> None:
    assert not index(tiny_voc, tmp_path / "drawn").notes
    for mask in (tiny_voc / "SegmentationClass").iterdir():
        with Image.open(mask) as picture:
            picture.putpalette([grey for grey in range(256) for _ in range(3)])
            picture.save(mask)
    found = index(tiny_voc, tmp_path / "drawn")
    assert found.problems == ()
    assert found.notes["masks with a palette of their own: their values count"] == 4
