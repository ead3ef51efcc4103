"""Checkpoints (safetensors with JSON beside) and training state (one self-checking file)."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gleclip_cli.artifacts.atomic import atomic_write
from gleclip_cli.artifacts.json_files import read_json, write_json
from gleclip_cli.artifacts.lines import sha256_of
from gleclip_cli.artifacts.manifest import Manifest
from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.errors import BadInput, MissingInput

if TYPE_CHECKING:
    from torch import Tensor

_HUB_WEIGHTS, _HUB_META = "model.safetensors", "config.json"
STATE_FILE = "state.safetensors"
_RETRAIN = "Delete it and train again."


def save_checkpoint(path: Path, tensors: Mapping[str, "Tensor"], meta: Mapping[str, Any]) -> None:
    """Write weights to `path` and `meta` with their SHA-256 to the JSON beside it."""
    from safetensors.torch import save_file

    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with atomic_write(path) as temporary:
        save_file(plain, temporary)
    write_json(checkpoint_files(path)[1], {**meta, "sha256": sha256_of(path)})


def save_hub_checkpoint(
    folder: Path, tensors: Mapping[str, "Tensor"], meta: Mapping[str, Any]
) -> None:
    """Write a checkpoint under the names that model hubs know."""
    save_checkpoint(folder / _HUB_WEIGHTS, tensors, meta)


def checkpoint_files(path: Path) -> tuple[Path, Path]:
    """Return the files of weights and meta: `path` is the former, or the folder of both."""
    if path.is_dir():
        own = path / "checkpoint.safetensors"
        path = own if own.exists() else path / _HUB_WEIGHTS
    hub = path.name == _HUB_WEIGHTS
    return path, path.with_name(_HUB_META) if hub else path.with_suffix(".json")


def weights_file(name: str) -> Path | None:
    """Return the file `name`, or that of the checkpoint in the folder `name`, if there is one."""
    path = checkpoint_files(Path(name).expanduser())[0]
    return path if path.is_file() else None


def network_elsewhere(folder: Path, class_names: Sequence[str]) -> Manifest:
    """Return a network in a folder made for a hub as if a stage had just made it.

    Raises:
        BadInput: there is none, or it knows other classes.
    """
    _, about = checkpoint_files(folder)
    meta = read_json(about)
    if list(class_names) != meta.get("classes"):
        raise BadInput(
            f"{printable(folder)} knows other classes than this data set.",
            "Prepare the data with its class table: --classes FOLDER/classes.toml.",
        )
    digest = str(meta["sha256"])
    data = {"name": str(folder), "digest": digest, "config": {"limit": None}}
    return Manifest("train_seg", digest, {}, True, about, data)


def load_checkpoint(path: Path) -> tuple[dict[str, "Tensor"], dict[str, Any]]:
    """Read weights and their meta, which holds `sha256`, too; a folder as `checkpoint_files`.

    Raises:
        MissingInput: there is no checkpoint.
        BadInput: the weights are not those that were written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path, about = checkpoint_files(path)
    if not path.exists():
        raise MissingInput(f"No checkpoint {printable(path)}.", "Run `gleclip train-seg` first.")
    meta = read_json(about)
    if meta.get("sha256") != sha256_of(path):
        raise BadInput(f"{printable(path)} is damaged: its SHA-256 is another one.", _RETRAIN)
    try:
        return load_file(path), meta
    except SafetensorError as error:
        raise BadInput(f"{printable(path)} is no safetensors file: {error}.", _RETRAIN) from error


def save_training_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Write a nest of dicts, lists, tuples, numbers, strings, arrays and tensors, whole."""
    from safetensors.torch import save_file

    tensors: dict[str, Tensor] = {}
    tree = json.dumps(_pack(dict(state), tensors))
    # One metadata key: safetensors keeps several in random order.
    header = {"gleclip": json.dumps([_hash(tree, tensors), tree])}
    with atomic_write(folder / STATE_FILE) as temporary:
        save_file(tensors, temporary, metadata=header)


def load_training_state(folder: Path) -> dict[str, Any] | None:
    """Read what `save_training_state` wrote last, or None.

    Raises:
        BadInput: the file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    path = folder / STATE_FILE
    if not path.exists():
        return None
    damaged = BadInput(f"{printable(path)} is damaged.", "Delete it, or use --no-resume.")
    try:
        with safe_open(path, framework="pt") as file:
            digest, tree = json.loads(file.metadata()["gleclip"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise damaged from error
    if digest != _hash(tree, tensors):
        raise damaged
    state: dict[str, Any] = _unpack(json.loads(tree), tensors)
    return state


def _pack(value: Any, tensors: dict[str, "Tensor"]) -> Any:
    """Turn a value into JSON: containers tagged by kind, tensors moved aside by number."""
    import numpy as np
    import torch

    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        pairs = [[_pack(key, tensors), _pack(entry, tensors)] for key, entry in value.items()]
        return {"dict": pairs}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_pack(entry, tensors) for entry in value]}
    if isinstance(value, np.ndarray | torch.Tensor):
        kind = "array" if isinstance(value, np.ndarray) else "tensor"
        name = str(len(tensors))
        tensors[name] = torch.as_tensor(value).detach().cpu().contiguous().clone()
        return {kind: name}
    raise TypeError(f"training state cannot hold a {type(value).__name__}")


def _unpack(value: Any, tensors: Mapping[str, "Tensor"]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "dict":
        return {_unpack(key, tensors): _unpack(entry, tensors) for key, entry in content}
    if kind in ("list", "tuple"):
        entries = [_unpack(entry, tensors) for entry in content]
        return entries if kind == "list" else tuple(entries)
    tensor = tensors[content]
    return tensor.numpy() if kind == "array" else tensor


def _hash(tree: str, tensors: Mapping[str, "Tensor"]) -> str:
    import torch

    digest = hashlib.sha256(tree.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
