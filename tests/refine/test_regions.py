"""Regions by hand; what lies around one is hidden from view; shares are dealt out."""

import numpy as np
import pytest

from gleclip_cli.refine.regions import Region, connected_regions, renamed, views_of


def test_regions_are_joined_by_edges_and_large_enough() -> None:
    places = np.array([[1, 1, 0, 2], [0, 1, 2, 0], [0, 0, 1, 1], [2, 2, 2, 2]])
    largest, three, two = connected_regions(places, least=2, most=9)
    assert (largest.top, largest.left, largest.own.tolist()) == (3, 0, [[True] * 4])
    assert (three.top, three.left) == (0, 0)
    assert three.own.tolist() == [[True, True], [False, True]]
    assert two.box == (slice(2, 3), slice(2, 4))
    assert len(connected_regions(places, least=1, most=9)) == 5
    (alone,) = connected_regions(places, least=1, most=1)
    assert alone.box == largest.box
    assert connected_regions(np.zeros((3, 4), int), least=1, most=9) == []


def test_views_show_the_region_and_hide_the_rest() -> None:
    image = np.full((60, 90, 3), 200, np.uint8)
    image[:, 45:] = (0, 100, 0)
    region = Region(20, 25, np.ones((20, 20), bool))
    blurred, filled = views_of(image, region, side=50, fill=(10, 20, 30))
    assert blurred.shape == filled.shape == (50, 50, 3)
    inner = slice(6, 42)  # 50 pixels for 20 and 25 % more
    assert (blurred[inner, inner] == 200).all()
    assert (filled[inner, inner] == 200).all()
    assert (filled[:, -3:] == (10, 20, 30)).all()
    assert (filled[:3] == (10, 20, 30)).all()
    assert (blurred[:3, :10] >= 198).all()  # as it is there, but for what the blur brings
    beside = blurred[20, -3].astype(int)
    assert beside[0] < 200
    assert beside[1] > 100


@pytest.mark.parametrize("size", [(1, 1), (30, 40), (200, 3)])
def test_where_the_picture_ends_its_border_goes_on(size: tuple[int, int]) -> None:
    image = np.full((*size, 3), 90, np.uint8)
    blurred, filled = views_of(image, Region(0, 0, np.ones(size, bool)), side=64, fill=(1, 2, 3))
    assert (abs(blurred.astype(int) - 90) <= 1).all()
    share = (filled[..., 0] > 45).mean()
    square = (1.25 * max(size)) ** 2
    assert share == pytest.approx(min(1, size[0] * size[1] / square), abs=0.06) or max(size) == 1


def test_what_classes_have_together_is_dealt_out() -> None:
    scores = np.array([[[0.2, 0.5]], [[0.6, 0.3]], [[0.2, 0.1]]], np.float32)
    region = Region(0, 0, np.array([[True]]))
    shares = np.array([[0.25, 0.0, 0.75]], np.float32)
    dealt = renamed(scores, [region], shares)
    np.testing.assert_allclose(dealt[:, 0, 0], [0.2 + 0.25 * 0.8, 0, 0.75 * 0.8], atol=1e-6)
    assert (dealt[..., 1] == scores[..., 1]).all()
    assert scores[1, 0, 0] == np.float32(0.6)  # not changed in place
