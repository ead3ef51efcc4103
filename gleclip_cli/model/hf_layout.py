"""CLIP as Hugging Face keeps it: other names, queries, keys and values apart, settings beside.

Source: the names in the files of `CLIPModel`, `model.safetensors` or `pytorch_model.bin`; large
ones are split, and `<name>.index.json` says under "weight_map" which file holds which tensor.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gleclip_cli.errors import BadInput

# open_clip's own names first: a folder that holds both has the same weights twice.
_FILES = (
    "open_clip_model.safetensors",
    "model.safetensors",
    "open_clip_pytorch_model.bin",
    "pytorch_model.bin",
    "model.safetensors.index.json",
    "pytorch_model.bin.index.json",
)
_NAMES = (
    ("vision_model.embeddings.class_embedding", "visual.class_embedding"),
    ("vision_model.embeddings.patch_embedding.", "visual.conv1."),
    ("vision_model.embeddings.position_embedding.weight", "visual.positional_embedding"),
    ("vision_model.pre_layrnorm.", "visual.ln_pre."),  # their spelling
    ("vision_model.post_layernorm.", "visual.ln_post."),
    ("vision_model.encoder.layers.", "visual.transformer.resblocks."),
    ("visual_projection.weight", "visual.proj"),
    ("text_model.embeddings.token_embedding.", "token_embedding."),
    ("text_model.embeddings.position_embedding.weight", "positional_embedding"),
    ("text_model.final_layer_norm.", "ln_final."),
    ("text_model.encoder.layers.", "transformer.resblocks."),
    ("text_projection.weight", "text_projection"),
)
_NAMES_IN_BLOCKS = (
    (".self_attn.", ".attn."),
    (".layer_norm1.", ".ln_1."),
    (".layer_norm2.", ".ln_2."),
    (".mlp.fc1.", ".mlp.c_fc."),
    (".mlp.fc2.", ".mlp.c_proj."),
)
_ALL_PARTS = "Copy the whole folder."
_TRANSPOSED = {"visual.proj", "text_projection"}
_QUERY = re.compile(r"(.*\.attn\.)q_proj\.(weight|bias)")


class HfSettings(NamedTuple):
    """What the files beside the weights say; `colours` has `mean` and `std` when they are told."""

    quick_gelu: bool
    colours: dict[str, Any]


def weights_in(folder: Path) -> Path | None:
    """Return the weights of a folder in the layout of the hub, if it holds any."""
    files = (folder / name for name in _FILES)
    return next((file for file in files if file.is_file()), None)


def parts_of(file: Path) -> list[Path]:
    """Return the files that hold the weights: those that an index names, else the file itself.

    Raises:
        BadInput: an index that cannot be read or names no files beside it; all missing are listed.
    """
    if not file.name.endswith(".index.json"):
        return [file]
    places = _read(file).get("weight_map")
    names = {*places.values()} if isinstance(places, dict) else set()
    if not names or not all(isinstance(name, str) and Path(name).name == name for name in names):
        raise BadInput(f"{file} names no files of weights beside it.", _ALL_PARTS)
    parts = [file.with_name(name) for name in sorted(names)]
    if missing := [part.name for part in parts if not part.is_file()]:
        raise BadInput(f"{file} names files that are missing: {', '.join(missing)}.", _ALL_PARTS)
    return parts


def settings_beside(file: Path) -> HfSettings | None:
    """Return the settings beside a weights file, or None when there are none of Hugging Face's.

    Raises:
        BadInput: they cannot be read.
    """
    vision = _read(file.with_name("config.json")).get("vision_config")
    if not isinstance(vision, dict):
        return None
    seen = _read(file.with_name("preprocessor_config.json"))
    colours = {key: seen[f"image_{key}"] for key in ("mean", "std") if f"image_{key}" in seen}
    # What equals the default of `CLIPVisionConfig` may be left out.
    return HfSettings(vision.get("hidden_act", "quick_gelu") == "quick_gelu", colours)


def as_open_clip(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict under open_clip's names; one that has them already stays as it is.

    A layer without all of query, key and value keeps them apart, for `fit_weights` to tell.
    """
    if not any(name.startswith(("vision_model.", "text_model.")) for name in tensors):
        return dict(tensors)
    renamed = {}
    for name, value in tensors.items():
        own = _renamed(name)
        renamed[own] = value.T if own in _TRANSPOSED and value.ndim == 2 else value
    for name in list(renamed):
        if match := _QUERY.fullmatch(name):
            block, kind = match.groups()
            parts = [f"{block}{part}_proj.{kind}" for part in "qkv"]
            if all(part in renamed for part in parts):
                renamed[f"{block}in_proj_{kind}"] = torch.cat([renamed.pop(part) for part in parts])
    return renamed


def _renamed(name: str) -> str:
    for theirs, ours in _NAMES:
        if name.startswith(theirs):
            name = ours + name.removeprefix(theirs)
            break
    for theirs, ours in _NAMES_IN_BLOCKS:
        name = name.replace(theirs, ours)
    return name


def _read(file: Path) -> dict[str, Any]:
    """Return the object of a JSON file; an empty one when there is no file."""
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{file} cannot be read as JSON: {error}.", "Mend or remove it.") from None
    return content if isinstance(content, dict) else {}
