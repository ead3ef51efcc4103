"""A trained network as a function from pictures to label images with a confidence per pixel."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from gleclip_cli.errors import EnvironmentFault, UsageError
from gleclip_cli.model.clip import load_clip
from gleclip_cli.model.texts import Wording
from gleclip_cli.refine.bands import Shrunk, bands, bounded
from gleclip_cli.refine.decide import Decision, Namer, by_logits, by_steps
from gleclip_cli.refine.naming import RegionNamer, named_by
from gleclip_cli.resources import clip_files
from gleclip_cli.seg.clip_decoder import ClipDecoder
from gleclip_cli.seg.network import SegmentationNetwork, network_at, warnings_of
from gleclip_cli.seg.predict import Views, predict_bands


@dataclass(frozen=True)
class Naming:
    """The texts that regions are named by, and whose CLIP reads them if the network has none."""

    wording: Wording
    clip_model: str
    clip_weights: str

    def by(self, network: SegmentationNetwork) -> RegionNamer:
        """Return what names regions, on the network's device.

        Raises:
            UsageError: neither the network nor these settings have a CLIP.
        """
        if isinstance(network, ClipDecoder):
            return named_by(network.clip, self.wording)
        if not self.clip_model:
            raise UsageError(
                "This network came without a CLIP that could name regions.",
                "Leave out --regions, or score it in the run it was trained in.",
            )
        clip = load_clip(*clip_files(self.clip_model, self.clip_weights))
        return named_by(clip.to(next(network.parameters()).device), self.wording)


@dataclass(frozen=True)
class Labeller:
    """Labels pictures of any size by a network; `crf`: refined by the dense CRF.

    `namer`: regions are named after that.
    """

    network: SegmentationNetwork
    views: Views
    crf: bool = False
    namer: Namer | None = None

    def __call__(
        self, image: UInt8[np.ndarray, "H W 3"], class_ids: Sequence[int] | None = None
    ) -> Decision:
        """Return class ids and probabilities of a picture; `class_ids`: no others but background.

        Raises:
            BadInput: the network's scores are not finite.
            EnvironmentFault: a window does not fit into the device's memory.
        """
        height, width = image.shape[:2]
        try:
            # Memory grows with the width of what is done in bands.
            if width > height and len(bands(height, width, self.network.num_classes)) > 1:
                return self._decide(image.transpose(1, 0, 2), class_ids, turned=True).turned
            return self._decide(image, class_ids)
        except torch.OutOfMemoryError as error:
            raise EnvironmentFault(
                f"The device has no memory for a window of an image of {height} x {width} pixels.",
                "Use a smaller --window, or --device cpu.",
            ) from error

    def _decide(
        self,
        image: UInt8[np.ndarray, "H W 3"],
        class_ids: Sequence[int] | None,
        *,
        turned: bool = False,
    ) -> Decision:
        height, width = image.shape[:2]
        classes = self.network.num_classes
        parts = self._parts(image, class_ids, turned=turned)
        if not self.crf and self.namer is None:
            return by_logits(parts, (height, width), classes)
        device = str(next(self.network.parameters()).device)
        shrunk = Shrunk(classes, *bounded(height, width))
        for rows, logits in parts:
            shrunk.add(rows, logits.softmax(dim=0), height)
        ids = range(classes) if class_ids is None else [0, *sorted(class_ids)]
        scores = shrunk.maps.numpy()[ids]
        if turned:  # CLIP knows which way is up
            image, scores = image.transpose(1, 0, 2), scores.transpose(0, 2, 1)
        decision = by_steps(
            np.ascontiguousarray(image), np.ascontiguousarray(scores), ids, classes,
            crf=self.crf, device=device, namer=self.namer,
        )  # fmt: skip
        return decision.turned if turned else decision

    def _parts(
        self, image: UInt8[np.ndarray, "H W 3"], class_ids: Sequence[int] | None, *, turned: bool
    ) -> Iterator[tuple[slice, Float[Tensor, "c r W"]]]:
        absent: list[int] = []
        if class_ids is not None:
            absent = sorted(set(range(1, self.network.num_classes)) - set(class_ids))
        for rows, logits in predict_bands(self.network, image, self.views, turned=turned):
            logits[absent] = -torch.inf
            yield rows, logits


def load_labeller(
    checkpoint: Path,
    device: torch.device,
    *,
    views: Views,
    crf: bool = False,
    naming: Naming | None = None,
    warn: Callable[[str], None],
) -> Labeller:
    """Load a network; `warn` is told what had to be done to the weights.

    `naming`: how regions are named, if that is asked for.

    Raises:
        MissingInput, BadInput: as `network_at`.
        EnvironmentFault, UsageError: a CLIP that cannot be had.
    """
    network = network_at(checkpoint, device)
    for warning in warnings_of(network):
        warn(warning)
    return Labeller(network, views, crf, naming.by(network) if naming else None)
