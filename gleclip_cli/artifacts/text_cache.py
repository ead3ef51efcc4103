"""Text embeddings kept in a run: other splits, and other settings of the same texts, reuse them.

A file is named by the hash of all that its embeddings were made from, and carries the hash of its
own content: one that is damaged, or was made from something else, is made again.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gleclip_cli.artifacts.atomic import atomic_write
from gleclip_cli.artifacts.run_dir import RunDir

if TYPE_CHECKING:
    from torch import Tensor

_FORMAT = 1
_NAME = "texts"


def cached_texts(
    run: RunDir, made_from: Mapping[str, Any], compute: Callable[[], "Tensor"]
) -> "Tensor":
    """Return the embeddings kept for `made_from`, on the CPU, or compute and keep them.

    `made_from` is everything that decides their bytes, as JSON takes it.

    Raises:
        EnvironmentFault: the disk is full or the folder cannot be written.
    """
    from safetensors.torch import save_file

    content = json.dumps([_FORMAT, made_from], sort_keys=True)
    key = hashlib.sha256(content.encode()).hexdigest()
    path = run.text_embeddings(key)
    kept = _read(path, key)
    if kept is None:
        kept = compute().detach().cpu().contiguous()
        with atomic_write(path, durable=False) as temporary:
            save_file({_NAME: kept}, temporary, metadata={"sha256": _digest(key, kept)})
    return kept


def _read(path: Path, key: str) -> "Tensor | None":
    """Return what a file holds, if it holds it whole."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            digest, tensor = file.metadata()["sha256"], file.get_tensor(_NAME)
    except (OSError, SafetensorError, KeyError, TypeError):
        return None
    # Copied into torch's own memory: a matrix product rounds otherwise where it lies unaligned.
    return tensor.clone() if digest == _digest(key, tensor) else None


def _digest(key: str, tensor: "Tensor") -> str:
    import torch

    digest = hashlib.sha256(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
    digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
