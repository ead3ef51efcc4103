"""Maps as peers keep them: `<id>.npy`, a pickled dictionary; read by the restricted reader.

    clip-es   keys int64 (k,), attn_highres float16 (k, H, W)
    irn       keys tensor int64 (k,), cam tensor float32 (k, ceil(H/4), ceil(W/4)),
              high_res float32 (k, H, W), which is what is read
    psa       class -> float32 (H, W); also MCTformer, WeakTr

All count classes from 0 without background: their 0 is class id 1 here. H, W are those of the
photograph.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from gleclip_cli.artifacts.maps import Cam
from gleclip_cli.artifacts.pickled import read_pickled_npy
from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.errors import BadInput
from gleclip_cli.interop.pickled_npy import AsTensor, write_pickled_npy

CAM_FORMATS = ("clip-es", "irn", "psa")
_MAPS = {"clip-es": "attn_highres", "irn": "high_res"}
_STRIDE = 4
_ROUNDING = 1e-3


def read_cam_dict(path: Path, name: str, *, size: tuple[int, int], num_classes: int) -> Cam:
    """Read maps in format `name` of a photograph of `size` (H, W).

    `num_classes` counts background.

    Raises:
        BadInput: the file is missing, damaged or refused, holds something else, its maps have
            another size, are not finite or not in [0, 1], or a class is unknown.
    """
    content = read_pickled_npy(path)
    try:
        keys, maps = _parts(content, name, size)
        _check(keys, maps, size, num_classes - 1)
    except (ValueError, TypeError) as error:
        raise BadInput(
            f"{printable(path)} holds no maps in the format {name}: {error}.",
            "Check --cams-format, the class table and the photograph these maps are of.",
        ) from error
    return Cam(maps.clip(0, 1).astype(np.float32), keys.astype(np.int64) + 1, size)


def write_cam_dict(path: Path, name: str, cam: Cam) -> None:
    """Write maps in format `name`, enlarged to the size of their photograph."""
    keys, full = cam.class_ids - 1, cam.enlarged()
    content: dict[Any, Any]
    if name == "psa":
        content = {int(key): scores for key, scores in zip(keys, full, strict=True)}
    elif name == "irn":
        content = {"keys": AsTensor(keys), "cam": AsTensor(_strided(cam)), "high_res": full}
    else:
        content = {"keys": keys, _MAPS[name]: full.astype(np.float16)}
    write_pickled_npy(path, content)


def _parts(content: object, name: str, size: tuple[int, int]) -> tuple[NDArray[Any], NDArray[Any]]:
    if not isinstance(content, Mapping):
        raise TypeError("it is no dictionary")
    if name == "psa":
        if not all(isinstance(key, int | np.integer) for key in content):
            raise TypeError(f"keys are {', '.join(printable(k) for k in list(content)[:5])}")
        maps = [np.asarray(scores) for scores in content.values()]
        return np.array(list(content), int), np.stack(maps) if maps else np.empty((0, *size))
    missing = {"keys", _MAPS[name]} - set(content)
    if missing:
        raise ValueError(f"{' and '.join(sorted(missing))} are missing")
    return np.asarray(content["keys"]), np.asarray(content[_MAPS[name]])


def _check(keys: NDArray[Any], maps: NDArray[Any], size: tuple[int, int], classes: int) -> None:
    if keys.ndim != 1 or (keys.size and keys.dtype.kind not in "iu"):
        raise ValueError(f"keys are {keys.dtype} {keys.shape}, not a list of classes")
    if maps.dtype.kind != "f" or maps.shape != (len(keys), *size):
        raise ValueError(
            f"maps are {maps.dtype} {maps.shape} for {len(keys)} classes and a photograph of {size}"
        )
    unknown = [key for key in keys.tolist() if not 0 <= key < classes]
    if unknown or len(np.unique(keys)) != len(keys):
        raise ValueError(
            f"classes are {keys.tolist()}, not different ones of 0 to {classes - 1} (0 is the "
            "first class, not background)"
        )
    if not np.isfinite(maps).all():
        raise ValueError("values are NaN or infinite")
    if maps.size and (maps.min() < -_ROUNDING or maps.max() > 1 + _ROUNDING):
        raise ValueError(f"values run from {maps.min():.4g} to {maps.max():.4g}, outside 0 to 1")


def _strided(cam: Cam) -> NDArray[np.float32]:
    """Return the maps on a grid of 4 pixels, the last cell of a side may be cut."""
    height, width = (-(-side // _STRIDE) for side in cam.size)
    grid = np.empty((len(cam.scores), height, width), np.float32)
    for index, scores in enumerate(cam.scores):
        cv2.resize(scores, (width, height), dst=grid[index], interpolation=cv2.INTER_LINEAR)
    return grid
