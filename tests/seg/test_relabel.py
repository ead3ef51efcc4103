"""Pseudo masks made anew: tagged classes alone, spread along what the decoder has learned."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gleclip_cli.config import RefineConfig
from gleclip_cli.model.clip import load_clip
from gleclip_cli.refine.naming import RegionNamer
from gleclip_cli.seg.clip_decoder import ClipDecoder
from gleclip_cli.seg.relabel import Relabeller

PLAIN = RefineConfig(steps=())


@pytest.fixture(scope="module")
def decoder(tiny_clip_json) -> ClipDecoder:
    torch.manual_seed(0)
    return ClipDecoder(load_clip(tiny_clip_json, "random"), 6)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (30, 45, 3), np.uint8)


@pytest.mark.parametrize("steps", [(), ("par",)])
@pytest.mark.parametrize("class_ids", [[2], [1, 5]])
def test_no_class_appears_that_is_no_tag(decoder, image, class_ids, steps):
    found = Relabeller(decoder, replace(PLAIN, steps=steps))(image, class_ids)
    assert found.labels.shape == found.confidence.shape == (30, 45)
    assert found.labels.dtype == np.uint8
    labels = set(np.unique(found.labels).tolist())
    assert labels <= {0, *class_ids}
    assert labels & set(class_ids)  # what is spread reaches 1
    assert 1 / (1 + len(class_ids)) <= found.confidence.min() <= found.confidence.max() <= 1


def test_a_picture_without_tags_is_background(decoder, image):
    found = Relabeller(decoder, RefineConfig())(image, [])
    assert not found.labels.any()
    assert (found.confidence == 1).all()


def test_the_class_that_the_network_sees_wins_where_it_sees_it(decoder, image, monkeypatch):
    def sides(tokens, whole, images):
        """Class 3 on the left half, class 1 on the right, class 4 everywhere but not tagged."""
        logits = torch.zeros(1, 6, 8, 12)
        logits[:, 3, :, :6] = logits[:, 1, :, 6:] = 6
        logits[:, 4] = 20
        return logits

    # two kinds of patches that have nothing to do with each other
    tokens = torch.eye(2)[torch.tensor([0, 0, 0, 1, 1, 1])].expand(1, 4, 6, 2)
    monkeypatch.setattr(decoder, "tokens", lambda features: tokens)
    monkeypatch.setattr(decoder, "logits", sides)
    found = Relabeller(decoder, PLAIN)(image, [1, 3])
    assert (found.labels[:, :22] == 3).all()
    assert (found.labels[:, 26:] == 1).all()


def test_a_picture_beyond_the_window_is_seen_smaller(decoder, image, monkeypatch):
    seen = []
    features = decoder.features
    monkeypatch.setattr(decoder, "window", 24)
    monkeypatch.setattr(decoder, "features", lambda x: seen.append(x.shape) or features(x))
    assert Relabeller(decoder, PLAIN)(image, [1]).labels.shape == (30, 45)
    assert seen == [(1, 3, 16, 24)]


def test_regions_count_for_what_the_network_s_own_clip_calls_them(decoder, image):
    texts = torch.nn.functional.normalize(torch.randn(7, 24), dim=-1)
    namer = RegionNamer(decoder.clip, texts, 5)
    config = replace(PLAIN, steps=("regions",))
    found = Relabeller(decoder, config, namer)(image, [2, 4])
    plain = Relabeller(decoder, PLAIN)(image, [2, 4])
    assert set(np.unique(found.labels).tolist()) <= {0, 2, 4}
    assert not np.array_equal(found.confidence, plain.confidence)
    with pytest.raises(ValueError, match="regions without a model"):
        Relabeller(decoder, config)(image, [2, 4])
