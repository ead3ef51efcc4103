"""Dynamic attention fusion against its formulas, written out."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from gleclip_cli.model.daf import DynamicAttentionFusion, DynamicProjection

DIM = 6
SCALE = torch.tensor(10.0)


def units(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(*shape, DIM, generator=generator), dim=-1)


@pytest.fixture
def inputs() -> tuple[Tensor, Tensor, Tensor]:
    """Pixels, texts and the global embedding."""
    return units(2, 9), units(2, 4, seed=1), units(2, seed=2)


def test_an_untrained_projection_changes_nothing() -> None:
    whole, texts = units(2), units(4, seed=1)
    torch.testing.assert_close(DynamicProjection(DIM)(whole, texts, SCALE), whole)


def test_the_dynamic_projection_is_the_formula() -> None:
    projection, whole, texts = DynamicProjection(DIM), units(2), units(4, seed=1)
    nn.init.normal_(projection.static)
    assert projection.by_text is not None
    nn.init.normal_(projection.by_text)
    made = projection(whole, texts, SCALE)
    for g, found in zip(whole, made, strict=True):
        weights = torch.exp(10 * (texts @ g))
        summary = (weights[:, None] * texts).sum(dim=0) / weights.sum()
        expected = projection.static @ g + projection.by_text @ (g * summary)
        torch.testing.assert_close(found, expected / expected.norm())


def test_a_static_projection_does_not_look_at_texts() -> None:
    projection, whole = DynamicProjection(DIM, dynamic=False), units(2)
    nn.init.normal_(projection.static)
    assert sum(1 for _ in projection.parameters()) == 1
    made = projection(whole, units(4, seed=1), SCALE)
    assert torch.equal(made, projection(whole, units(4, seed=5), SCALE))
    torch.testing.assert_close(made, normalize(whole @ projection.static.T, dim=-1))


@pytest.mark.parametrize("embeddings", [False, True])
def test_a_closed_gate_leaves_local_cosines(
    inputs: tuple[Tensor, Tensor, Tensor], embeddings: bool
) -> None:
    pixels, texts, _ = inputs
    fused = DynamicAttentionFusion(embeddings=embeddings)(*inputs)
    torch.testing.assert_close(fused, pixels @ texts.transpose(1, 2))


def test_fixed_shares_of_scores(inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    pixels, texts, whole = inputs
    local = pixels @ texts.transpose(1, 2)
    constant = (texts @ whole[:, :, None])[..., 0][:, None].expand_as(local)
    half, all_ = (DynamicAttentionFusion(fixed_share=share) for share in (0.5, 1.0))
    torch.testing.assert_close(half(*inputs), (local + constant) / 2)
    torch.testing.assert_close(all_(*inputs), constant)
    assert not list(half.parameters())


def test_fixed_shares_of_embeddings(inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    pixels, texts, whole = inputs
    fused = DynamicAttentionFusion(fixed_share=0.5, embeddings=True)(*inputs)
    likeness = (pixels * whole[:, None]).sum(dim=-1, keepdim=True)
    mixed = 0.5 * pixels + 0.5 * likeness * whole[:, None]
    expected = (mixed / mixed.norm(dim=-1, keepdim=True)) @ texts.transpose(1, 2)
    torch.testing.assert_close(fused, expected)


@pytest.mark.parametrize("gate", [0.3, 2.0])
def test_the_dynamic_share_of_two_pixels(gate: float) -> None:
    """Two values, standardised, are 1 and -1."""
    fusion = DynamicAttentionFusion()
    nn.init.constant_(fusion.gate, gate)
    pixels = torch.tensor([[[1.0, 0, 0], [0, 0.6, 0.8]]])  # the second is near the picture
    texts = torch.tensor([[[1.0, 0, 0], [0, 1, 0]]])
    whole = torch.tensor([[0, 0, 1.0]])
    assert torch.equal(pixels @ texts.transpose(1, 2), torch.tensor([[[1.0, 0], [0, 0.6]]]))
    # similarity to texts: 1 and .6, so +1 and -1; to the picture: 0 and .8, so -1 and +1
    small = math.tanh(gate) / (1 + math.exp(4))
    large = math.tanh(gate) / (1 + math.exp(-4))
    expected = torch.tensor([[[1 - small, 0], [0, (1 - large) * 0.6]]])  # the picture scores 0
    torch.testing.assert_close(fusion(pixels, texts, whole), expected, atol=1e-4, rtol=0)


def test_the_gate_learns_from_the_first_step(inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    fusion = DynamicAttentionFusion()
    (fusion(*inputs) * torch.randn(2, 9, 4)).sum().backward()
    assert fusion.gate.grad is not None
    assert fusion.gate.grad.abs() > 1e-3
