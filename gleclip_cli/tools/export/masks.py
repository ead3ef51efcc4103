"""Masks in the formats of other programs, one after the other."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from gleclip_cli.artifacts.atomic import write_text
from gleclip_cli.artifacts.labels import Labels, ignore_index
from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.artifacts.tables import PreparedData
from gleclip_cli.config import ExportConfig
from gleclip_cli.config.export import MAP_FORMATS
from gleclip_cli.datasets.vocabulary import Vocabulary
from gleclip_cli.errors import BadInput
from gleclip_cli.interop.coco_json import write_coco
from gleclip_cli.interop.cvat import write_cvat
from gleclip_cli.interop.label_studio import labelling_config, write_label_studio
from gleclip_cli.interop.labelme import write_labelme
from gleclip_cli.interop.masked import Masked
from gleclip_cli.interop.pngs import write_pngs
from gleclip_cli.interop.voc_server import write_voc_server
from gleclip_cli.parallel.batches import prefetched
from gleclip_cli.progress import Progress
from gleclip_cli.tools.export.source import Found

FOLDERS = {
    "labelme": (".json",),
    **dict.fromkeys(("png", "png-rgb", "png-grey"), (".png",)),
    **dict.fromkeys(MAP_FORMATS, (".npy",)),
    "hub": (".safetensors", ".json", ".toml", ".md"),
}
"""Formats that are a folder, and the endings of what is in it."""

COUNTED = {
    "coco": "annotations",
    "cvat": "regions",
    "labelstudio": "regions",
    "labelme": "polygons",
}
"""What the number that a writer returns counts, if not masks."""


def write_masks(
    temporary: Path,
    out: Path,
    masks: Iterator[Masked],
    vocabulary: Vocabulary,
    config: ExportConfig,
) -> int:
    """Write masks to `temporary`, which will stand at `out`; return how many things there are.

    Raises:
        UsageError: the format cannot hold these classes.
        BadInput: a mask is damaged or has another size than its picture.
    """
    match config.format:
        case "coco":
            simplify = config.simplify if config.polygons else None
            return write_coco(temporary, masks, vocabulary, simplify=simplify)
        case "cvat":
            return write_cvat(temporary, masks, vocabulary, band=config.ignore_band > 0)
        case "labelstudio":
            for path in beside(out, config.format):
                write_text(path, labelling_config(vocabulary))
            return write_label_studio(temporary, masks, vocabulary, images=config.images)
        case "labelme":
            return write_labelme(temporary, out, masks, vocabulary, simplify=config.simplify)
        case "voc-test":
            return write_voc_server(temporary, masks, vocabulary)
        case kind:
            return write_pngs(temporary, masks, vocabulary, kind=kind)


def beside(out: Path, kind: str) -> dict[Path, tuple[str, ...]]:
    """Return what is written beside `out`: for Label Studio, how a project is to be set up."""
    return {out.with_suffix(".xml"): ()} if kind == "labelstudio" else {}


def masks_of(
    found: Found, data: PreparedData, config: ExportConfig, *, workers: int, progress: Progress
) -> Iterator[Masked]:
    """Yield every mask with its picture; `workers` threads read files ahead.

    Raises:
        BadInput: a mask is damaged or has another size than its picture.
    """
    ahead = workers if found.ready else 0
    loaded = prefetched(found.image_ids, found.load, workers=ahead)
    for image_id, load in progress.each(loaded, total=len(found.image_ids), label="export"):
        record = data.record(config.split, image_id)
        labels = load()
        assert isinstance(labels, np.ndarray)
        if labels.shape != record.size:
            shown = " and ".join(f"{w} x {h}" for h, w in (labels.shape, record.size))
            cause = f"{printable(image_id)}: mask and picture differ in size, {shown} pixels."
            raise BadInput(cause, "Run the command that made the mask again.")
        if config.ignore_band:
            labels = with_band(labels, config.ignore_band)
        yield Masked(image_id, record.image, record.size, labels)


def with_band(labels: Labels, width: int) -> Labels:
    """Return labels (H, W) with `width` pixels ignored on both sides of every boundary."""
    kernel = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    plain: NDArray[np.unsignedinteger] = np.ascontiguousarray(labels)
    # Pixels beyond the border of the picture take no part.
    differs = cv2.dilate(plain, kernel) != cv2.erode(plain, kernel)
    banded: Labels = np.where(differs, plain.dtype.type(ignore_index(plain)), plain)
    return banded
