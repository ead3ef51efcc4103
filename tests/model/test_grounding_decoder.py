"""The grounding decoder: its grids, what it adds untrained, where fine detail comes from."""

import pytest
import torch
from torch import Tensor, nn

from gleclip_cli.model.grounding_decoder import GatedConvolution, GroundingDecoder, levels_of

CLIP_WIDTH, EMBED, BLOCKS = 12, 10, 2


def decoder_of(levels: int) -> GroundingDecoder:
    torch.manual_seed(0)
    return GroundingDecoder(CLIP_WIDTH, EMBED, blocks=BLOCKS, width=48, levels=levels)


def inputs(patch: int, grid: tuple[int, int] = (3, 5)) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randn(2, BLOCKS, *grid, CLIP_WIDTH, generator=generator)
    return tokens, torch.randn(2, 3, grid[0] * patch, grid[1] * patch, generator=generator)


def opened(decoder: GroundingDecoder) -> GroundingDecoder:
    for parameter in (decoder.gates, *(g for n, g in decoder.named_parameters() if "gate" in n)):
        nn.init.constant_(parameter, 0.5)
    return decoder


@pytest.mark.parametrize(("patch", "levels"), [(2, 1), (4, 1), (8, 2), (14, 3), (16, 3), (32, 4)])
def test_levels_lead_to_about_stride_4(patch: int, levels: int) -> None:
    assert levels_of(patch, 9) == levels
    assert levels_of(patch, 1) == 1
    assert levels_of(patch, 3) == min(3, levels)


@pytest.mark.parametrize("patch", [8, 14, 16, 32])
@pytest.mark.parametrize("grid", [(3, 5), (1, 7)])
def test_every_level_doubles_the_grid(patch: int, grid: tuple[int, int]) -> None:
    levels = levels_of(patch, 3)
    corrections, joined = decoder_of(levels)(*inputs(patch, grid))
    assert [tuple(part.shape) for part in corrections] == [
        (2, grid[0] << level, grid[1] << level, EMBED) for level in range(levels)
    ]
    assert joined.shape == (2, *grid, 48)


def test_an_untrained_decoder_corrects_nothing_and_its_gates_can_learn() -> None:
    decoder = decoder_of(3)
    corrections, joined = decoder(*inputs(16))
    assert all(not part.any() for part in corrections)
    assert joined.any()
    torch.stack([(part * torch.randn(part.shape)).sum() for part in corrections]).sum().backward()
    assert decoder.gates.grad is not None
    assert decoder.gates.grad.abs().min() > 0


def test_behind_open_gates_everything_learns() -> None:
    decoder = opened(decoder_of(3))
    corrections, joined = decoder(*inputs(16))
    terms = [(part * torch.randn(part.shape)).sum() for part in (*corrections, joined)]
    torch.stack(terms).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in decoder.parameters())


def test_a_closed_gate_is_the_identity() -> None:
    maps = torch.randn(1, 16, 5, 7)
    assert torch.equal(GatedConvolution(16)(maps), maps)


def test_only_finer_levels_see_the_picture() -> None:
    decoder = opened(decoder_of(2))
    tokens, images = inputs(8)
    changed = images.clone()
    changed[:, :, 0, 0] += 1
    before, after = decoder(tokens, images)[0], decoder(tokens, changed)[0]
    assert torch.equal(before[0], after[0])
    assert (before[1][:, 0, 0] - after[1][:, 0, 0]).abs().max() > 1e-4
