"""Positions of another resolution: open_clip's own resize is the reference."""

from types import SimpleNamespace
from typing import Any

import open_clip
import pytest
import torch
from torch import Tensor

from gleclip_cli.errors import BadInput
from gleclip_cli.model.resolution import at_resolution, resize_positions

PATCH, WIDTH = 8, 6


def visual(height: int, width: int) -> Any:
    tokens = height * width + 1
    return SimpleNamespace(
        patch_size=(PATCH, PATCH),
        grid_size=(height, width),
        positional_embedding=torch.zeros(tokens, WIDTH),
    )


def positions(tokens: int) -> Tensor:
    return torch.randn(tokens, WIDTH, generator=torch.Generator().manual_seed(0))


def state(tokens: int, *, patch: int = PATCH) -> dict[str, Tensor]:
    return {
        "visual.conv1.weight": torch.zeros(WIDTH, 3, patch, patch),
        "visual.positional_embedding": positions(tokens),
    }


@pytest.mark.parametrize("grid", [(7, 7), (3, 3), (2, 6)])
def test_fault_80_positions_are_resized_as_open_clip_does(grid: tuple[int, int]) -> None:
    given = state(17)
    fitted, warnings = at_resolution(given, visual(*grid), origin="a.pt")
    expected = state(17)
    open_clip.model.resize_pos_embed(expected, SimpleNamespace(visual=visual(*grid)))
    name = "visual.positional_embedding"
    torch.testing.assert_close(fitted[name], expected[name])
    assert torch.equal(fitted[name][0], given[name][0])
    assert len(given[name]) == 17  # the file's own are left alone
    height, width = (PATCH * cells for cells in grid)
    assert warnings == (
        f"The weights a.pt were trained on 32 x 32 pixels: position embeddings resized for "
        f"{height} x {width}.",
    )


def test_half_precision_positions_are_resized_in_full() -> None:
    learned = positions(17)
    expected = resize_positions(learned.half().float(), (4, 4), (6, 6))
    assert torch.equal(resize_positions(learned.half(), (4, 4), (6, 6)), expected)


def test_what_fits_stays_and_says_nothing() -> None:
    given = state(17)
    fitted, warnings = at_resolution(given, visual(4, 4), origin="a.pt")
    assert warnings == ()
    assert all(fitted[name] is given[name] for name in given)


def test_fault_80_another_patch_size_is_refused_with_both_named() -> None:
    with pytest.raises(BadInput, match="patches of 32 pixels, the model has patches of 8"):
        at_resolution(state(17, patch=32), visual(4, 4), origin="a.pt")


@pytest.mark.parametrize("odd", [torch.zeros(12, WIDTH), torch.zeros(17, 5), torch.zeros(17)])
def test_what_is_no_square_grid_of_this_width_is_left_to_the_list_of_faults(odd: Tensor) -> None:
    given = {**state(17), "visual.positional_embedding": odd}
    fitted, warnings = at_resolution(given, visual(3, 3), origin="a.pt")
    assert fitted["visual.positional_embedding"] is odd
    assert warnings == ()
    del given["visual.positional_embedding"], given["visual.conv1.weight"]
    assert at_resolution(given, visual(3, 3), origin="a.pt") == ({}, ())
