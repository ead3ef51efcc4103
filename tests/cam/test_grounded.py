"""Maps of a trained model: what is spread, what is kept, and that batches do not matter."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from gleclip_cli.cam.grounded import Grounded, present_of
from gleclip_cli.model.gleclip import GLECLIP, class_probabilities, features_of
from gleclip_cli.model.grounding_losses import learned_affinity
from gleclip_cli.refine.affinity import caa, min_max, raised
from gleclip_cli.refine.pseudo_mask import background_scores

Build = Callable[..., GLECLIP]
CLASS_IDS = [[2], [1, 3]]


def maps_of(model: GLECLIP, images: Tensor, ids: Any = CLASS_IDS, **options: Any) -> list[Tensor]:
    with torch.no_grad():
        return Grounded(model, threshold=0.5, **options)(images, ids)


def shares_of(model: GLECLIP, images: Tensor, ids: Any = CLASS_IDS) -> list[Tensor]:
    with torch.no_grad():
        shares = class_probabilities(model(images), 3, present_of(ids, 3))
    return [share[list(own)] for share, own in zip(shares, ids, strict=True)]


def test_present_classes_are_marked() -> None:
    assert present_of([[1, 3], [], [2]], 3).tolist() == [
        [True, False, True],
        [False] * 3,
        [False, True, False],
    ]


def test_without_spreading_maps_are_probabilities(build: Build, images: Tensor) -> None:
    model = build(opened=True)
    for found, expected in zip(
        maps_of(model, images, spread="none"), shares_of(model, images), strict=True
    ):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("gate", [True, False])
def test_two_thirds_of_a_spread_map_are_coarse(build: Build, images: Tensor, gate: bool) -> None:
    model = build(opened=True, gate=gate)
    seen = model.clip(model.clip.normalise(images), blocks=model.blocks)
    with torch.no_grad():
        joined = model.ground(*features_of(seen), images).joined
    assert joined is not None
    found = maps_of(model, images, spread="caa")
    for index, share in enumerate(shares_of(model, images)):
        fine = raised(share)
        affinity = seen.attention[index].mean(dim=0)
        if gate:
            learned, attention = learned_affinity(joined)[index], seen.attention[index]
            distance = (learned - attention).sum(dim=(1, 2))
            affinity = attention[distance <= distance.mean()].mean(dim=0) * learned
        spread = min_max(
            caa(affinity, interpolate(fine[None], (3, 5), mode="area")[0], threshold=0.5)
        )
        large = interpolate(spread[None], fine.shape[1:], mode="bilinear")[0]
        torch.testing.assert_close(found[index], (fine + 2 * large) / 3, atol=1e-3, rtol=0)


def test_without_a_decoder_there_is_nothing_to_gate_with(build: Build, images: Tensor) -> None:
    models = [build(gd=False, opened=True, gate=gate) for gate in (True, False)]
    gated, plain = (maps_of(model, images, spread="caa") for model in models)
    assert all(torch.equal(one, other) for one, other in zip(gated, plain, strict=True))


def test_maps_of_all_classes_keep_their_heights(build: Build, images: Tensor) -> None:
    model, everything = build(opened=True), [[1, 2, 3]] * 2
    fine = torch.stack(shares_of(model, images, everything))
    kept = torch.stack(maps_of(model, images, everything, spread="caa", labelled=False))
    whole = torch.stack(maps_of(model, images, everything, spread="caa"))
    heights = fine.amax(dim=(2, 3))
    assert (kept.amax(dim=(2, 3)) <= heights + 1e-4).all()
    # coarse maps reach 1 in a patch; enlarged to twice the grid, within a quarter of one from it
    assert (whole.amax(dim=(2, 3)) >= 0.75**2 * 2 / 3).all()
    faint = heights < 0.4
    assert faint.any()
    assert (kept.amax(dim=(2, 3))[faint] < 0.4).all()


@pytest.mark.parametrize("spread", ["none", "caa", "walk"])
def test_fault_69_images_of_a_batch_get_what_they_get_alone(
    build: Build, images: Tensor, spread: str
) -> None:
    model = build(opened=True)
    together = maps_of(model, images, spread=spread)
    for index, found in enumerate(together):
        (alone,) = maps_of(model, images[index : index + 1], [CLASS_IDS[index]], spread=spread)
        assert found.min() >= 0
        assert found.max() <= 1
        # a box of CAA may open one cell more or less where rounding meets its threshold
        assert torch.quantile((found - alone).abs(), 0.95) < (0.02 if spread == "caa" else 1e-4)


def test_half_precision_is_for_cuda(build: Build, images: Tensor) -> None:
    model = build(opened=True)
    full, half = (maps_of(model, images, spread="caa", precision=p) for p in ("fp32", "bf16"))
    assert all(torch.equal(one, other) for one, other in zip(full, half, strict=True))


def test_what_all_classes_leave_is_the_mass_of_the_background_words(
    build: Build, images: Tensor
) -> None:
    model = build(opened=True)
    (maps,) = maps_of(model, images[1:], CLASS_IDS[1:], spread="none")
    with torch.no_grad():
        share = class_probabilities(model(images[1:]), 3, present_of(CLASS_IDS[1:], 3))
    left = background_scores(maps.numpy(), rule="sum")
    np.testing.assert_allclose(left, share[0, 0], atol=1e-4)
