"""Cached features equal fresh ones, window by window; the cache keeps to its size."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gleclip_cli.datasets.vocabulary import IGNORE_INDEX
from gleclip_cli.errors import BadInput
from gleclip_cli.model.clip import load_clip
from gleclip_cli.seg.clip_decoder import ClipDecoder
from gleclip_cli.training.cached import CachedBatches, cache_bytes

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
        grids, wholes = batch.features
        assert wholes.shape == (2, 24)
        assert grids.shape == (2, 8, 4, 4, 64)
        assert grids.dtype == torch.float16
        for image_id, image, mask, features in zip(
            batch.image_ids, batch.images, batch.masks, grids, strict=True
        ):
            whole = torch.from_numpy(load(image_id)[0]).permute(2, 0, 1)[None].float() / 255
            upright = windows_of(network.features(whole)[0][0])
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
    from_cache = network.decode(*(part.float() for part in batch.features), images)
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
        assert all(map(torch.equal, a.features, b.features))


def test_size_is_known_before(network):
    total = sum(
        tensor.numel() * tensor.element_size()
        for kept in cached(network)._kept.values()
        for tensor in (kept.image, kept.mask, kept.features[0])  # vectors do not count
    )
    assert cache_bytes(network, SIZES.values(), crop=32) == total


def test_67_bad_images_are_told_and_left_out(network):
    told = []
    batches = cached(network, "axb", on_bad=lambda image_id, error: told.append(image_id))
    assert told == ["x"]
    assert {i for batch in batches.steps(0, 4) for i in batch.image_ids} == {"a", "b"}


class GridAndVector(nn.Module):
    """Features that tell where they come from: mean colours of patches, of patch pairs, of all."""

    patch_size = 8
    fill = (0, 0, 0)

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def features(self, images: Tensor) -> tuple[Tensor, ...]:
        grid = nn.functional.avg_pool2d(images, 8).permute(0, 2, 3, 1)
        return grid, torch.stack([grid, -grid], dim=1), images.mean(dim=(2, 3))

    def bytes_per_patch(self) -> int:
        return 3 * 3 * 2


def test_grids_are_cut_and_mirrored_and_vectors_go_along_whole():
    network = GridAndVector()
    flips = set()
    for batch in cached(network, "ab").steps(0, 12):
        grid, pair, vector = batch.features
        own = network.features(batch.images.float() / 255)[0]
        assert torch.allclose(grid.float(), own, atol=1e-3)
        assert torch.equal(pair, torch.stack([grid, -grid], dim=1))
        for image_id, image, mean in zip(batch.image_ids, batch.images, vector, strict=True):
            whole = torch.tensor(load(image_id)[0]).permute(2, 0, 1)
            assert torch.allclose(mean.float(), whole.float().mean((1, 2)) / 255, atol=1e-3)
            flips.add(not any((w == image).all() for w in windows_of_picture(whole)))
    assert flips == {False, True}


def windows_of_picture(image: Tensor) -> Tensor:
    """All crops (n, 3, 32, 32) at whole patches of a picture (3, H, W)."""
    return image.unfold(1, 32, 8).unfold(2, 32, 8).permute(1, 2, 0, 3, 4).flatten(0, 1)


def test_masks_are_exchanged_without_computing_features_again(network, monkeypatch):
    batches = cached(network)
    before = list(batches.steps(0, 5))
    monkeypatch.setattr(network, "features", None)  # would fail if it were called
    batches.relabel(lambda image_id: (load(image_id)[0], load(image_id)[1] + 3))
    for old, new in zip(before, batches.steps(0, 5), strict=True):
        assert torch.equal(old.images, new.images)
        assert all(map(torch.equal, old.features, new.features))
        ignored = old.masks == IGNORE_INDEX
        assert torch.equal(new.masks, torch.where(ignored, old.masks, old.masks + 3))
    with pytest.raises(ValueError, match="mask of a"):
        batches.relabel(lambda image_id: (load(image_id)[0], np.zeros((4, 4), np.uint8)))


def test_another_confidence_comes_with_the_masks(network):
    def weighted(level):
        def read(image_id):
            image, mask = load(image_id)
            return image, mask, np.full(mask.shape, level, np.uint8)

        return read

    batches = CachedBatches(
        network, list("abcde"), weighted(9), batch_size=2, crop=32, flip=True, seed=0,
        on_bad=refuse,
    )  # fmt: skip
    before = list(batches.steps(0, 5))
    batches.relabel(weighted(7))
    for old, new in zip(before, batches.steps(0, 5), strict=True):
        assert set(old.confidence.unique().tolist()) <= {0, 9}  # 0 is padding
        assert torch.equal(new.confidence, torch.where(old.confidence == 9, 7, 0))


def test_a_mask_that_cannot_be_read_any_more_stays_and_is_told(network):
    told = []
    batches = cached(network, on_bad=lambda image_id, error: told.append(image_id))
    before = list(batches.steps(0, 5))

    def lost(image_id):
        raise BadInput("It is gone.")

    batches.relabel(lost)
    assert told == list("abcde")
    for old, new in zip(before, batches.steps(0, 5), strict=True):
        assert torch.equal(old.masks, new.masks)


def test_shares_make_up_the_batches_of_one_process(network):
    def share(rank: int, count: int) -> list:
        batches = CachedBatches(
            network, list("abcde"), load, batch_size=4, crop=32, flip=True, seed=0, on_bad=refuse,
            share=(rank, count),
        )  # fmt: skip
        return list(batches.steps(1, 4))

    for whole, first, second in zip(share(0, 1), share(0, 2), share(1, 2), strict=True):
        assert whole.image_ids[::2] == first.image_ids
        assert whole.image_ids[1::2] == second.image_ids
        assert torch.equal(whole.images[::2], first.images)
        assert torch.equal(whole.features[0][1::2], second.features[0])
