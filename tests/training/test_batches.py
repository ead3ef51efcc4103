"""Data order and augmentation are functions of seed, step and image id."""

import numpy as np
import pytest
import torch

from gleclip_cli.datasets.transforms import Augment
from gleclip_cli.errors import BadInput
from gleclip_cli.training.batches import AugmentedBatches, Order, draw_seed


def load(image_id: str) -> tuple[np.ndarray, np.ndarray]:
    """A picture whose every pixel is the number of its id."""
    if image_id == "bad":
        raise BadInput("bad is broken.", "Mend it.")
    value = int(image_id)
    return np.full((12, 10, 3), value, np.uint8), np.full((12, 10), value, np.uint8)


def refuse(image_id: str, error: Exception) -> None:
    raise error


def test_every_pass_shows_every_image_once():
    order = Order([str(i) for i in range(7)], batch_size=3, seed=1)
    ids = [order.draw(position)[0] for position in order.positions(0, 14)]  # six passes of 7
    passes = [ids[start : start + 7] for start in range(0, 42, 7)]
    assert all(sorted(p) == [str(i) for i in range(7)] for p in passes)
    assert len({tuple(p) for p in passes}) == 6


def test_order_depends_on_the_seed_and_on_nothing_before():
    ids = [str(i) for i in range(10)]
    late = [Order(ids, 4, 0).draw(p) for p in range(20, 40)]
    whole = [Order(ids, 4, 0).draw(p) for p in range(40)]
    assert late == whole[20:]
    assert whole != [Order(ids, 4, 1).draw(p) for p in range(40)]


def test_augmentation_seeds_differ_by_image_pass_and_seed():
    seeds = {draw_seed(s, e, i) for s in range(3) for e in range(3) for i in ("a", "b", "1/a")}
    assert len(seeds) == 27


def batches(*, workers: int = 0) -> tuple[AugmentedBatches, list[tuple[str, Exception]]]:
    told: list[tuple[str, Exception]] = []
    found = AugmentedBatches(
        Order(["1", "2", "3", "4", "bad"], 2, 3),
        load,
        Augment(8, scales=(0.5, 2.0)),
        on_bad=lambda image_id, error: told.append((image_id, error)),
        workers=workers,
    )
    return found, told


def test_67_steps_are_the_same_from_anywhere_in_any_process_and_bad_images_keep_their_message():
    before = torch.random.get_rng_state()
    reference = list(batches()[0].steps(0, 10))[4:]
    others, told = batches(workers=1)
    found = list(others.steps(4, 10))
    assert torch.equal(before, torch.random.get_rng_state())
    for a, b in zip(reference, found, strict=True):
        assert a.image_ids == b.image_ids
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.masks, b.masks)
        assert a.images.shape == (len(a.image_ids), 3, 8, 8)
        assert a.images.dtype == a.masks.dtype == torch.uint8
    assert {image_id for image_id, _ in told} == {"bad"}
    assert all(str(error) == "bad is broken.\nMend it." for _, error in told)
    assert sum(len(b.image_ids) for b in found) + len(told) == 12


def test_67_a_bad_image_stops_when_asked_to():
    order = Order(["1", "bad"], 2, 0)
    with pytest.raises(BadInput, match="bad is broken"):
        next(AugmentedBatches(order, load, Augment(8), on_bad=refuse).steps(0, 1))


def test_a_batch_of_bad_images_is_empty():
    order = Order(["bad"], 2, 0)
    lonely = AugmentedBatches(order, load, Augment(8), on_bad=lambda image_id, error: None)
    assert [batch.image_ids for batch in lonely.steps(0, 2)] == [(), ()]


def test_shares_make_up_the_batches_of_one_process():
    ids = [str(i) for i in range(7)]  # divisible by neither batch size nor count
    augment = Augment(8, scales=(0.5, 2.0))

    def share(rank: int, count: int) -> list:
        order = Order(ids, 6, 3, (rank, count))
        return list(AugmentedBatches(order, load, augment, on_bad=refuse).steps(1, 5))

    for whole, *parts in zip(share(0, 1), *(share(r, 3) for r in range(3)), strict=True):
        for rank, part in enumerate(parts):
            assert part.image_ids == whole.image_ids[rank::3]
            assert torch.equal(part.images, whole.images[rank::3])
            assert torch.equal(part.masks, whole.masks[rank::3])
