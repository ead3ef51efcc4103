"""What a segmentation network is blamed for: every output, on its own grid."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gleclip_cli.model.clip import load_clip
from gleclip_cli.model.losses import balanced_cross_entropy, plain_cross_entropy
from gleclip_cli.seg.clip_decoder import ClipDecoder
from gleclip_cli.seg.criterion import PixelCriterion
from gleclip_cli.seg.deeplabv2 import DeepLabV2
from gleclip_cli.training.batches import Batch


class TwoOutputs(DeepLabV2):
    """Logits that are colours, at the size of the picture and at half of it."""

    def __init__(self) -> None:
        nn.Module.__init__(self)

    def training_logits(self, images: Tensor) -> list[Tensor]:
        return [images, images[..., ::2, ::2]]


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


def test_cached_features_replace_clip(batch, tiny_clip_json, monkeypatch):
    torch.manual_seed(0)
    decoder = ClipDecoder(load_clip(tiny_clip_json, "random"), 3)
    fresh = PixelCriterion(decoder)(batch)
    features = tuple(part.half() for part in decoder.features(batch.images.float() / 255))
    monkeypatch.setattr(decoder, "features", None)  # would fail if it were called
    kept = Batch(batch.image_ids, batch.images, batch.masks, features)
    assert PixelCriterion(decoder)(kept).item() == pytest.approx(fresh.item(), abs=2e-3)
