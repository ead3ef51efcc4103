"""Damage in the bytes of PNG and JPEG files."""

import io

import numpy as np
import pytest
from PIL import Image

from gleclip_cli.artifacts.damage import breaks_off, check_png, has_all_scans


def jpeg(**options: object) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 40, 3)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def test_a_progressive_jpeg_lacks_scans_until_the_last_one_begins() -> None:
    data = jpeg(progressive=True)
    scans = [at for at in range(len(data)) if data[at : at + 2] == b"\xff\xda"]
    assert len(scans) > 5
    for at in scans:
        assert not has_all_scans(data[:at])
    assert has_all_scans(data[: scans[-1] + 20])
    assert has_all_scans(data)


def test_a_baseline_jpeg_has_one_scan() -> None:
    data = jpeg()
    at = data.index(b"\xff\xda")
    assert not has_all_scans(data[:at])
    assert has_all_scans(data[: at + 20])


def test_a_grey_jpeg_has_one_component() -> None:
    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, "JPEG")
    assert has_all_scans(buffer.getvalue())


def test_the_end_of_a_jpeg() -> None:
    data = jpeg()
    assert not breaks_off(data)
    assert not breaks_off(data + b"\0\0\0")
    assert breaks_off(data[:-1])
    assert not breaks_off(b"no JPEG")


def test_crcs_of_a_png() -> None:
    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, "PNG")
    data = bytearray(buffer.getvalue())
    check_png(bytes(data))
    check_png(bytes(data) + b"trailing bytes")
    check_png(b"no PNG")
    with pytest.raises(ValueError, match="breaks off after"):
        check_png(bytes(data[:-3]))
    data[data.index(b"IDAT") + 6] ^= 4
    with pytest.raises(ValueError, match="wrong CRC of the chunk at byte 33"):
        check_png(bytes(data))
