"""Softmax Grad-CAM at the first LayerNorm of the last block, for all classes from one forward.

Paper: CLIP-ES. The image is the mean of its patch tokens (not CLS); its probability among the
texts that compete is differentiated, once per class, by automatic differentiation.
Here: the same gradient in closed form. Grad-CAM needs only its sum over patches, so attention's
backward collapses: no weight gradients, no token-by-token gradient, no second forward.
Gradients of a module f are called f'; `p` runs over (image, class) pairs.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from open_clip.transformer import QuickGELU
from torch import Tensor, nn

from gleclip_cli.model.attention import BlockTrace, head_attention, square
from gleclip_cli.model.clip import FrozenClip

# How many pairs are worked on at once: 64 MB per intermediate result.
_FLOATS_AT_ONCE = 2**24


@torch.no_grad()
def gradcams(
    clip: FrozenClip,
    last: BlockTrace,
    texts: Float[Tensor, "c e"],
    competing: Bool[Tensor, "b c"],
    images: Int[Tensor, " p"],
    classes: Int[Tensor, " p"],
) -> Float[Tensor, "p n"]:
    """Return relu(sum_k alpha_k H_k) per pair of an image and one of its texts; not normalised.

    `competing` marks the texts in the softmax of each image; `images` and `classes` index its
    two axes.
    """
    tokens = last.normed.shape[1]
    gradient = _pooled_gradient(clip, last, texts, competing, images, classes)
    step = max(1, _FLOATS_AT_ONCE // (tokens * max(last.hidden.shape[2], tokens)))
    maps = [
        _cams_of_pairs(clip, last, images[start : start + step], gradient[start : start + step])
        for start in range(0, len(images), step)
    ]
    return torch.cat(maps) if maps else gradient.new_zeros(0, tokens - 1)


def _pooled_gradient(
    clip: FrozenClip,
    last: BlockTrace,
    texts: Float[Tensor, "c e"],
    competing: Bool[Tensor, "b c"],
    images: Int[Tensor, " p"],
    classes: Int[Tensor, " p"],
) -> Float[Tensor, "p d"]:
    """Return the gradient of every pair's probability at the mean of ln_post over patches."""
    projection = clip.visual.proj
    texts = texts.to(projection.dtype)
    pooled = clip.visual.ln_post(_wide(last.output)[:, 1:]).mean(dim=1) @ projection
    length = pooled.norm(dim=-1, keepdim=True)
    unit = pooled / length
    cosine = unit @ texts.T
    probability = (clip.logit_scale * cosine).masked_fill(~competing, -torch.inf).softmax(dim=-1)

    # dp_c = p_c sum_j p_j (ds_c - ds_j). Leaving out j = c by hand keeps the digits that
    # 1 - p_c would lose when p_c is near 1.
    own = probability[images].gather(1, classes[:, None])
    others = probability[images].scatter(1, classes[:, None], 0)
    rest = others.sum(dim=-1, keepdim=True)
    towards = rest * texts[classes] - others @ texts
    cosines = cosine[images]
    along = rest * cosines.gather(1, classes[:, None]) - (others * cosines).sum(-1, keepdim=True)
    scale = own * clip.logit_scale / length[images]
    gradient: Tensor = scale * (towards - along * unit[images]) @ projection.T
    return gradient


def _cams_of_pairs(
    clip: FrozenClip,
    last: BlockTrace,
    images: Int[Tensor, " p"],
    gradient: Float[Tensor, "p d"],
) -> Float[Tensor, "p n"]:
    block: Any = clip.blocks[-1]
    # 1. From the pooled mean to the outputs of the heads. CLS is in no mean: its row is zero.
    patches = last.output.shape[1] - 1
    g2 = layer_norm_vjp(
        clip.visual.ln_post, _wide(last.output)[images, 1:], gradient[:, None] / patches
    )
    hidden = block.ls_2(g2) @ block.mlp.c_proj.weight  # layer scale is its own transpose
    hidden = hidden * activation_slope(block.mlp.gelu, _wide(last.hidden)[:, 1:])[images]
    middle = _wide(last.middle)[images, 1:]
    g1 = g2 + layer_norm_vjp(block.ln_2, middle, hidden @ block.mlp.c_fc.weight)
    mixed = block.ls_1(g1) @ block.attn.out_proj.weight
    # 2. Through attention to the mean gradient over patches, and 3. the map.
    alpha = _attention_gradient(last, images, mixed) @ block.attn.in_proj_weight / patches
    scores: Tensor = _wide(last.normed)[images, 1:] @ alpha[:, :, None]
    return scores[:, :, 0].relu()


def _attention_gradient(
    last: BlockTrace, images: Int[Tensor, " p"], gradient: Float[Tensor, "p n d"]
) -> Float[Tensor, "p d3"]:
    """Return the gradients at queries, keys and values, each summed over patches.

    `gradient` is that at the heads' outputs of the patches. Rows of A sum to 1, so rows of the
    gradient before the softmax sum to 0: what leaves the patches' keys is what enters CLS's.
    """
    query, key, value = (_wide(part) for part in (last.query, last.key, last.value))
    size = query.shape[-1]
    scale = size**-0.5
    scratch = square(query)
    outputs = torch.split(_wide(last.mixed)[:, 1:], size, dim=-1)
    sums: tuple[list[Tensor], ...] = ([], [], [])
    for head, do in enumerate(torch.split(gradient, size, dim=-1)):
        weights = head_attention(query, key, head, scratch)[:, 1:]
        weights = weights[images] if len(weights) > 1 else weights
        v = value[images, head]
        r = (do * outputs[head][images]).sum(dim=-1, keepdim=True)
        columns = weights.transpose(1, 2) @ torch.cat([do, r], dim=-1)
        c = (v * columns[..., :-1]).sum(dim=-1) - columns[..., -1]
        to_cls = weights[:, :, :1]
        lost = to_cls * (do @ v[:, 0, :, None] - r)
        sums[0].append(scale * (c[:, None] @ key[images, head])[:, 0])
        sums[1].append(-scale * (lost * query[images, head, 1:]).sum(dim=1))
        sums[2].append(((1 - to_cls) * do).sum(dim=1))
    return torch.cat([part for parts in sums for part in parts], dim=-1)


def layer_norm_vjp(
    norm: nn.LayerNorm, inputs: Float[Tensor, "p n c"], gradient: Float[Tensor, "p m c"]
) -> Float[Tensor, "p n c"]:
    """Return the gradient at the inputs of a LayerNorm from that at its outputs (m = n or 1)."""
    centred = inputs - inputs.mean(dim=-1, keepdim=True)
    inverse = (centred.square().mean(dim=-1, keepdim=True) + norm.eps).rsqrt()
    normed = centred * inverse
    g = gradient * norm.weight
    shared = g.mean(dim=-1, keepdim=True) + normed * (g * normed).mean(dim=-1, keepdim=True)
    return (g - shared) * inverse


def activation_slope(activation: nn.Module, inputs: Float[Tensor, "*b f"]) -> Float[Tensor, "*b f"]:
    """Return the derivative of QuickGELU, x sigmoid(1.702 x), or of torch's GELU."""
    if isinstance(activation, QuickGELU):
        gate = torch.sigmoid(1.702 * inputs)
        return gate * (1 + 1.702 * inputs * (1 - gate))
    with torch.enable_grad():
        leaf = inputs.detach().requires_grad_()
        (slope,) = torch.autograd.grad(activation(leaf).sum(), leaf)
    return slope


def _wide(tensor: Tensor) -> Tensor:
    """Return half precision as float32; gradients of a saturated softmax are small."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
