"""open_clip's model of a configuration: a plain CLIP, or refused, and its tokenizer."""

import json
from collections.abc import Callable
from functools import cache
from typing import Any

import open_clip
from open_clip.transformer import QuickGELU, ResidualAttentionBlock, VisionTransformer
from torch import Tensor, nn

from gleclip_cli.errors import BadInput, UsageError
from gleclip_cli.model.weights import ClipSource


def build_plain(source: ClipSource) -> Any:
    """Build open_clip's model, its weights random.

    Raises:
        UsageError: it is not a plain CLIP vision transformer.
        BadInput: a broken configuration.
    """
    config = dict(source.config)
    text = config["text_cfg"]
    kind = open_clip.CustomTextCLIP if config.pop("custom_text", False) else open_clip.CLIP
    # Asked before building, because these would fetch files of their own.
    foreign = {"hf_model_name", "hf_tokenizer_name"} & set(text)
    if foreign or "timm_model_name" in config["vision_cfg"] or "multimodal_cfg" in config:
        raise _not_plain(source.name)
    try:
        clip = kind(**config)
    except (TypeError, ValueError, AssertionError) as error:
        raise BadInput(
            f"open_clip cannot build {source.name}: {error}.",
            "Use the JSON format of open_clip's model_configs.",
        ) from error
    visual = clip.visual
    if not (
        isinstance(visual, VisionTransformer)
        and visual.attn_pool is None
        and visual.pool_type == "tok"
        and visual.patch_size[0] == visual.patch_size[1]
        and all(isinstance(block, ResidualAttentionBlock) for block in visual.transformer.resblocks)
        and all(isinstance(b.mlp.gelu, QuickGELU | nn.GELU) for b in visual.transformer.resblocks)
    ):
        raise _not_plain(source.name)
    return clip


def tokenizer_of(source: ClipSource) -> Callable[[list[str]], Tensor]:
    """Return what turns texts into token ids (k, s)."""
    text = source.config["text_cfg"]
    options = text.get("tokenizer_kwargs") or {}
    words = {"context_length": text.get("context_length", 77), **options}
    made: Callable[[list[str]], Tensor] = _tokenizer(json.dumps(words, sort_keys=True))
    return made


@cache
def _tokenizer(words: str) -> Any:
    """Return open_clip's tokenizer; it reads its table for longer than a small CLIP takes."""
    return open_clip.SimpleTokenizer(**json.loads(words))


def _not_plain(name: str) -> UsageError:
    return UsageError(
        f"{name} is not a plain CLIP: vision transformer with CLS token, byte-pair texts.",
        "Use a ViT model such as ViT-B-16-quickgelu with --clip-model.",
    )
