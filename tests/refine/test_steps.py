"""Steps on pixels, in the order they were asked for."""

import numpy as np
import pytest
import torch

from gleclip_cli.config import RefineConfig
from gleclip_cli.refine import steps as module
from gleclip_cli.refine.par import par
from gleclip_cli.refine.steps import on_pixels

CPU = torch.device("cpu")


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)


@pytest.fixture
def scores() -> np.ndarray:
    return np.random.default_rng(1).random((3, 9, 12), dtype=np.float32)


def test_without_steps_scores_stay(image: np.ndarray, scores: np.ndarray) -> None:
    assert np.array_equal(on_pixels(scores, image, RefineConfig(steps=()), CPU), scores)
    assert np.array_equal(on_pixels(scores, image, RefineConfig(steps=("caa",)), CPU), scores)


def test_par_has_its_number_of_iterations(image: np.ndarray, scores: np.ndarray) -> None:
    config = RefineConfig(steps=("par",), par_iterations=3)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    expected = par(pixels, torch.from_numpy(scores)[None], iterations=3)[0].numpy()
    np.testing.assert_allclose(on_pixels(scores, image, config, CPU), expected, atol=1e-6)


def test_steps_follow_each_other(
    image: np.ndarray, scores: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_par", lambda scores, *_: scores + 1)
    monkeypatch.setattr(module, "_crf", lambda scores, *_: scores * 2)
    for steps, expected in (
        (("par", "crf"), (scores + 1) * 2),
        (("crf", "par"), scores * 2 + 1),
        (("caa", "par"), scores + 1),
        (("par", "regions", "crf"), np.sqrt(scores + 1) * 2),
    ):
        found = on_pixels(scores, image, RefineConfig(steps=steps), CPU, name_regions=np.sqrt)
        np.testing.assert_allclose(found, expected)


def test_regions_need_somebody_to_name_them(image: np.ndarray, scores: np.ndarray) -> None:
    with pytest.raises(ValueError, match="names them"):
        on_pixels(scores, image, RefineConfig(steps=("regions",)), CPU)
