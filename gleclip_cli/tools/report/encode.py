"""Small pictures as data URIs: photographs as JPEG, labels and maps as PNG of few colours.

Masks and maps are transparent where they say nothing, so that the browser lays them over the
photograph with any opacity.
"""

import base64
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gleclip_cli.artifacts.labels import Labels, ignore_index

_LEVELS = 32
_MAP_SIDE = 64
"""Longest side of a map in cells: maps are smooth, and the browser enlarges them smoothly."""

# From violet over red to yellow: lightness rises throughout, so it also reads in grey.
_RAMP = np.array([[59, 15, 112], [140, 41, 129], [222, 73, 104], [254, 159, 109], [252, 253, 191]])

ERRORS = ("right", "missed", "spurious", "wrong class", "ignored")
"""What a pixel of an error picture may be: places in ERROR_COLOURS."""
ERROR_COLOURS = ((0, 0, 0), (0, 114, 178), (213, 94, 0), (240, 228, 66), (150, 150, 150))
_IGNORED_ALPHA = 140

Size = tuple[int, int]
"""Width and height in pixels."""


def fitted(width: int, height: int, side: int) -> Size:
    """Return the size with the longest side at most `side`, at least 1 x 1."""
    scale = min(1.0, side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def css(colour: Sequence[int] | NDArray[np.uint8]) -> str:
    """Return a colour as CSS writes it."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def colours_of(labels: NDArray[np.integer], palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the colours (n, 3) of labels (n,); wide ones share those of the 255 classes."""
    colours: NDArray[np.uint8] = palette[np.where(labels > 255, (labels - 1) % 255 + 1, labels)]
    return colours


def photo_uri(image: NDArray[np.uint8], size: Size, *, quality: int = 80) -> str:
    """Return a photograph (H, W, 3) as JPEG."""
    picture = Image.fromarray(image).resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    return _uri(picture, "jpeg", quality=quality, optimize=True)


def labels_uri(labels: Labels, size: Size, palette: NDArray[np.uint8]) -> str:
    """Return labels (H, W) in the colours `palette` (256, 3) of their classes.

    Background is transparent, what is ignored grey.
    """
    small = _nearest(labels, size)
    values = np.flatnonzero(np.bincount(small.ravel()))
    places = np.zeros(values[-1] + 1, np.uint8)
    places[values] = np.arange(len(values))
    colours = colours_of(values, palette)
    alphas = np.full(len(values), 255)
    alphas[values == 0] = 0
    ignored = values == ignore_index(labels)
    colours[ignored], alphas[ignored] = ERROR_COLOURS[-1], _IGNORED_ALPHA
    return _indexed_uri(places[small], colours, alphas)


def errors_uri(gt_mask: Labels, pred_mask: Labels, size: Size) -> str:
    """Return where a prediction (H, W) differs from the truth (H, W), and how: see ERRORS."""
    kinds = np.zeros(gt_mask.shape, np.uint8)
    kinds[(gt_mask != 0) & (pred_mask == 0)] = 1
    kinds[(gt_mask == 0) & (pred_mask != 0)] = 2
    kinds[(gt_mask != 0) & (pred_mask != 0) & (gt_mask != pred_mask)] = 3
    kinds[gt_mask == ignore_index(gt_mask)] = 4
    small = _nearest(kinds, size)
    alphas = np.array([0, 255, 255, 255, _IGNORED_ALPHA])
    return _indexed_uri(small, np.array(ERROR_COLOURS, np.uint8), alphas)


def map_uri(scores: NDArray[np.float32]) -> str:
    """Return one map (h, w) in [0, 1], on a grid of at most 64 cells; 0 is transparent."""
    height, width = scores.shape
    grid = Image.fromarray(scores).resize(fitted(width, height, _MAP_SIDE), Image.Resampling.BOX)
    steps = np.rint(np.clip(np.asarray(grid), 0, 1) * (_LEVELS - 1)).astype(np.uint8)
    shares = np.linspace(0, 1, _LEVELS)
    at = shares * (len(_RAMP) - 1)
    channels = [np.interp(at, np.arange(len(_RAMP)), _RAMP[:, c]) for c in range(3)]
    colours = np.rint(np.stack(channels, axis=1)).astype(np.uint8)
    return _indexed_uri(steps, colours, np.rint(255 * np.minimum(1, 1.6 * shares)))


def _nearest(labels: Labels, size: Size) -> Labels:
    """Labels (H, W) at another size; a pixel takes the label at its centre."""
    height, width = labels.shape
    columns = ((np.arange(size[0]) + 0.5) * width / size[0]).astype(np.intp)
    rows = ((np.arange(size[1]) + 0.5) * height / size[1]).astype(np.intp)
    small: Labels = labels[rows[:, None], columns]
    return small


def _indexed_uri(
    places: NDArray[np.uint8], colours: NDArray[np.uint8], alphas: NDArray[np.number]
) -> str:
    picture = Image.fromarray(places)
    picture.putpalette(colours.astype(np.uint8).tobytes())
    return _uri(picture, "png", transparency=bytes(alphas.astype(np.uint8)))


def _uri(picture: Image.Image, kind: str, **options: object) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
