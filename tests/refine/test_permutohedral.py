"""The lattice against the dense Gaussian matrix, and against itself written as plain loops."""

import numpy as np
import pytest

from gleclip_cli.errors import BadInput
from gleclip_cli.refine.permutohedral import Lattice, build_lattice, slice_, splat


def filtered(lattice: Lattice, values: np.ndarray) -> np.ndarray:
    lanes = (0,) * values.shape[1]
    table = np.empty((lattice.vertices, len(lanes)), np.float32)
    answer = np.zeros_like(values)
    splat(table, values, lattice, lanes)
    slice_(answer, table, lattice, 0.0, 1.0, lanes)
    return answer


def points(d: int, n: int, spread: float = 2.0, seed: int = 0) -> np.ndarray:
    return (spread * np.random.default_rng(seed).standard_normal((d, n))).astype(np.float32)


def plain_corners(point: np.ndarray) -> dict[tuple[int, ...], float]:
    """Vertex -> weight of one point, in float64: the nearest simplex by its definition."""
    d = len(point)
    scaled = point * np.sqrt(2 / 3) * (d + 1) / np.sqrt(np.arange(1, d + 1) * np.arange(2, d + 2))
    high = np.array([scaled[i:].sum() - (i * scaled[i - 1] if i else 0) for i in range(d + 1)])
    zero = np.rint(high / (d + 1)) * (d + 1)
    order = np.argsort(-(high - zero), kind="stable")
    excess = round(zero.sum() / (d + 1))
    if excess > 0:
        zero[order[len(order) - excess :]] -= d + 1
    else:
        zero[order[:-excess]] += d + 1
    rest = np.sort((high - zero) / (d + 1))[::-1]
    order = np.argsort(-(high - zero), kind="stable")
    corners = {}
    for r in range(d + 1):
        vertex = zero + r
        vertex[order[d + 1 - r :]] -= d + 1
        weight = rest[d - r] - rest[d + 1 - r] if r else 1 + rest[d] - rest[0]
        corners[tuple(vertex.astype(int))] = weight
    return corners


def plain_filter(features: np.ndarray) -> np.ndarray:
    """The normalised filter as a matrix, every step a dictionary of vertices."""
    d, n = features.shape
    corners = [plain_corners(p) for p in features.T.astype(float)]
    vertices = sorted({v for c in corners for v in c})
    place = {v: i for i, v in enumerate(vertices)}
    blur = np.eye(len(vertices))
    for axis in range(d + 1):
        step = np.ones(d + 1, int)
        step[axis] -= d + 1
        once = np.eye(len(vertices))
        for v, i in place.items():
            for neighbour in (tuple(np.add(v, step)), tuple(np.subtract(v, step))):
                if neighbour in place:
                    once[i, place[neighbour]] = 0.5
        blur = once @ blur
    spread = np.zeros((n, len(vertices)))
    for i, found in enumerate(corners):
        for v, weight in found.items():
            spread[i, place[v]] = weight
    matrix = spread @ blur @ spread.T
    scale = 1 / np.sqrt(matrix.sum(1))
    return matrix * scale[:, None] * scale


@pytest.mark.parametrize(("d", "n"), [(1, 40), (2, 300), (3, 50), (5, 80), (5, 1)])
def test_filter_equals_its_definition(d: int, n: int) -> None:
    features = points(d, n)
    values = np.random.default_rng(1).random((n, 4), np.float32)
    answer = filtered(build_lattice(features), values)
    np.testing.assert_allclose(answer, plain_filter(features) @ values, atol=2e-6)


def test_filter_is_near_the_gaussian() -> None:
    features = points(2, 400, spread=3)
    values = np.random.default_rng(1).random((400, 1), np.float32)
    dense = np.exp(-((features[:, :, None] - features[:, None]) ** 2).sum(0) / 2)
    scale = 1 / np.sqrt(dense.sum(1))
    exact = scale[:, None] * (dense @ (scale[:, None] * values))
    answer = filtered(build_lattice(features), values)
    assert np.abs(answer - exact).mean() < 0.1 * exact.mean()


@pytest.mark.parametrize("columns", [1, 2, 4, 8])
def test_columns_do_not_mix(columns: int) -> None:
    lattice = build_lattice(points(5, 500))
    values = np.random.default_rng(2).random((500, columns), np.float32)
    alone = [filtered(lattice, np.ascontiguousarray(values[:, [c]])) for c in range(columns)]
    np.testing.assert_allclose(filtered(lattice, values), np.hstack(alone), atol=1e-6)


def test_mass_is_the_answer_to_ones() -> None:
    lattice = build_lattice(points(5, 700))
    answer = filtered(lattice, np.ones((700, 1), np.float32))
    np.testing.assert_allclose(answer[:, 0], lattice.mass, atol=1e-6)


def test_slice_keeps_what_it_is_told_to() -> None:
    lattice = build_lattice(points(2, 50))
    values = np.ones((50, 2), np.float32)
    table = np.empty((lattice.vertices, 2), np.float32)
    splat(table, values, lattice, (0, 0))
    slice_(values, table, lattice, 1.0, 3.0, (0, 0))
    np.testing.assert_allclose(values[:, 0], 1 + 3 * lattice.mass, rtol=1e-6)


def test_the_table_of_vertices_grows() -> None:
    """Points so far apart that none shares a corner."""
    lattice = build_lattice(points(5, 60_000, spread=60, seed=1))
    assert lattice.vertices == np.unique(lattice.offsets).size == 6 * 60_000
    np.testing.assert_allclose(lattice.mass, 1, atol=0.01)


def test_features_that_cannot_be_counted_are_refused() -> None:
    with pytest.raises(BadInput, match="standard deviations"):
        build_lattice(points(5, 10, spread=1e5))
