"""One residual block of CLIP's vision transformer, run by hand, and the ways to make it dense.

open_clip's block hides its attention; here it is the same arithmetic with everything in reach.
Heads are taken one by one: a token-by-token matrix of one head is all that exists at a time.
Where nobody looks inside, torch's fused attention does without that matrix.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class BlockTrace:
    """What one block computed.

    `normed` is the output of the first LayerNorm; `mixed` the heads' outputs before the output
    projection; `middle` the tokens after attention; `hidden` the MLP before its activation;
    `attention` the mean over heads, row i attends to column j.
    """

    normed: Float[Tensor, "b t c"]
    query: Float[Tensor, "b q t d"]
    key: Float[Tensor, "b q t d"]
    value: Float[Tensor, "b q t d"]
    attention: Float[Tensor, "b t t"]
    mixed: Float[Tensor, "b t c"]
    middle: Float[Tensor, "b t c"]
    hidden: Float[Tensor, "b t f"]
    output: Float[Tensor, "b t c"]


# A block is open_clip's ResidualAttentionBlock: ln_1, attn, ls_1, ln_2, mlp, ls_2.
Block = Any


def run_block(block: Block, tokens: Float[Tensor, "b t c"]) -> BlockTrace:
    """Run `block` and keep its parts; equals `block(tokens)`."""
    normed = block.ln_1(tokens)
    query, key, value = project_heads(block, normed)
    attention, scratch = square(query).zero_(), square(query)
    heads = []
    for head in range(query.shape[1]):
        weights = head_attention(query, key, head, scratch)
        attention += weights
        heads.append(weights @ value[:, head])
    mixed = torch.cat(heads, dim=-1)
    middle = tokens + block.ls_1(block.attn.out_proj(mixed))
    hidden = block.mlp.c_fc(block.ln_2(middle))
    output = middle + block.ls_2(block.mlp.c_proj(block.mlp.gelu(hidden)))
    attention /= query.shape[1]
    return BlockTrace(normed, query, key, value, attention, mixed, middle, hidden, output)


def advance(block: Block, tokens: Float[Tensor, "b t c"]) -> Float[Tensor, "b t c"]:
    """Return `block(tokens)`; faster than it, the more tokens and the narrower the model."""
    query, key, value = project_heads(block, block.ln_1(tokens))
    mixed = torch.nn.functional.scaled_dot_product_attention(query, key, value)
    middle = tokens + block.ls_1(block.attn.out_proj(_merge_heads(mixed)))
    output: Tensor = middle + block.ls_2(block.mlp(block.ln_2(middle)))
    return output


def project_heads(
    block: Block, normed: Float[Tensor, "b t c"]
) -> tuple[Float[Tensor, "b q t d"], Float[Tensor, "b q t d"], Float[Tensor, "b q t d"]]:
    """Return queries, keys and values, split into heads.

    Under autocast they come back in float32: the exponents of a softmax need its digits.
    """
    attn = block.attn
    joint = torch.nn.functional.linear(normed, attn.in_proj_weight, attn.in_proj_bias)
    joint = joint.to(normed.dtype)
    query, key, value = (
        part.reshape(*part.shape[:2], attn.num_heads, -1).transpose(1, 2)
        for part in joint.chunk(3, dim=-1)
    )
    return query, key, value


def head_attention(
    query: Float[Tensor, "b q t d"],
    key: Float[Tensor, "b q t d"],
    head: int,
    scratch: Float[Tensor, "b t t"],
) -> Float[Tensor, "b t t"]:
    """Return softmax(Q K^T / sqrt(d)) of one head, written into `scratch`.

    Fresh memory for every head would cost more than the product: the system clears its pages.
    """
    scaled = query[:, head] * query.shape[-1] ** -0.5
    torch.bmm(scaled, key[:, head].transpose(-1, -2), out=scratch)
    return torch.softmax(scratch, dim=-1, out=scratch)


def square(query: Float[Tensor, "b q t d"]) -> Float[Tensor, "b t t"]:
    """Return memory for the attention of one head, not initialised."""
    count, _, tokens, _ = query.shape
    return query.new_empty(count, tokens, tokens)


def value_path(block: Block, tokens: Float[Tensor, "b t c"]) -> Float[Tensor, "b t c"]:
    """Run `block` with every token attending to itself alone (MaskCLIP)."""
    _, _, value = project_heads(block, block.ln_1(tokens))
    attended = tokens + block.ls_1(block.attn.out_proj(_merge_heads(value)))
    calibrated: Tensor = attended + block.ls_2(block.mlp(block.ln_2(attended)))
    return calibrated


def self_correlation(block: Block, trace: BlockTrace, *, sum_heads: bool) -> Float[Tensor, "b t c"]:
    """Return W_o(R V): what static visual calibration adds to its path at this block.

    Paper: ExCEL; R = mean of softmax(Q Q^T s), softmax(K K^T s), softmax(V V^T s), one R for all
    heads, summed over heads (`sum_heads`). Here: the mean over heads unless `sum_heads`.
    """
    relation, scratch = square(trace.query).zero_(), square(trace.query)
    count = trace.query.shape[1]
    for part in (trace.query, trace.key, trace.value):
        for head in range(count):
            relation += head_attention(part, part, head, scratch)
    relation /= 3 if sum_heads else 3 * count
    mixed = relation @ _merge_heads(trace.value)
    added: Tensor = block.ls_1(block.attn.out_proj(mixed))
    return added


def _merge_heads(parts: Float[Tensor, "b q t d"]) -> Float[Tensor, "b t c"]:
    return parts.transpose(1, 2).flatten(2)
