"""How photographs are decoded: one test per rule of faults 1 to 18."""

import hashlib
import io
import os
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from gleclip_cli.artifacts.photos import load_image, load_photo
from gleclip_cli.errors import BadInput

SHARED = Path(os.environ.get("GLECLIP_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))


@pytest.fixture
def pixels() -> NDArray[np.uint8]:
    """A picture (40, 56, 3) that JPEG keeps well: smooth, and different at every side."""
    y, x = np.mgrid[0:40, 0:56]
    return np.stack([y * 5, x * 4, (y + x) * 2], axis=-1).astype(np.uint8)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def stored(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(BadInput) as caught:
        load_photo(path)
    assert str(path) in caught.value.cause
    assert "\n" not in caught.value.cause
    return caught.value.cause


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        crc = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 95, "subsampling": 0}])
def test_fault_01_02_a_cut_jpeg_is_whole_or_refused(
    tmp_path: Path, pixels: NDArray[np.uint8], options: dict[str, Any]
) -> None:
    data = encoded(Image.fromarray(pixels), "JPEG", **options)
    whole = load_image(stored(tmp_path / "whole.jpg", data))
    half = stored(tmp_path / "half.jpg", data[: len(data) // 2])
    assert f"truncated JPEG: it breaks off after {len(data) // 2} bytes" in refusal(half)
    photo = load_photo(stored(tmp_path / "unended.jpg", data[:-2]))
    assert photo.notes == ("JPEG without its end marker",)
    np.testing.assert_array_equal(photo.image, whole)
    # Wherever it breaks off: what is read is never another picture.
    for length in [*range(20, len(data), 9), *range(len(data) - 30, len(data))]:
        path = stored(tmp_path / "cut.jpg", data[:length])
        try:
            np.testing.assert_array_equal(load_image(path), whole)
        except BadInput:
            continue


def test_fault_03_an_empty_file(tmp_path: Path) -> None:
    told = refusal(stored(tmp_path / "a.jpg", b""))
    assert "is empty (0 bytes)" in told
    assert "--on-bad" not in told  # which prompts, for one, does not have


def test_fault_04_html_named_jpg(tmp_path: Path) -> None:
    path = stored(tmp_path / "a.jpg", b"<html>\x1b[2J404")
    assert r"not an image (it begins with b'<html>\x1b[2J404')" in refusal(path)


def test_fault_05_png_named_jpg(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    photo = load_photo(stored(tmp_path / "a.jpg", encoded(Image.fromarray(pixels), "PNG")))
    assert photo.notes == ("PNG content under the name .jpg",)
    np.testing.assert_array_equal(photo.image, pixels)


def test_an_ordinary_photograph_has_no_notes(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    data = encoded(Image.fromarray(pixels), "JPEG", quality=98, subsampling=0)
    photo = load_photo(stored(tmp_path / "a.JPG", data))
    assert photo.notes == ()
    assert photo.sha256 == hashlib.sha256(data).hexdigest()
    assert photo.image.flags.writeable
    assert np.abs(photo.image.astype(int) - pixels).max() <= 6  # quality 98 loses little


def test_fault_06_a_grey_jpeg_is_replicated(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    image = load_image(
        stored(tmp_path / "a.jpg", encoded(Image.fromarray(pixels[..., 0]), "JPEG", quality=98))
    )
    assert image.shape == pixels.shape
    assert (image == image[..., :1]).all()
    assert np.abs(image[..., 0].astype(int) - pixels[..., 0]).max() <= 6


CMYK = (30, 90, 200, 60)


def cmyk_jpeg() -> bytes:
    return encoded(Image.new("CMYK", (16, 16), CMYK), "JPEG", quality=100, subsampling=0)


def test_fault_07_cmyk_as_adobe_writes_it(tmp_path: Path) -> None:
    data = cmyk_jpeg()
    assert b"Adobe" in data
    image = load_image(stored(tmp_path / "a.jpg", data))
    cyan, magenta, yellow, black = CMYK
    expected = [(255 - ink) * (255 - black) / 255 for ink in (cyan, magenta, yellow)]
    assert np.abs(image.reshape(-1, 3) - expected).max() <= 2


def test_fault_07_cmyk_without_adobe_is_not_inverted(tmp_path: Path) -> None:
    data = cmyk_jpeg()
    start = data.index(b"\xff\xee")
    length = int.from_bytes(data[start + 2 : start + 4], "big")
    image = load_image(stored(tmp_path / "a.jpg", data[:start] + data[start + 2 + length :]))
    # The bytes of Adobe's inverted file, now taken at their word.
    cyan, magenta, yellow, black = (255 - ink for ink in CMYK)
    expected = [(255 - ink) * (255 - black) / 255 for ink in (cyan, magenta, yellow)]
    assert np.abs(image.reshape(-1, 3) - expected).max() <= 2


def test_fault_07_ycck(tmp_path: Path) -> None:
    data = bytearray(cmyk_jpeg())
    data[data.index(b"Adobe") + 11] = 2  # colour transform: YCCK
    image = load_image(stored(tmp_path / "a.jpg", bytes(data)))
    luma, blue, red, key = (255 - ink for ink in CMYK)
    rgb = np.array(
        [
            luma + 1.402 * (red - 128),
            luma - 0.344136 * (blue - 128) - 0.714136 * (red - 128),
            luma + 1.772 * (blue - 128),
        ]
    ).clip(0, 255)
    # YCC codes the inverse of the stored, that is the true, inks.
    expected = (255 - rgb) * key / 255
    assert np.abs(image.reshape(-1, 3) - expected).max() <= 3


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_fault_08_alpha_is_dropped(tmp_path: Path, pixels: NDArray[np.uint8], mode: str) -> None:
    alpha = Image.fromarray(np.tile(np.arange(56, dtype=np.uint8) * 4, (40, 1)))
    if mode == "RGBA":
        image, expected = Image.fromarray(pixels), pixels
    else:
        image = Image.fromarray(pixels[..., 0])
        expected = np.repeat(pixels[..., :1], 3, axis=2)
    if mode == "PA":
        image.putpalette([level for grey in range(256) for level in (grey, grey, grey)])
        data = encoded(image, "PNG", transparency=bytes(range(256)))
    else:
        image.putalpha(alpha)
        data = encoded(image, "PNG")
    np.testing.assert_array_equal(load_image(stored(tmp_path / "a.png", data)), expected)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_fault_09_16_bit_is_scaled_by_257(tmp_path: Path, suffix: str, channels: int) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (8, 9, channels)).astype(np.uint16)
    deep[0, 0], deep[0, 1] = 65535, 255
    assert cv2.imwrite(str(tmp_path / f"a{suffix}"), deep[..., 0] if channels == 1 else deep)
    rgb = np.repeat(deep, 3, axis=2) if channels == 1 else deep[..., 2::-1]
    expected = np.rint(rgb / 257).astype(np.uint8)
    np.testing.assert_array_equal(load_image(tmp_path / f"a{suffix}"), expected)


def test_fault_10_one_bit_and_palette_images(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    bits = pixels[..., 0] > 100
    path = stored(tmp_path / "bit.png", encoded(Image.fromarray(bits), "PNG"))
    np.testing.assert_array_equal(load_image(path), np.repeat(bits[..., None] * 255, 3, 2))
    image = Image.fromarray(pixels).quantize(16)
    path = stored(tmp_path / "p.png", encoded(image, "PNG"))
    np.testing.assert_array_equal(load_image(path), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_fault_11_orientation(
    tmp_path: Path, pixels: NDArray[np.uint8], kind: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(pixels), kind, exif=exif)
    photo = load_photo(stored(tmp_path / "a", data))
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(photo.image, expected)
    assert expected.shape == ((56, 40, 3) if orientation >= 5 else (40, 56, 3))
    assert photo.unrotated_size == (40, 56)
    assert photo.notes == (() if orientation == 1 else (f"EXIF orientation {orientation} applied",))


def tiff16(pixels: NDArray[np.uint16], orientation: int) -> bytes:
    """An uncompressed little-endian TIFF of 16 bits per channel."""
    height, width, channels = pixels.shape
    data = pixels.astype("<u2").tobytes()
    bits = struct.pack("<3H", 16, 16, 16)
    tags = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 3, 8 + len(data)),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, 8),
        (274, 3, 1, orientation),
        (277, 3, 1, channels),
        (278, 4, 1, height),
        (279, 4, 1, len(data)),
    ]
    start = 8 + len(data) + len(bits)
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    return b"II*\0" + struct.pack("<I", start) + data + bits + directory


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, -1), (8, 1)])
def test_fault_11_orientation_of_16_bit_colour(
    tmp_path: Path, orientation: int, turns: int
) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (4, 6, 3)).astype(np.uint16)
    photo = load_photo(stored(tmp_path / "a.tif", tiff16(deep, orientation)))
    expected = np.rot90(np.rint(deep / 257).astype(np.uint8), turns)
    np.testing.assert_array_equal(photo.image, expected)


