"""CLIP tells what each region of a picture is, seen without the rest of it."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from gleclip_cli.model.clip import FrozenClip
from gleclip_cli.model.on_clip import fill_colour
from gleclip_cli.model.texts import Wording, text_embeddings
from gleclip_cli.refine.pseudo_mask import pseudo_mask
from gleclip_cli.refine.regions import Region, connected_regions, renamed, views_of

MOST_REGIONS = 64
_PER_FORWARD = 16


class RegionNamer:
    """Names regions among the classes of a picture and all background words.

    `texts`: unit vectors of `num_classes` classes, then of background words.
    """

    def __init__(self, clip: FrozenClip, texts: Float[Tensor, "c e"], num_classes: int) -> None:
        self._clip, self._texts, self._num_classes = clip, texts, num_classes
        self._fill = fill_colour(clip)

    def __call__(
        self,
        scores: Float[ndarray, "k1 H W"],
        image: UInt8[ndarray, "H W 3"],
        class_ids: Sequence[int],
    ) -> Float[ndarray, "k1 H W"]:
        """Return scores (background first) in which every region counts for what it is named.

        Regions smaller than a patch keep their scores, as do all after the `MOST_REGIONS` largest.
        """
        places, _ = pseudo_mask(scores)
        least = self._clip.patch_size**2
        regions = connected_regions(places, least=least, most=MOST_REGIONS)
        return renamed(scores, regions, self._shares(image, regions, class_ids))

    @torch.no_grad()
    def _shares(
        self,
        image: UInt8[ndarray, "H W 3"],
        regions: Sequence[Region],
        class_ids: Sequence[int],
    ) -> Float[ndarray, "r k1"]:
        """Return one softmax over classes and words per region: the words' mass, then classes."""
        clip, words = self._clip, self._texts[self._num_classes :]
        named = torch.cat([self._texts[[i - 1 for i in class_ids]], words])
        shares = [np.zeros((0, 1 + len(class_ids)), np.float32)]
        for first in range(0, len(regions), _PER_FORWARD):
            views = [
                views_of(image, region, side=clip.image_size, fill=self._fill)
                for region in regions[first : first + _PER_FORWARD]
            ]
            batch = torch.from_numpy(np.concatenate(views)).permute(0, 3, 1, 2).to(named.device)
            seen = clip(clip.normalise(batch), calibration="none", attention=False).global_embed
            logits = (clip.logit_scale * seen @ named.T).unflatten(0, (-1, 2)).mean(dim=1)
            share = logits.softmax(dim=1)
            classes, rest = share.split([len(class_ids), len(words)], dim=1)
            shares.append(torch.cat([rest.sum(dim=1, keepdim=True), classes], dim=1).cpu().numpy())
        return np.concatenate(shares)


def named_by(
    clip: FrozenClip,
    wording: Wording,
    *,
    embed: Callable[[FrozenClip, Wording], Tensor] = text_embeddings,
) -> RegionNamer:
    """Return what names regions by texts that are embedded here, once."""
    return RegionNamer(clip, embed(clip, wording), len(wording.prompts))
