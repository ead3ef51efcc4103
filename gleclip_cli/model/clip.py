"""Frozen CLIP by open_clip: features, attention, and patch embeddings calibrated to be dense.

The forward is our own, through open_clip's parts, so that any grid of patches goes in and
attention comes out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from gleclip_cli.model.attention import (
    BlockTrace,
    advance,
    run_block,
    self_correlation,
    value_path,
)
from gleclip_cli.model.hf_layout import as_open_clip
from gleclip_cli.model.plain_clip import build_plain, tokenizer_of
from gleclip_cli.model.resolution import OTHER_MODEL, at_resolution
from gleclip_cli.model.weights import ClipSource, find_clip, fit_weights, read_weights

_CACHED_GRIDS = 32


@dataclass(frozen=True)
class ClipFeatures:
    """What one forward gives.

    `dense`: calibrated patch embeddings, not normalised; `global_embed`: the CLS embedding,
    L2-normalised; `attention`: head means of the last two thirds of the blocks, first to last,
    patches only; `last`: the last block, CLS included, for Grad-CAM; `outputs`: patch tokens after
    the blocks that were asked for.
    """

    dense: Float[Tensor, "b e h w"]
    global_embed: Float[Tensor, "b e"]
    attention: Float[Tensor, "b l n n"]
    last: BlockTrace
    outputs: tuple[Float[Tensor, "b c h w"], ...] = ()


class FrozenClip(nn.Module):
    """A CLIP whose weights never change: no gradient, always in evaluation mode.

    `warnings`: what had to be done to its weights, for whoever talks to the user.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        clip: Any,
        tokenizer: Any,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        sha256: str,
        warnings: Sequence[str] = (),
    ) -> None:
        super().__init__()
        visual = clip.visual
        self.clip = clip
        self.visual = visual
        self.blocks: Sequence[Any] = visual.transformer.resblocks
        self.tokenizer: Callable[[list[str]], Tensor] = tokenizer
        self.weights_sha256 = sha256
        self.warnings = tuple(warnings)
        self.patch_size = int(visual.patch_size[0])
        self.image_size = int(visual.image_size[0])
        self.width = int(visual.transformer.width)
        self.embed_dim = int(visual.output_dim)
        self.num_layers = len(self.blocks)
        self.num_heads = int(self.blocks[0].attn.num_heads)
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)
        self._positions: dict[tuple[Any, ...], Tensor] = {}
        self.requires_grad_(False)
        self.eval()

    @property
    def logit_scale(self) -> float:
        """What cosines are multiplied with before a softmax over texts."""
        return float(self.clip.logit_scale.exp())

    def train(self, mode: bool = True) -> "FrozenClip":
        """Stay in evaluation mode, whatever a network around it does."""
        return super().train(False)

    def normalise(
        self, images: UInt8[Tensor, "b 3 H W"] | Float[Tensor, "b 3 H W"]
    ) -> Float[Tensor, "b 3 H W"]:
        """Return what the network expects from bytes, or from floats in [0, 1]."""
        scaled = images.float() / 255 if images.dtype == torch.uint8 else images
        return (scaled - self.mean) / self.std

    @torch.no_grad()
    def forward(
        self,
        images: Float[Tensor, "b 3 H W"],
        *,
        calibration: str = "svc",
        parity: bool = False,
        blocks: Sequence[int] = (),
        attention: bool = True,
    ) -> ClipFeatures:
        """Return features of normalised images; H and W are multiples of the patch size.

        `blocks`: whose outputs are returned too (1 is the first), in rising order. Without
        `attention` its maps are left out (l = 0), which saves time and memory.

        `calibration`: `none` (raw last block), `maskclip` (value path in the last block) or `svc`
        (a second path beside the last 5/12 of the blocks, ExCEL). `parity`: the published codes'
        arithmetic (position embedding rounded to half, heads of svc summed instead of averaged).
        """
        count = self.num_layers
        attended_from = count - _share(count, 2 / 3) if attention else count
        calibrated_from = count - max(2, _share(count, 5 / 12)) if calibration == "svc" else count
        traced_from = max(0, min(attended_from, calibrated_from, count - 1))
        tokens = self._embed(images, parity=parity)
        patches = tokens.shape[1] - 1
        maps = tokens.new_empty(len(images), count - attended_from, patches, patches)
        dense, kept = tokens, []
        for depth, block in enumerate(self.blocks):
            if depth < traced_from:
                tokens = advance(block, tokens)
            else:
                if calibration == "maskclip" and depth == count - 1:
                    dense = value_path(block, tokens)
                trace = run_block(block, tokens)
                if depth >= attended_from:
                    maps[:, depth - attended_from] = trace.attention[:, 1:, 1:]
                if depth >= calibrated_from:
                    dense = (tokens if depth == calibrated_from else dense) + self_correlation(
                        block, trace, sum_heads=parity
                    )
                tokens = trace.output
            if depth + 1 in blocks:
                kept.append(self._as_grid(tokens[:, 1:], images))
        if calibration == "none":
            dense = tokens
        cls = nn.functional.normalize(self._project(tokens[:, 0]), dim=-1)
        grid = self._as_grid(self._project(dense[:, 1:]), images)
        return ClipFeatures(grid, cls, maps, trace, tuple(kept))

    @torch.no_grad()
    def block_outputs(
        self, images: Float[Tensor, "b 3 H W"], layers: Sequence[int]
    ) -> tuple[list[Float[Tensor, "b c h w"]], Float[Tensor, "b e"]]:
        """Return patch tokens after blocks, numbered from 1, in that order; `global_embed`."""
        if not layers or not all(1 <= layer <= self.num_layers for layer in layers):
            raise ValueError(f"layers {list(layers)} of a CLIP of {self.num_layers} blocks")
        tokens = self._embed(images)
        outputs = {}
        for layer, block in enumerate(self.blocks, start=1):
            tokens = advance(block, tokens)
            if layer in layers:
                outputs[layer] = self._as_grid(tokens[:, 1:], images)
        cls = nn.functional.normalize(self._project(tokens[:, 0]), dim=-1)
        return [outputs[layer] for layer in layers], cls

    @torch.no_grad()
    def encode_texts(self, token_ids: Int[Tensor, "k s"]) -> Float[Tensor, "k e"]:
        """Return L2-normalised embeddings of tokenised texts."""
        embedded: Tensor = self.clip.encode_text(token_ids.to(self.mean.device), normalize=True)
        return embedded.float()

    def _embed(
        self, images: Float[Tensor, "b 3 H W"], *, parity: bool = False
    ) -> Float[Tensor, "b t c"]:
        height, width = images.shape[-2:]
        if height % self.patch_size or width % self.patch_size or not height * width:
            raise ValueError(f"{height} x {width} is not made of {self.patch_size}-pixel patches")
        # Under autocast the residual stream stays in float32.
        patches = self.visual.conv1(images).to(images.dtype).flatten(2).transpose(1, 2)
        cls = self.visual.class_embedding.to(patches.dtype).expand(len(images), 1, -1)
        grid = (height // self.patch_size, width // self.patch_size)
        positions = self._position_embedding(grid, parity=parity).to(patches.dtype)
        tokens: Tensor = self.visual.ln_pre(torch.cat([cls, patches], dim=1) + positions)
        return tokens

    def _position_embedding(self, grid: tuple[int, int], *, parity: bool) -> Float[Tensor, "t c"]:
        """Return the position embedding of a grid: bilinear, half-pixel centres; cached."""
        learned: Tensor = self.visual.positional_embedding
        key = (grid, parity, learned.device)
        if key not in self._positions:
            native = learned[1:].T.reshape(1, self.width, *self.visual.grid_size)
            resized = nn.functional.interpolate(native, grid, mode="bilinear", align_corners=False)
            positions = torch.cat([learned[:1], resized[0].flatten(1).T])
            if len(self._positions) >= _CACHED_GRIDS:
                self._positions.pop(next(iter(self._positions)))
            self._positions[key] = positions.half().float() if parity else positions
        return self._positions[key]

    def _project(self, tokens: Float[Tensor, "*b c"]) -> Float[Tensor, "*b e"]:
        projected: Tensor = self.visual.ln_post(tokens) @ self.visual.proj
        return projected.to(tokens.dtype)

    def _as_grid(
        self, patches: Float[Tensor, "b n c"], images: Float[Tensor, "b 3 H W"]
    ) -> Float[Tensor, "b c h w"]:
        height, width = (side // self.patch_size for side in images.shape[-2:])
        return patches.transpose(1, 2).reshape(len(images), -1, height, width).contiguous()


def load_clip(model: str, weights: str, *, seed: int = 0) -> FrozenClip:
    """Build a CLIP in float32 on the CPU.

    `model` is a name of open_clip or the path of a configuration in its JSON format; `weights` a
    hub tag, a file or folder of open_clip, OpenAI or Hugging Face, or `random` (from `seed`).

    Raises:
        UsageError: unknown name, tag or file, weights of another activation, or an architecture
            other than CLIP's plain ViT.
        BadInput: a configuration or weights file that is broken or does not fit.
        EnvironmentFault: the hub cannot be reached.
    """
    return build_clip(find_clip(model, weights, seed=seed), seed=seed)


def build_clip(source: ClipSource, *, seed: int = 0) -> FrozenClip:
    """Build what `find_clip` found; errors as `load_clip`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        clip = build_plain(source)
    warnings: tuple[str, ...] = ()
    if source.file is not None:
        origin = str(source.file)
        given = as_open_clip(read_weights(source.file))
        tensors, warnings = at_resolution(given, clip.visual, origin=origin)
        fit_weights(clip, tensors, origin=origin, remedy=OTHER_MODEL)
    return FrozenClip(
        clip,
        tokenizer_of(source),
        mean=source.mean,
        std=source.std,
        sha256=source.sha256,
        warnings=warnings,
    )


def _share(count: int, fraction: float) -> int:
    """Return a fraction of the blocks, halves rounded up, at least one."""
    return max(1, int(count * fraction + 0.5))
