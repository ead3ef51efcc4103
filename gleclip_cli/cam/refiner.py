"""All steps of `refine` on the maps of one image, in order; knows no files."""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, UInt8
from numpy import ndarray

from gleclip_cli.artifacts.maps import Cam
from gleclip_cli.config import RefineConfig
from gleclip_cli.refine.pseudo_mask import with_background
from gleclip_cli.refine.steps import on_pixels

if TYPE_CHECKING:
    from gleclip_cli.cam.spread import MapSource
    from gleclip_cli.refine.naming import RegionNamer


class Refiner:
    """Turns maps into scores.

    `source`: the model behind the maps, for steps that need it; or `namer`, for `regions` alone.
    """

    def __init__(
        self,
        config: RefineConfig,
        device: torch.device,
        source: "MapSource | None" = None,
        namer: "RegionNamer | None" = None,
    ) -> None:
        self._config, self._device = config, device
        self._spread, self._namer = None, namer
        if source is not None:
            # Other steps need no model: without it, workers start in half the time and memory.
            from gleclip_cli.cam.spread import Spreader

            self._spread = Spreader(source, config, device)
            self._namer = self._spread.namer()

    def works_on(self, cam: Cam) -> bool:
        """Whether a step is left to do: without one, the image is not needed."""
        return bool(self._config.steps) and len(cam.class_ids) > 0

    def __call__(self, cam: Cam, image: UInt8[ndarray, "H W 3"]) -> Float[ndarray, "k1 H W"]:
        """Apply the steps on the grid, then background, then those on pixels.

        Raises:
            BadInput: a score is not finite.
        """
        if self._spread is not None:
            cam = replace(cam, scores=self._spread(cam.scores, image))
        ids = cam.class_ids.tolist()
        return on_pixels(
            self.plain(cam),
            image,
            self._config,
            self._device,
            name_regions=partial(self._namer, image=image, class_ids=ids) if self._namer else None,
        )

    def plain(self, cam: Cam) -> Float[ndarray, "k1 H W"]:
        """Return the scores before any step, at the size of the image, background first."""
        config = self._config
        return with_background(
            cam, rule=config.bg_rule, power=config.bg_power, constant=config.bg_threshold
        )
