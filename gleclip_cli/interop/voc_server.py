"""The archive for VOC's test server: a tar.gz of indexed PNGs, looked at before it is written.

comp6: trained with more than VOC's own data, which CLIP's are.
"""

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.datasets.vocabulary import Vocabulary, voc_palette
from gleclip_cli.errors import BadInput, UsageError
from gleclip_cli.interop.masked import Masked
from gleclip_cli.interop.pngs import drawn, png_bytes

_FOLDER = "results/VOC2012/Segmentation/comp6_test_cls"
_CLASSES = 21


def write_voc_server(out: Path, masks: Iterable[Masked], vocabulary: Vocabulary) -> int:
    """Write one PNG per mask; return how many.

    Raises:
        UsageError: the classes are not VOC's.
        BadInput: a mask has another size than its picture, or a value that is no class.
    """
    own = vocabulary.palette[:_CLASSES], voc_palette()[:_CLASSES]
    if vocabulary.name != "voc" or not np.array_equal(*own):
        raise UsageError(
            f"The server takes VOC's 20 classes, not those of {vocabulary.name}.",
            "Export a run of --dataset voc with its own class table.",
        )
    written = 0
    with tarfile.open(out, "w:gz") as archive:
        for masked in masks:
            _check(masked)
            content = png_bytes(drawn(masked.labels, vocabulary, "png"))
            member = tarfile.TarInfo(f"{_FOLDER}/{masked.image_id}.png")
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))
            written += 1
    return written


def _check(masked: Masked) -> None:
    where, labels = printable(masked.image_id), masked.labels
    if labels.shape != masked.size:
        shown = f"{labels.shape[::-1]}, its picture {masked.size[::-1]}"
        cause = f"The mask of {where} is {shown} pixels."
        raise BadInput(cause, "Make it again.")
    if labels.dtype != np.uint8 or labels.max() >= _CLASSES:
        raise BadInput(
            f"The mask of {where} holds {labels.max()}; the server counts from 0 to 20.",
            "Export masks without ignored pixels.",
        )
