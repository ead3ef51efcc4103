"""GLE-CLIP as a whole: where it starts from, and what its scores mean."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gleclip_cli.cam.similarity import similarity_maps
from gleclip_cli.model.bca import BidirectionalCrossAttention
from gleclip_cli.model.clip import FrozenClip, load_clip
from gleclip_cli.model.daf import DynamicAttentionFusion, DynamicProjection
from gleclip_cli.model.gleclip import GLECLIP, class_probabilities, features_of
from gleclip_cli.model.grounding_decoder import GroundingDecoder

CLASSES, WORDS, EMBED = 3, 2, 24
NOTHING: dict[str, Any] = {"decoder": None, "exchange": [], "projection": None, "fusion": None}


@pytest.fixture(scope="module")
def clip(tiny_clip_json: str) -> FrozenClip:
    clip = load_clip(tiny_clip_json, "random", seed=3)
    with torch.no_grad():
        for block in clip.blocks:
            block.attn.in_proj_weight.mul_(3)
    return clip


@pytest.fixture(scope="module")
def texts() -> Tensor:
    drawn = torch.randn(CLASSES + WORDS, EMBED, generator=torch.Generator().manual_seed(5))
    return nn.functional.normalize(drawn, dim=-1)


@pytest.fixture(scope="module")
def images() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (2, 3, 24, 40), dtype=torch.uint8, generator=generator)


def everything(levels: int = 2) -> dict[str, Any]:
    torch.manual_seed(0)
    return {
        "decoder": GroundingDecoder(64, EMBED, blocks=2, width=32, levels=levels),
        "exchange": [BidirectionalCrossAttention(EMBED) for _ in range(2)],
        "projection": DynamicProjection(EMBED),
        "fusion": DynamicAttentionFusion(),
    }


def model_of(clip: FrozenClip, texts: Tensor, parts: dict[str, Any], **options: Any) -> GLECLIP:
    return GLECLIP(clip, texts, CLASSES, blocks=(2, 4), **parts, **options)


def opened(model: GLECLIP) -> GLECLIP:
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return model


@pytest.mark.parametrize("calibration", ["none", "maskclip", "svc"])
def test_without_parts_it_is_calibrated_similarity_to_the_bit(
    clip: FrozenClip, texts: Tensor, images: Tensor, calibration: str
) -> None:
    model = model_of(clip, texts, NOTHING, calibration=calibration)
    seen = clip(clip.normalise(images), calibration=calibration)  # with attention, as for maps
    logits = model.ground(*features_of(seen), images).logits
    competing = torch.ones(2, len(texts), dtype=torch.bool)
    expected = similarity_maps(clip, seen.dense, texts, competing)
    assert torch.equal(logits.softmax(dim=1), expected)
    # without attention, torch may choose another kernel
    torch.testing.assert_close(model(images).softmax(dim=1), expected, atol=1e-5, rtol=0)
    present = torch.tensor([[True, False, True], [False, True, False]])
    competing[:, :CLASSES] = present
    own = similarity_maps(clip, seen.dense, texts, competing)
    shares = class_probabilities(logits, CLASSES, present)
    assert torch.equal(shares[:, 1:], own[:, :CLASSES])


def test_untrained_with_all_parts_it_is_the_same_but_for_rounding(
    clip: FrozenClip, texts: Tensor, images: Tensor
) -> None:
    whole = model_of(clip, texts, everything(levels=1))
    plain = model_of(clip, texts, NOTHING)
    torch.testing.assert_close(whole(images), plain(images), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(opened(whole)(images), plain(images), atol=0.1)


def test_the_maps_of_all_levels_are_averaged_on_the_finest(
    clip: FrozenClip, texts: Tensor, images: Tensor
) -> None:
    """Untrained, every level holds CLIP's patches, enlarged."""
    model = model_of(clip, texts, {**everything(), "fusion": None})
    logits = model(images)
    assert logits.shape == (2, CLASSES + WORDS, 6, 10)
    dense = clip(clip.normalise(images)).dense
    unit = dense / dense.norm(dim=1, keepdim=True)
    enlarge = nn.Upsample(scale_factor=2, mode="bilinear")
    coarse = enlarge(torch.einsum("behw,ce->bchw", unit, texts))
    fine = enlarge(unit)
    fine = torch.einsum("behw,ce->bchw", fine / fine.norm(dim=1, keepdim=True), texts)
    expected = clip.logit_scale * (coarse + fine) / 2
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)


