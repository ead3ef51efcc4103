"""Multi-scale, mirrored, windowed prediction against the plain forward."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from gleclip_cli.errors import BadInput
from gleclip_cli.refine import bands
from gleclip_cli.seg.deeplabv2 import DeepLabV2
from gleclip_cli.seg.predict import Views, predict_bands, predict_logits, window_starts


class Pointwise(DeepLabV2):
    """Sees one pixel at a time, so that windows must not change anything."""

    window = 16

    def __init__(self) -> None:
        super().__init__(nn.Identity(), channels=3, num_classes=2)
        torch.manual_seed(0)
        self.classify = nn.Conv2d(3, 2, 1)
        self.largest = (0, 0)

    def forward(self, images):
        self.largest = max(self.largest, tuple(images.shape[-2:]))
        return self.classify(images)


class Shifting(Pointwise):
    """Sees the left neighbour, so that it treats a mirror image in its own way."""

    window = 1000

    def forward(self, images):
        return super().forward(images.roll(1, -1))


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def as_batch(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (17, 40), (100, 5)])
def test_14_windows_equal_the_whole_and_bound_the_forward(size):
    network, image = Pointwise(), picture(*size)
    logits = predict_logits(network, image, flip=False)
    assert torch.allclose(logits, network.classify(as_batch(image))[0], atol=1e-5)
    assert max(network.largest) <= network.window


@pytest.mark.parametrize(("length", "window"), [(5, 16), (16, 16), (17, 16), (40, 16), (999, 64)])
def test_windows_cover_everything_and_overlap_by_a_quarter(length, window):
    starts = window_starts(length, window)
    covered = np.zeros(length, dtype=int)
    for start in starts:
        covered[start : start + window] += 1
    assert covered.min() >= 1
    assert starts[0] == 0
    assert starts[-1] + window == max(length, window)
    assert all(b - a <= window * 3 / 4 + 1 for a, b in itertools.pairwise(starts))


def test_flip_averages_with_the_mirror_image_and_is_equivariant():
    network, image = Shifting(), picture(6, 9)
    plain = predict_logits(network, image, flip=False)
    mirrored = predict_logits(network, image[:, ::-1].copy(), flip=False).flip(-1)
    both = predict_logits(network, image, flip=True)
    assert not torch.allclose(plain, mirrored)
    assert torch.allclose(both, (plain + mirrored) / 2, atol=1e-6)
    again = predict_logits(network, image[:, ::-1].copy(), flip=True).flip(-1)
    assert torch.allclose(both, again, atol=1e-6)


def test_scales_are_averaged_at_the_size_of_the_picture():
    network, image = Shifting(), picture(8, 12)
    small = functional.interpolate(as_batch(image), (4, 6), mode="bilinear", antialias=True)
    expected = (
        network(as_batch(image))
        + functional.interpolate(network(small), (8, 12), mode="bilinear", antialias=True)
    ) / 2
    logits = predict_logits(network, image, scales=(1.0, 0.5), flip=False)
    assert torch.allclose(logits, expected[0], atol=2e-3)  # pictures stay bytes


def test_window_and_stride_can_be_chosen():
    network, image = Pointwise(), picture(20, 20)
    assert window_starts(20, 8, 4) == [0, 4, 8, 12]
    assert window_starts(20, 8, 5) == [0, 4, 8, 12]  # evenly spread
    assert window_starts(20, 8, 50) == [0, 6, 12]  # no pixel between them
    (found,) = (part for _, part in predict_bands(network, image, Views(window=8, stride=5)))
    assert network.largest == (8, 8)
    assert torch.allclose(found, network.classify(as_batch(image))[0], atol=1e-5)


@pytest.mark.parametrize("turned", [False, True])
def test_63_bands_of_rows_equal_the_whole_and_hold_few_rows(turned, monkeypatch):
    """A wide picture goes through with its axes swapped: less is held at once."""
    network, image = Shifting(), picture(40, 90)
    network.window = 16
    scales = (1.0, 0.5, 1.3)
    whole = predict_logits(network, image, scales=scales)
    monkeypatch.setattr(bands, "_VALUES_AT_ONCE", 2 * 90 * 7)
    held = []
    zeros = torch.Tensor.new_zeros
    monkeypatch.setattr(
        torch.Tensor, "new_zeros", lambda self, *size: held.append(size) or zeros(self, *size)
    )
    given = image.transpose(1, 0, 2) if turned else image
    parts = list(predict_bands(network, given, Views(scales=scales), turned=turned))
    found = torch.cat([part for _, part in parts], dim=1)
    # bytes are rounded after rows and after columns, so the axes count
    assert torch.allclose(found.mT if turned else found, whole, atol=2e-3 if turned else 1e-5)
    assert len(parts) > 5
    # a window, a band of 7 rows (15 if turned) at the largest scale, and the rows between windows
    assert max(rows for _, rows, _ in held) <= 16 + 1.3 * (15 if turned else 7) + 12 + 3


def test_64_scores_that_are_not_finite_flag_the_image():
    network = Pointwise()
    nn.init.constant_(network.classify.bias, float("nan"))
    with pytest.raises(BadInput, match="not finite"):
        predict_logits(network, picture(4, 4))
