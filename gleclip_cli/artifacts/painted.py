"""Masks painted in colours, and what the header of a mask tells about it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gleclip_cli.artifacts.maps import decode_mask
from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.errors import BadInput


def load_coloured_labels(path: Path, palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Read the labels (H, W) of a mask painted in the colours `palette` (256, 3) of the labels.

    Raises:
        BadInput: missing, damaged, lossy, or a colour that belongs to no label.
    """
    _, values = decode_mask(path)
    red, green, blue = (values[..., channel].astype(np.uint32) for channel in range(3))
    colours, where = np.unique((red << 16) | (green << 8) | blue, return_inverse=True)
    known = {(r << 16) | (g << 8) | b: label for label, (r, g, b) in enumerate(palette.tolist())}
    if strangers := [int(colour) for colour in colours if int(colour) not in known]:
        shown = ", ".join(f"#{colour:06x}" for colour in strangers[:5])
        raise BadInput(
            f"{printable(path)} is painted, and {shown} is the colour of no class.",
            "Convert the mask to an indexed PNG (0 background, 255 ignored).",
        )
    labels = np.array([known[int(colour)] for colour in colours], dtype=np.uint8)
    return labels[where].reshape(red.shape)


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
