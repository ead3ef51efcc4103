"""Pseudo masks made anew by a clip-decoder in training, from tags and what it has learned so far.

A network learns what masks agree on before it learns their errors. Its probabilities of the tagged
classes are spread by CAA along the affinity of its tokens, which a pair loss trains beside the
classes; then come background and the steps on pixels, regions named by the network's own CLIP.
Source: WeCLIP, single-stage: CLIP's Grad-CAM, spread by CLIP's attention times that affinity.
Here: the network's own probabilities, and the affinity alone. Half way through a training on scenes
new masks have 48.4 mIoU, those of refine 47.3, and with regions named last 53.9. On every eighth
image it is 47.4 and 43.6; 45.1 without spreading, 47.3 with CLIP's attention beside the affinity.
Since then, at the end of a training whose masks have 57.5 there: 54.3; 52.4 if maps were not raised
to 1, 51.1 if two thirds of them were spread instead of half.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch.nn import functional

from gleclip_cli.artifacts.maps import Cam
from gleclip_cli.config import RefineConfig
from gleclip_cli.model.grounding_losses import learned_affinity
from gleclip_cli.model.losses import BACKGROUND
from gleclip_cli.refine.affinity import part_spread, raised
from gleclip_cli.refine.decide import Decision
from gleclip_cli.refine.naming import RegionNamer
from gleclip_cli.refine.pseudo_mask import pseudo_mask, with_background
from gleclip_cli.refine.steps import on_pixels
from gleclip_cli.seg.clip_decoder import ClipDecoder
from gleclip_cli.seg.predict import shrunk

PAIRS = 0.1
"""Weight of the pair loss beside that of the classes (WeCLIP)."""


@dataclass(frozen=True)
class Relabeller:
    """Labels one tagged picture at a time; `refine`: its steps on pixels and their settings.

    `namer` does the step `regions`. A picture too large for the network's window is looked at
    smaller.
    """

    network: ClipDecoder
    refine: RefineConfig
    namer: RegionNamer | None = None

    @torch.no_grad()
    def __call__(self, image: UInt8[np.ndarray, "H W 3"], class_ids: Sequence[int]) -> Decision:
        """Return labels, none but 0 and `class_ids`, and their shares of the scores.

        Raises:
            BadInput: a score is not finite.
        """
        maps = self._maps(image, class_ids) if class_ids else np.zeros((0, 1, 1), np.float32)
        cam = Cam(maps, np.array(class_ids, np.int64), (image.shape[0], image.shape[1]))
        scores = with_background(cam)
        if class_ids:
            scores = on_pixels(
                scores,
                image,
                self.refine,
                self.network.clip.mean.device,
                name_regions=partial(self.namer, image=image, class_ids=class_ids)
                if self.namer
                else None,
            )
        places, share = pseudo_mask(scores)
        return Decision(cam.labels(places, self.network.num_classes), share)

    def _maps(
        self, image: UInt8[np.ndarray, "H W 3"], class_ids: Sequence[int]
    ) -> Float[np.ndarray, "k h w"]:
        """Return a map of each class in [0, 1], at the size that the network has seen."""
        network = self.network
        picture = torch.tensor(image, device=network.clip.mean.device).permute(2, 0, 1)
        share = min(1.0, network.window / max(picture.shape[1:]))
        height, width = (max(1, round(side * share)) for side in picture.shape[1:])
        seen = network.pad(shrunk(picture, height, width)[None].float() / 255)
        features, whole = network.features(seen)
        tokens = network.tokens(features)
        logits = network.logits(tokens, whole, seen)[0, [BACKGROUND, *class_ids]]
        maps = part_spread(
            raised(logits.softmax(dim=0)[1:]),
            learned_affinity(tokens)[0],
            (tokens.shape[1], tokens.shape[2]),
            threshold=RefineConfig().caa_threshold,
            share=0.5,
        )
        enlarged = functional.interpolate(maps[None], seen.shape[2:], mode="bilinear")[0]
        result: np.ndarray = enlarged[:, :height, :width].cpu().numpy()
        return result
