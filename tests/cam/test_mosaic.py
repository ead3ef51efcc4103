"""Mosaics: what they are made of, and that labels stay with their pixels."""

from collections import Counter

import numpy as np
import pytest

from gleclip_cli.cam.mosaic import Mosaics, draw_mosaics
from gleclip_cli.training.batches import Pair

TAGS = {"a": [1], "b": [2], "c": [1, 2], "d": [], "e": [1], "f": [3], "g": [2]}


def test_pictures_of_one_class_are_used_in_turn() -> None:
    made = draw_mosaics(TAGS, list(TAGS), share=5 / 7, seed=0).parts
    assert len(made) == 5
    used = Counter(part for parts in made.values() for part in parts)
    assert set(used) == {"a", "b", "e", "f", "g"}
    assert set(used.values()) == {4}
    assert made == draw_mosaics(TAGS, list(TAGS), share=5 / 7, seed=0).parts
    assert made != draw_mosaics(TAGS, list(TAGS), share=5 / 7, seed=1).parts


@pytest.mark.parametrize(
    ("image_ids", "share"),
    [(list(TAGS), 0.0), (["a", "b"], 0.2), (["a", "e", "c"], 1.0), (["c", "d"], 1.0), ([], 1.0)],
)
def test_there_may_be_none(image_ids: list[str], share: float) -> None:
    assert not draw_mosaics(TAGS, image_ids, share=share, seed=0).parts


def test_no_picture_of_the_user_is_taken_for_a_mosaic() -> None:
    own = {
        f"{folder}/{number}": [1 + number] for folder in ("mosaic", "mosaic+") for number in (0, 1)
    }
    assert not set(draw_mosaics(own, list(own), share=1.0, seed=0).parts) & set(own)


def flat(name: str) -> Pair:
    """A picture of one colour and one label; sizes differ."""
    value = 10 * (1 + "abef".index(name))
    size = {"a": (40, 60), "b": (30, 31), "e": (90, 20), "f": (8, 121)}[name]
    return np.full((*size, 3), value, np.uint8), np.full(size, value // 10, np.uint8)


@pytest.mark.parametrize("seed", range(5))
def test_four_tiles_with_their_labels(seed: int) -> None:
    mosaics = Mosaics({"mosaic/0": ["a", "b", "e", "f"]}, seed)
    image, labels = mosaics.make("mosaic/0", flat)
    assert labels.shape == ((40 + 30 + 90 + 8) // 4, (60 + 31 + 20 + 121) // 4)
    assert (image == 10 * labels[..., None]).all()
    corners = [labels[row, column] for row in (0, -1) for column in (0, -1)]
    assert corners == [1, 2, 3, 4]
    share = [(labels == value).mean() for value in range(1, 5)]
    assert min(share) >= 0.13  # .4 of a side by .4 of the other, less a pixel
    again = mosaics.make("mosaic/0", flat)
    assert (again[0] == image).all()
