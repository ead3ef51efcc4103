"""Every chain of steps: classes keep apart, odd sizes and single labels do no harm."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gleclip_cli.artifacts.maps import Cam
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.cam.refiner import Refiner
from gleclip_cli.cam.spread import MapSource
from gleclip_cli.config import RefineConfig
from gleclip_cli.model.texts import Wording
from gleclip_cli.model.weights import find_clip

CPU = torch.device("cpu")
ALL = ("caa", "walk", "par", "regions", "crf")
CHAINS = [*((step,) for step in ALL), ALL]
WORDING = Wording(("cat", "dog", "sofa"), ("ground",), ("a {}.",))


@pytest.fixture
def refiner(tiny_clip_json: str, tmp_path: Path) -> Callable[..., Refiner]:
    """Steps -> what does them."""

    def make(*steps: str) -> Refiner:
        config = RefineConfig(steps=steps, par_iterations=3, crf_iterations=2, walk_steps=20)
        names = (RunDir(tmp_path), WORDING) if "regions" in steps else None
        source = MapSource(find_clip(tiny_clip_json, "random"), on_patches=False, names=names)
        return Refiner(config, CPU, source if config.needs_model else None)

    return make


def case(size: tuple[int, int], classes: int) -> tuple[Cam, np.ndarray]:
    rng = np.random.default_rng(0)
    grid = tuple(-(-side // 4) for side in size)
    scores = rng.random((classes, *grid), dtype=np.float32)
    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    return Cam(scores, np.arange(1, classes + 1), size), image


@pytest.mark.parametrize("steps", CHAINS)
def test_permuting_classes_permutes_the_result(
    refiner: Callable[..., Refiner], steps: tuple[str, ...]
) -> None:
    refine, (cam, image) = refiner(*steps), case((24, 32), 3)
    order = [2, 0, 1]
    turned = replace(cam, scores=cam.scores[order], class_ids=cam.class_ids[order])
    found, expected = refine(turned, image), refine(cam, image)
    np.testing.assert_allclose(found[0], expected[0], atol=1e-4)
    np.testing.assert_allclose(found[1:], expected[1:][order], atol=1e-4)


@pytest.mark.parametrize("size", [(1, 1), (1, 19), (17, 1)])
@pytest.mark.parametrize("classes", [1, 2])
def test_odd_sizes_and_one_label_give_finite_scores(
    refiner: Callable[..., Refiner], size: tuple[int, int], classes: int
) -> None:
    cam, image = case(size, classes)
    for steps in CHAINS:
        scores = refiner(*steps)(cam, image)
        assert scores.shape == (1 + classes, *size), steps
        assert np.isfinite(scores).all(), steps
        assert scores.min() >= 0, steps


def test_without_classes_there_is_nothing_to_do(refiner: Callable[..., Refiner]) -> None:
    cam, _ = case((5, 7), 0)
    refine = refiner(*ALL)
    assert not refine.works_on(cam)
    assert (refine.plain(cam) == 1).all()
