"""Cached features equal fresh ones, window by window; the cache keeps to its size."""

import numpy as np
import pytest
import torch

from gleclip_cli.datasets.vocabulary import IGNORE_INDEX
from gleclip_cli.errors import BadInput
from gleclip_cli.model.clip import load_clip
from gleclip_cli.seg.cached import CachedBatches, cache_bytes
from gleclip_cli.seg.clip_decoder import ClipDecoder

SIZES = {"a": (32, 48), "b": (40, 32), "c": (20, 30), "d": (32, 48), "e": (32, 32)}


def load(image_id: str) -> tuple[np.ndarray, np.ndarray]:
    if image_id not in SIZES:
        raise BadInput(f"{image_id} is broken.")
    rng = np.random.default_rng(ord(image_id))
    height, width = SIZES[image_id]
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return image, (image[..., 0] % 3).astype(np.uint8)


@pytest.fixture(scope="module")
def network(tiny_clip_json) -> ClipDecoder:
    torch.manual_seed(0)
    return ClipDecoder(load_clip(tiny_clip_json, "random"), 3)


def refuse(image_id: str, error: Exception) -> None:
    raise error


def cached(network, ids="abcde", *, flip=True, on_bad=refuse) -> CachedBatches:
    return CachedBatches(
        network, list(ids), load, batch_size=2, crop=32, flip=flip, seed=0, on_bad=on_bad
    )


def windows_of(features: torch.Tensor) -> torch.Tensor:
    """All 4 x 4 windows of (l, h, w, d), as (n, l, 4, 4, d)."""
    tiles = features.unfold(1, 4, 1).unfold(2, 4, 1)  # l, y, x, d, 4, 4
    return tiles.permute(1, 2, 0, 4, 5, 3).flatten(0, 1)


def test_windows_hold_the_features_of_the_whole_picture(network):
    seen = set()
    for batch in cached(network, "ab").steps(0, 20):
        assert batch.images.shape == (2, 3, 32, 32)
        assert batch.features.shape == (2, 4, 4, 4, 64)
        assert batch.features.dtype == torch.float16
        for image_id, image, mask, features in zip(
            batch.image_ids, batch.images, batch.masks, batch.features, strict=True
        ):
            whole = torch.from_numpy(load(image_id)[0]).permute(2, 0, 1)[None].float() / 255
            upright = windows_of(network.features(whole)[0])
            found = [
                (mirrored, place)
                for mirrored, windows in enumerate((upright, upright.flip(3)))
                for place, window in enumerate(windows)
                if torch.allclose(window, features.float(), atol=5e-3)
            ]
            assert len(found) == 1
            seen.add((image_id, *found[0]))
            assert torch.equal(mask, image[0] % 3)  # both were cut and mirrored alike
    assert {mirrored for _, mirrored, _ in seen} == {0, 1}
    assert len({place for i, _, place in seen if i == "a"}) == 3  # 48 wide: three places


def test_cached_logits_are_those_of_a_fresh_forward(network):
    (batch,) = cached(network, "e", flip=False).steps(0, 1)  # one window: the whole picture
    images = batch.images.float() / 255
    (fresh,) = network.training_logits(images)
    from_cache = network.decode(batch.features.float(), images)
    assert torch.allclose(from_cache, fresh, atol=2e-3)  # features are kept in half precision
    assert not torch.equal(from_cache, fresh)


def test_padding_is_ignored(network):
    (batch,) = cached(network, "c", flip=False).steps(0, 1)
    assert (batch.masks[0, :20, :30] != IGNORE_INDEX).all()
    assert (batch.masks[0, 20:] == IGNORE_INDEX).all()
    assert (batch.masks[0, :, 30:] == IGNORE_INDEX).all()


def test_steps_are_the_same_from_anywhere(network):
    batches = cached(network)
    for a, b in zip(list(batches.steps(0, 6))[4:], cached(network).steps(4, 6), strict=True):
        assert a.image_ids == b.image_ids
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.features, b.features)


def test_size_is_known_before(network):
    total = sum(
        tensor.numel() * tensor.element_size()
        for kept in cached(network)._kept.values()
        for tensor in (kept.image, kept.mask, kept.features)
    )
    assert cache_bytes(network, SIZES.values(), crop=32) == total


def test_67_bad_images_are_told_and_left_out(network):
    told = []
    batches = cached(network, "axb", on_bad=lambda image_id, error: told.append(image_id))
    assert told == ["x"]
    assert {i for batch in batches.steps(0, 4) for i in batch.image_ids} == {"a", "b"}
