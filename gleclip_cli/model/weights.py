"""Where a CLIP comes from: architecture, preprocessing and weights, through open_clip.

One road for all weights: a hub tag becomes a local file, a file becomes a state dict, and a state
dict fits completely or not at all. Nothing is unpickled beyond tensors.
"""

import difflib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import safetensors.torch
import torch
from torch import Tensor

from gleclip_cli.errors import BadInput, EnvironmentFault, UsageError

RANDOM = "random"
_FILE_SUFFIXES = {".safetensors", ".pt", ".pth", ".bin"}
# Numbers that OpenAI's state dicts carry besides weights.
_NOT_WEIGHTS = {"input_resolution", "context_length", "vocab_size"}


@dataclass(frozen=True)
class ClipSource:
    """What is needed to build one CLIP; `file` is None for random weights.

    `mean` and `std` belong to RGB in [0, 1]; `sha256` is that of the weights file.
    """

    name: str
    config: dict[str, Any]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    file: Path | None
    sha256: str


def find_clip(model: str, weights: str, *, seed: int = 0) -> ClipSource:
    """Resolve an architecture and its weights; a hub tag is fetched when it is not cached.

    Raises:
        UsageError: unknown name, tag or file.
        BadInput: a configuration file that is none.
        EnvironmentFault: the hub cannot be reached.
    """
    config, preprocess = _architecture(model)
    if weights == RANDOM:
        # Same seed, architecture and torch draw the same numbers; so no need to build the model.
        identity = json.dumps([RANDOM, seed, torch.__version__, config], sort_keys=True)
        return ClipSource(
            model,
            config,
            *_colours(preprocess),
            None,
            hashlib.sha256(identity.encode()).hexdigest(),
        )
    file = Path(weights).expanduser()
    if not file.is_file():
        if file.suffix in _FILE_SUFFIXES or len(file.parts) != 1:
            raise UsageError(
                f"There is no weights file {weights}.",
                "Name an existing file, a hub tag of open_clip, or random, with --clip-weights.",
            )
        file, preprocess = _fetch(model, weights, quick_gelu=bool(config.get("quick_gelu")))
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return ClipSource(model, config, *_colours(preprocess), file, digest)


def _architecture(model: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return open_clip's model and preprocessing configuration of a name or a JSON file."""
    if not model.endswith(".json"):
        config = open_clip.get_model_config(model) if model in open_clip.list_models() else None
        if config is None:
            close = difflib.get_close_matches(model, open_clip.list_models(), n=3)
            raise UsageError(
                f"open_clip knows no model {model!r}.",
                f"Choose {' or '.join(close)}." if close else "Name one of open_clip's models.",
            )
        return config, {}
    try:
        read = json.loads(Path(model).expanduser().read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(
            f"There is no model configuration {model}.", "Name an existing file with --clip-model."
        ) from None
    except (OSError, ValueError) as error:
        raise BadInput(f"{model} cannot be read as JSON: {error}.", "Mend the file.") from None
    config = read.get("model_cfg", read) if isinstance(read, dict) else {}
    if missing := {"embed_dim", "vision_cfg", "text_cfg"} - set(config):
        raise BadInput(
            f"{model} is no open_clip model configuration: {', '.join(sorted(missing))} missing.",
            "Use the JSON format of open_clip's model_configs.",
        )
    return config, read.get("preprocess_cfg", {})


def _colours(preprocess: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    mean = preprocess.get("mean", open_clip.OPENAI_DATASET_MEAN)
    std = preprocess.get("std", open_clip.OPENAI_DATASET_STD)
    return tuple(map(float, mean)), tuple(map(float, std))


def _fetch(model: str, tag: str, *, quick_gelu: bool) -> tuple[Path, dict[str, Any]]:
    """Return the cached or fetched file of a hub tag and its preprocessing configuration."""
    known = open_clip.list_pretrained_tags_by_model(model)
    if not open_clip.pretrained.is_pretrained_cfg(model, tag):
        raise UsageError(
            f"open_clip has no weights {tag!r} for {model}.",
            f"Use a file, {RANDOM}, or one of: {', '.join(known)}."
            if known
            else f"Name a weights file with --clip-weights, or {RANDOM}.",
        )
    preprocess: dict[str, Any] = open_clip.get_pretrained_cfg(model, tag)
    if bool(preprocess.get("quick_gelu")) != quick_gelu:
        twin = f"{model}-quickgelu" if not quick_gelu else model.removesuffix("-quickgelu")
        raise UsageError(
            f"The weights {tag!r} were not trained with the activation of {model}.",
            f"Use --clip-model {twin}.",
        )
    try:
        return Path(open_clip.download_pretrained(preprocess)), preprocess
    # Unreachable, refused, wrong checksum, no hub package: whatever the two clients raise.
    except (OSError, RuntimeError, ValueError) as error:
        raise EnvironmentFault(
            f"The weights {tag!r} of {model} cannot be had: {_one_line(error)}",
            "Connect once, or copy the file here and name it with --clip-weights FILE.",
        ) from error


def read_weights(file: Path) -> dict[str, Tensor]:
    """Return the state dict of a `.safetensors` file or of a `.pt` file of tensors.

    Raises:
        BadInput: the file holds no such thing; nothing in it is executed.
    """
    try:
        if file.suffix == ".safetensors":
            return dict(safetensors.torch.load_file(file))
        content = torch.load(file, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # damaged bytes make the two readers raise many kinds
        raise _unreadable(file, _one_line(error)) from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not content:
        raise _unreadable(file, "it holds no state dict")
    tensors = {
        str(name).removeprefix("module."): value
        for name, value in content.items()
        if name not in _NOT_WEIGHTS
    }
    if strangers := [name for name, value in tensors.items() if not isinstance(value, Tensor)]:
        raise _unreadable(file, f"{', '.join(strangers[:5])} is no tensor")
    return tensors


def fit_weights(
    module: torch.nn.Module,
    tensors: Mapping[str, Tensor],
    *,
    origin: str,
    remedy: str,
    wanted: Mapping[str, Tensor] | None = None,
) -> None:
    """Copy `tensors` into `module`, all or none; half precision becomes the module's own.

    `wanted`: the part of the module's state that is to be filled; all of it by default.

    Raises:
        BadInput: names or shapes differ from `wanted`; all differences are listed.
    """
    wanted = module.state_dict() if wanted is None else wanted
    given = {
        # A scalar is stored as () by some and as (1,) by others.
        name: value.reshape(wanted[name].shape)
        if name == "logit_scale" and name in wanted and value.numel() == wanted[name].numel()
        else value
        for name, value in tensors.items()
    }
    faults = [f"{name} missing" for name in wanted if name not in given]
    faults += [f"{name} unknown" for name in given if name not in wanted]
    faults += [
        f"{name} is {tuple(value.shape)}, not {tuple(wanted[name].shape)}"
        for name, value in given.items()
        if name in wanted and value.shape != wanted[name].shape
    ]
    if faults:
        raise BadInput(
            f"The weights {origin} do not fit the model: {'; '.join(faults)}.",
            remedy,
        )
    # not strict: what is not wanted stays as it is
    module.load_state_dict(given, strict=False)


def _unreadable(file: Path, reason: str) -> BadInput:
    return BadInput(
        f"{file} cannot be read as weights: {reason}.",
        "Use a .safetensors file, or a .pt file of open_clip that holds only tensors.",
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
