"""Dense CRF against a mean field whose kernels are dense matrices, and its invariants."""

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from gleclip_cli.config import CRF_PRESETS
from gleclip_cli.errors import BadInput, EnvironmentFault
from gleclip_cli.refine.crf import PRESETS, CrfSettings, dense_crf, require_backend

DEEPLAB = PRESETS["deeplab"]


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=0))
    return powers / powers.sum(axis=0)


def exact_crf(
    image: np.ndarray, scores: np.ndarray, settings: CrfSettings, iterations: int = 10
) -> np.ndarray:
    """Mean field in float64, every pixel pair by its Gaussian."""
    height, width = image.shape[:2]
    rows, columns = (axis.ravel() for axis in np.mgrid[:height, :width].astype(float))
    colours = image.reshape(-1, 3).astype(float)
    apart = (rows[:, None] - rows) ** 2 + (columns[:, None] - columns) ** 2
    unlike = ((colours[:, None] - colours) ** 2).sum(-1)
    near = np.exp(-apart / (2 * settings.gaussian_sxy**2))
    alike = apart / (2 * settings.bilateral_sxy**2) + unlike / (2 * settings.bilateral_srgb**2)
    message = 0
    for matrix, weight in (
        (near, settings.gaussian_weight),
        (np.exp(-alike), settings.bilateral_weight),
    ):
        scale = 1 / np.sqrt(matrix.sum(1))
        message = message + weight * scale[:, None] * matrix * scale
    unary = -np.log(scores.reshape(len(scores), -1).clip(1e-5, 1))
    marginals = softmax(-unary)
    for _ in range(iterations):
        marginals = softmax(-unary + marginals @ message)
    return marginals.reshape(scores.shape)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Two smooth regions and noise."""
    rng = np.random.default_rng(seed)
    image = rng.normal(0, 4, (height, width, 3)) + np.linspace(60, 100, width)[:, None]
    image[height // 3 :, width // 3 :] += (60, 20, -30)
    return image.clip(0, 255).astype(np.uint8)


def random_scores(k: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((k, height, width), np.float32)


def clear_scores(k: int, height: int, width: int) -> np.ndarray:
    """Stripes with one clear winner each: where all is even, small differences decide."""
    winner = (np.arange(width) * k // width) == np.arange(k)[:, None]
    return np.float32(0.5) * winner[:, None] + 0.4 * random_scores(k, height, width)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("k", [2, 5])
def test_as_near_to_the_exact_mean_field_as_pydensecrf(preset: str, k: int) -> None:
    pytest.importorskip("pydensecrf", reason="the extra crf is not installed")
    settings = replace(PRESETS[preset], certainty=None)
    image, scores = picture(30, 36, seed=k), random_scores(k, 30, 36)
    exact = exact_crf(image, scores, settings)
    ours, theirs = (
        np.abs(dense_crf(image, scores, settings, backend=backend) - exact).mean()
        for backend in ("lattice", "pydensecrf")
    )
    assert ours <= 1.01 * theirs


@pytest.mark.parametrize("preset", PRESETS)
def test_near_the_exact_mean_field(preset: str) -> None:
    settings = replace(PRESETS[preset], certainty=None)
    image, scores = picture(24, 30), clear_scores(3, 24, 30)
    exact = exact_crf(image, scores, settings)
    refined = dense_crf(image, scores, settings)
    assert np.abs(refined - exact).mean() < 0.03
    assert (refined.argmax(0) == exact.argmax(0)).mean() > 0.97


def test_without_iterations_the_scores_are_normalised() -> None:
    scores = random_scores(4, 9, 7) * 0.5
    scores[:, 0, 0] = 0, 1, 0.3, 2  # clipped to 1e-5 and to 1
    refined = dense_crf(picture(9, 7), scores, iterations=0)
    clipped = scores.clip(1e-5, 1)
    np.testing.assert_allclose(refined, clipped / clipped.sum(0), atol=1e-6)


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 6, 9, 10, 21, 81])
def test_any_number_of_classes_gives_probabilities(k: int) -> None:
    refined = dense_crf(picture(13, 17), random_scores(k, 13, 17))
    assert refined.shape == (k, 13, 17)
    assert refined.dtype == np.float32
    assert refined.min() >= 0
    np.testing.assert_allclose(refined.sum(0), 1, atol=1e-5)


@pytest.mark.parametrize("k", [2, 5, 12])
def test_permuted_classes_permute_the_result(k: int) -> None:
    image, scores = picture(20, 25), random_scores(k, 20, 25)
    order = np.random.default_rng(3).permutation(k)
    np.testing.assert_allclose(
        dense_crf(image, scores[order]), dense_crf(image, scores)[order], atol=2e-5
    )


def test_same_input_same_bytes_in_any_thread() -> None:
    image, scores = picture(40, 50), random_scores(3, 40, 50)
    alone = dense_crf(image, scores)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda _: dense_crf(image, scores), range(8)))
    assert all(np.array_equal(alone, result) for result in together)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 3)])
def test_lines_and_points(size: tuple[int, int]) -> None:
    image, scores = picture(*size), clear_scores(3, *size)
    refined, exact = dense_crf(image, scores), exact_crf(image, scores, DEEPLAB)
    assert np.abs(refined - exact).mean() < 0.05


def test_a_constant_image_leaves_the_gaussian_of_position() -> None:
    flat = np.full((20, 24, 3), 90, np.uint8)
    scores = random_scores(2, 20, 24)
    bilateral = CrfSettings(1.0, 0.0, 3.0, 5.0, 3.0)
    gaussian = replace(bilateral, gaussian_sxy=3.0, gaussian_weight=3.0, bilateral_weight=0.0)
    np.testing.assert_allclose(
        dense_crf(flat, scores, bilateral), dense_crf(flat, scores, gaussian), atol=0.1
    )


def test_a_shifted_map_moves_to_the_edge_in_the_picture() -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, 30:] = 200
    left = np.full((40, 60), 0.1, np.float32)
    left[:, :35] = 0.9  # five pixels too far
    labels = dense_crf(image, np.stack([left, 1 - left])).argmax(0)
    assert (labels[:, :30] == 0).all()
    assert (labels[:, 30:] == 1).all()


def test_certainty_counts_only_the_largest_score() -> None:
    scores = np.zeros((3, 6, 8), np.float32)
    scores[1] = 0.2
    scores[2, :, 4:] = 0.3
    certain = dense_crf(picture(6, 8), scores, replace(DEEPLAB, certainty=0.7), iterations=0)
    np.testing.assert_allclose(certain[:, 0, 0], [0.15, 0.7, 0.15], atol=1e-6)
    np.testing.assert_allclose(certain[:, 0, 5], [0.15, 0.15, 0.7], atol=1e-6)


def test_large_maps_are_refined_on_a_smaller_grid() -> None:
    image, scores = picture(60, 90), random_scores(3, 60, 90)
    refined = dense_crf(image, scores, max_pixels=1500)
    assert refined.shape == scores.shape
    np.testing.assert_allclose(refined.sum(0), 1, atol=1e-4)
    assert not np.array_equal(refined, dense_crf(image, scores))


@pytest.mark.slow
def test_a_very_large_picture_keeps_its_size_and_edges() -> None:
    side, border = 5000, 2000
    image = np.zeros((side, side, 3), np.uint8)
    image[:, border:] = 200
    scores = np.full((2, side, side), 0.1, np.float32)
    scores[0, :, :border] = scores[1, :, border:] = 0.9
    labels = dense_crf(image, scores).argmax(0)
    assert labels.shape == (side, side)
    assert (labels[:, : border - 5] == 0).all()
    assert (labels[:, border + 5 :] == 1).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_no_numbers_are_refused(bad: float) -> None:
    scores = random_scores(2, 5, 6)
    scores[1, 2, 3] = bad
    with pytest.raises(BadInput, match="NaN"):
        dense_crf(picture(5, 6), scores)


def test_other_dtypes_and_orders_of_the_scores() -> None:
    image, scores = picture(12, 15), random_scores(3, 12, 15)
    for same in (scores.astype(np.float64), np.asfortranarray(scores)):
        np.testing.assert_allclose(dense_crf(image, same), dense_crf(image, scores), atol=1e-5)


def test_presets_are_those_of_the_option() -> None:
    assert tuple(PRESETS) == CRF_PRESETS


def test_a_missing_backend_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", None)
    with pytest.raises(EnvironmentFault, match="not installed"):
        require_backend("pydensecrf")
    require_backend("lattice")
