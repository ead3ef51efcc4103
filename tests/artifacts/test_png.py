"""Label images decoded at once, against Pillow; everything else is left to Pillow."""

import io
import struct
import zlib
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from gleclip_cli.artifacts.png import decode_labels

LABELS = np.random.default_rng(0).integers(0, 256, (37, 53), np.uint8)


def saved(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


def indexed() -> Image.Image:
    image = Image.fromarray(LABELS)
    image.putpalette(np.arange(768).astype(np.uint8).tobytes())
    return image


def chunk(kind: bytes, content: bytes) -> bytes:
    crc = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)


def png(rows: np.ndarray, *, width: int, colour: int = 0, parts: int = 1) -> bytes:
    """A grey PNG of rows that begin with their filter."""
    header = struct.pack(">IIBBBBB", width, len(rows), 8, colour, 0, 0, 0)
    packed = zlib.compress(rows.tobytes())
    cuts = [len(packed) * part // parts for part in range(parts + 1)]
    pixels = b"".join(chunk(b"IDAT", packed[a:b]) for a, b in pairwise(cuts))
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return start + chunk(b"tEXt", b"a\0b") + pixels + chunk(b"IEND", b"")


def test_an_indexed_png_is_as_pillow_reads_it() -> None:
    data = saved(indexed())
    mode, values = decode_labels(data, most_pixels=10**6)
    assert mode == "P"
    assert values.flags.writeable
    np.testing.assert_array_equal(values, np.asarray(Image.open(io.BytesIO(data))))


def test_a_grey_one_in_several_chunks() -> None:
    data = png(np.pad(LABELS, ((0, 0), (1, 0))), width=53, parts=3)
    mode, values = decode_labels(data, most_pixels=10**6)
    assert mode == "L"
    np.testing.assert_array_equal(values, LABELS)
    np.testing.assert_array_equal(values, np.asarray(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize(
    "data",
    [
        saved(Image.fromarray(np.stack([LABELS] * 3, axis=2))),
        saved(Image.fromarray(LABELS.astype(np.uint16))),
        saved(indexed().quantize(4), bits=2),
        png(np.pad(LABELS, ((0, 0), (1, 0)), constant_values=1), width=53),  # filtered
        png(np.pad(LABELS, ((0, 0), (1, 0))), width=52),  # of another size than it says
        png(np.zeros((5000, 5000), np.uint8), width=4999),  # more pixels than allowed
        b"GIF89a",
        b"\x89PNG\r\n\x1a\n",
    ],
    ids=["colour", "16 bits", "2 bits", "filter", "size", "large", "no PNG", "signature"],
)
def test_the_rest_is_left_to_pillow(data: bytes) -> None:
    assert decode_labels(data, most_pixels=10**6) is None


def test_fault_75_what_expands_beyond_its_size_is_not_expanded() -> None:
    bomb = png(np.zeros((1, 10**7), np.uint8), width=10)
    assert decode_labels(bomb, most_pixels=10**6) is None


def test_a_wrong_crc_is_told() -> None:
    data = bytearray(saved(indexed()))
    data[-20] ^= 1
    with pytest.raises(ValueError, match="wrong CRC"):
        decode_labels(bytes(data), most_pixels=10**6)
