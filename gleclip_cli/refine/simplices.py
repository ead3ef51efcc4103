"""Corners of points on a permutohedral lattice, and the neighbours of those corners.

Paper: Adams, Baek and Davis 2010, section 3.
Here: a vertex is coded by one 64-bit integer, linear in its coordinates: neighbours along an axis
differ by a constant, and the upper bits scatter vertices over a table.
"""

from typing import Any

import numpy as np

from gleclip_cli.compiled import kernel

_BLOCK = 256


@kernel
def _embed(features: Any, start: int, count: int, point: Any, zero: Any, rank: Any) -> None:
    """Fill, for a block of points, the distance to the nearest vertex `zero` of remainder 0.

    `point` is that distance in units of d + 1, `rank` the place of each coordinate in descending
    order. Source: Adams et al., section 3; pydensecrf rounds alike.
    """
    size = np.int32(point.shape[0])
    up, down = np.float32(size), np.float32(1) / np.float32(size)
    point[0, :count] = 0
    rank[0, :count] = 0
    for i in range(size - 1, 0, -1):
        for p in range(count):
            feature = features[i - 1, start + p]
            point[i, p] = point[0, p] - np.float32(i) * feature
            point[0, p] += feature
    for i in range(size):
        for p in range(count):
            nearest = np.rint(point[i, p] * down)
            zero[i, p] = nearest * up
            point[i, p] -= zero[i, p]
            rank[0, p] += np.int32(nearest)  # how far the coordinates are from summing to 0
    for i in range(1, size):
        for p in range(count):
            rank[i, p] = rank[0, p]
    for i in range(size - 1):
        for j in range(i + 1, size):
            for p in range(count):
                smaller = np.int32(point[i, p] < point[j, p])
                rank[i, p] += smaller
                rank[j, p] += 1 - smaller
    for i in range(size):
        for p in range(count):
            turn = np.int32(rank[i, p] < 0) - np.int32(rank[i, p] >= size)
            rank[i, p] += turn * size
            zero[i, p] += np.float32(turn) * up
            point[i, p] = point[i, p] * down - np.float32(turn)


@kernel
def _shift(size: int) -> Any:
    """Return by how much to shift a code right so that it lies below `size`, a power of two."""
    shift = 64
    while size > 1:
        size >>= 1
        shift -= 1
    return np.uint64(shift)


@kernel
def _number(slots: Any, codes: Any, count: int, code: Any, shift: Any) -> Any:
    """Return the number of a vertex: as stored, or `count`, which is then stored."""
    slot = np.int64(np.uint64(code) >> shift)
    while True:
        v = slots[slot]
        if v < 0:
            slots[slot] = count
            codes[count] = code
            return count
        if codes[v] == code:
            return v
        slot = (slot + 1) & (slots.size - 1)


@kernel
def _doubled(slots: Any, codes: Any, count: int) -> Any:
    slots, old = np.full(2 * slots.size, -1, np.int32), codes
    codes = np.empty(2 * codes.size, np.int64)
    for v in range(count):
        _number(slots, codes, v, old[v], _shift(slots.size))
    return slots, codes


@kernel
def _corners(strides: Any, point: Any, zero: Any, rank: Any, weights: Any, codes: Any) -> None:
    """Fill the weights and codes of the corners of a block of points that `_embed` has placed."""
    count, size = weights.shape
    distance, stride, total = np.empty(size, np.float32), np.empty(size, np.int64), strides.sum()
    for p in range(count):
        code: Any = np.int64(0)
        for i in range(size):
            distance[rank[i, p]] = point[i, p]
            stride[rank[i, p]] = strides[i]
            code += np.int64(zero[i, p]) * strides[i]
        weights[p, 0] = 1 + distance[size - 1] - distance[0]
        codes[p, 0] = code
        for r in range(1, size):
            weights[p, r] = distance[size - 1 - r] - distance[size - r]
            code += total - size * stride[size - r]
            codes[p, r] = code


