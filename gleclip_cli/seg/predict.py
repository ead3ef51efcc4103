"""Apply a trained network to one picture of any size: scales, mirror image, sliding window."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor
from torch.nn import functional

from gleclip_cli.config import EvaluateConfig, PredictConfig
from gleclip_cli.errors import BadInput
from gleclip_cli.refine.bands import bands, resized, row_taps
from gleclip_cli.seg.network import SegmentationNetwork

_OVERLAP = 1 / 4


@dataclass(frozen=True, kw_only=True)
class Views:
    """How a picture is shown to a network; logits are averaged.

    `window`: longest side in pixels of what it sees at once, else the network's own; `stride`: most
    pixels from one window to the next, else three quarters of the window.
    """

    scales: tuple[float, ...] = (1.0,)
    flip: bool = True
    window: int | None = None
    stride: int | None = None


def views_of(config: EvaluateConfig | PredictConfig) -> Views:
    """Return the views that a configuration names."""
    return Views(scales=config.scales, flip=config.flip, window=config.window, stride=config.stride)


def predict_bands(
    network: SegmentationNetwork,
    image: UInt8[ndarray, "H W 3"],
    views: Views = Views(),
    *,
    turned: bool = False,
) -> Iterator[tuple[slice, Float[Tensor, "c r W"]]]:
    """Yield rows of the picture with their mean logits over all views, on the network's device.

    Memory grows with a window by the picture's width, so that a wide one is better given with its
    axes swapped: `turned`.

    Raises:
        BadInput: the network's output is not finite.
    """
    height, width = image.shape[:2]
    picture = torch.from_numpy(np.require(image, requirements="W")).permute(2, 0, 1)
    strips = [_Strip(network, picture, scale, views, turned) for scale in views.scales]
    for rows in bands(height, width, network.num_classes):
        total = strips[0].rows(rows, height, width)
        for strip in strips[1:]:
            total += strip.rows(rows, height, width)
        if not torch.isfinite(total).all():
            raise BadInput(
                "The network's scores are not finite.",
                "Train it again with a lower --learning-rate.",
            )
        yield rows, total.div_(len(strips))


def predict_logits(
    network: SegmentationNetwork,
    image: UInt8[ndarray, "H W 3"],
    *,
    scales: tuple[float, ...] = (1.0,),
    flip: bool = True,
) -> Float[Tensor, "c H W"]:
    """Return mean logits over scales (and mirror images), on the network's device.

    Raises:
        BadInput: the network's output is not finite.
    """
    found = [part for _, part in predict_bands(network, image, Views(scales=scales, flip=flip))]
    return torch.cat(found, dim=1)


def window_starts(length: int, window: int, stride: int | None = None) -> list[int]:
    """Return where windows begin: evenly spread, at most `stride` apart, all inside.

    Without `stride` they overlap by a quarter or more; they always touch.
    """
    if length <= window:
        return [0]
    apart = min(stride or max(1, int(window * (1 - _OVERLAP))), window)
    steps = -(-(length - window) // apart)
    return [round(index * (length - window) / steps) for index in range(steps + 1)]


class _Strip:
    """Logits of one scale, made a row of windows at a time; rows above what is asked are dropped.

    Pixels stay bytes until a window is cut out of them.
    """

    def __init__(
        self,
        network: SegmentationNetwork,
        picture: UInt8[Tensor, "3 H W"],
        scale: float,
        views: Views,
        turned: bool,
    ) -> None:
        self._network, self._flip, self._turned = network, views.flip, turned
        self._device = next(network.parameters()).device
        self._size = height, width = [max(1, round(side * scale)) for side in picture.shape[1:]]
        self._picture = shrunk(picture, height, width)
        self._window = window = views.window or network.window
        self._tops, self._lefts = (
            window_starts(side, window, views.stride) for side in (height, width)
        )
        self._seen_rows, self._seen_columns = (
            _times(starts, window, side, self._device)
            for starts, side in ((self._tops, height), (self._lefts, width))
        )
        self._next, self._first, self._held = 0, 0, 0
        self._sum = torch.zeros(network.num_classes, 0, width, device=self._device)

    def rows(self, wanted: slice, height: int, width: int) -> Float[Tensor, "c r W"]:
        """Return the `wanted` rows of logits resized to (`height`, `width`); none above later."""
        if wanted.stop - wanted.start == height:
            return resized(self._own(slice(0, self._size[0])), height, width)
        if self._size == [height, width]:
            return self._own(wanted)
        taps, weights = row_taps(self._size[0], height, wanted)
        wide = resized(self._own(taps), taps.stop - taps.start, width)
        return weights.to(self._device) @ wide

    def _own(self, rows: slice) -> Float[Tensor, "c r w"]:
        """Return rows of this scale's own logits."""
        self._drop(rows.start)
        room = min(self._size[0] - rows.start, rows.stop - rows.start + self._window)
        if room > self._sum.shape[1]:  # for the first rows; a few more for some of the others
            grown = self._sum.new_zeros(len(self._sum), room, self._size[1])
            grown[:, : self._held] = self._sum[:, : self._held]
            self._sum = grown
        while self._next < len(self._tops) and self._tops[self._next] < rows.stop:
            self._advance()
        times = self._seen_rows[rows, None] * self._seen_columns
        return self._sum[:, : rows.stop - rows.start] / times

    def _advance(self) -> None:
        """Add the next row of windows."""
        top = self._tops[self._next]
        bottom = min(top + self._window, self._size[0])
        place = slice(top - self._first, bottom - self._first)
        for left in self._lefts:
            right = left + self._window
            part = self._picture[None, :, top:bottom, left:right].to(self._device).float() / 255
            logits = _mirrored_mean(self._network, part, flip=self._flip, turned=self._turned)
            self._sum[:, place, left:right] += logits[0]
        self._next += 1
        self._held = place.stop

    def _drop(self, first: int) -> None:
        """Forget the rows above `first`."""
        gone, left = first - self._first, max(0, self._held - (first - self._first))
        for logits in self._sum if gone else ():  # one by one: no second copy of them all
            logits[:left] = logits[gone : gone + left].clone()
            logits[left:] = 0
        self._first, self._held = first, left


def _times(starts: list[int], window: int, length: int, device: torch.device) -> Tensor:
    """Return how many windows hold every row."""
    times = torch.zeros(length, device=device)
    for start in starts:
        times[start : start + window] += 1
    return times


@torch.no_grad()
def _mirrored_mean(
    network: SegmentationNetwork, part: Float[Tensor, "1 3 h w"], *, flip: bool, turned: bool
) -> Float[Tensor, "1 c h w"]:
    if turned:
        return _mirrored_mean(network, part.mT, flip=flip, turned=False).mT
    if not flip:
        return network(part)  # type: ignore[no-any-return]
    if part.is_cuda:
        upright, mirrored = network(torch.cat([part, part.flip(-1)])).split(1)
    else:  # on a CPU a batch only takes memory
        upright, mirrored = network(part), network(part.flip(-1))
    return (upright + mirrored.flip(-1)) / 2  # type: ignore[no-any-return]


def shrunk(picture: UInt8[Tensor, "3 _H _W"], height: int, width: int) -> UInt8[Tensor, "3 h w"]:
    if picture.shape[1:] == (height, width):
        return picture
    size = (height, width)
    return functional.interpolate(picture[None], size, mode="bilinear", antialias=True)[0]
