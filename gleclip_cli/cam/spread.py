"""Steps that look at an image again, through the frozen model behind stored maps.

Paper: IRN walks along borders it was trained for, PSA along features of its own.
Here: along CLIP's attention (patches are alike that attend to the same places), along what GLE-CLIP
has learned (its finest pixel embeddings; its decoder's tokens on the grid of patches), or along the
product of both.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from gleclip_cli.artifacts.manifest import Manifest
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.cam.build import load_gleclip
from gleclip_cli.cam.fuse import view_grid
from gleclip_cli.cam.method import resize_to_patches
from gleclip_cli.cam.texts import remembered, wording_used
from gleclip_cli.config import GRID_STEPS, RefineConfig
from gleclip_cli.errors import OtherSettings, UsageError
from gleclip_cli.model.clip import build_clip
from gleclip_cli.model.gleclip import features_of
from gleclip_cli.model.grounding_losses import learned_affinity
from gleclip_cli.model.texts import Wording
from gleclip_cli.model.weights import ClipSource, find_clip
from gleclip_cli.refine.affinity import (
    caa,
    doubly_stochastic,
    gated,
    min_max,
    part_spread,
    raised,
)
from gleclip_cli.refine.naming import RegionNamer, named_by
from gleclip_cli.refine.walk import walk_grid, walked
from gleclip_cli.resources import clip_files


@dataclass(frozen=True)
class MapSource:
    """The model that maps were made with.

    `run`: holds the GLE-CLIP whose learned affinity is followed, if that is asked for. `parity`:
    with the published code's arithmetic. `on_patches`: the maps' grid is that of patches.
    `labelled`: the classes of a map are known to be there. `names`: the texts that regions are
    named by, if that is asked for, and the run that keeps their embeddings.
    """

    clip: ClipSource
    run: RunDir | None = None
    parity: bool = False
    on_patches: bool = True
    labelled: bool = True
    names: tuple[RunDir, Wording] | None = None


def source_of_maps(
    run: RunDir,
    config: RefineConfig,
    cams: Manifest | None,
    training: Manifest | None,
    *,
    fetch: bool = True,
) -> MapSource:
    """Find the model that maps were made with, or that of the GLE-CLIP, and refuse any other.

    `cams`: manifest of `gen-cam`, None for maps from elsewhere; `training`: of `train-cam`, where
    it is to be followed. Without `fetch`, weights that are not on this
    machine are not looked at.

    Raises:
        UsageError: caa is asked for maps that were made with it.
        OtherSettings: weights or texts are not those of the manifest.
    """
    made_with = {} if cams is None else cams.data["config"]
    if made_with.get("caa") and "caa" in config.steps:
        raise UsageError(
            "These maps were made with CAA; it would be applied twice.",
            "Leave caa out of --steps, or make the maps with `gleclip gen-cam --no-caa`.",
        )
    named = next(m.data for m in (training, cams) if m is not None)
    model, weights = named["config"]["clip_model"], named["weights"]["clip"]
    clip = find_clip(*clip_files(model, named["config"]["clip_weights"]), fetch=fetch)
    if clip.sha256 not in ("", weights):
        raise OtherSettings(
            f"{model} now has other weights than when it was used for this run.",
            "Bring those weights back, or make the maps again with --overwrite.",
        )
    own_clip = cams is not None and cams.data["weights"]["clip"] == weights
    return MapSource(
        clip,
        run if config.affinity != "attention" else None,
        parity=made_with.get("parity", False),
        on_patches=own_clip and made_with["method"] != "gle-clip",
        labelled=made_with.get("labels", "given") == "given",
        names=(run, wording_used(run, named)) if "regions" in config.steps else None,
    )


@dataclass(frozen=True)
class _Seen:
    """What the model sees in an image, over a `grid` of patches.

    `attention` (l, n, n); `tokens` (f, h, w) and `pixels` (e, h4, w4): learned features, if any.
    """

    grid: tuple[int, int]
    attention: Float[Tensor, "l n n"]
    tokens: Float[Tensor, "f h w"] | None = None
    pixels: Float[Tensor, "e _h _w"] | None = None


class Spreader:
    """Applies those of the steps caa and walk that a configuration names, if any."""

    def __init__(self, source: MapSource, config: RefineConfig, device: torch.device) -> None:
        self._source, self._config, self._device = source, config, device
        self._model = None if source.run is None else load_gleclip(source.run, device)
        self._clip = build_clip(source.clip).to(device) if self._model is None else self._model.clip

    def namer(self) -> RegionNamer | None:
        """Return what names regions by the same CLIP, if the source says by which texts."""
        if self._source.names is None:
            return None
        run, wording = self._source.names
        return named_by(self._clip, wording, embed=remembered(run, self._source.clip))

    @torch.no_grad()
    def __call__(
        self, maps: Float[ndarray, "k h w"], image: UInt8[ndarray, "H W 3"]
    ) -> Float[ndarray, "k _h _w"]:
        """Return the maps after these steps, in [0, 1]; the model sees the upright image."""
        if not any(step in GRID_STEPS for step in self._config.steps):
            return maps
        size = (image.shape[0], image.shape[1])
        patch = self._clip.patch_size
        own = (maps.shape[1], maps.shape[2])
        grid = own if self._source.on_patches else view_grid(size, scale=1.0, patch=patch)
        seen = self._look(image, grid)
        spread = torch.from_numpy(maps).to(self._device)
        if "caa" in self._config.steps:
            spread = self._caa(spread, seen)
        if "walk" in self._config.steps:
            cells = grid if self._config.walk_stride == "grid" else walk_grid(size)
            spread = self._walk(spread, seen, cells)
        result: ndarray = spread.cpu().numpy()
        return result

    def _look(self, image: UInt8[ndarray, "H W 3"], grid: tuple[int, int]) -> _Seen:
        view = resize_to_patches(image, grid, self._clip.patch_size)
        images = torch.tensor(view, device=self._device).permute(2, 0, 1)[None]
        pixels, model = self._clip.normalise(images), self._model
        if model is None:
            features = self._clip(pixels, calibration="none", parity=self._source.parity)
            return _Seen(grid, features.attention[0])
        features = model.clip(pixels, calibration=model.calibration, blocks=model.blocks)
        grounding = model.ground(*features_of(features), images)
        embedded = grounding.pixels[0].permute(2, 0, 1)
        tokens = embedded if grounding.joined is None else grounding.joined[0].permute(2, 0, 1)
        return _Seen(grid, features.attention[0], tokens, embedded)

    def _caa(self, maps: Float[Tensor, "k h w"], seen: _Seen) -> Float[Tensor, "k h w"]:
        source, threshold = self._source, self._config.caa_threshold
        affinity = gated(seen.attention, None)
        if seen.tokens is not None:
            learned = learned_affinity(seen.tokens.permute(1, 2, 0)[None])[0]
            both = self._config.affinity == "both"
            affinity = gated(seen.attention, learned) if both else learned
        if not source.on_patches:
            fine = raised(maps) if source.labelled else maps
            return part_spread(fine, affinity, seen.grid, threshold=threshold)
        return min_max(
            caa(affinity, maps, threshold=threshold, parity=source.parity), parity=source.parity
        )

    def _walk(
        self, maps: Float[Tensor, "k h w"], seen: _Seen, cells: tuple[int, int]
    ) -> Float[Tensor, "k _h _w"]:
        config, features = self._config, []
        if config.affinity != "learned":
            alike = doubly_stochastic(gated(seen.attention, None))
            features.append(alike.reshape(-1, *seen.grid))
        learned = seen.tokens if cells == seen.grid else seen.pixels
        if learned is not None:
            features.append(learned)
        return walked(maps, features, cells, exponent=config.walk_exponent, steps=config.walk_steps)
