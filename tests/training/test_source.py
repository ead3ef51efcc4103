"""Which batches a training gets, and that a teacher's new labels reach both kinds."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gleclip_cli.model.clip import load_clip
from gleclip_cli.seg.clip_decoder import ClipDecoder
from gleclip_cli.training import source
from gleclip_cli.training.batches import AugmentedBatches
from gleclip_cli.training.cached import CachedBatches
from gleclip_cli.training.source import Drawing, batch_source

DRAWING = Drawing(batch_size=2, crop=30, flip=False, seed=0, share=(0, 1))
SIZE = (32, 40)


def load(image_id, label=1):
    picture = np.random.default_rng(ord(image_id)).integers(0, 256, (*SIZE, 3), np.uint8)
    return picture, np.full(SIZE, label, np.uint8)


def refuse(image_id, error):
    raise error


@pytest.fixture(scope="module")
def network(tiny_clip_json) -> ClipDecoder:
    return ClipDecoder(load_clip(tiny_clip_json, "random"), 3)


def made(network, drawing=DRAWING):
    noted = {}
    batches = batch_source(
        network, list("abc"), load, drawing, sizes=[SIZE] * 3, on_bad=refuse, note=noted.update
    )
    return batches, noted


def test_features_are_kept_where_they_fit(network):
    batches, noted = made(network)
    assert isinstance(batches, CachedBatches)
    assert noted["cache_bytes"] > 0
    batch = next(batches.steps(0, 1))
    assert batch.images.shape == (2, 3, 32, 32)  # whole patches of 8
    assert batch.features is not None


def test_they_are_not_where_memory_is_short(network, monkeypatch):
    monkeypatch.setattr(source, "CACHE_LIMIT", 0)
    batches, noted = made(network)
    assert isinstance(batches, AugmentedBatches)
    assert noted == {"cache_bytes": 0}


def test_varied_scales_and_networks_without_a_frozen_part_read_pictures_again(network):
    batches, noted = made(network, replace(DRAWING, scales=(0.5, 1.5)))
    assert isinstance(batches, AugmentedBatches)

    class Plain(torch.nn.Module):
        patch_size, fill = 1, (0, 0, 0)

    plain, also = made(Plain())
    assert isinstance(plain, AugmentedBatches)
    assert noted == also == {}


@pytest.mark.parametrize("limit", [0, 2**31])
def test_new_labels_reach_all_later_batches(network, monkeypatch, limit):
    monkeypatch.setattr(source, "CACHE_LIMIT", limit)
    batches, _ = made(network)
    before = next(batches.steps(0, 1))
    batches.relabel(lambda image_id: load(image_id, 2))
    after = next(batches.steps(0, 1))
    assert set(before.masks.unique().tolist()) == {1}
    assert set(after.masks.unique().tolist()) == {2}
    assert torch.equal(before.images, after.images)
