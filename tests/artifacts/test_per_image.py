"""Tables of images come back as they were, one image at a time, and damage is told."""

from pathlib import Path

import numpy as np
import pytest

from gleclip_cli.artifacts.per_image import (
    CLASS_TABLE,
    IMAGE_TABLE,
    ImageCounts,
    open_image_tables,
    read_image_tables,
)
from gleclip_cli.errors import BadInput

FACTS = {"miou": 0.5, "pixel_accuracy": 0.25, "pixels": 8, "undecided_pixels": 0}


def image(name: str, **rows: list[int]) -> ImageCounts:
    counts = np.zeros((4, 5), np.int64)
    for class_id, row in rows.items():
        counts[int(class_id[1:])] = row
    return ImageCounts(name, "00c0ffee", counts)


IMAGES = [
    image('a,\n"b"', c0=[5, 4, 3, 2, 1], c3=[0, 2, 0, 0, 1]),
    image("Zw\u00f6lf \udcff", c1=[2**40, 0, 0, 0, 7]),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with open_image_tables(tmp_path) as tables:
        for one in IMAGES:
            tables.add(one, FACTS)
        assert not (tmp_path / IMAGE_TABLE).exists()
    return tmp_path


def test_images_come_back(folder: Path) -> None:
    found = list(read_image_tables(folder, 4))
    assert [one.image_id for one in found] == [one.image_id for one in IMAGES]
    assert [one.truth for one in found] == ["00c0ffee"] * 2
    for one, expected in zip(found, IMAGES, strict=True):
        np.testing.assert_array_equal(one.counts, expected.counts)
    assert found[0].overlap[0].tolist() == [3, 5 + 4 - 3]


def test_one_image_is_read_at_a_time(folder: Path) -> None:
    images = read_image_tables(folder, 4)
    assert next(images).image_id == IMAGES[0].image_id
    images.close()


def test_an_end_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        with open_image_tables(tmp_path) as tables:
            tables.add(IMAGES[0], FACTS)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("table", [IMAGE_TABLE, CLASS_TABLE])
def test_damage_is_told(folder: Path, table: str) -> None:
    text = (folder / table).read_bytes()
    (folder / table).write_bytes(text[: len(text) // 2])
    with pytest.raises(BadInput, match="missing or damaged") as caught:
        list(read_image_tables(folder, 4))
    assert "gleclip evaluate --no-resume" in caught.value.remedy
    (folder / table).unlink()
    with pytest.raises(BadInput, match="missing or damaged"):
        list(read_image_tables(folder, 4))
