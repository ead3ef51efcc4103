"""Micro-CLIP: its shape, its losses on pictures and captions, and its zero-shot accuracy."""

from typing import Any

import cv2
import numpy as np
import torch
from open_clip.model import CLIP
from open_clip.tokenizer import SimpleTokenizer
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from gleclip_cli.datasets.scenes import BACKGROUNDS, CLASSES, VIEW_SIZE, draw_scene, with_article

MODEL: dict[str, Any] = {
    "embed_dim": 128,
    "vision_cfg": {
        "image_size": VIEW_SIZE,
        "layers": 6,
        "width": 128,
        "head_width": 32,
        "patch_size": 8,
    },
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 128, "heads": 4, "layers": 2},
}
"""open_clip's description of the network: ViT-B/16 in small, 14 x 14 patches."""
NOUNS = (*CLASSES, *BACKGROUNDS)
NOUN_CAPTIONS = [f"a photo of {n}" for n in (*map(with_article, CLASSES), *BACKGROUNDS)]
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def build_model() -> CLIP:
    """Return an untrained micro-CLIP."""
    return CLIP(MODEL["embed_dim"], vision_cfg=MODEL["vision_cfg"], text_cfg=MODEL["text_cfg"])


def normalised(images: Tensor) -> Tensor:
    """Scale uint8 images (b, 3, H, W) to [0, 1] and normalise them as CLIP does."""
    mean, std = (torch.tensor(v, device=images.device).view(1, 3, 1, 1) for v in (MEAN, STD))
    return (images.float() / 255 - mean) / std


def window(visual: VisionTransformer, side: int, corner: tuple[int, int]) -> Tensor:
    """Return the position embeddings (side * side, c) of a square of patches, CLS left out.

    `corner` is the row and column of its first patch in the network's own grid.
    """
    rows, columns = visual.grid_size
    grid: Tensor = visual.positional_embedding[1:].view(rows, columns, -1)
    row, column = corner
    return grid[row : row + side, column : column + side].flatten(0, 1)


def embed_images(visual: VisionTransformer, images: Tensor, positions: Tensor) -> Tensor:
    """Embed normalised images (b, 3, H, W) as if they lay at `positions`; (b, c), normalised.

    With the positions of the whole grid this is the network's own forward pass.
    """
    patches = visual.conv1(images).flatten(2).transpose(1, 2)
    cls = visual.class_embedding + visual.positional_embedding[0]
    cls = cls.to(patches.dtype).expand(len(patches), 1, -1)
    tokens = torch.cat([cls, patches + positions.to(patches.dtype)], dim=1)
    tokens = visual.transformer(visual.ln_pre(tokens))
    return nn.functional.normalize(visual.ln_post(tokens[:, 0]) @ visual.proj, dim=-1)


def contrastive_loss(image: Tensor, text: Tensor, scale: Tensor, captions: list[str]) -> Tensor:
    """Return CLIP's symmetric cross-entropy; equal captions share the probability.

    `image` and `text` are normalised embeddings (b, c), `scale` the inverse temperature.
    """
    logits = scale * image @ text.T
    number = {caption: k for k, caption in enumerate(dict.fromkeys(captions))}
    group = torch.tensor([number[c] for c in captions], device=logits.device)
    same = (group[:, None] == group[None, :]).float()
    target = same / same.sum(dim=1, keepdim=True)
    rows = nn.functional.cross_entropy(logits, target)
    return (rows + nn.functional.cross_entropy(logits.T, target)) / 2


def nouns_of(captions: list[str]) -> tuple[Tensor, Tensor]:
    """Return which of `NOUNS` each caption names, and which it denies: bool (b, NOUNS).

    A caption names all objects, so it denies the others; it denies backgrounds only if it names
    one.
    """
    words = [set(caption.replace(",", " ").split()) for caption in captions]
    named = torch.tensor([[noun in own for noun in NOUNS] for own in words])
    places = torch.arange(len(NOUNS)) >= len(CLASSES)
    silent = ~named[:, places].any(dim=1, keepdim=True)
    return named, ~named & ~(silent & places)


def noun_loss(image: Tensor, text: Tensor, scale: Tensor, captions: list[str]) -> Tensor:
    """Return the cross-entropy of every named noun against the denied ones, mean over all named.

    `image` (b, c) and `text` (NOUNS, c) are normalised embeddings.
    """
    named, denied = (mask.to(image.device) for mask in nouns_of(captions))
    logits = scale * image @ text.T
    rest = logits.masked_fill(~denied, -torch.inf).logsumexp(dim=1, keepdim=True)
    return nn.functional.softplus(rest - logits)[named].mean()


@torch.no_grad()
def zero_shot_accuracy(model: CLIP, tokenizer: SimpleTokenizer, count: int = 300) -> float:
    """Return the share of single-class val scenes, at half size, whose best class text is right."""
    model.eval()
    device = model.logit_scale.device
    tokens = tokenizer(NOUN_CAPTIONS[: len(CLASSES)]).to(device)
    texts = model.encode_text(tokens, normalize=True)
    single = (s for s in (draw_scene("val", k) for k in range(3 * count)) if len(s.class_ids) == 1)
    scenes = [s for s, _ in zip(single, range(count), strict=False)]
    small = [
        cv2.resize(s.image, (VIEW_SIZE, VIEW_SIZE), interpolation=cv2.INTER_AREA) for s in scenes
    ]
    images = torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).to(device)
    embeds = torch.cat(
        [model.encode_image(normalised(b), normalize=True) for b in torch.split(images, 64)]
    )
    best = (embeds @ texts.T).argmax(dim=1).cpu() + 1
    model.train()
    return float(np.mean([int(b) == s.class_ids[0] for b, s in zip(best, scenes, strict=True)]))
