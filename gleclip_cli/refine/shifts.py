"""Sums over the neighbours of every cell on the CPU, compiled by numba: loops of PAR and the walk.

Here: PAR sums the 8 directions of a dilation in one pass over a row; the weights, read once per
map and iteration, are all the traffic that is left. The walk sums all neighbours of a few cells
before the next ones, so that these stay in the fastest memory.
"""

from typing import Any

import numpy as np
from jaxtyping import Float32

from gleclip_cli.compiled import kernel

_CELLS = 512

Padded = Float32[np.ndarray, "c _H _W"]
"""Maps with a margin of the largest dilation on every side."""


@kernel
def distances(
    padded: Padded, offsets: Any, sharpness: Any, tiny: Any, out: Float32[np.ndarray, "j H W"]
) -> None:
    """Write -mean over channels of (d_j / (sharpness (sigma + tiny)))^2 of every neighbour j.

    `offsets` (j, 2) lists down and right; sigma is the unbiased deviation of the neighbours.
    """
    channels, (count, height, width) = padded.shape[0], out.shape
    margin = (padded.shape[1] - height) // 2
    total = np.empty((channels, width), np.float32)
    squares = np.empty((channels, width), np.float32)
    for y in range(height):
        total[:], squares[:], out[:, y] = 0, 0, 0
        for j in range(count):
            row, left = y + margin + offsets[j, 0], margin + offsets[j, 1]
            for c in range(channels):
                near, here = padded[c, row, left:], padded[c, y + margin, margin:]
                for x in range(width):
                    difference = near[x] - here[x]  # the deviation does not see a common offset
                    total[c, x] += difference
                    squares[c, x] += difference * difference
        for c in range(channels):
            for x in range(width):
                variance = squares[c, x] - total[c, x] * total[c, x] / np.float32(count)
                sigma = np.sqrt(max(np.float32(0), variance) / np.float32(count - 1))
                squares[c, x] = np.float32(1) / ((sharpness * (sigma + tiny)) ** 2 * channels)
        for j in range(count):
            row, left = y + margin + offsets[j, 0], margin + offsets[j, 1]
            for c in range(channels):
                near, here = padded[c, row, left:], padded[c, y + margin, margin:]
                for x in range(width):
                    difference = near[x] - here[x]
                    out[j, y, x] -= difference * difference * squares[c, x]


@kernel
def spread(
    weights: Float32[np.ndarray, "j H W"],
    padded: Padded,
    dilations: Any,
    out: Float32[np.ndarray, "c H W"],
) -> None:
    """Write the weighted sum of the neighbours of every pixel; j = 8 directions per dilation."""
    channels, height, width = out.shape
    margin = (padded.shape[1] - height) // 2
    for y in range(height):
        for c in range(channels):
            sums = out[c, y]
            sums[:] = 0
            for i in range(len(dilations)):
                low, high = margin - dilations[i], margin + dilations[i]
                above, beside, below = (
                    padded[c, y + low], padded[c, y + margin], padded[c, y + high],
                )  # fmt: skip
                # row by row: the compiler does not know that the rows of a slice are dense
                w0, w1, w2, w3, w4, w5, w6, w7 = (
                    weights[8 * i, y], weights[8 * i + 1, y], weights[8 * i + 2, y],
                    weights[8 * i + 3, y], weights[8 * i + 4, y], weights[8 * i + 5, y],
                    weights[8 * i + 6, y], weights[8 * i + 7, y],
                )  # fmt: skip
                n0, n1, n2 = above[low:], above[margin:], above[high:]
                n3, n4 = beside[low:], beside[high:]
                n5, n6, n7 = below[low:], below[margin:], below[high:]
                for x in range(width):
                    first = w0[x] * n0[x] + w1[x] * n1[x] + w2[x] * n2[x] + w3[x] * n3[x]
                    rest = w4[x] * n4[x] + w5[x] * n5[x] + w6[x] * n6[x] + w7[x] * n7[x]
                    sums[x] += first + rest


@kernel
def stepped(
    flow: Float32[np.ndarray, "k n"],
    planes: Float32[np.ndarray, "o n"],
    share: Float32[np.ndarray, " m"],
    shifts: Any,
    out: Float32[np.ndarray, "k n"],
) -> None:
    """Write one step of the walk on flat grids: (own score + those of neighbours) x `share`.

    A neighbour lies `shifts` ahead or behind, and gets through by the plane of its shift; m cells
    lie between equal margins, which are not written.
    """
    reach = (flow.shape[1] - len(share)) // 2
    for c in range(len(flow)):
        for start in range(reach, flow.shape[1] - reach, _CELLS):
            stop = min(start + _CELLS, flow.shape[1] - reach)
            sums, scale = out[c, start:stop], share[start - reach : stop - reach]
            sums[:] = flow[c, start:stop]
            for o in range(len(shifts)):
                shift = shifts[o]
                to, ahead = planes[o, start:stop], flow[c, start + shift : stop + shift]
                back = planes[o, start - shift : stop - shift]
                behind = flow[c, start - shift : stop - shift]
                for x in range(stop - start):
                    sums[x] += to[x] * ahead[x] + back[x] * behind[x]
            for x in range(stop - start):
                sums[x] *= scale[x]
