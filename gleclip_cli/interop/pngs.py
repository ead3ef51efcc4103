"""Plain PNG masks, in a folder as the data set has its pictures: indexed, painted, or bare ids."""

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from gleclip_cli.artifacts.atomic import write_bytes
from gleclip_cli.artifacts.labels import Labels, ignore_index
from gleclip_cli.artifacts.photos import open_picture, why_undecoded
from gleclip_cli.datasets.vocabulary import Vocabulary
from gleclip_cli.errors import BadInput
from gleclip_cli.interop.masked import IGNORED_COLOUR, Masked, class_colours, path_of


def write_pngs(out: Path, masks: Iterable[Masked], vocabulary: Vocabulary, *, kind: str) -> int:
    """Write a PNG per mask; return how many.

    `kind`: `png`, indexed with the palette of the class table (grey beyond 254 classes);
    `png-rgb`, painted in its colours; `png-grey`, class ids without colours.
    """
    written = 0
    for masked in masks:
        path = out / path_of(masked.image_id, ".png")
        write_bytes(path, png_bytes(drawn(masked.labels, vocabulary, kind)), durable=False)
        written += 1
    return written


def drawn(labels: Labels, vocabulary: Vocabulary, kind: str) -> Image.Image:
    """Return labels (H, W) as a picture of that kind."""
    if kind == "png-rgb":
        colours, ignored = class_colours(vocabulary), ignore_index(labels)
        table = np.zeros((ignored + 1, 3), np.uint8)
        table[: len(colours)], table[ignored] = colours, IGNORED_COLOUR
        return Image.fromarray(table[labels])
    picture = Image.fromarray(np.ascontiguousarray(labels))
    if kind == "png" and labels.dtype == np.uint8:
        picture.putpalette(vocabulary.palette.tobytes())
    return picture


def png_bytes(picture: Image.Image) -> bytes:
    """Return the bytes of a PNG."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def decoded(content: bytes, where: str) -> Image.Image:
    """Decode a lossless picture completely; `where` names it in messages.

    Raises:
        BadInput: it is damaged or lossy.
    """
    try:
        with open_picture(content) as picture:
            picture.load()
    except MemoryError:
        raise
    except Exception as error:  # decoders raise many kinds on damaged bytes
        cause = f"{where}: {why_undecoded(error, content)}."
        raise BadInput(cause, "Export it again.") from error
    if picture.format == "JPEG":
        raise BadInput(f"{where} is a JPEG: its compression has changed it.", "Use PNG.")
    return picture
