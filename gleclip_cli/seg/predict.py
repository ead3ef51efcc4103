"""Apply a trained network to one picture of any size: scales, mirror image, sliding window."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from gleclip_cli.errors import BadInput
from gleclip_cli.seg.network import SegmentationNetwork

_OVERLAP = 1 / 4


@torch.no_grad()
def predict_logits(
    network: SegmentationNetwork,
    image: UInt8[np.ndarray, "H W 3"],
    *,
    scales: Sequence[float] = (1.0,),
    flip: bool = True,
) -> Float[Tensor, "c H W"]:
    """Return mean logits over scales (and mirror images), on the network's device.

    No forward takes a side longer than `network.window` pixels: larger pictures go through in
    overlapping windows, so memory grows with the picture only by its own size.

    Raises:
        BadInput: the network's output is not finite.
    """
    device = next(network.parameters()).device
    picture = torch.tensor(image, device=device).permute(2, 0, 1)[None].float() / 255
    height, width = image.shape[:2]
    total = torch.zeros(network.num_classes, height, width, device=device)
    for scale in scales:
        size = [max(1, round(side * scale)) for side in (height, width)]
        logits = _windowed(network, _resize(picture, size), flip=flip)
        total += _resize(logits, [height, width])[0]
    if not torch.isfinite(total).all():
        raise BadInput(
            "The network's scores are not finite.", "Train it again with a lower --learning-rate."
        )
    return total / len(scales)


def window_starts(length: int, window: int) -> list[int]:
    """Return where windows begin: evenly spread, overlapping by a quarter or more, all inside."""
    if length <= window:
        return [0]
    steps = -(-(length - window) // int(window * (1 - _OVERLAP)))
    return [round(index * (length - window) / steps) for index in range(steps + 1)]


def _windowed(
    network: SegmentationNetwork, picture: Float[Tensor, "1 3 H W"], *, flip: bool
) -> Float[Tensor, "1 c H W"]:
    window, (height, width) = network.window, picture.shape[-2:]
    total = picture.new_zeros(1, network.num_classes, height, width)
    times = picture.new_zeros(height, width)
    for top in window_starts(height, window):
        for left in window_starts(width, window):
            place = (..., slice(top, top + window), slice(left, left + window))
            total[place] += _mirrored_mean(network, picture[place], flip=flip)
            times[place] += 1
    return total / times


def _mirrored_mean(
    network: SegmentationNetwork, part: Float[Tensor, "1 3 h w"], *, flip: bool
) -> Float[Tensor, "1 c h w"]:
    if not flip:
        return network(part)  # type: ignore[no-any-return]
    upright, mirrored = network(torch.cat([part, part.flip(-1)]))
    return ((upright + mirrored.flip(-1)) / 2)[None]  # type: ignore[no-any-return]


def _resize(maps: Tensor, size: list[int]) -> Tensor:
    if list(maps.shape[-2:]) == size:
        return maps
    return functional.interpolate(maps, size, mode="bilinear", antialias=True)
