"""Gaussian filtering of n points in d dimensions on a permutohedral lattice, compiled by numba.

Paper: Adams, Baek and Davis 2010. Each point spreads its value over the d + 1 corners of its
simplex (splat), the lattice is blurred by 1/2, 1, 1/2 along each of its d + 1 axes, and the points
read their corners (slice). With the factor 1 / (1 + 2^-d) this is a matrix K near
exp(-|f_i - f_j|^2 / 2).
Here: K is normalised to n K n with n = (K 1)^-1/2, folded into the weights of the corners. The
blur walks along chains of neighbours, in place; what has no neighbour is left alone.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Int32, Int64

from gleclip_cli.compiled import kernel
from gleclip_cli.errors import BadInput
from gleclip_cli.refine.rows import add, load, prefetch, store, zeros
from gleclip_cli.refine.simplices import find_corners, link_vertices

_GOLDEN = 0x9E3779B97F4A7C15  # odd, so that codes stay unique; scatters them over 64 bits
_WORD = 2**64
_LARGE, _AHEAD = 8, 32  # rows of this many lanes do not stay in the cache: asked for before use


class Lattice(NamedTuple):
    """Corners of every point and chains of neighbouring vertices.

    `weights` include the normalisation. `chains` lists, axis by axis from `starts`, the vertices
    of each chain of two or more; ~v opens a chain or ends an axis. `mass` is the filter's answer
    to ones.
    """

    offsets: Int32[np.ndarray, "n d1"]
    weights: Float32[np.ndarray, "n d1"]
    chains: Int32[np.ndarray, " links"]
    starts: Int64[np.ndarray, " d2"]
    vertices: int
    mass: Float32[np.ndarray, " n"]


def build_lattice(features: Float32[np.ndarray, "d n"]) -> Lattice:
    """Return the lattice of n points, features divided by their standard deviations.

    Raises:
        BadInput: the features spread too far to be counted in 64 bits.
    """
    d, n = features.shape
    scaled = features * np.array(lattice_steps(d), np.float32)[:, None]
    strides = np.array(code_strides(np.ptp(scaled, axis=1).tolist())[:-1])
    offsets, weights = np.empty((n, d + 1), np.int32), np.empty((n, d + 1), np.float32)
    codes = find_corners(scaled, strides, offsets, weights)
    chains, starts = link_vertices(codes, strides.sum() - (d + 1) * strides)
    mass, table = np.ones((n, 1), np.float32), np.empty((len(codes), 1), np.float32)
    lattice = Lattice(offsets, weights, chains, starts, len(codes), mass[:, 0])
    splat(table, mass, lattice, (0,))
    slice_(mass, table, lattice, 0.0, 1.0, (0,))
    _normalise(weights, mass[:, 0])  # the factor 1 / (1 + 2^-d) cancels
    splat(table, mass, lattice, (0,))
    slice_(mass, table, lattice, 0.0, 1.0, (0,))
    return lattice


def splat(
    table: Float32[np.ndarray, "vertices lanes"],
    values: Float32[np.ndarray, "n lanes"],
    lattice: Lattice,
    lanes: tuple[int, ...],
) -> None:
    """Overwrite `table` by the blurred vertices; `lanes` has an entry for each column."""
    table.fill(0)
    _scatter(table, values, lattice.offsets, lattice.weights, lanes)
    _blur(table, lattice.chains, lattice.starts, lanes)


def slice_(
    values: Float32[np.ndarray, "n lanes"],
    table: Float32[np.ndarray, "vertices lanes"],
    lattice: Lattice,
    keep: float,
    weight: float,
    lanes: tuple[int, ...],
) -> None:
    """Overwrite `values` by `keep` times itself plus `weight` times what its points read."""
    factors = np.float32(keep), np.float32(weight)
    _gather(values, table, lattice.offsets, lattice.weights, *factors, lanes)


def lattice_steps(d: int) -> list[float]:
    """Return by how much each of d features, in standard deviations, is scaled for the lattice."""
    return [math.sqrt(2 / 3) * (d + 1) / math.sqrt((i + 1) * (i + 2)) for i in range(d)]


def code_strides(spread: Sequence[float], *, clouds: int = 1) -> list[int]:
    """Return the weight in the code of a vertex of each of its d + 1 coordinates, and of its cloud.

    Codes are a mixed radix: coordinate i takes fewer values than stride i + 1 / stride i. The last
    coordinate follows from the rest. `spread`: of the scaled features; `clouds`: of points that
    share no vertex. Weights are signed, of 64 bits.

    Raises:
        BadInput: there are more codes than fit into 64 bits.
    """
    d = len(spread)
    strides, product = [], 1
    for i in range(d):
        strides.append(product)
        reach = sum(spread[i:]) + i * (spread[i - 1] if i else 0)
        product *= int(reach) + 8 * (d + 1)  # corners and their neighbours lie beyond the points
    if product * clouds >= _WORD:
        raise BadInput(
            "The image is too large for the dense CRF's standard deviations.",
            "Use a smaller image or the pydensecrf backend.",
        )
    scattered = (s * _GOLDEN % _WORD for s in [*strides, 0, product])
    return [s - _WORD if s >= _WORD // 2 else s for s in scattered]


@kernel
def _scatter(table: Any, values: Any, offsets: Any, weights: Any, lanes: Any) -> None:
    for p in range(offsets.shape[0]):
        value = load(values, p, lanes)
        for r in range(offsets.shape[1]):
            v = offsets[p, r]
            store(table, v, add(load(table, v, lanes), weights[p, r], value))


@kernel
def _gather(
    values: Any, table: Any, offsets: Any, weights: Any, keep: Any, weight: Any, lanes: Any
) -> None:
    for p in range(offsets.shape[0]):
        read = zeros(lanes)
        for r in range(offsets.shape[1]):
            read = add(read, weights[p, r], load(table, offsets[p, r], lanes))
        store(values, p, add(add(zeros(lanes), keep, load(values, p, lanes)), weight, read))


@kernel
def _blur(table: Any, chains: Any, starts: Any, lanes: Any) -> None:
    for axis in range(starts.size - 1):
        v = ~chains[starts[axis]]
        before, here, link_before = zeros(lanes), load(table, v, lanes), np.float32(0)
        for i in range(starts[axis] + 1, starts[axis + 1]):
            u = chains[i]
            if len(lanes) >= _LARGE:
                soon = chains[min(i + _AHEAD, chains.size - 1)]
                prefetch(table, soon ^ (soon >> 31), lanes)
            link = np.float32(0.5) if u >= 0 else np.float32(0)
            u ^= u >> 31  # ~u where a chain opens
            after = load(table, u, lanes)
            store(table, v, add(add(here, link, after), link_before, before))
            v, before, here, link_before = u, here, after, link


@kernel
def _normalise(weights: Any, mass: Any) -> None:
    for p in range(weights.shape[0]):
        factor = 1 / np.sqrt(mass[p])
        for r in range(weights.shape[1]):
            weights[p, r] *= factor
        mass[p] = 1
