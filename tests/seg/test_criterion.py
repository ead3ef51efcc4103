"""What a segmentation network is blamed for: every output, on its own grid."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gleclip_cli.model.clip import load_clip
from gleclip_cli.model.grounding_losses import learned_affinity, pair_loss
from gleclip_cli.model.losses import balanced_cross_entropy, plain_cross_entropy
from gleclip_cli.seg.clip_decoder import ClipDecoder
from gleclip_cli.seg.correction import Correction
from gleclip_cli.seg.criterion import PixelCriterion
from gleclip_cli.seg.deeplabv2 import DeepLabV2
from gleclip_cli.training.average import WeightAverage
from gleclip_cli.training.batches import Batch


class TwoOutputs(DeepLabV2):
    """Logits that are colours, at the size of the picture and at half of it."""

    def __init__(self) -> None:
        nn.Module.__init__(self)

    def training_logits(self, images: Tensor) -> list[Tensor]:
        return [images, images[..., ::2, ::2]]


class OneOutput(TwoOutputs):
    """Logits that are colours."""

    def training_logits(self, images: Tensor) -> list[Tensor]:
        return [images]

    def forward(self, images: Tensor) -> Tensor:
        return images


class Taught(WeightAverage):
    """A teacher that did not learn."""

    def __init__(self, network: nn.Module) -> None:
        self.network, self.updates = network, 0


@pytest.fixture
def batch() -> Batch:
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (2, 3, 16, 16), np.uint8))
    masks = torch.from_numpy(rng.integers(0, 3, (2, 16, 16), np.uint8))
    masks[:, :5] = 255
    return Batch(("a", "b"), images, masks)


@pytest.mark.parametrize("balanced", [True, False])
def test_the_losses_of_all_outputs_are_summed(batch, balanced):
    cross_entropy = balanced_cross_entropy if balanced else plain_cross_entropy
    colours = batch.images.float() / 255
    fine = cross_entropy(colours, batch.masks, ignore_index=255)
    half = cross_entropy(colours[..., ::2, ::2], batch.masks[:, 1::2, 1::2], ignore_index=255)
    loss = PixelCriterion(TwoOutputs(), balanced)(batch)
    assert loss.item() == pytest.approx((fine + half).item(), rel=1e-6)


def test_pixels_count_as_much_as_they_are_sure(batch):
    confidence = torch.zeros(2, 16, 16, dtype=torch.uint8)
    confidence[0, 8:] = 255
    confidence[1, 8:] = 51  # a fifth
    weighted = replace(batch, confidence=confidence)
    network = OneOutput()
    pixels = torch.nn.functional.cross_entropy(
        batch.images.float() / 255, batch.masks.long(), ignore_index=255, reduction="none"
    )
    expected = (pixels[0, 8:].sum() + pixels[1, 8:].sum() / 5) / (8 * 16 * 1.2)
    assert PixelCriterion(network, balanced=False)(weighted).item() == pytest.approx(
        expected.item(), rel=1e-5
    )
    assert PixelCriterion(network)(weighted) != PixelCriterion(network)(batch)


def test_a_correcting_teacher_changes_labels_once_it_is_old_enough(batch):
    teacher = Taught(OneOutput())
    colours = batch.images.float() / 255
    correction = Correction(teacher, {"a": [1], "b": [1]}, 0.65, 3)
    labels = correction("ab", colours, batch.masks)
    assert not torch.equal(labels, batch.masks)
    expected = plain_cross_entropy(colours, labels, ignore_index=255)
    criterion = PixelCriterion(OneOutput(), balanced=False, correction=correction)
    before = criterion(batch).item()
    assert before == pytest.approx(
        plain_cross_entropy(colours, batch.masks, ignore_index=255).item(), rel=1e-6
    )
    teacher.updates = 3
    assert criterion(batch).item() == pytest.approx(expected.item(), rel=1e-6)


def test_the_forward_may_be_another_and_pictures_lie_as_asked(batch):
    seen = []

    def forward(images):
        seen.append(images.is_contiguous(memory_format=torch.channels_last))
        return [2 * images]

    loss = PixelCriterion(OneOutput(), False, forward=forward, channels_last=True)(batch)
    doubled = 2 * batch.images.float() / 255
    expected = plain_cross_entropy(doubled, batch.masks, ignore_index=255)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert seen == [True]


@pytest.mark.parametrize("cached", [True, False])
def test_pairs_of_patches_count_when_asked_for(batch, tiny_clip_json, cached):
    torch.manual_seed(0)
    decoder = ClipDecoder(load_clip(tiny_clip_json, "random"), 3)
    features = decoder.features(batch.images.float() / 255)
    if cached:
        batch = replace(batch, features=features)
    tokens = decoder.tokens(features[0])
    centres = batch.masks[:, 4::8, 4::8]  # 2 x 2 patches of 8
    pairs = pair_loss(learned_affinity(tokens), centres, ignore_index=255)
    plain, both = (PixelCriterion(decoder, pairs=weight)(batch).item() for weight in (0.0, 0.5))
    logits = decoder.decode(*features, batch.images.float() / 255)
    masks = batch.masks[:, 2::4, 2::4]
    assert plain == balanced_cross_entropy(logits, masks, ignore_index=255).item()
    assert pairs > 0
    assert both == pytest.approx(plain + 0.5 * pairs.item(), rel=1e-5)


def test_cached_features_replace_clip(batch, tiny_clip_json, monkeypatch):
    torch.manual_seed(0)
    decoder = ClipDecoder(load_clip(tiny_clip_json, "random"), 3)
    fresh = PixelCriterion(decoder)(batch)
    features = tuple(part.half() for part in decoder.features(batch.images.float() / 255))
    monkeypatch.setattr(decoder, "features", None)  # would fail if it were called
    kept = Batch(batch.image_ids, batch.images, batch.masks, features)
    assert PixelCriterion(decoder)(kept).item() == pytest.approx(fresh.item(), abs=2e-3)
