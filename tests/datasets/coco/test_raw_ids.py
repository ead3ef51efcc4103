"""COCO's own category ids: which they are, when masks use them, what they become."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gleclip_cli.datasets.coco.raw_ids import RAW_IDS, count_numberings, raw_drawing
from gleclip_cli.errors import BadInput


def mask(path: Path, *values: int) -> Path:
    Image.fromarray(np.array([values], np.uint8)).save(path)
    return path


def test_raw_ids_are_those_of_the_official_file() -> None:
    assert len(RAW_IDS) == 80
    # cat, dog, umbrella, dining table, toilet, tv, toothbrush
    places = {16: 17, 17: 18, 26: 28, 61: 67, 62: 70, 63: 72, 80: 90}
    assert {place: RAW_IDS[place - 1] for place in places} == places


def test_labels_tell_which_numbering_a_mask_uses(tmp_path: Path) -> None:
    raw = mask(tmp_path / "raw.png", 0, 90, 255, 17)
    own = mask(tmp_path / "own.png", 0, 80, 255, 16)
    both = mask(tmp_path / "both.png", 0, 1, 255)
    neither = mask(tmp_path / "neither.png", 0, 44)
    (tmp_path / "damaged.png").write_bytes(b"")
    labels = (1, 16, 80)
    files = [raw, raw, own, both, neither, tmp_path / "damaged.png"]
    assert count_numberings((file, labels) for file in files) == (2, 1)


def test_raw_ids_become_contiguous(tmp_path: Path) -> None:
    path = mask(tmp_path / "a.png", 0, 1, 17, 90, 255, 84)
    drawing = raw_drawing("../a", "train", path)
    assert drawing.draw().tolist() == [[0, 1, 16, 80, 255, 74]]
    assert drawing.file.parts[0] == "train"
    assert ".." not in drawing.file.parts


@pytest.mark.parametrize("value", [12, 83, 91, 254])
def test_fault_41_a_value_that_is_no_category_is_named(tmp_path: Path, value: int) -> None:
    path = mask(tmp_path / "a.png", 0, 1, value)
    with pytest.raises(BadInput, match=rf"a\.png holds {value}: no category of COCO") as caught:
        raw_drawing("a", "train", path).draw()
    assert "1 to 90 with gaps" in caught.value.remedy
