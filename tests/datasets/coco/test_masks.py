"""Outlines drawn to labels: as pycocotools draws them, and refused where they make no sense."""

from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from gleclip_cli.datasets.coco.masks import fill

# pycocotools 2.0.11 gives NumPy arrays in a way that NumPy 2 is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SIZE = (24, 32)
STAR = [3.2, 1.7, 29.9, 6.1, 5.5, 22.0, 14.1, 2.3, 31.4, 23.9]
TRIANGLE = [-4.0, 3.0, 40.5, 12.0, 8.0, 30.0]


def reference(segmentation: Any) -> np.ndarray:
    runs = coco_mask.frPyObjects(segmentation, *SIZE)
    return coco_mask.decode(coco_mask.merge(runs) if isinstance(runs, list) else runs) == 1


def runs_of(inside: np.ndarray) -> dict[str, Any]:
    """Run lengths of a mask, column by column, counted by hand."""
    flat = inside.ravel(order="F")
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flat])))
    return {"size": list(SIZE), "counts": np.diff([0, *edges, flat.size]).tolist()}


@pytest.mark.parametrize("polygons", [[STAR], [TRIANGLE], [STAR, TRIANGLE]])
def test_polygons_are_filled_as_by_pycocotools(polygons: list[list[float]]) -> None:
    inside = fill(polygons, SIZE)
    assert inside.any()
    assert not inside.all()
    assert np.array_equal(inside, reference(polygons))


@pytest.mark.parametrize("seed", range(5))
def test_run_lengths_in_both_forms(seed: int) -> None:
    rng = np.random.default_rng(seed)
    small = rng.random((4, 4)) < 0.5
    inside = small.repeat(SIZE[0] // 4, 0).repeat(SIZE[1] // 4, 1)
    packed = coco_mask.encode(np.asfortranarray(inside, np.uint8))
    text = {"size": list(SIZE), "counts": packed["counts"].decode()}
    assert np.array_equal(fill(text, SIZE), inside)
    assert np.array_equal(fill(runs_of(inside), SIZE), inside)


def test_a_polygon_of_two_corners_encloses_nothing() -> None:
    # pycocotools would take four numbers for a box
    assert not fill([[2, 2, 20, 20]], SIZE).any()
    assert np.array_equal(fill([[2, 2, 20, 20], STAR], SIZE), reference([STAR]))


@pytest.mark.parametrize(
    "segmentation",
    [
        None,
        "text",
        [[1, 2, 3, 4, 5]],
        [1, 2, 3, 4, 5, 6],
        [["a", "b", "c", "d", "e", "f"]],
        [[1, 2, None, 4, 5, 6]],
        [[1, 2, float("nan"), 4, 5, 6]],
        [[1, 2, 1e12, 4, 5, 6]],
        [[0, 0, 9e5, 9e5] * 3],
        {"size": [32, 24], "counts": [768]},
        {"counts": [768]},
        {"size": [24, 32], "counts": []},
        {"size": [24, 32], "counts": [700]},
        {"size": [24, 32], "counts": [769]},
        {"size": [24, 32], "counts": [800, -32]},
        {"size": [24, 32], "counts": [2**62, 2**62, 2**62, 2**62, 768]},
        {"size": [24, 32], "counts": [10**30]},
        {"size": [24, 32], "counts": [[768]]},
        {"size": [24, 32], "counts": ""},
        {"size": [24, 32], "counts": "1000"},
        {"size": [24, 32], "counts": "o" * 50},
        {"size": [24, 32], "counts": "\u00e9"},
        {"size": [24, 32], "counts": {"a": 1}},
    ],
)
def test_what_is_no_outline_of_the_picture_is_refused(segmentation: Any) -> None:
    with pytest.raises((ValueError, TypeError, OverflowError)):
        fill(segmentation, SIZE)
