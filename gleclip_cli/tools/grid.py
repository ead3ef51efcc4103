"""Pictures beside each other: titles above, labels in the colours of their classes, a legend."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from gleclip_cli.artifacts.labels import Labels, ignore_index

Pixels = NDArray[np.uint8]
"""A picture (H, W, 3)."""

_GAP = 8
_TEXT = 15
_LINE = 26
_PAPER, _INK = (255, 255, 255), (30, 30, 30)
_FADED = 0.45  # what is left of the picture where nothing is labelled; the rest is white
_COVERED = 0.72  # of the colour where something is
_IGNORED = (128, 128, 128)


def fitted(image: Pixels, width: int) -> Pixels:
    """Return a picture as wide as that, its shape kept."""
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(resized)


def painted(image: Pixels, labels: Labels, palette: NDArray[np.uint8]) -> Pixels:
    """Return a picture in grey with its labels (of any size) over it, each with an outline.

    `palette` (256, 3); background stays grey, what is ignored is darker, wide labels share colours.
    """
    height, width = image.shape[:2]
    rows = (np.arange(height) * labels.shape[0]) // height
    columns = (np.arange(width) * labels.shape[1]) // width
    near = labels[rows[:, None], columns]
    colours = palette[np.where(near > 255, (near.astype(int) - 1) % 255 + 1, near)]
    colours[near == ignore_index(labels)] = _IGNORED
    grey = np.asarray(Image.fromarray(image).convert("L"))[:, :, None]
    faded = 255 - _FADED * (255 - grey)
    covered = _COVERED * colours + (1 - _COVERED) * grey
    both = np.where((near != 0)[:, :, None], covered, faded).astype(np.uint8)
    both[_borders(near)] = _INK
    return both


def _borders(labels: Labels) -> NDArray[np.bool_]:
    """Return the pixels whose right or lower neighbour has another label."""
    borders = np.zeros(labels.shape, np.bool_)
    borders[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    borders[:-1] |= labels[:-1] != labels[1:]
    return borders


def grid(
    titles: Sequence[str],
    rows: Sequence[Sequence[Pixels | None]],
    legend: Iterable[tuple[str, Sequence[int]]],
) -> Pixels:
    """Return all on one sheet; pictures of a row have one size, None is left blank.

    `legend`: names with their colours.
    """
    width = max(cell.shape[1] for row in rows for cell in row if cell is not None)
    heights = [max(cell.shape[0] for cell in row if cell is not None) for row in rows]
    font = ImageFont.load_default(_TEXT)
    sheet_width = len(titles) * (width + _GAP) + _GAP
    lines = _broken(legend, font, float(sheet_width - 2 * _GAP))
    top = _GAP + _LINE
    below = top + sum(height + _GAP for height in heights)
    sheet = Image.new("RGB", (sheet_width, below + len(lines) * _LINE + _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    lefts = [_GAP + place * (width + _GAP) for place in range(len(titles))]
    for left, title in zip(lefts, titles, strict=True):
        text = _shortened(title, font, width)
        draw.text((left + width / 2, top - _LINE / 2), text, _INK, font, anchor="mm")
    for row, height in zip(rows, heights, strict=True):
        for left, cell in zip(lefts, row, strict=True):
            if cell is not None:
                sheet.paste(Image.fromarray(cell), (left, top))
        top += height + _GAP
    for line in lines:
        for left, name, colour in line:
            draw.rectangle((left, top + 5, left + 16, top + 19), tuple(colour), _INK)
            draw.text((left + 22, top + 12), name, _INK, font, anchor="lm")
        top += _LINE
    return np.asarray(sheet)


_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
_Entry = tuple[float, str, Sequence[int]]
"""Left edge, name, colour."""


def _broken(
    legend: Iterable[tuple[str, Sequence[int]]], font: _Font, width: float
) -> list[list[_Entry]]:
    """Return the legend in lines of at most that width."""
    lines: list[list[_Entry]] = []
    left = width
    for name, colour in legend:
        needed = 22 + font.getlength(name) + 2 * _GAP
        if left + needed > width + _GAP or not lines:
            lines.append([])
            left = float(_GAP)
        lines[-1].append((left, name, colour))
        left += needed
    return lines


def _shortened(text: str, font: _Font, width: int) -> str:
    """Return the text, or its beginning and an ellipsis if it is too wide."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
