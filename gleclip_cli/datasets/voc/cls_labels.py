"""`cls_labels.npy`: the image-level labels of VOC's trainaug and val, as peers pass them on."""

from pathlib import Path
from typing import Any

import numpy as np

from gleclip_cli.artifacts.pickled import read_pickled_npy
from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.errors import BadInput

_YEARS = range(1000, 10000)
_REMEDY = "Use the file that fits the class table, or leave it out: then annotations are read."


def read_cls_labels(path: Path, classes: int) -> dict[str, list[int]]:
    """Sorted 1-based class ids by image id, from a dictionary of vectors of zeros and ones.

    Ids written as numbers, such as 2007000032, become VOC's own: 2007_000032.

    Raises:
        BadInput: no such dictionary, a vector of another length than `classes` or with other
            values, an id that is not VOC's, or one that stands twice with different labels.
    """
    table = read_pickled_npy(path)
    if not isinstance(table, dict):
        raise _fault(path, "it holds no dictionary of labels")
    labels: dict[str, list[int]] = {}
    for key, vector in table.items():
        try:
            image_id, ids = _image_id(key), _class_ids(vector, classes)
            if labels.setdefault(image_id, ids) != ids:
                raise ValueError("it stands there twice, with different labels")
        except ValueError as error:
            raise _fault(path, f"image {printable(key)}: {error}") from error
    return labels


def _fault(path: Path, cause: str) -> BadInput:
    return BadInput(f"{printable(path)}: {cause}.", _REMEDY)


def _image_id(key: object) -> str:
    if isinstance(key, str):
        return key
    if not isinstance(key, int | np.integer) or int(key) // 10**6 not in _YEARS:
        raise ValueError("that is no id of VOC")
    year, number = divmod(int(key), 10**6)
    return f"{year}_{number:06d}"


def _class_ids(vector: Any, classes: int) -> list[int]:
    values = np.asarray(vector)
    if values.shape != (classes,):
        raise ValueError(f"labels of shape {values.shape} for {classes} classes")
    if not ((values == 0) | (values == 1)).all():
        raise ValueError("labels other than 0 and 1")
    return [int(index) + 1 for index in np.flatnonzero(values)]
