"""A region counts for what CLIP calls it when it sees nothing else."""

import numpy as np
import pytest
import torch

from gleclip_cli.model.clip import FrozenClip, load_clip
from gleclip_cli.refine import naming as module
from gleclip_cli.refine.naming import RegionNamer
from gleclip_cli.refine.regions import Region, views_of


@pytest.fixture(scope="module")
def clip(tiny_clip_json: str) -> FrozenClip:
    return load_clip(tiny_clip_json, "random", seed=3)


@pytest.fixture(scope="module")
def texts() -> torch.Tensor:
    """Three classes, two background words."""
    drawn = torch.randn(5, 24, generator=torch.Generator().manual_seed(5))
    return torch.nn.functional.normalize(drawn, dim=-1)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)


@pytest.fixture
def scores() -> np.ndarray:
    """Two regions on background: one of 160 pixels of the first class, one of 12 of the second."""
    drawn = np.zeros((3, 40, 48), np.float32)
    drawn[0] = 0.4
    drawn[1, 5:15, 5:21] = 0.5
    drawn[2, 30:33, 30:34] = 0.7
    return drawn


def test_shares_are_those_of_both_views_by_hand(
    clip: FrozenClip, texts: torch.Tensor, image: np.ndarray, scores: np.ndarray
) -> None:
    namer = RegionNamer(clip, texts, 3)
    found = namer(scores, image, [1, 3])
    region = np.zeros((40, 48), bool)
    region[5:15, 5:21] = True
    fill = [round(255 * float(value)) for value in clip.mean.flatten()]
    views = views_of(image, Region(5, 5, np.ones((10, 16), bool)), side=clip.image_size, fill=fill)
    pixels = clip.normalise(torch.from_numpy(views).permute(0, 3, 1, 2))
    vectors = clip(pixels, calibration="none").global_embed
    logits = (clip.logit_scale * vectors @ texts[[0, 2, 3, 4]].T).mean(dim=0)
    share = logits.softmax(dim=0).numpy()
    expected = [0.4 + 0.5 * share[2:].sum(), 0.5 * share[0], 0.5 * share[1]]
    np.testing.assert_allclose(found[:, 8, 8], expected, atol=1e-5)
    assert (found[:, ~region] == scores[:, ~region]).all()  # the other is smaller than a patch


def test_many_regions_are_named_in_several_forwards(
    clip: FrozenClip, texts: torch.Tensor, image: np.ndarray
) -> None:
    board = (np.add.outer(np.arange(40) // 8, np.arange(48) // 8) % 2).astype(np.float32)
    scores = np.stack([np.full_like(board, 0.1), board, 1 - board])
    together = RegionNamer(clip, texts, 3)(scores, image, [1, 2])
    assert (together[0] > 0.1).all()  # 30 regions, each with a share for the words
    np.testing.assert_allclose(together.sum(axis=0), scores.sum(axis=0), atol=1e-5)


def test_one_class_without_words_stays(
    clip: FrozenClip, texts: torch.Tensor, image: np.ndarray, scores: np.ndarray
) -> None:
    namer = RegionNamer(clip, texts[:3], 3)
    np.testing.assert_allclose(namer(scores[:2], image, [2]), scores[:2], atol=1e-6)


def test_only_the_largest_regions_are_named(
    clip: FrozenClip,
    texts: torch.Tensor,
    image: np.ndarray,
    scores: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scores[2, 25:38, 30:42] = 0.7
    namer = RegionNamer(clip, texts, 3)
    both = (namer(scores, image, [1, 3]) != scores).any(axis=0)
    monkeypatch.setattr(module, "MOST_REGIONS", 1)
    one = (namer(scores, image, [1, 3]) != scores).any(axis=0)
    assert both[8, 8]
    assert both[30, 32]
    assert one[8, 8]
    assert not one[30, 32]
