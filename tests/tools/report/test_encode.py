"""Small pictures: colours, transparency and sizes, decoded by Pillow."""

import base64
import io

import numpy as np
from PIL import Image

from gleclip_cli.datasets.vocabulary import voc_palette
from gleclip_cli.tools.report import encode


def decoded(uri: str) -> np.ndarray:
    """RGBA pixels of a data URI."""
    head, body = uri.split(",", 1)
    assert head in ("data:image/png;base64", "data:image/jpeg;base64")
    return np.array(Image.open(io.BytesIO(base64.b64decode(body))).convert("RGBA"))


def test_sizes() -> None:
    assert encode.fitted(500, 375, 240) == (240, 180)
    assert encode.fitted(100, 50, 240) == (100, 50)
    assert encode.fitted(20_000, 30, 240) == (240, 1)


def test_labels_keep_their_colours() -> None:
    labels = np.array([[0, 8], [15, 255]], np.uint8).repeat(4, 0).repeat(4, 1)
    pixels = decoded(encode.labels_uri(labels, (4, 4), voc_palette()))
    assert pixels.shape == (4, 4, 4)
    assert pixels[0, 0, 3] == 0  # background: the photograph shows
    assert pixels[0, 3].tolist() == [64, 0, 0, 255]
    assert pixels[3, 0].tolist() == [192, 128, 128, 255]
    assert pixels[3, 3].tolist() == [150, 150, 150, 140]


def test_wide_labels_are_drawn_too() -> None:
    labels = np.array([[0, 300], [65535, 255]], np.uint16)
    pixels = decoded(encode.labels_uri(labels, (2, 2), voc_palette()))
    assert pixels[0, 0, 3] == 0
    assert pixels[0, 1].tolist() == [*voc_palette()[(300 - 1) % 255 + 1], 255]
    assert pixels[1, 0].tolist() == [150, 150, 150, 140]
    assert pixels[1, 1].tolist() == [*voc_palette()[255], 255]


def test_errors_by_kind() -> None:
    truth = np.array([[0, 0, 3, 3, 3, 255]], np.uint8)
    guess = np.array([[0, 3, 0, 4, 3, 9]], np.uint8)
    pixels = decoded(encode.errors_uri(truth, guess, (6, 1)))[0]
    kinds = [0 if a == 0 else encode.ERROR_COLOURS.index(tuple(rgb)) for *rgb, a in pixels.tolist()]
    named = [encode.ERRORS[kind] for kind in kinds]
    assert named == ["right", "spurious", "missed", "wrong class", "right", "ignored"]


def test_a_map_is_clear_at_zero_and_bright_at_one() -> None:
    scores = np.linspace(0, 1, 300, dtype=np.float32).reshape(1, -1).repeat(200, 0)
    pixels = decoded(encode.map_uri(scores)).astype(int)
    assert max(pixels.shape[:2]) == 64
    assert pixels[0, 0, 3] == 0
    assert pixels[0, -1, 3] == 255
    lightness = pixels[0, :, :3] @ [0.3, 0.6, 0.1]
    assert (np.diff(lightness) >= 0).all()


def test_a_photograph() -> None:
    image = np.zeros((60, 80, 3), np.uint8)
    image[..., 0] = 200
    pixels = decoded(encode.photo_uri(image, (40, 30)))
    assert pixels.shape == (30, 40, 4)
    assert np.abs(pixels[15, 20, :3].astype(int) - [200, 0, 0]).max() < 6