@kernel
def find_corners(features: Any, strides: Any, offsets: Any, weights: Any) -> Any:
    """Fill the vertex numbers and weights of every point's corners; return the vertices' codes."""
    n, size = offsets.shape
    expected = 16 * _BLOCK
    while expected < 4 * n:
        expected *= 2
    slots, codes, count = np.full(expected, -1, np.int32), np.empty(expected // 2, np.int64), 0
    point, zero = np.empty((size, _BLOCK), np.float32), np.empty((size, _BLOCK), np.float32)
    rank, corners = np.empty((size, _BLOCK), np.int32), np.empty((_BLOCK, size), np.int64)
    for start in range(0, n, _BLOCK):
        block = min(_BLOCK, n - start)
        _embed(features, start, block, point, zero, rank)
        _corners(strides, point, zero, rank, weights[start : start + block], corners)
        if count + block * size > codes.size:
            slots, codes = _doubled(slots, codes, count)
        shift = _shift(slots.size)
        for p in range(block):
            for r in range(size):
                v = _number(slots, codes, count, corners[p, r], shift)
                count = max(count, v + 1)
                offsets[start + p, r] = v
    return codes[:count].copy()


@kernel
def _sorted(codes: Any, first: Any, shift: Any) -> Any:
    """Return codes and their numbers by upper bits; those of bucket b begin at `first[b]`."""
    for code in codes:
        first[np.int64(np.uint64(code) >> shift) + 2] += 1
    for bucket in range(2, first.size):
        first[bucket] += first[bucket - 1]
    ordered, numbers = np.zeros(codes.size + 3, np.int64), np.empty(codes.size, np.int32)
    for v in range(codes.size):
        after = np.int64(np.uint64(codes[v]) >> shift) + 1
        ordered[first[after]] = codes[v]
        numbers[first[after]] = v
        first[after] += 1
    return ordered, numbers


@kernel
def _search(ordered: Any, numbers: Any, first: Any, code: Any, shift: Any) -> Any:
    """Return the number of the vertex with this code, or -1; few branches, as half are absent."""
    bucket = np.int64(np.uint64(code) >> shift)
    k, end = np.int64(first[bucket]), first[bucket + 1]
    second, third = ordered[k + 1] == code, ordered[k + 2] == code
    found = (ordered[k] == code) | second | third
    k += np.int64(second) + 2 * np.int64(third)
    if not found and k + 3 < end:
        k += 3
        while k < end and ordered[k] != code:
            k += 1
        found = k < end
    return numbers[k] if found else np.int32(-1)


@kernel
def _chain(after: Any, opens: Any, openers: Any, chains: Any, filled: int) -> int:
    """Append the chains of one axis; return how many entries there are then."""
    count = 0
    for v in range(after.size):  # collected without a branch, as no rule tells which they are
        openers[count] = v
        count += int(opens[v]) & int(after[v] >= 0)
    for opener in openers[:count]:
        chains[filled] = ~opener
        filled += 1
        u = after[opener]
        while u >= 0:
            chains[filled] = u
            filled += 1
            u = after[u]
    chains[filled] = -1
    return filled + 1


@kernel
def link_vertices(codes: Any, differences: Any) -> Any:
    """Return the chains of vertices whose codes differ by each of `differences`, and their starts.

    Visited in the order of their codes, vertices find their neighbours in that order too.
    """
    m, buckets = codes.size, 2
    while buckets < m:
        buckets *= 2
    shift, first = _shift(buckets), np.zeros(buckets + 2, np.int32)
    ordered, numbers = _sorted(codes, first, shift)
    chains = np.empty(differences.size * (m + 1), np.int32)
    starts = np.zeros(differences.size + 1, np.int64)
    after, openers, opens = (
        np.empty(m, np.int32),
        np.empty(m + 1, np.int32),
        np.empty(m + 1, np.bool_),
    )
    for axis in range(differences.size):
        opens[:] = True
        for i in range(m):
            code = ordered[i] + differences[axis]
            after[numbers[i]] = u = _search(ordered, numbers, first, code, shift)
            opens[u] = False  # -1 marks the last entry, which belongs to no vertex
        starts[axis + 1] = _chain(after, opens, openers, chains, starts[axis])
    return chains[: starts[-1]].copy(), starts
