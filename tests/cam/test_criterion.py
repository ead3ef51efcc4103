"""What a batch costs: each loss by its weight, and the same however a batch is shared."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from gleclip_cli.cam import criterion as module
from gleclip_cli.cam.criterion import GroundingCriterion
from gleclip_cli.config import TrainCamConfig
from gleclip_cli.model.gleclip import GLECLIP
from gleclip_cli.training.batches import Batch

Build = Callable[..., GLECLIP]
CLASS_IDS: Mapping[str, list[int]] = {"a": [1], "b": [2, 3], "c": [1, 2, 3], "d": [3]}
NAMES = ("seg", "pairs", "presence", "text", "area", "variation")
FUNCTIONS = {
    "seg": "balanced_cross_entropy",
    **{name: f"{name}_loss" for name in ("presence", "text", "area", "variation")},
    "pairs": "pair_loss",
}


@pytest.fixture
def batch() -> Batch:
    """Four pictures of 3 x 5 patches; how much of them is background differs."""
    generator = torch.Generator().manual_seed(4)
    images = torch.randint(0, 256, (4, 3, 24, 40), dtype=torch.uint8, generator=generator)
    masks = torch.zeros(4, 24, 40, dtype=torch.uint8)
    for index, ids in enumerate(CLASS_IDS.values()):
        masks[index, : 6 + 4 * index, : 8 * (index + 1)] = ids[0]
    masks[:, -4:] = 255
    return Batch(tuple(CLASS_IDS), images, masks)


def weights(**given: float) -> dict[str, float]:
    return {f"loss_{name}": given.get(name, 0.0) for name in NAMES}


def part(batch: Batch, places: slice) -> Batch:
    return Batch(batch.image_ids[places], batch.images[places], batch.masks[places])


@pytest.mark.parametrize("name", NAMES)
def test_a_loss_of_weight_0_is_not_computed(
    build: Build, batch: Batch, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def never(*_: object, **__: object) -> Tensor:
        raise AssertionError("computed")

    others = {other: 1.0 for other in NAMES if other != name}
    monkeypatch.setattr(module, FUNCTIONS[name], never)
    model = build()
    loss = GroundingCriterion(model, TrainCamConfig(**weights(**others)), CLASS_IDS)(batch)
    assert loss.isfinite()
    with pytest.raises(AssertionError, match="computed"):
        GroundingCriterion(model, TrainCamConfig(**weights(**{name: 1.0})), CLASS_IDS)(batch)


def test_losses_add_up_by_weight(build: Build, batch: Batch) -> None:
    model = build(opened=True)

    def loss(**given: float) -> float:
        config = TrainCamConfig(**weights(**given))
        return GroundingCriterion(model, config, CLASS_IDS)(batch).item()

    alone = {name: loss(**{name: 1.0}) for name in NAMES}
    assert all(value > 0 for value in alone.values())
    mixed = {name: 0.5 + index for index, name in enumerate(NAMES)}
    expected = sum(mixed[name] * alone[name] for name in NAMES)
    assert loss(**mixed) == pytest.approx(expected, rel=1e-5)


def test_without_a_decoder_there_are_no_pairs(build: Build, batch: Batch) -> None:
    model = build(gd=False)
    with_pairs, without = (
        GroundingCriterion(model, TrainCamConfig(**weights(seg=1.0, pairs=p)), CLASS_IDS)(batch)
        for p in (1.0, 0.0)
    )
    assert torch.equal(with_pairs, without)


def test_kept_features_cost_what_fresh_ones_do(build: Build, batch: Batch) -> None:
    model = build(opened=True)
    criterion = GroundingCriterion(model, TrainCamConfig(), CLASS_IDS)
    kept = tuple(feature.half() for feature in model.features(batch.images))
    cached = Batch(batch.image_ids, batch.images, batch.masks, kept)
    torch.testing.assert_close(criterion(cached), criterion(batch), rtol=0.01, atol=0.01)


def test_the_mean_of_shares_is_the_loss_of_the_batch(build: Build, batch: Batch) -> None:
    model, config = build(opened=True), TrainCamConfig(**weights(**dict.fromkeys(NAMES, 1.0)))
    whole = GroundingCriterion(model, config, CLASS_IDS)(batch)
    shares = [part(batch, slice(start, None, 2)) for start in (0, 1)]
    counts: list[list[Tensor]] = [[], []]
    for share, seen in zip(shares, counts, strict=True):
        note: Any = lambda count, seen=seen: (seen.append(count), count)[1]  # noqa: E731
        GroundingCriterion(model, config, CLASS_IDS, mean_count=note)(share)
    means = [(one + other) / 2 for one, other in zip(*counts, strict=True)]
    losses = []
    for share in shares:
        known = iter(means)
        mean_count = lambda _, known=known: next(known)  # noqa: E731
        losses.append(GroundingCriterion(model, config, CLASS_IDS, mean_count=mean_count)(share))
    torch.testing.assert_close(torch.stack(losses).mean(), whole, rtol=1e-4, atol=1e-4)


def test_absent_classes_are_blamed_by_tags_alone(build: Build, batch: Batch) -> None:
    model, config = build(opened=True), TrainCamConfig(**weights(area=1.0))
    everywhere = {image_id: [1, 2, 3] for image_id in CLASS_IDS}
    assert GroundingCriterion(model, config, everywhere)(batch) == 0
    assert GroundingCriterion(model, config, CLASS_IDS)(batch) > 0
