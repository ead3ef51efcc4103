"""Masks of the Semantic Boundaries Dataset: one MATLAB file per image beside VOC2012.

Source: Hariharan et al., ICCV 2011; `GTcls.Segmentation` holds VOC's class ids, 0 for background,
no border.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import scipy.io
from numpy.typing import NDArray

from gleclip_cli.artifacts.run_dir import printable, safe_name
from gleclip_cli.datasets.integrity import Drawing
from gleclip_cli.errors import BadInput

_PLACES = (
    "VOCaug/dataset",
    "benchmark_RELEASE/dataset",
    "SBD/dataset",
    "sbd/dataset",
    "SBD",
    "sbd",
)


def find_sbd(folders: Iterable[Path]) -> Path | None:
    """Return the first folder `cls` of an SBD inside one of `folders`."""
    places = (folder / place / "cls" for folder in folders for place in _PLACES)
    return next((place for place in places if place.is_dir()), None)


def sbd_drawing(path: Path) -> Drawing:
    """Return the mask in a file of `cls`, to be drawn when it is needed."""
    return Drawing(Path("sbd") / f"{safe_name(path.stem)}.png", path, lambda: read_sbd_mask(path))


def read_sbd_mask(path: Path) -> NDArray[np.uint8]:
    """Return the label image (H, W) of one file.

    Raises:
        BadInput: it is no MATLAB file, or holds no segmentation.
    """
    try:
        content = scipy.io.loadmat(path, variable_names=["GTcls"], squeeze_me=True)
        mask = np.asarray(content["GTcls"]["Segmentation"][()])
    except MemoryError:
        raise
    except Exception as error:  # damaged bytes make the reader raise many kinds
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise BadInput(
            f"{printable(path)} holds no mask of SBD: {reason}.",
            "Unpack it from the archive again.",
        ) from error
    if mask.ndim != 2 or mask.dtype != np.uint8:
        raise BadInput(
            f"{printable(path)} holds {mask.dtype} of shape {mask.shape}, no label image.",
            "Unpack it from the archive again.",
        )
    return mask
