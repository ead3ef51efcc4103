"""Sizes of views, and maps of views becoming one."""

import pytest
import torch

from gleclip_cli.cam.fuse import MAX_PATCHES, fuse, view_grid


@pytest.mark.parametrize(
    ("size", "scale", "grid"),
    [
        ((375, 500), 1.0, (24, 32)),  # 23.4 and 31.25 patches
        ((375, 500), 0.5, (12, 16)),
        ((32, 48), 1.0, (2, 3)),
        ((33, 48), 1.0, (3, 3)),
        ((1, 1), 1.0, (1, 1)),
        ((15, 15), 0.1, (1, 1)),
    ],
)
def test_sides_are_rounded_up_to_whole_patches(
    size: tuple[int, int], scale: float, grid: tuple[int, int]
) -> None:
    assert view_grid(size, scale=scale, patch=16) == grid


@pytest.mark.parametrize(
    "size", [(3000, 4000), (20000, 30), (30, 20000), (1, 10**6), (10**6, 17), (1025, 1024)]
)
def test_fault_14_views_have_a_bounded_number_of_patches(size: tuple[int, int]) -> None:
    height, width = view_grid(size, scale=1.0, patch=16)
    assert 1 <= height * width <= MAX_PATCHES
    if min(size) > 1000:  # a large photograph keeps its shape and uses the room
        assert height / width == pytest.approx(size[0] / size[1], rel=0.05)
        assert height * width > 0.9 * MAX_PATCHES
    grid = max(1, -(-size[0] // 16)), max(1, -(-size[1] // 16))
    assert height <= grid[0]
    assert width <= grid[1]


def test_one_view_is_returned_as_it_is() -> None:
    view = torch.rand(2, 3, 4)
    assert torch.equal(fuse([view]), view)


def test_views_are_averaged_on_the_finest_grid_with_half_pixel_centres() -> None:
    coarse = torch.tensor([[[0.0, 1.0]]])
    fine = torch.tensor([[[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]])
    enlarged = torch.tensor([0.0, 0.25, 0.75, 1.0])
    mean = torch.stack([(enlarged + fine[0, 0]) / 2, enlarged / 2])
    expected = (mean - mean.min()) / (mean.max() - mean.min())
    torch.testing.assert_close(fuse([coarse, fine])[0], expected)
    torch.testing.assert_close(fuse([fine, coarse])[0], expected)
