"""Weights that were trained at another image size or patch size than the model is built for."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from gleclip_cli.errors import BadInput

OTHER_MODEL = "Name the model these weights were trained for with --clip-model."

_PATCHES = "visual.conv1.weight"
_POSITIONS = "visual.positional_embedding"


def at_resolution(
    tensors: Mapping[str, Tensor], visual: Any, *, origin: str
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Return a state dict whose positions fit open_clip's `visual`, and what had to be done.

    Raises:
        BadInput: the patches have another size.
    """
    fitted = dict(tensors)
    patches, patch = fitted.get(_PATCHES), int(visual.patch_size[0])
    if patches is not None and patches.ndim == 4 and patches.shape[-1] != patch:
        raise BadInput(
            f"The weights {origin} are for patches of {patches.shape[-1]} pixels, "
            f"the model has patches of {patch}.",
            OTHER_MODEL,
        )
    learned, grid = fitted.get(_POSITIONS), tuple(visual.grid_size)
    side = _side(learned, visual.positional_embedding.shape[1])
    if learned is None or not side or math.prod(grid) == side**2:
        return fitted, ()
    fitted[_POSITIONS] = resize_positions(learned, (side, side), grid)
    height, width = (cells * patch for cells in grid)
    return fitted, (
        f"The weights {origin} were trained on {side * patch} x {side * patch} pixels: "
        f"position embeddings resized for {height} x {width}.",
    )


def resize_positions(
    learned: Float[Tensor, "t c"], native: tuple[int, int], grid: tuple[int, int]
) -> Float[Tensor, "u c"]:
    """Return position embeddings of another grid: bicubic, antialiased; the CLS row stays."""
    cells = learned[1:].float().T.reshape(1, -1, *native)
    resized = torch.nn.functional.interpolate(
        cells, grid, mode="bicubic", align_corners=False, antialias=True
    )
    return torch.cat([learned[:1].float(), resized[0].flatten(1).T])


def _side(learned: Tensor | None, width: int) -> int:
    """Return the side of the square grid that positions belong to, or 0."""
    if learned is None or learned.ndim != 2 or learned.shape[1] != width or len(learned) < 2:
        return 0
    side = math.isqrt(len(learned) - 1)
    return side if side**2 == len(learned) - 1 else 0
