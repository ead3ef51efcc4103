"""Where a CLIP comes from: architecture, preprocessing and weights, through open_clip.

One road for all weights: a hub tag becomes a local file, a file becomes a state dict, and a state
dict fits completely or not at all. Nothing is unpickled beyond tensors.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import safetensors.torch
import torch
from torch import Tensor

from gleclip_cli.errors import BadInput, GleclipError, UsageError
from gleclip_cli.model.hf_layout import parts_of, settings_beside, weights_in
from gleclip_cli.model.hub import architecture, cached, check_activation, tag_settings
from gleclip_cli.model.hub import fetch as fetch_tag
from gleclip_cli.model.torchscript import is_torchscript, module_classes, read_torchscript

RANDOM = "random"
_FILE_SUFFIXES = {".safetensors", ".pt", ".pth", ".bin"}
# What files carry besides weights: OpenAI's numbers, and buffers that every model makes itself.
_NOT_WEIGHTS = {"input_resolution", "context_length", "vocab_size", "attn_mask", "position_ids"}
_LAYER = re.compile(r"(.*?\.)(\d+)(\..*)")


@dataclass(frozen=True)
class ClipSource:
    """What is needed to build one CLIP; `file` is None for random weights.

    `mean` and `std` belong to RGB in [0, 1]; `sha256` is that of the weights file, or of the
    hashes of its parts; empty for weights that have not been fetched.
    """

    name: str
    config: dict[str, Any]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    file: Path | None
    sha256: str


def find_clip(model: str, weights: str, *, seed: int = 0, fetch: bool = True) -> ClipSource:
    """Resolve an architecture and its weights; a hub tag is fetched when it is not cached.

    `weights`: a tag, a file, a folder in the layout of the hub, or `random`. Without `fetch`, what
    is not on this machine has an empty hash.

    Raises:
        UsageError: unknown name, tag or file, or weights trained with another activation.
        BadInput: a configuration file that is none, or weights that cannot be read.
        EnvironmentFault: the hub cannot be reached.
    """
    config, preprocess = architecture(model)
    if weights == RANDOM:
        # Same seed, architecture and torch draw the same numbers; so no need to build the model.
        identity = json.dumps([RANDOM, seed, torch.__version__, config], sort_keys=True)
        digest = hashlib.sha256(identity.encode()).hexdigest()
        return ClipSource(model, config, *_colours(preprocess), None, digest)
    path = Path(weights).expanduser()
    file = weights_in(path) if path.is_dir() else path if path.is_file() else None
    if file is not None:
        quick_gelu, beside = _training(file)
        if quick_gelu is not None:
            check_activation(model, config, weights, quick_gelu)
        preprocess = {**beside, **preprocess}
    elif path.suffix in _FILE_SUFFIXES or len(path.parts) != 1 or path.is_dir():
        raise UsageError(
            f"There is no weights file {weights}.",
            "Name an existing file, a hub tag of open_clip, or random, with --clip-weights.",
        )
    else:
        preprocess = tag_settings(model, weights, random=RANDOM)
        check_activation(model, config, weights, bool(preprocess.get("quick_gelu")))
        file = fetch_tag(model, weights, preprocess) if fetch else cached(preprocess)
    if file is None:
        return ClipSource(model, config, *_colours(preprocess), None, "")
    return ClipSource(model, config, *_colours(preprocess), file, _digest(parts_of(file)))


def _digest(parts: list[Path]) -> str:
    """Return the hash of a file, or of the hashes of several."""
    digests = []
    for part in parts:
        with part.open("rb") as stream:
            digests.append(hashlib.file_digest(stream, "sha256").hexdigest())
    return (
        digests[0] if len(digests) == 1 else hashlib.sha256(" ".join(digests).encode()).hexdigest()
    )


def _training(file: Path) -> tuple[bool | None, dict[str, Any]]:
    """Return whether weights were trained with QuickGELU, if known, and `mean` and `std`, if so."""
    if settings := settings_beside(file):
        return settings
    with _reading(file):
        classes = module_classes(file) if is_torchscript(file) else set()
    return True if "QuickGELU" in classes else False if "GELU" in classes else None, {}


def _colours(preprocess: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    mean = preprocess.get("mean", open_clip.OPENAI_DATASET_MEAN)
    std = preprocess.get("std", open_clip.OPENAI_DATASET_STD)
    return tuple(map(float, mean)), tuple(map(float, std))


def read_weights(file: Path) -> dict[str, Tensor]:
    """Return the state dict of a `.safetensors` file, or of a `.pt` of tensors or of TorchScript.

    An index stands for all files that it names.

    Raises:
        BadInput: the file holds no such thing; nothing in it is executed.
    """
    parts = parts_of(file)
    if parts != [file]:
        return {name: value for part in parts for name, value in read_weights(part).items()}
    with _reading(file):
        content = _content(file)
    for wrapping in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(wrapping), dict):
            content = content[wrapping]
    if not isinstance(content, dict) or not content:
        raise _unreadable(file, "it holds no state dict")
    tensors = {
        str(name).removeprefix("module."): value
        for name, value in content.items()
        if str(name).rpartition(".")[2] not in _NOT_WEIGHTS
    }
    if strangers := [name for name, value in tensors.items() if not isinstance(value, Tensor)]:
        raise _unreadable(file, f"{', '.join(strangers[:5])} is no tensor")
    return tensors


def _content(file: Path) -> Any:
    if file.suffix == ".safetensors":
        return safetensors.torch.load_file(file)
    if is_torchscript(file):
        return read_torchscript(file)
    return torch.load(file, map_location="cpu", weights_only=True)


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
    faults = [(name, "missing") for name in wanted if name not in given]
    faults += [(name, "unknown") for name in given if name not in wanted]
    faults += [
        (name, f"is {tuple(value.shape)}, not {tuple(wanted[name].shape)}")
        for name, value in given.items()
        if name in wanted and value.shape != wanted[name].shape
    ]
    # Copying would turn the integers of a quantised file into numbers that mean nothing.
    faults += [
        (name, f"holds {value.dtype}")
        for name, value in given.items()
        if name in wanted and value.is_floating_point() != wanted[name].is_floating_point()
    ]
    if faults:
        raise BadInput(
            f"The weights {origin} do not fit the model: {'; '.join(_joined(faults))}.", remedy
        )
    # not strict: what is not wanted stays as it is
    module.load_state_dict(given, strict=False)


def _joined(faults: Iterable[tuple[str, str]]) -> list[str]:
    """Say a fault that several layers share once, with their numbers in braces."""
    layers: dict[tuple[str, str, str], list[str]] = {}
    for name, fault in faults:
        match = _LAYER.fullmatch(name)
        head, number, tail = match.groups() if match else (name, "", "")
        layers.setdefault((head, tail, fault), []).append(number)
    return [
        f"{head}{_range(numbers)}{tail} {fault}" for (head, tail, fault), numbers in layers.items()
    ]


def _range(numbers: list[str]) -> str:
    if len(numbers) == 1:
        return numbers[0]
    first, last = int(numbers[0]), int(numbers[-1])
    whole = numbers == [str(number) for number in range(first, last + 1)]
    return f"{{{first}-{last}}}" if whole else f"{{{','.join(numbers)}}}"


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Turn whatever damaged bytes make the readers raise into one kind of error."""
    try:
        yield
    except (MemoryError, GleclipError):
        raise
    except Exception as error:
        raise _unreadable(file, " ".join(str(error).split())[:300] or repr(error)) from error


def _unreadable(file: Path, reason: str) -> BadInput:
    return BadInput(
        f"{file} cannot be read as weights: {reason}.",
        "Use a .safetensors file, or a .pt file that holds only tensors.",
    )
