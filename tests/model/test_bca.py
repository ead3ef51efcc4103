"""Bidirectional cross-attention: who reads whom, and who does not."""

import pytest
import torch
from torch import Tensor

from gleclip_cli.model.bca import BidirectionalCrossAttention, Reading

DIM = 12


def layer(**directions: bool) -> BidirectionalCrossAttention:
    """As if trained: gates are open, matrices are no longer those of the start."""
    torch.manual_seed(0)
    made = BidirectionalCrossAttention(DIM, **directions)
    for parameter in made.parameters():
        with torch.no_grad():
            parameter += torch.randn_like(parameter)
    return made


@pytest.fixture
def both() -> tuple[Tensor, Tensor]:
    """Texts and pixels."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 4, DIM, generator=generator), torch.randn(2, 9, DIM, generator=generator)


def test_an_untrained_layer_returns_its_inputs(both: tuple[Tensor, Tensor]) -> None:
    for before, after in zip(both, BidirectionalCrossAttention(DIM)(*both), strict=True):
        assert torch.equal(before, after)


def test_a_direction_that_is_off_leaves_its_side_as_it_is(both: tuple[Tensor, Tensor]) -> None:
    texts, pixels = both
    after = layer(text_reads=False)(texts, pixels)
    assert torch.equal(after[0], texts)
    assert not torch.allclose(after[1], pixels, atol=0.01)
    after = layer(pixels_read=False)(texts, pixels)
    assert not torch.allclose(after[0], texts, atol=0.01)
    assert torch.equal(after[1], pixels)


def test_reading_is_the_formula(both: tuple[Tensor, Tensor]) -> None:
    cosines, others = torch.randn(2, 4, 9), both[1]
    reading = Reading(DIM)
    with torch.no_grad():
        reading.gate += 0.5
        reading.value.mul_(2)
    for image in range(2):
        for query in range(4):
            weights = (20 * cosines[image, query]).exp()
            mean = (weights[:, None] * others[image]).sum(dim=0) / weights.sum()
            expected = 0.5 * 2 * (mean - others[image].mean(dim=0))
            found = reading(cosines, others)[image, query]
            torch.testing.assert_close(found, expected)


def test_what_all_pixels_share_says_nothing(both: tuple[Tensor, Tensor]) -> None:
    texts, pixels = both
    alike = pixels[:, :1].expand(-1, 9, -1)
    torch.testing.assert_close(layer()(texts, alike)[0], texts)


def test_pixels_read_the_updated_texts(both: tuple[Tensor, Tensor]) -> None:
    one = layer()
    texts, pixels = one(*both)
    one.text_from_pixels = None
    expected = one(texts, both[1])[1]
    torch.testing.assert_close(pixels, expected)


def test_permuted_texts_give_permuted_texts_and_the_same_pixels(
    both: tuple[Tensor, Tensor],
) -> None:
    texts, pixels = both
    order = [2, 0, 3, 1]
    expected, same = layer()(texts, pixels)
    permuted = layer()(texts[:, order], pixels)
    torch.testing.assert_close(permuted[0], expected[:, order])
    torch.testing.assert_close(permuted[1], same)


def test_pixels_do_not_see_pixels_but_through_texts(both: tuple[Tensor, Tensor]) -> None:
    texts, pixels = both
    alone = layer(text_reads=False)(texts, pixels[:, :1])[1]
    torch.testing.assert_close(alone, layer(text_reads=False)(texts, pixels)[1][:, :1])
    mixed = layer()(texts, pixels)[1][:, :1]
    assert not torch.allclose(layer()(texts, pixels[:, :1])[1], mixed, atol=1e-3)
