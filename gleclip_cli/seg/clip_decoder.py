"""A light decoder on frozen CLIP features, with a shallow convolution for fine boundaries.

Patch tokens at the quarters of CLIP's depth, of the picture and of the picture at half its size,
each pass a layer of their own, are joined, exchange context in transformer layers and are
classified; the embedding of the whole picture says which classes are likely there; colours and
edges correct these coarse logits at stride 4.
Source: method guide, sections 2 (decoder) and 3.4 (multi-layer fusion on frozen CLIP).
Here: the picture at half its size, where CLIP sees whole objects as it learned them, and the whole
picture (val of scenes, true masks: 46.8 mIoU with neither, 52.0 with the first, 53.8 with both).
Keys and values are pooled 2 x 2; all but the classifier of tokens starts at zero: that alone learns
in seconds (a decoder as large without this needed four times as long for less).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from gleclip_cli.model.clip import FrozenClip
from gleclip_cli.model.on_clip import (
    adamw,
    fill_colour,
    learned_weights,
    quarter_blocks,
    standardised,
)

_HEAD_WIDTH = 32
_WINDOW_PATCHES = 48  # attention of a larger square would take gigabytes


class ClipDecoder(nn.Module):
    """Frozen CLIP, fused layers, transformer, pixel branch, classifier.

    Axes: b images, l CLIP layers of both views, h w patches, d CLIP width, e width of the whole
    picture's embedding, c classes.
    """

    def __init__(self, clip: FrozenClip, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.clip = clip
        self.patch_size = clip.patch_size
        self.window = _WINDOW_PATCHES * clip.patch_size
        self.fill = fill_colour(clip)
        self.layers = quarter_blocks(clip.num_layers)
        width, depth, mlp_ratio = decoder_size(clip.width)
        self.project = nn.ModuleList(nn.Linear(clip.width, width) for _ in 2 * self.layers)
        self.join = nn.Linear(len(self.project) * width, width)
        self.context = nn.ModuleList(ContextLayer(width, mlp_ratio) for _ in range(depth))
        self.classify = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, num_classes))
        self.presence = nn.Linear(clip.embed_dim, num_classes)
        _start_at_zero(self.presence)
        self.pixels = PixelBranch(width, num_classes)

    def forward(self, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b c H W"]:
        """Return logits at the size of the pictures, which are RGB in [0, 1]."""
        height, width = images.shape[-2:]
        padded = self.pad(images)
        logits = self.decode(*self.features(padded), padded)
        logits = functional.interpolate(logits, padded.shape[-2:], mode="bilinear")
        return logits[..., :height, :width]

    def training_logits(self, images: Float[Tensor, "b 3 H W"]) -> list[Float[Tensor, "b c h w"]]:
        """Return logits at stride 4; sides are multiples of the patch size."""
        return [self.decode(*self.features(images), images)]

    def features(
        self, images: Float[Tensor, "b 3 H W"]
    ) -> tuple[Float[Tensor, "b l h w d"], Float[Tensor, "b e"]]:
        """Return CLIP's tokens of the quarter layers, standardised, and of the whole pictures.

        Tokens of the pictures at full size come first, then those at half their size, enlarged.
        """
        normalised = self.clip.normalise(images)
        near, whole = self.clip.block_outputs(normalised, self.layers)
        height, width = near[0].shape[-2:]
        odd = (0, width % 2 * self.patch_size, 0, height % 2 * self.patch_size)
        halved = functional.avg_pool2d(functional.pad(normalised, odd), 2)
        far = [
            functional.interpolate(maps, scale_factor=2.0, mode="bilinear")[..., :height, :width]
            for maps in self.clip.block_outputs(halved, self.layers)[0]
        ]
        return standardised([*near, *far]), whole

    def bytes_per_patch(self) -> int:
        """Bytes that `features` take per patch, in half precision."""
        return len(self.project) * self.clip.width * 2

    def decode(
        self,
        features: Float[Tensor, "b l h w d"],
        whole: Float[Tensor, "b e"],
        images: Float[Tensor, "b 3 H W"],
    ) -> Float[Tensor, "b c h4 w4"]:
        """Return logits at stride 4 from `features` and the pictures they belong to."""
        return self.logits(self.tokens(features), whole, images)

    def tokens(self, features: Float[Tensor, "b l h w d"]) -> Float[Tensor, "b h w f"]:
        """Return one token per patch, of all layers and before context: what patches are like."""
        parts = [
            functional.gelu(project(features[:, index]))
            for index, project in enumerate(self.project)
        ]
        joined: Tensor = self.join(torch.cat(parts, dim=-1))
        return joined

    def logits(
        self,
        tokens: Float[Tensor, "b h w f"],
        whole: Float[Tensor, "b e"],
        images: Float[Tensor, "b 3 H W"],
    ) -> Float[Tensor, "b c h4 w4"]:
        """Return logits at stride 4 from `tokens`, and the pictures they belong to, as embedded."""
        for layer in self.context:
            tokens = layer(tokens)
        likely = self.presence(whole * whole.shape[1] ** 0.5)  # of about unit deviation
        coarse = (self.classify(tokens) + likely[:, None, None]).permute(0, 3, 1, 2)
        logits: Tensor = self.pixels(tokens, coarse, self.clip.normalise(images))
        return logits

    def optimiser(self, *, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
        """AdamW on everything but CLIP; biases and norms do not decay."""
        return adamw(self, learning_rate=learning_rate, weight_decay=weight_decay)

    def weights(self) -> dict[str, Tensor]:
        """Everything a checkpoint has to hold: not CLIP, which its name and hash stand for."""
        return learned_weights(self)

    def pad(self, images: Tensor) -> Tensor:
        """Extend to whole patches, to the right and below, by the mean colour."""
        right, below = ((-side) % self.patch_size for side in reversed(images.shape[-2:]))
        if not right and not below:
            return images
        mean = self.clip.mean
        return functional.pad(images - mean, (0, right, 0, below)) + mean


class ContextLayer(nn.Module):
    """Pre-norm transformer layer on a grid; every token attends to 2 x 2 means of tokens.

    An untrained layer returns its input.
    """

    def __init__(self, width: int, mlp_ratio: int) -> None:
        super().__init__()
        self.heads = width // _HEAD_WIDTH
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.merge = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, mlp_ratio * width),
            nn.GELU(),
            nn.Linear(mlp_ratio * width, width),
        )
        _start_at_zero(self.merge, self.mlp[3])

    def forward(self, tokens: Float[Tensor, "b h w d"]) -> Float[Tensor, "b h w d"]:
        """Return updated tokens."""
        normed = self.norm(tokens)
        pooled = functional.avg_pool2d(normed.permute(0, 3, 1, 2), 2, ceil_mode=True)
        key, value = self.key_value(pooled.flatten(2).transpose(1, 2)).chunk(2, dim=-1)
        attended = functional.scaled_dot_product_attention(
            self._split(self.query(normed.flatten(1, 2))), self._split(key), self._split(value)
        )
        merged = self.merge(attended.transpose(1, 2).flatten(2))
        tokens = tokens + merged.reshape(tokens.shape)
        updated: Tensor = tokens + self.mlp(tokens)
        return updated

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.reshape(*tokens.shape[:2], self.heads, -1).transpose(1, 2)


class PixelBranch(nn.Module):
    """Two strided convolutions of the picture meet enlarged tokens and correct logits at stride 4.

    An untrained branch corrects nothing.
    """

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        edges = width // 4
        joint = 2 * edges
        self.stem = nn.Sequential(
            nn.Conv2d(3, edges // 2, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(edges // 2, edges, 3, stride=2, padding=1),
            nn.GELU(),
        )
        self.narrow = nn.Linear(width, edges)
        self.fuse = nn.Sequential(
            nn.Conv2d(joint, joint, 1),
            nn.GELU(),
            nn.Conv2d(joint, joint, 3, padding=1, groups=joint),
            nn.GroupNorm(1, joint),
            nn.GELU(),
            nn.Conv2d(joint, num_classes, 1),
        )
        _start_at_zero(self.fuse[5])

    def forward(
        self,
        tokens: Float[Tensor, "b h w d"],
        coarse: Float[Tensor, "b c h w"],
        normalised: Float[Tensor, "b 3 H W"],
    ) -> Float[Tensor, "b c h4 w4"]:
        """Return `coarse` logits enlarged to stride 4 and corrected."""
        edges = self.stem(normalised)
        narrow = self.narrow(tokens).permute(0, 3, 1, 2)
        narrow, enlarged = (
            functional.interpolate(maps, edges.shape[-2:], mode="bilinear")
            for maps in (narrow, coarse)
        )
        logits: Tensor = enlarged + self.fuse(torch.cat([edges, narrow], dim=1))
        return logits


def decoder_size(clip_width: int) -> tuple[int, int, int]:
    """Width, transformer layers and MLP ratio: as published from ViT-B on, lighter below."""
    if clip_width >= 512:
        return 256, 3, 4
    return max(2, min(clip_width, 256) // _HEAD_WIDTH) * _HEAD_WIDTH, 1, 2


def _start_at_zero(*layers: nn.Module) -> None:
    for layer in layers:
        for parameter in layer.parameters():
            nn.init.zeros_(parameter)
