"""Maps and images: `Cam` (.npz), label and confidence images (PNG by Pillow), photographs."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gleclip_cli.artifacts.arrays import load_arrays, save_arrays
from gleclip_cli.artifacts.atomic import write_bytes
from gleclip_cli.artifacts.labels import Labels, as_wide_as, label_dtype
from gleclip_cli.artifacts.photos import (
    MOST_PIXELS,
    load_image,
    open_picture,
    read_file,
    why_undecoded,
)
from gleclip_cli.artifacts.png import decode_labels
from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.errors import BadInput

__all__ = [
    "Cam",
    "load_cam",
    "load_confidence",
    "load_image",
    "load_label_image",
    "save_cam",
    "save_confidence",
    "save_jpeg",
    "save_label_image",
    "save_picture",
]

_ROUNDING = 1e-3
_SEEN = 0.05
_REDO = "Delete it and run the command that made it again."


@dataclass(frozen=True, eq=False)
class Cam:
    """Class activation maps of one image, on the map's own grid.

    `scores`: float32 (k, h, w) in [0, 1]; `class_ids`: int64 (k,), 0 is background and so
    never among them; `size`: (H, W) of the image in pixels.
    """

    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    size: tuple[int, int]

    def seen(self) -> "Cam":
        """Only the classes whose score reaches 5 % somewhere: for maps of all classes.

        What is not finite stays, so that saving refuses it.
        """
        kept = ~(self.scores.max(axis=(1, 2), initial=0) < _SEEN)
        return Cam(self.scores[kept], self.class_ids[kept], self.size)

    def with_background(self, background: NDArray[np.float32]) -> NDArray[np.float32]:
        """Prepend the background score (h, w): (1 + k, h, w)."""
        return np.concatenate([background[None], self.scores]).astype(np.float32, copy=False)

    def labels(self, places: NDArray[np.integer], num_classes: int) -> Labels:
        """Turn places (H, W) in the list background, class, class ... into class ids."""
        class_ids = np.concatenate([[0], self.class_ids]).astype(label_dtype(num_classes))
        labels: Labels = class_ids[places]
        return labels

    def enlarged(self) -> NDArray[np.float32]:
        """Scores (k, H, W) at the size of the image, bilinear."""
        full = np.empty((len(self.scores), *self.size), np.float32)
        for index, scores in enumerate(self.each_enlarged()):
            full[index] = scores
        return full

    def each_enlarged(self) -> Iterator[NDArray[np.float32]]:
        """Scores (H, W) of one class after the other, as `enlarged`."""
        import cv2

        height, width = self.size
        for scores in self.scores:
            full = np.empty(self.size, np.float32)
            cv2.resize(scores, (width, height), dst=full, interpolation=cv2.INTER_LINEAR)
            yield full


def save_cam(path: Path, cam: Cam) -> None:
    """Write maps as float16 without pickle; the same maps give the same bytes.

    Raises:
        BadInput: scores are not finite or not in [0, 1], or shapes disagree.
    """
    _check_cam(path, cam)
    arrays: dict[str, NDArray[Any]] = {
        "class_ids": cam.class_ids.astype(np.int64),
        "scores": np.clip(cam.scores, 0, 1).astype(np.float16),
        "size": np.array(cam.size, np.int64),
    }
    save_arrays(path, arrays)


def load_cam(path: Path) -> Cam:
    """Read maps.

    Raises:
        BadInput: the file is missing, damaged, or holds something else.
    """
    arrays = load_arrays(path)
    try:
        height, width = (int(n) for n in arrays["size"])
        cam = Cam(
            arrays["scores"].astype(np.float32),
            arrays["class_ids"].astype(np.int64),
            (height, width),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise BadInput(f"{printable(path)} holds no CAM: {error}.", _REDO) from error
    _check_cam(path, cam)
    return cam


def save_label_image(path: Path, labels: Labels, palette: bytes | NDArray[np.uint8]) -> None:
    """Write labels (H, W) as a PNG: bytes with `palette`, 256 RGB colours; uint16 without.

    Raises:
        ValueError: labels are neither (a cast could turn one class into another).
    """
    if labels.dtype not in (np.uint8, np.uint16) or labels.ndim != 2:
        raise ValueError(f"labels are {labels.dtype} {labels.shape}, not uint8 or uint16 (H, W)")
    image = Image.fromarray(np.ascontiguousarray(labels))
    if labels.dtype == np.uint8:
        colours = np.frombuffer(palette, np.uint8) if isinstance(palette, bytes) else palette
        image = image.convert("L")
        image.putpalette(np.ascontiguousarray(colours, np.uint8).tobytes())
    _save_png(path, image)


def load_label_image(path: Path, num_classes: int = 0) -> Labels:
    """Read the labels (H, W) of an indexed or grey PNG, as wide as that many classes need.

    The palette is ignored; `num_classes` counts background.

    Raises:
        BadInput: missing, damaged, lossy, coloured instead of indexed, or 16-bit without need.
    """
    mode, values = decode_mask(path)
    wide = label_dtype(num_classes) != np.uint8
    if mode not in ("P", "L") and not (wide and mode == "I;16"):
        raise BadInput(
            f"{printable(path)} has mode {mode}, not one class id in "
            f"{'8 or 16 bits' if wide else 'a byte'} per pixel.",
            f"Convert the mask to {'a 16-bit grey' if wide else 'an indexed'} PNG (0 background, "
            f"{65535 if wide else 255} ignored).",
        )
    return as_wide_as(num_classes, values)


def decode_mask(path: Path) -> tuple[str, Labels]:
    """Decode a lossless picture completely; return its mode (Pillow's) and its values.

    Raises:
        BadInput: missing, damaged or lossy.
    """
    data = read_file(path)
    try:
        if plain := decode_labels(data, most_pixels=MOST_PIXELS):
            return plain
        with open_picture(data) as picture:
            picture.load()
            mode, kind = picture.mode, picture.format
            values = np.array(np.asarray(picture))  # in one step Pillow would encode it twice
    except MemoryError:
        raise
    except Exception as error:  # decoders raise many kinds on damaged bytes
        cause = f"{printable(path)}: {why_undecoded(error, data)}."
        raise BadInput(cause, _REDO) from error
    if kind == "JPEG":
        raise BadInput(
            f"{printable(path)} is a JPEG: its compression has changed the labels.",
            "Give the mask as an indexed PNG.",
        )
    return mode, values


def save_confidence(path: Path, probability: NDArray[np.floating]) -> None:
    """Write a probability (H, W) in [0, 1] as round(255 p).

    Raises:
        BadInput: a value is not finite or not in [0, 1].
    """
    _check_range(path, probability, "Confidence")
    steps = np.rint(np.clip(probability, 0, 1) * 255).astype(np.uint8)
    _save_png(path, Image.fromarray(steps))


def load_confidence(path: Path) -> NDArray[np.float32]:
    """Read a probability (H, W) in [0, 1], in steps of 1/255.

    Raises:
        BadInput: the file is missing or damaged.
    """
    return load_label_image(path).astype(np.float32) / np.float32(255)


def save_jpeg(path: Path, image: NDArray[np.uint8], *, quality: int = 95) -> None:
    """Write a picture (H, W, 3) as JPEG without chroma subsampling."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=0)
    write_bytes(path, buffer.getvalue(), durable=False)


def save_picture(path: Path, image: NDArray[np.uint8]) -> None:
    """Write a picture (H, W, 3) as PNG."""
    _save_png(path, Image.fromarray(image))


def _save_png(path: Path, image: Image.Image) -> None:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    write_bytes(path, buffer.getvalue(), durable=False)


def _check_cam(path: Path, cam: Cam) -> None:
    shapes_agree = cam.scores.ndim == 3 and cam.class_ids.shape == cam.scores.shape[:1]
    if not shapes_agree or min(cam.size) < 1 or min(cam.scores.shape[1:]) < 1:
        raise BadInput(
            f"{printable(path)}: scores {cam.scores.shape}, class ids {cam.class_ids.shape} and "
            f"size {cam.size} do not belong together.",
            _REDO,
        )
    if (cam.class_ids < 1).any() or len(np.unique(cam.class_ids)) != len(cam.class_ids):
        raise BadInput(
            f"{printable(path)}: class ids {cam.class_ids.tolist()} repeat or are below 1.", _REDO
        )
    _check_range(path, cam.scores, "CAM")


def _check_range(path: Path, values: NDArray[np.floating], what: str) -> None:
    # Arithmetic may leave [0, 1] by rounding; more than that is a mistake.
    if not np.isfinite(values).all():
        raise BadInput(f"{what} for {printable(path)} has NaN or infinite values.", _REDO)
    if values.size and (values.min() < -_ROUNDING or values.max() > 1 + _ROUNDING):
        raise BadInput(
            f"{what} for {printable(path)} runs from {values.min():.4g} to {values.max():.4g}, "
            "outside 0 to 1.",
            _REDO,
        )