@pytest.mark.parametrize(("kind", "suffix"), [("GIF", "gif"), ("TIFF", "tif"), ("MPO", "jpg")])
def test_fault_12_the_first_of_many_frames(
    tmp_path: Path, pixels: NDArray[np.uint8], kind: str, suffix: str
) -> None:
    frames = [Image.fromarray(pixels), Image.fromarray(pixels[::-1].copy())]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    photo = load_photo(stored(tmp_path / f"a.{suffix}", data))
    assert photo.notes == ("first of 2 frames used",)
    assert np.abs(photo.image.astype(int) - pixels).max() <= 40  # 256 colours, or JPEG


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (15, 15), (20000, 30)])
def test_fault_13_14_odd_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    data = encoded(Image.new("RGB", size, (1, 2, 3)), "PNG")
    assert load_image(stored(tmp_path / "a.png", data)).shape == (size[1], size[0], 3)


@pytest.mark.parametrize("side", [50_000, 9_460])
def test_fault_15_a_decompression_bomb_is_refused_by_its_header(tmp_path: Path, side: int) -> None:
    cause = refusal(stored(tmp_path / "a.png", png(side, side, 1, 0, b"")))
    assert "pixels" in cause


def test_fault_16_a_12_bit_jpeg_is_refused(tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    data = bytearray(encoded(Image.fromarray(pixels), "JPEG"))
    data[data.index(b"\xff\xc0") + 4] = 12
    refusal(stored(tmp_path / "a.jpg", bytes(data)))


def test_fault_17_a_colour_profile_changes_nothing(
    tmp_path: Path, pixels: NDArray[np.uint8]
) -> None:
    data = encoded(Image.fromarray(pixels), "PNG", icc_profile=b"\0" * 128)
    np.testing.assert_array_equal(load_image(stored(tmp_path / "a.png", data)), pixels)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0, 7.0])
