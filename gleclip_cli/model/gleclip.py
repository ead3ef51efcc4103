"""GLE-CLIP: frozen CLIP, grounding decoder, text-pixel exchange, fusion of global and local.

Paper: the order of the parts. Here: the details, and one output for everything: scores of all
texts per pixel. With every part left out they are those of calibrated similarity, to the bit; an
untrained model starts from there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from gleclip_cli.model.bca import BidirectionalCrossAttention
from gleclip_cli.model.clip import ClipFeatures, FrozenClip
from gleclip_cli.model.daf import DynamicAttentionFusion, DynamicProjection
from gleclip_cli.model.grounding_decoder import GroundingDecoder
from gleclip_cli.model.on_clip import adamw, fill_colour, learned_weights, standardised


@dataclass(frozen=True)
class Grounding:
    """Scores of classes, then background words, before their softmax.

    `pixels`: embeddings of the finest level; `joined`: decoder tokens, on the grid of patches.
    """

    logits: Float[Tensor, "b c h w"]
    pixels: Float[Tensor, "b h w e"]
    joined: Float[Tensor, "b _h _w f"] | None


class GLECLIP(nn.Module):
    """Scores every text at every pixel, on the grid of the finest level.

    `texts`: unit vectors of `num_classes` classes, then of background words. Parts may be left
    out: `decoder`, `exchange` (an empty list), `projection`, `fusion` (local scores alone).
    `gate`: whether what the decoder learned of patches has a say where maps are spread.
    """

    texts: Tensor

    def __init__(
        self,
        clip: FrozenClip,
        texts: Float[Tensor, "c e"],
        num_classes: int,
        *,
        decoder: GroundingDecoder | None,
        exchange: list[BidirectionalCrossAttention],
        projection: DynamicProjection | None,
        fusion: DynamicAttentionFusion | None,
        blocks: tuple[int, ...],
        calibration: str = "svc",
        gate: bool = True,
    ) -> None:
        super().__init__()
        self.clip = clip
        self.num_classes = num_classes
        self.patch_size = clip.patch_size
        self.decoder = decoder
        self.exchange = nn.ModuleList(exchange)
        self.projection = projection
        self.fusion = fusion
        self.blocks = blocks if decoder is not None else ()
        self.calibration = calibration
        self.gate = gate and decoder is not None
        self.log_stretch = nn.Parameter(torch.zeros(()))
        self.register_buffer("texts", texts, persistent=False)
        self.fill = fill_colour(clip)

    @property
    def scale(self) -> Float[Tensor, ""]:
        """What cosines are multiplied with: CLIP's own at first."""
        return self.clip.logit_scale * self.log_stretch.exp()

    def forward(
        self, images: UInt8[Tensor, "b 3 H W"] | Float[Tensor, "b 3 H W"]
    ) -> Float[Tensor, "b c h w"]:
        """Return the scores of pictures whose sides are whole patches."""
        return self.ground(*self.features(images), images).logits

    def features(
        self, images: UInt8[Tensor, "b 3 H W"] | Float[Tensor, "b 3 H W"]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return all that the learned parts take from frozen CLIP: see `features_of`."""
        normalised = self.clip.normalise(images)
        return features_of(
            self.clip(normalised, calibration=self.calibration, blocks=self.blocks, attention=False)
        )

    def ground(
        self,
        tokens: Float[Tensor, "b l h w d"],
        patches: Float[Tensor, "b h w e"],
        global_embed: Float[Tensor, "b e"],
        images: UInt8[Tensor, "b 3 H W"] | Float[Tensor, "b 3 H W"],
    ) -> Grounding:
        """Return scores and decoder tokens from features and the pictures they belong to."""
        grid, joined = patches.shape[1:3], None
        texts = self.texts.expand(len(patches), -1, -1)
        corrections: list[Tensor] = []
        if self.decoder is not None:
            corrections, joined = self.decoder(tokens, self.clip.normalise(images))
            patches = functional.normalize(patches, dim=-1) + corrections[0]
        pixels = patches.flatten(1, 2)
        for layer in self.exchange:
            texts, pixels = layer(texts, pixels)
        if len(self.exchange):
            texts = functional.normalize(texts, dim=-1)
        levels = [_as_grid(pixels, grid)]
        for correction in corrections[1:]:
            levels.append(_enlarged(levels[-1], correction.shape[1:3]) + correction)
        scores = [self._scores(level, texts, global_embed) for level in levels]
        finest = scores[-1].shape[-2:]
        maps = [functional.interpolate(s, finest, mode="bilinear") for s in scores[:-1]]
        mean = torch.stack([*maps, scores[-1]]).mean(dim=0) if maps else scores[-1]
        return Grounding(mean, levels[-1], joined)

    def bytes_per_patch(self) -> int:
        """Bytes that `features` take per patch, in half precision."""
        return 2 * (len(self.blocks) * self.clip.width + self.clip.embed_dim)

    def optimiser(self, *, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
        """AdamW on everything but CLIP; vectors and gates do not decay."""
        return adamw(self, learning_rate=learning_rate, weight_decay=weight_decay)

    def weights(self) -> dict[str, Tensor]:
        """What a checkpoint has to hold: not CLIP, which its name and hash stand for."""
        return learned_weights(self)

    def _scores(
        self,
        pixels: Float[Tensor, "b h w e"],
        texts: Float[Tensor, "b c e"],
        global_embed: Float[Tensor, "b e"],
    ) -> Float[Tensor, "b c h w"]:
        if self.fusion is None:
            return self.scale * text_cosines(pixels, texts)
        if self.projection is not None:
            global_embed = self.projection(global_embed, self.texts, self.scale)
        unit = functional.normalize(pixels, dim=-1).flatten(1, 2)
        fused = self.fusion(unit, texts, global_embed)
        return self.scale * _as_grid(fused, pixels.shape[1:3]).permute(0, 3, 1, 2)


def text_cosines(
    pixels: Float[Tensor, "b h w e"], texts: Float[Tensor, "b c e"]
) -> Float[Tensor, "b c h w"]:
    """Return cosines of pixel embeddings and unit text vectors."""
    unit = functional.normalize(pixels, dim=-1).flatten(1, 2)
    return _as_grid(unit @ texts.transpose(1, 2), pixels.shape[1:3]).permute(0, 3, 1, 2)


def features_of(clip: ClipFeatures) -> tuple[Tensor, Tensor, Tensor]:
    """Return tokens (b, l, h, w, d) of the blocks, patches (b, h, w, e), global embedding (b, e).

    Without blocks there are no tokens (l = 0).
    """
    patches = clip.dense.permute(0, 2, 3, 1)
    if not clip.outputs:
        return patches.new_empty(len(patches), 0, *patches.shape[1:]), patches, clip.global_embed
    return standardised(clip.outputs), patches, clip.global_embed


def class_probabilities(
    logits: Float[Tensor, "b c h w"],
    num_classes: int,
    present: Bool[Tensor, "b k"] | None = None,
) -> Float[Tensor, "b k1 h w"]:
    """Return the background's share, then those of the classes: one softmax over all texts.

    The background has the mass of the background words; without any, 1 - max over classes, and
    all is divided by its sum. `present`: other classes are left out of the softmax, unless there
    are no background words: a class alone would win everywhere.
    """
    words = logits.shape[1] - num_classes
    if present is not None and words:
        absent = ~torch.nn.functional.pad(present, (0, words), value=True)
        logits = logits.masked_fill(absent[:, :, None, None], -torch.inf)
    share = logits.softmax(dim=1)
    classes, rest = share[:, :num_classes], share[:, num_classes:].sum(dim=1, keepdim=True)
    if words:
        return torch.cat([rest, classes], dim=1)
    rest = 1 - classes.amax(dim=1, keepdim=True)
    if present is not None:
        classes = classes * present[:, :, None, None]
    both = torch.cat([rest, classes], dim=1)
    return both / both.sum(dim=1, keepdim=True)


def _as_grid(pixels: Float[Tensor, "b n c"], grid: Sequence[int]) -> Float[Tensor, "b h w c"]:
    return pixels.reshape(len(pixels), *grid, pixels.shape[-1])


def _enlarged(pixels: Float[Tensor, "b h w e"], grid: Sequence[int]) -> Float[Tensor, "b h2 w2 e"]:
    maps = pixels.permute(0, 3, 1, 2)
    return functional.interpolate(maps, list(grid), mode="bilinear").permute(0, 2, 3, 1)
