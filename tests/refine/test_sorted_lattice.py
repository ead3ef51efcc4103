"""The lattice of array programs against the compiled one, on the CPU and on a GPU."""

import cv2
import numpy as np
import pytest
import torch

from gleclip_cli.errors import BadInput
from gleclip_cli.refine.crf import PRESETS, dense_crf
from gleclip_cli.refine.permutohedral import build_lattice, slice_, splat
from gleclip_cli.refine.sorted_lattice import build_sorted_lattice, mean_field


def photograph(height: int, width: int, seed: int) -> np.ndarray:
    """Smooth colours with a little noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (5, 6, 3), np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    noise = rng.normal(0, 2, (height, width, 3))
    return (smooth + noise).clip(0, 255).astype(np.uint8)


def smooth_scores(k: int, height: int, width: int, seed: int) -> np.ndarray:
    grids = np.random.default_rng(seed).random((k, 4, 5), np.float32)
    return np.stack([cv2.resize(grid, (width, height)) for grid in grids])


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    assert (found.argmax(0) == expected.argmax(0)).mean() >= 0.999
    assert np.abs(found - expected).mean() < 1e-5
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-5)


@pytest.mark.parametrize(("d", "n"), [(1, 40), (2, 300), (5, 400), (5, 1)])
def test_filter_equals_the_compiled_one(d: int, n: int) -> None:
    features = (2 * np.random.default_rng(0).standard_normal((d, n))).astype(np.float32)
    values = np.random.default_rng(1).random((n, 4), np.float32)
    compiled, expected = build_lattice(features), np.zeros_like(values)
    table, lanes = np.empty((compiled.vertices, 4), np.float32), (0,) * 4
    splat(table, values, compiled, lanes)
    slice_(expected, table, compiled, 0.0, 1.0, lanes)
    lattice = build_sorted_lattice(torch.from_numpy(features)[None])
    assert lattice.neighbours.shape == (d + 1, 2, compiled.vertices)
    found = lattice.filtered(torch.from_numpy(values)).numpy()
    np.testing.assert_allclose(found, expected, atol=2e-6)


@pytest.mark.parametrize(("preset", "k"), [("deeplab", 4), ("afa", 1), ("psa", 9)])
def test_pictures_of_a_batch_do_not_see_each_other(preset: str, k: int) -> None:
    images = [photograph(40, 52, seed) for seed in (1, 2)]
    scores = [smooth_scores(k, 40, 52, seed) for seed in (3, 4)]
    batch = torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(scores))
    found = mean_field(*batch, PRESETS[preset], 10).numpy()
    for image, maps, refined in zip(images, scores, found, strict=True):
        assert_same(refined, dense_crf(image, maps, PRESETS[preset]))


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (30, 1)])
def test_lines_and_points(size: tuple[int, int]) -> None:
    image, scores = photograph(*size, seed=0), smooth_scores(3, *size, seed=1)
    batch = torch.from_numpy(image)[None], torch.from_numpy(scores)[None]
    found = mean_field(*batch, PRESETS["deeplab"], 10)[0].numpy()
    assert_same(found, dense_crf(image, scores))


def test_features_that_cannot_be_counted_are_refused() -> None:
    spread = 1e5 * torch.randn(1, 5, 10, generator=torch.Generator().manual_seed(0))
    with pytest.raises(BadInput, match="standard deviations"):
        build_sorted_lattice(spread)


@pytest.mark.gpu
@pytest.mark.parametrize("k", [2, 5, 21])
def test_cuda_gives_the_labels_of_the_cpu(k: int) -> None:
    image, scores = photograph(120, 160, seed=0), smooth_scores(k, 120, 160, seed=1)
    assert_same(dense_crf(image, scores, device="cuda"), dense_crf(image, scores))
