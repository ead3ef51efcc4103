"""Masks painted in colours, and what the header of a mask tells about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gleclip_cli.artifacts.labels import Labels
from gleclip_cli.artifacts.maps import decode_mask
from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.errors import BadInput


def load_coloured_labels(path: Path, palette: NDArray[np.uint8]) -> Labels:
    """Read the labels (H, W) of a mask painted in the colours `palette` (256, 3) of the labels.

    Raises:
        BadInput: missing, damaged, lossy, or a colour that belongs to no label.
    """
    _, values = decode_mask(path)
    known = {tuple(colour): label for label, colour in enumerate(palette.tolist())}
    return labels_of_colours(values, known, printable(path))


def labels_of_colours(
    values: NDArray[np.unsignedinteger[Any]], known: Mapping[tuple[int, ...], int], where: str
) -> Labels:
    """Return the labels (H, W) of colours (H, W, 3), uint16 if one of them is above 255.

    Raises:
        BadInput: a colour is not known; `where` names the mask.
    """
    red, green, blue = (values[..., channel].astype(np.uint32) for channel in range(3))
    found, places = np.unique((red << 16) | (green << 8) | blue, return_inverse=True)
    colours = [(int(c) >> 16, int(c) >> 8 & 255, int(c) & 255) for c in found]
    if strangers := [colour for colour in colours if colour not in known]:
        shown = ", ".join("#{:02x}{:02x}{:02x}".format(*colour) for colour in strangers[:5])
        raise BadInput(
            f"{where} is painted, and {shown} is the colour of no class.",
            "Convert the mask to an indexed PNG (0 background, 255 ignored).",
        )
    table: Labels = np.array([known[colour] for colour in colours], np.uint16)
    if table.max(initial=0) <= 255:
        table = table.astype(np.uint8)
    return table[places].reshape(red.shape)


@dataclass(frozen=True)
class MaskHeader:
    """What the header of a mask tells: colours per pixel, or the palette uint8 (n, 3) if any."""

    coloured: bool = False
    palette: NDArray[np.uint8] | None = None


def mask_header(path: Path) -> MaskHeader:
    """Read the header of a mask; nothing is told of a file that is no picture."""
    try:
        with Image.open(path) as picture:
            if picture.mode == "P":
                flat = np.array(picture.getpalette("RGB"), dtype=np.uint8)
                return MaskHeader(palette=flat.reshape(-1, 3))
            return MaskHeader(coloured=picture.mode in ("RGB", "RGBA"))
    except Exception:  # whoever opens it completely says what is wrong
        return MaskHeader()
