"""Three small masks, as exports get them, and the way back."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gleclip_cli.datasets.integrity import Drawing, Picture
from gleclip_cli.datasets.source import Source
from gleclip_cli.datasets.vocabulary import Vocabulary, load_vocabulary
from gleclip_cli.interop.given import with_given_masks
from gleclip_cli.interop.masked import Masked


@pytest.fixture(scope="session")
def vocabulary() -> Vocabulary:
    return load_vocabulary("voc")


@pytest.fixture
def masks(tmp_path: Path) -> list[Masked]:
    """One in a folder with two classes, an island and a hole; one noisy; one that shows nothing."""
    first = np.zeros((30, 41), np.uint8)
    first[2:20, 3:30] = 8
    first[6:15, 8:20] = 0
    first[8:11, 10:14] = 8
    first[18:28, 25:41] = 15
    noise = np.random.default_rng(0).random((16, 12))
    noisy = np.select([noise > 0.7, noise > 0.5], [20, 1], 0).astype(np.uint8)
    listed = {"farm/kuh 1": first, "b": noisy, "ünused": np.zeros((9, 7), np.uint8)}
    images = tmp_path / "images"
    return [
        Masked(name, images / f"{name}.jpg", labels.shape, labels)
        for name, labels in listed.items()
    ]


@pytest.fixture
def back(vocabulary: Vocabulary) -> Callable[[list[Masked], Path], dict[str, np.ndarray]]:
    """Image id -> labels that a data set of these pictures gets from a path."""

    def read(masks: list[Masked], path: Path) -> dict[str, np.ndarray]:
        ids = sorted(masked.image_id for masked in masks)
        pictures = [Picture(m.image_id, m.image, {"train": None}) for m in masks]
        source = Source(path.parent, vocabulary, {"train": ids}, {}, pictures)
        given = with_given_masks(source, str(path))
        assert not given.problems
        assert all(set(picture.masks) <= {"train", "val"} for picture in given.pictures)
        drawn = {p.image_id: p.masks["train"] for p in given.pictures}
        return {name: m.draw() for name, m in drawn.items() if isinstance(m, Drawing)}

    return read
