"""COCO's JSON of instances: run lengths or polygons, one annotation per class of a picture.

Back by the reader of the data set COCO. Categories have COCO's own ids if the classes are COCO's.
"""

import json
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from gleclip_cli.datasets.coco.instances import read_instances
from gleclip_cli.datasets.coco.masks import draw_outlines
from gleclip_cli.datasets.coco.raw_ids import RAW_IDS
from gleclip_cli.datasets.integrity import Problem
from gleclip_cli.datasets.vocabulary import Vocabulary
from gleclip_cli.interop.masked import Masked, Stored, path_of, regions
from gleclip_cli.interop.outlines import polygons


def write_coco(
    out: Path, masks: Iterable[Masked], vocabulary: Vocabulary, *, simplify: float | None
) -> int:
    """Write annotations one by one; return how many there are.

    `simplify`: polygons whose outlines may be moved by that many pixels; None: run lengths.
    """
    ids = _category_ids(vocabulary)
    images: list[dict[str, Any]] = []
    written = 0
    with out.open("w", encoding="ascii") as file:
        file.write('{"annotations": [')
        for number, masked in enumerate(masks, 1):
            height, width = masked.labels.shape
            name = path_of(masked.image_id, masked.image.suffix)
            images.append({"id": number, "file_name": name, "height": height, "width": width})
            for value, inside in regions(masked):
                segmentation = _segmentation(inside, simplify)
                if not segmentation:
                    continue
                file.write(",\n" if written else "\n")
                written += 1
                annotation = {"id": written, "image_id": number, "category_id": ids[value - 1]}
                json.dump({**annotation, **_shape(inside), "segmentation": segmentation}, file)
        categories = [
            {"id": key, "name": name} for key, name in zip(ids, vocabulary.classes, strict=True)
        ]
        listed = {"images": images, "categories": categories}
        for key, rows in listed.items():
            lines = ",\n".join(map(json.dumps, rows))
            file.write(f'\n], "{key}": [\n{lines}')
        file.write("\n]}\n")
    return written


def read_coco(path: Path, vocabulary: Vocabulary) -> tuple[dict[str, Stored], list[Problem]]:
    """Find the masks of a file by name of picture; without annotations it was not looked at.

    Raises:
        BadInput: the file is damaged or no instances.
    """
    found = read_instances(path, vocabulary)
    stored = {
        name: Stored(
            path, partial(draw_outlines, path, name, row.spans, row.size, found.categories)
        )
        for name, row in found.images.items()
    }
    return stored, list(found.problems)


def _category_ids(vocabulary: Vocabulary) -> tuple[int, ...]:
    if vocabulary.name == "coco" and len(vocabulary.classes) == len(RAW_IDS):
        return RAW_IDS
    return tuple(range(1, len(vocabulary.classes) + 1))


def _segmentation(inside: NDArray[np.bool_], simplify: float | None) -> Any:
    if simplify is not None:
        return [ring.ravel().tolist() for ring in polygons(inside, simplify)]
    packed = coco_mask.encode(np.asfortranarray(inside, np.uint8))
    return {"size": list(inside.shape), "counts": packed["counts"].decode("ascii")}


def _shape(inside: NDArray[np.bool_]) -> dict[str, Any]:
    """Box and area of the pixels; `iscrowd` 0, for a crowd is ignored."""
    rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    left, top = int(columns[0]), int(rows[0])
    box = [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top]
    return {"bbox": box, "area": int(inside.sum()), "iscrowd": 0}
