"""The paired bootstrap against a plain one that draws images, and against cases known by hand."""

import numpy as np
import pytest

from gleclip_cli.metrics import bootstrap as module
from gleclip_cli.metrics.bootstrap import Interval, Intervals, bootstrap, paired_bootstrap
from gleclip_cli.metrics.confusion import summarise
from gleclip_cli.metrics.overlap import overlap_of


def system(seed: int, *, images: int = 300, accuracy: float = 0.7) -> np.ndarray:
    """Confusion matrices (n, 4, 5) of images of three classes; what is hard is so for all."""
    hard = np.random.default_rng(99).uniform(-0.2, 0.2, images)
    random = np.random.default_rng(seed)
    matrices = np.zeros((images, 4, 5), np.int64)
    for image in range(images):
        for true in range(4):
            right = accuracy + hard[image]
            shares = np.full(5, (1 - right) / 4)
            shares[true] = right
            matrices[image, true] = random.multinomial(100 * (true != image % 4), shares)
    return matrices


def bounds(interval: Interval) -> tuple[float, float]:
    return interval.low, interval.high


def test_two_equal_systems_differ_by_nothing() -> None:
    own = overlap_of(system(0, images=20))
    found = paired_bootstrap(own, own, resamples=50)
    assert found.miou == Interval(0.0, 0.0, 0.0)
    assert found.iou == (Interval(0.0, 0.0, 0.0),) * 4


def test_one_image_has_no_spread() -> None:
    """IoU 1/3 and 2/5 become 1/2 and 1."""
    first = np.array([[[1, 3], [2, 5]]])
    second = np.array([[[1, 2], [4, 4]]])
    found = paired_bootstrap(first, second, resamples=10)
    expected = (1 / 6 + 3 / 5) / 2
    assert found.miou.value == pytest.approx(expected)
    assert bounds(found.miou) == pytest.approx((expected, expected))
    assert [one.value for one in found.iou] == pytest.approx([1 / 6, 3 / 5])


def test_two_images_have_three_resamples() -> None:
    """Differences 0 (twice the first image), 1/2 (both) and 1, with shares 1/4, 1/2, 1/4."""
    first, second = np.array([[[4, 4]], [[0, 4]]]), np.array([[[4, 4]], [[4, 4]]])
    found = paired_bootstrap(first, second, resamples=4000, confidence=0.9).miou
    assert found == Interval(0.5, 0.0, 1.0)
    # the middle 40 % lie within the half of all resamples that draw both
    assert paired_bootstrap(first, second, confidence=0.4).miou == Interval(0.5, 0.5, 0.5)


def test_a_planted_difference_is_found_and_noise_is_not() -> None:
    worse, better = system(0, accuracy=0.70), system(1, accuracy=0.72)
    found = paired_bootstrap(overlap_of(worse), overlap_of(better)).miou
    assert found.low > 0
    assert found.low < found.value < found.high
    expected = summarise(better.sum(axis=0)).miou - summarise(worse.sum(axis=0)).miou
    assert found.value == pytest.approx(expected)
    same = paired_bootstrap(overlap_of(worse), overlap_of(system(2, accuracy=0.70))).miou
    assert same.low < 0 < same.high
    swapped = paired_bootstrap(overlap_of(better), overlap_of(worse)).miou
    assert bounds(swapped) == pytest.approx((-found.high, -found.low))


def test_a_plain_bootstrap_draws_the_same_interval() -> None:
    first, second = system(3, images=60), system(4, images=60, accuracy=0.75)
    random, drawn = np.random.default_rng(5), []
    for _ in range(2000):
        images = random.integers(0, 60, 60)
        sums = (matrices[images].sum(axis=0) for matrices in (first, second))
        before, after = (summarise(matrix).miou for matrix in sums)
        drawn.append(after - before)
    found = paired_bootstrap(overlap_of(first), overlap_of(second), resamples=4000).miou
    width = found.high - found.low
    np.testing.assert_allclose(bounds(found), np.quantile(drawn, [0.025, 0.975]), atol=width / 15)