def test_features_stay_finite_in_half_precision_however_large_a_channel(clip: FrozenClip) -> None:
    seen = clip(torch.randn(1, 3, 16, 16), blocks=(1,), attention=False)
    (tokens,) = seen.outputs
    tokens[:, 3] = 1e6
    standard = features_of(seen)[0]
    assert standard.half().isfinite().all()
    torch.testing.assert_close(standard.mean(dim=-1), torch.zeros(1, 1, 2, 2), atol=1e-4, rtol=0)


def test_clip_is_neither_trained_nor_saved(clip: FrozenClip, texts: Tensor, images: Tensor) -> None:
    model = opened(model_of(clip, texts, everything())).train()
    model(images).square().mean().backward()
    assert all(p.grad is None for p in clip.parameters())
    learning = {name for name, p in model.named_parameters() if p.grad is not None}
    assert learning == {name for name in model.weights() if name != "texts"}
    optimiser = model.optimiser(learning_rate=1e-3, weight_decay=0.1)
    trained = [p for group in optimiser.param_groups for p in group["params"]]
    assert len(trained) == len(learning)
    assert all(p.ndim > 1 for p in optimiser.param_groups[0]["params"])
    assert optimiser.param_groups[1]["weight_decay"] == 0
    assert not clip.training


def scores(*, words: int) -> Tensor:
    return 3 * torch.randn(2, CLASSES + words, 4, 5, generator=torch.Generator().manual_seed(2))


PRESENT = torch.tensor([[True, False, True], [False, False, True]])


@pytest.mark.parametrize("words", [0, 2])
@pytest.mark.parametrize("present", [None, PRESENT])
def test_probabilities_of_background_and_classes_sum_to_one(
    words: int, present: Tensor | None
) -> None:
    shares = class_probabilities(scores(words=words), CLASSES, present)
    assert shares.shape == (2, 1 + CLASSES, 4, 5)
    assert shares.min() >= 0
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(2, 4, 5))
    if present is not None:
        assert not shares[:, 1:][~present].any()
        assert shares[:, 1:][present].min() > 0


def test_the_background_has_the_mass_of_its_words() -> None:
    logits = torch.tensor([2.0, 1, 0, -1, 1]).reshape(1, 5, 1, 1)
    mass = logits.flatten().exp()
    expected = torch.tensor([mass[3] + mass[4], *mass[:3]]) / mass.sum()
    torch.testing.assert_close(class_probabilities(logits, 3).flatten(), expected)
    present = torch.tensor([[False, True, False]])
    expected = torch.tensor([mass[3] + mass[4], 0, mass[1], 0]) / mass[[1, 3, 4]].sum()
    torch.testing.assert_close(class_probabilities(logits, 3, present).flatten(), expected)


def test_without_words_the_background_is_what_the_best_class_leaves() -> None:
    logits = torch.tensor([0.6, 0.3, 0.1]).log().reshape(1, 3, 1, 1)
    shares = class_probabilities(logits, 3).flatten()
    torch.testing.assert_close(shares, torch.tensor([0.4, 0.6, 0.3, 0.1]) / 1.4)
    present = torch.tensor([[False, True, False]])  # still against all classes
    shares = class_probabilities(logits, 3, present).flatten()
    torch.testing.assert_close(shares, torch.tensor([0.4, 0, 0.3, 0]) / 0.7)
