"""CAA after the fact: the frozen model behind stored maps is run again for its attention."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, UInt8
from numpy import ndarray

from gleclip_cli.cam.fuse import min_max
from gleclip_cli.cam.method import resize_to_patches
from gleclip_cli.errors import OtherSettings, UsageError
from gleclip_cli.model.clip import build_clip
from gleclip_cli.model.weights import ClipSource, find_clip
from gleclip_cli.refine.affinity import caa
from gleclip_cli.resources import clip_files


@dataclass(frozen=True)
class MapSource:
    """The model that maps were made with; `parity`: with the published code's arithmetic."""

    clip: ClipSource
    parity: bool


def source_of_maps(manifest: Mapping[str, Any], *, fetch: bool = True) -> MapSource:
    """Find the model that a manifest of `gen-cam` names, and refuse any other.

    Without `fetch`, weights that are not on this machine are not looked at.

    Raises:
        UsageError: the maps were made with CAA already, or by gle-clip.
        OtherSettings: the weights are not those of the manifest.
    """
    made_with = manifest["config"]
    if made_with["method"] == "gle-clip":
        raise UsageError(
            "Maps of gle-clip are finer than CLIP's attention.",
            "Leave caa out of --steps: `gleclip gen-cam` spreads them where attention is.",
        )
    if made_with["caa"]:
        raise UsageError(
            "These maps were made with CAA; it would be applied twice.",
            "Leave caa out of --steps, or make the maps with `gleclip gen-cam --no-caa`.",
        )
    source = find_clip(*clip_files(made_with["clip_model"], made_with["clip_weights"]), fetch=fetch)
    if source.sha256 not in ("", manifest["weights"]["clip"]):
        raise OtherSettings(
            f"{made_with['clip_model']} now has other weights than when the maps were made.",
            "Bring those weights back, or run `gleclip gen-cam --overwrite`.",
        )
    return MapSource(source, made_with["parity"])


class Spreader:
    """Spreads maps by the model's attention on their own grid."""

    def __init__(self, source: MapSource, device: torch.device, *, threshold: float) -> None:
        self._clip = build_clip(source.clip).to(device)
        self._parity = source.parity
        self._device = device
        self._threshold = threshold

    @torch.no_grad()
    def __call__(
        self, maps: Float[ndarray, "k h w"], image: UInt8[ndarray, "H W 3"]
    ) -> Float[ndarray, "k h w"]:
        """Return the maps after CAA, in [0, 1]; attention is that of the upright image."""
        height, width = maps.shape[1:]
        view = torch.from_numpy(resize_to_patches(image, (height, width), self._clip.patch_size))
        pixels = self._clip.normalise(view.to(self._device).permute(2, 0, 1)[None])
        features = self._clip(pixels, calibration="none", parity=self._parity)
        spread = caa(
            features.attention[0].mean(dim=0),
            torch.from_numpy(maps).to(self._device),
            threshold=self._threshold,
            parity=self._parity,
        )
        normalised: ndarray = min_max(spread, parity=self._parity).cpu().numpy()
        return normalised
