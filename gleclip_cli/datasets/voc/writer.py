"""Writing the VOC2012 layout, so that drawn scenes are read by the code that reads VOC."""

from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from gleclip_cli.artifacts.atomic import write_text
from gleclip_cli.artifacts.maps import save_jpeg, save_label_image
from gleclip_cli.datasets.vocabulary import Vocabulary


def write_image(
    root: Path,
    image_id: str,
    image: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    class_ids: Sequence[int],
    vocabulary: Vocabulary,
) -> list[Path]:
    """Write a picture (H, W, 3), its mask (H, W) and its annotation; return the three files."""
    picture = root / "JPEGImages" / f"{image_id}.jpg"
    labels = root / "SegmentationClass" / f"{image_id}.png"
    annotation = root / "Annotations" / f"{image_id}.xml"
    save_jpeg(picture, image)
    save_label_image(labels, mask, vocabulary.palette)
    write_text(annotation, annotation_text(image_id, mask, class_ids, vocabulary))
    return [picture, labels, annotation]


def write_list(root: Path, split: str, image_ids: Sequence[str]) -> Path:
    """Write `ImageSets/Segmentation/<split>.txt`."""
    path = root / "ImageSets" / "Segmentation" / f"{split}.txt"
    write_text(path, "".join(f"{image_id}\n" for image_id in image_ids))
    return path


def annotation_text(
    image_id: str, mask: NDArray[np.uint8], class_ids: Sequence[int], vocabulary: Vocabulary
) -> str:
    """VOC XML with one box per class: the extent of its pixels (1-based, ends included).

    A class without a pixel of its own is listed as difficult, with the whole image as its box.
    """
    height, width = mask.shape
    objects = []
    for class_id in class_ids:
        rows, columns = np.nonzero(mask == class_id)
        seen = len(rows) > 0
        box = {
            "xmin": columns.min() + 1 if seen else 1,
            "ymin": rows.min() + 1 if seen else 1,
            "xmax": columns.max() + 1 if seen else width,
            "ymax": rows.max() + 1 if seen else height,
        }
        sides = "".join(f"<{side}>{value}</{side}>" for side, value in box.items())
        name = escape(vocabulary.class_names[class_id])
        objects.append(
            f"  <object><name>{name}</name><difficult>{int(not seen)}</difficult>"
            f"<bndbox>{sides}</bndbox></object>\n"
        )
    return (
        f"<annotation>\n  <filename>{escape(image_id)}.jpg</filename>\n"
        f"  <size><width>{width}</width><height>{height}</height><depth>3</depth></size>\n"
        f"  <segmented>1</segmented>\n{''.join(objects)}</annotation>\n"
    )
