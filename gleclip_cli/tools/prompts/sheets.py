"""A sheet of small heat maps: where each text is likely in a picture."""

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from gleclip_cli.tools.grid import Pixels, fitted, grid

_TILE = 176
_PER_ROW = 6
_HEAT = 0.6
"""Share of the heat's colours in a tile; the rest is the picture in grey."""


def sheet(image: Pixels, maps: Mapping[str, NDArray[np.float32]]) -> Pixels:
    """Return the picture, then a tile for each text by falling area of its map (h, w) in [0, 1].

    Colours run from dark (0) to bright (1), by the root, so that faint maps show, too.
    """
    small = fitted(image, _TILE)
    order = sorted(maps, key=lambda name: -float(maps[name].mean()))
    titles = ["picture", *(f"{name} {100 * float(maps[name].max()):.0f}" for name in order)]
    tiles = [small, *(_heated(small, maps[name]) for name in order)]
    rows = []
    for start in range(0, len(tiles), _PER_ROW):
        names, cells = titles[start : start + _PER_ROW], tiles[start : start + _PER_ROW]
        missing = _PER_ROW - len(cells)
        rows.append(grid([*names, *[""] * missing], [[*cells, *[None] * missing]], []))
    return np.concatenate(rows)


def _heated(image: Pixels, scores: NDArray[np.float32]) -> Pixels:
    height, width = image.shape[:2]
    full = cv2.resize(np.sqrt(scores), (width, height), interpolation=cv2.INTER_LINEAR)
    heat = cv2.applyColorMap(np.rint(255 * full.clip(0, 1)).astype(np.uint8), cv2.COLORMAP_INFERNO)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[:, :, None]
    mixed: Pixels = np.rint(_HEAT * heat[:, :, ::-1] + (1 - _HEAT) * grey).astype(np.uint8)
    return mixed
