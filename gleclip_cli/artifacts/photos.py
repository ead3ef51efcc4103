"""The one way a photograph is decoded, alike in every stage.

Content decides the format, not the name. First frame, EXIF orientation applied, alpha dropped,
16 bit scaled by 1/257, CMYK inverted where Adobe wrote it so, colour profiles ignored.
"""

import hashlib
import io
import stat
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from gleclip_cli.artifacts.damage import END_OF_JPEG, breaks_off, check_png, has_all_scans
from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.errors import BadInput

# No format whose decoder starts another program (EPS, WMF).
_FORMATS = ("JPEG", "PNG", "GIF", "TIFF", "BMP", "WEBP", "PPM")
_SUFFIXES = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".gif": "GIF",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".webp": "WEBP",
    ".ppm": "PPM",
}
MOST_PIXELS = 89_478_485  # where Pillow begins to suspect a decompression bomb
_MOST_BYTES = 2**31
_ORIENTATION_TAG = 0x0112
_BITS_PER_SAMPLE_TAG = 258
_REPLACE = "Repair the file, or leave it out."


@dataclass(frozen=True, eq=False)
class Photo:
    """A decoded picture and what a careful reader should know about its file.

    `image`: uint8 (H, W, 3) RGB; `unrotated_size`: (H, W) as stored, before EXIF orientation;
    `sha256`: of the file's bytes; `notes`: warnings, one phrase each.
    """

    image: NDArray[np.uint8]
    unrotated_size: tuple[int, int]
    sha256: str
    notes: tuple[str, ...]


def load_image(path: Path) -> NDArray[np.uint8]:
    """Decode a photograph to uint8 (H, W, 3) RGB.

    Raises:
        BadInput: the file is missing, damaged, no image, or too large.
    """
    return load_photo(path).image


def load_photo(path: Path) -> Photo:
    """Decode a photograph and say what was odd about its file.

    Raises:
        BadInput: the file is missing, damaged, no image, or too large.
    """
    data = read_file(path)
    notes: list[str] = []
    try:
        with open_picture(data) as picture:
            _note_format(picture, path, notes)
            orientation = picture.getexif().get(_ORIENTATION_TAG, 1)
            array = _decode(picture, data, notes)
            turned = picture.format == "TIFF"  # by Pillow and OpenCV themselves
    except MemoryError:
        raise
    except Exception as error:  # decoders raise many kinds on damaged bytes
        raise BadInput(f"{printable(path)}: {why_undecoded(error, data)}.", _REPLACE) from error
    if orientation in range(2, 9):
        notes.append(f"EXIF orientation {orientation} applied")
        array = array if turned else _oriented(array, orientation)
    height, width = array.shape[:2]
    unrotated = (width, height) if orientation in range(5, 9) else (height, width)
    digest = hashlib.sha256(data).hexdigest()
    # Pillow's pixels are read-only, which torch warns of.
    return Photo(np.array(array, order="C"), unrotated, digest, tuple(notes))