def test_fault_18_float_images(tmp_path: Path, value: float) -> None:
    levels = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    path = stored(tmp_path / "a.tif", encoded(Image.fromarray(levels), "TIFF"))
    np.testing.assert_array_equal(load_image(path)[..., 1], np.rint(levels * 255))
    levels[1, 1] = value
    assert "float pixels" in (
        cause := refusal(stored(path, encoded(Image.fromarray(levels), "TIFF")))
    ) or ("NaN or infinite" in cause)


def test_fault_52_every_flipped_bit_of_a_png_is_seen(
    tmp_path: Path, pixels: NDArray[np.uint8]
) -> None:
    data = encoded(Image.fromarray(pixels[:8, :8]), "PNG")
    for position in range(len(data)):
        broken = bytearray(data)
        broken[position] ^= 1 << position % 8
        refusal(stored(tmp_path / "a.png", bytes(broken)))
    for length in range(1, len(data), 7):
        refusal(stored(tmp_path / "a.png", data[:length]))


def test_fault_29_30_what_is_no_readable_file(tmp_path: Path) -> None:
    (tmp_path / "dangling.jpg").symlink_to(tmp_path / "nothing")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    (tmp_path / "folder.jpg").mkdir()
    for name in ("missing.jpg", "dangling.jpg", "loop.jpg", "folder.jpg"):
        refusal(tmp_path / name)


@pytest.mark.skipif(sys.platform == "win32", reason="needs named pipes")
def test_fault_29_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")  # opening it would wait for ever
    assert "is no file" in refusal(tmp_path / "pipe.jpg")


def test_a_format_that_runs_programs_is_no_image(tmp_path: Path) -> None:
    data = encoded(Image.new("RGB", (8, 8)), "EPS")
    assert "not an image" in refusal(stored(tmp_path / "a.jpg", data))


def test_real_photographs() -> None:
    folder = SHARED / "voc-photos" / "VOCdevkit" / "VOC2012" / "JPEGImages"
    if not folder.is_dir():
        pytest.skip("no shared photographs")
    for path in sorted(folder.iterdir())[:5]:
        photo = load_photo(path)
        expected = cv2.imread(str(path))
        assert expected is not None
        assert photo.notes == ()
        # Two builds of libjpeg may round differently.
        assert np.abs(photo.image.astype(int) - expected[..., ::-1]).max() <= 3