def test_the_interval_of_one_system_is_that_of_a_plain_bootstrap() -> None:
    matrices = system(3, images=60)
    random = np.random.default_rng(5)
    drawn = [summarise(matrices[random.integers(0, 60, 60)].sum(axis=0)).miou for _ in range(2000)]
    found = bootstrap(iter(overlap_of(matrices)), 60, resamples=4000)
    assert found.miou.value == pytest.approx(summarise(matrices.sum(axis=0)).miou)
    width = found.miou.high - found.miou.low
    low, high = np.quantile(drawn, [0.025, 0.975])
    np.testing.assert_allclose(bounds(found.miou), (low, high), atol=width / 15)
    assert len(found.iou) == 4
    assert found.iou[2].low < found.iou[2].value < found.iou[2].high


def test_the_seed_decides() -> None:
    pair = overlap_of(system(0, images=30)), overlap_of(system(1, images=30))
    found = paired_bootstrap(*pair, resamples=200, seed=3)
    assert paired_bootstrap(*pair, resamples=200, seed=3) == found
    assert paired_bootstrap(*pair, resamples=200, seed=4) != found


@pytest.mark.parametrize("at_once", [1, 7, 256])
def test_each_resample_draws_as_many_images_as_there_are_alike_in_every_block(
    monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """Thirty images that count themselves: numbers of draws, with the variance of a multinomial."""
    monkeypatch.setattr(module, "_AT_ONCE", at_once)
    images = np.eye(30)[:, :, None]
    total, drawn = module._resampled(images, 30, 4000, np.random.default_rng(0))
    np.testing.assert_array_equal(total, np.ones((30, 1)))
    assert drawn.shape == (4000, 30, 1)
    np.testing.assert_array_equal(drawn.sum(axis=1), 30)
    np.testing.assert_allclose(drawn.mean(axis=0), 1, atol=0.08)
    np.testing.assert_allclose(drawn.var(axis=0), 1 - 1 / 30, atol=0.15)
    assert np.corrcoef(drawn[:, 0, 0], drawn[:, 29, 0])[0, 1] == pytest.approx(-1 / 29, abs=0.05)


def test_trainings_are_drawn_too() -> None:
    """Two trainings of one image, 0 and 1/2 better: three means, with shares 1/4, 1/2, 1/4."""
    first = np.array([[[[2, 4]]], [[[2, 4]]]])
    second = np.array([[[[2, 4]]], [[[4, 4]]]])
    assert paired_bootstrap(first, second, confidence=0.9).miou == Interval(0.25, 0.0, 0.5)
    alone = paired_bootstrap(first[1], second[1]).miou
    assert alone == Interval(0.5, 0.5, 0.5)


def test_a_class_that_is_nowhere_has_no_difference_and_no_part_in_the_mean() -> None:
    first, second = np.array([[[1, 2], [0, 0]]]), np.array([[[2, 2], [0, 0]]])
    found = paired_bootstrap(first, second, resamples=20)
    assert found.miou == Interval(0.5, 0.5, 0.5)
    assert np.isnan([found.iou[1].value, found.iou[1].low, found.iou[1].high]).all()


def test_of_too_few_images_only_the_value_is_told() -> None:
    found = Intervals(Interval(0.5, 0.4, 0.6), (Interval(0.2, 0.1, 0.3),))
    assert found.of_enough(20) == found
    few = found.of_enough(19)
    assert (few.miou.value, few.iou[0].value) == (0.5, 0.2)
    assert np.isnan([*bounds(few.miou), *bounds(few.iou[0])]).all()


def test_what_cannot_be_paired_is_an_error() -> None:
    own = overlap_of(system(0, images=5))
    with pytest.raises(ValueError, match="cannot be paired"):
        paired_bootstrap(own, own[:4])
    with pytest.raises(ValueError, match="cannot be paired"):
        paired_bootstrap(own[:0], own[:0])