def read_file(path: Path) -> bytes:
    """Read a regular, non-empty file of the user.

    Raises:
        BadInput: it is missing, unreadable, empty, no file, or larger than 2 GiB.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise BadInput(f"{printable(path)} is no file.", _REPLACE)
        if status.st_size > _MOST_BYTES:
            raise BadInput(f"{printable(path)} has {status.st_size} bytes, too many.", _REPLACE)
        data = path.read_bytes()
    except PermissionError as error:
        cause = f"{printable(path)} cannot be read: {error.strerror}."
        raise BadInput(cause, "Give yourself the permission to read it.") from error
    except OSError as error:
        raise BadInput(f"{printable(path)} cannot be read: {error.strerror}.", _REPLACE) from error
    if not data:
        raise BadInput(f"{printable(path)} is empty (0 bytes).", _REPLACE)
    return data


def open_picture(data: bytes) -> Image.Image:
    """Read the header of a picture; pixels are decoded later, if they are not too many.

    Raises:
        ValueError: a decompression bomb, or a damaged PNG; besides, whatever Pillow raises.
    """
    check_png(data)
    picture = Image.open(io.BytesIO(data), formats=_FORMATS)
    width, height = picture.size
    if width * height > MOST_PIXELS:
        raise ValueError(f"{width} x {height} pixels are more than {MOST_PIXELS}")
    return picture


def why_undecoded(error: Exception, data: bytes) -> str:
    """Say why bytes are no picture, without a full stop."""
    if isinstance(error, UnidentifiedImageError):
        return f"not an image (it begins with {data[:16]!r})"
    if breaks_off(data):
        return f"truncated JPEG: it breaks off after {len(data)} bytes, without an end marker"
    return printable(error).rstrip(".") or type(error).__name__


def _note_format(picture: Image.Image, path: Path, notes: list[str]) -> None:
    found = "JPEG" if picture.format == "MPO" else picture.format
    if found != _SUFFIXES.get(path.suffix.lower(), found):
        notes.append(f"{found} content under the name {path.suffix}")
    frames = getattr(picture, "n_frames", 1)
    if frames > 1:
        notes.append(f"first of {frames} frames used")


def _decode(picture: Image.Image, data: bytes, notes: list[str]) -> NDArray[np.uint8]:
    """Pixels (H, W, 3) as stored, before orientation."""
    if _has_deep_colour(picture, data):
        return _decode_deep_colour(data)
    try:
        picture.load()
    except OSError:
        if picture.format != "JPEG":
            raise
        notes.append("JPEG without its end marker")
        return _decode_unended_jpeg(data)
    return _as_rgb(picture)


def _as_rgb(picture: Image.Image) -> NDArray[np.uint8]:
    if picture.mode.startswith("I"):
        return _from_integers(np.asarray(picture))
    if picture.mode == "F":
        return _from_floats(np.asarray(picture))
    if picture.mode == "CMYK" and picture.format == "JPEG" and "adobe" not in picture.info:
        # Pillow always undoes Adobe's inversion, also where Adobe wrote nothing.
        picture = Image.frombytes("CMYK", picture.size, (255 - np.asarray(picture)).tobytes())
    picture.info.pop("transparency", None)  # dropped like alpha; else Pillow advises against it
    return np.asarray(picture.convert("RGB"))


def _from_integers(values: NDArray[np.integer]) -> NDArray[np.uint8]:
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(f"grey values {values.min()} to {values.max()} are not 16 bit")
    return _grey(values / 257)


def _from_floats(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    if not np.isfinite(values).all():
        raise ValueError("NaN or infinite pixels")
    if values.min() < 0 or values.max() > 1:
        raise ValueError(f"float pixels from {values.min()} to {values.max()}, not 0 to 1")
    return _grey(values * 255)


def _grey(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.repeat(np.rint(values).astype(np.uint8)[..., None], 3, axis=2)


def _has_deep_colour(picture: Image.Image, data: bytes) -> bool:
    """16 bits in each of several channels, of which Pillow keeps only 8."""
    if picture.format == "PNG":
        depth, colour_type = data[24], data[25]
        return depth == 16 and colour_type != 0
    if picture.format == "TIFF" and picture.mode in ("RGB", "RGBA", "RGBX"):
        bits = getattr(picture, "tag_v2", {}).get(_BITS_PER_SAMPLE_TAG, ())
        return 16 in tuple(bits)
    return False


def _decode_deep_colour(data: bytes) -> NDArray[np.uint8]:
    import cv2

    flags = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if pixels is None or pixels.dtype != np.uint16:
        raise ValueError("16-bit colour that cannot be decoded")
    rgb: NDArray[np.uint8] = np.rint(pixels[..., ::-1] / 257).astype(np.uint8)
    return rgb


def _decode_unended_jpeg(data: bytes) -> NDArray[np.uint8]:
    """Decode a JPEG that lost its end marker, and nothing else.

    libjpeg fills what is missing with grey, without a word. Bytes put before the end marker
    do not matter to a scan that was complete, and show in one that was not.
    """
    first, second = (_decode_padded(data, padding) for padding in (b"", b"\x5a" * 4096))
    if not has_all_scans(data) or not np.array_equal(first, second):
        raise ValueError("pixels are missing")
    return first


def _decode_padded(data: bytes, padding: bytes) -> NDArray[np.uint8]:
    with open_picture(data + padding + END_OF_JPEG) as picture:
        picture.load()
        return _as_rgb(picture)


def _oriented(array: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Apply EXIF orientation 2 to 8: those from 5 on swap the axes first."""
    if orientation >= 5:
        array = array.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array
