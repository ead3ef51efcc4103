"""Masks in forms other than one class id per pixel, told by the header of their file."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gleclip_cli.artifacts.painted import load_coloured_labels, mask_header
from gleclip_cli.artifacts.run_dir import safe_name
from gleclip_cli.datasets.integrity import Drawing, Picture
from gleclip_cli.datasets.vocabulary import Vocabulary


def with_coloured_masks_drawn(picture: Picture, vocabulary: Vocabulary) -> Picture:
    """Replace masks painted in the colours of the class table by drawings of their labels."""
    return Picture(
        picture.image_id,
        picture.image,
        {
            split: _drawing(picture.image_id, mask, vocabulary.palette)
            if isinstance(mask, Path) and mask_header(mask).coloured
            else mask
            for split, mask in picture.masks.items()
        },
    )


def palette_note(mask: Path, vocabulary: Vocabulary) -> str:
    """Say that an indexed mask shows its labels in other colours than the class table's."""
    own = mask_header(mask).palette
    shown = vocabulary.palette[: len(vocabulary.class_names)]
    same = own is None or np.array_equal(own[: len(shown)], shown[: len(own)])
    return "" if same else "masks with a palette of their own: their values count"


def _drawing(image_id: str, mask: Path, palette: NDArray[np.uint8]) -> Drawing:
    file = Path("coloured") / mask.parent.name / f"{safe_name(image_id)}.png"
    return Drawing(file, mask, lambda: load_coloured_labels(mask, palette))
