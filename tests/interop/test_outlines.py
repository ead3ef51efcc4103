"""Masks to polygons: exact by two independent ways to fill them, and simpler ones."""

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask
from scipy import ndimage

from gleclip_cli.interop.outlines import polygons

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # of pycocotools


def filled(rings: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """What pycocotools draws."""
    inside = np.zeros(size, bool)
    for ring in rings:
        (drawn,) = coco_mask.frPyObjects([ring.astype(float).ravel().tolist()], *size)
        inside |= coco_mask.decode(drawn).astype(bool)
    return inside


def ragged(seed: int, size: tuple[int, int] = (40, 50)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.random(size), (0.4, 1, 2, 4)[seed % 4])
    return noise > np.quantile(noise, 0.4)


def test_a_square_has_four_corners() -> None:
    inside = np.zeros((5, 6), bool)
    inside[1:3, 2:5] = True
    (ring,) = polygons(inside)
    assert sorted(ring.tolist()) == [[2, 1], [2, 3], [5, 1], [5, 3]]


def test_nothing_and_everything() -> None:
    assert polygons(np.zeros((3, 4), bool)) == []
    (ring,) = polygons(np.ones((3, 4), bool))
    assert sorted(ring.tolist()) == [[0, 0], [0, 3], [4, 0], [4, 3]]


@pytest.mark.parametrize("seed", range(24))
def test_polygons_give_the_mask_again(seed: int) -> None:
    inside = ragged(seed)
    rings = polygons(inside)
    assert len(rings) == ndimage.label(inside)[1]  # by sides
    np.testing.assert_array_equal(filled(rings, inside.shape), inside)


def test_a_hole_in_a_hole_and_two_holes_side_by_side() -> None:
    inside = np.ones((12, 16), bool)
    inside[2:10, 2:9] = False
    inside[4:8, 4:7] = True
    inside[5:6, 5:6] = False
    inside[4:9, 11:13] = False
    rings = polygons(inside)
    assert len(rings) == 2
    np.testing.assert_array_equal(filled(rings, inside.shape), inside)


@pytest.mark.parametrize("seed", range(8))
def test_simpler_polygons_differ_at_the_outline_only(seed: int) -> None:
    inside = ragged(4 * seed + 3, (80, 90))
    tolerance = 1.0
    exact, rings = polygons(inside), polygons(inside, tolerance)
    assert sum(map(len, rings)) < 0.6 * sum(map(len, exact))
    wrong = filled(rings, inside.shape) ^ inside
    # the outline moves by the tolerance at most, and a pixel counts by its centre
    padded = np.pad(inside, 1)
    depth = ndimage.distance_transform_edt(padded) + ndimage.distance_transform_edt(~padded)
    assert depth[1:-1, 1:-1][wrong].max(initial=0) <= tolerance + 1


def test_holes_stay_open_when_outlines_become_simpler() -> None:
    yy, xx = np.mgrid[:60, :60]
    radius = np.hypot(yy - 30, xx - 30)
    inside = (radius < 25) & (radius > 10)
    (ring,) = polygons(inside, 1.0)
    assert len(ring) < 50
    canvas = Image.new("1", (60, 60))
    ImageDraw.Draw(canvas).polygon([tuple(p) for p in ring.tolist()], fill=1)
    drawn = np.array(canvas)
    assert not drawn[radius < 8].any()
    assert (drawn == inside)[np.abs(radius - 10) > 2].mean() > 0.95
