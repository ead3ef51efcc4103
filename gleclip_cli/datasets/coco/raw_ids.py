"""Label images in COCO's own category ids, 1 to 90 with gaps, made contiguous.

Which of the two numberings masks use is told by the image-level labels: the values of a mask have
to be among them.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np

from gleclip_cli.artifacts.labels import Labels
from gleclip_cli.artifacts.maps import load_label_image
from gleclip_cli.artifacts.run_dir import printable, safe_name
from gleclip_cli.datasets.integrity import Drawing
from gleclip_cli.datasets.vocabulary import BACKGROUND, IGNORE_INDEX
from gleclip_cli.errors import BadInput

_UNUSED = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
RAW_IDS = tuple(key for key in range(1, 91) if key not in _UNUSED)
"""COCO's own id of class 1, 2 ... 80."""


def count_numberings(masks: Iterable[tuple[Path, Sequence[int]]]) -> tuple[int, int]:
    """Count masks that fit the labels of their image as raw ids only, and as class ids only.

    `masks`: files with the class ids of their images; what cannot be read fits neither.
    """
    raw = contiguous = 0
    for path, class_ids in masks:
        with suppress(BadInput):
            values = set(np.unique(load_label_image(path)).tolist()) - {BACKGROUND, IGNORE_INDEX}
            fits = values <= set(class_ids)
            fits_raw = values <= {RAW_IDS[label - 1] for label in class_ids}
            raw += fits_raw and not fits
            contiguous += fits and not fits_raw
    return raw, contiguous


def raw_drawing(image_id: str, split: str, path: Path) -> Drawing:
    """Return a mask in raw ids, to be made contiguous when it is needed."""
    return Drawing(Path(split) / f"{safe_name(image_id)}.png", path, partial(_without_gaps, path))


def _without_gaps(path: Path) -> Labels:
    labels = load_label_image(path)
    table = np.full(256, BACKGROUND, np.uint8)
    table[list(RAW_IDS)] = np.arange(1, len(RAW_IDS) + 1)
    table[IGNORE_INDEX] = IGNORE_INDEX
    unknown = [v for v in np.unique(labels).tolist() if v != BACKGROUND == table[v]]
    if unknown:
        raise BadInput(
            f"{printable(path)} holds {', '.join(map(str, unknown[:5]))}: "
            "no category of COCO, whose own ids the other masks use.",
            "Use one of the two numberings: COCO's own (1 to 90 with gaps), or 1 to 80.",
        )
    return table[labels]
