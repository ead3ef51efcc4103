"""Maps resized band by band are the maps that torch resizes whole."""

import pytest
import torch
from torch.nn import functional

from gleclip_cli.refine import bands as module
from gleclip_cli.refine.bands import Shrunk, bands, bounded, enlarged, row_taps


def whole(maps: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return functional.interpolate(maps[None], size, mode="bilinear", antialias=True)[0]


def test_bands_hold_every_row_once_and_few_values(monkeypatch):
    monkeypatch.setattr(module, "_VALUES_AT_ONCE", 100)
    found = bands(23, 7, 4)
    assert [row for rows in found for row in range(rows.start, rows.stop)] == list(range(23))
    assert {(rows.stop - rows.start) * 7 * 4 for rows in found[:-1]} == {84}
    assert bands(2, 1000, 3) == [slice(0, 1), slice(1, 2)]


def test_a_picture_is_bounded_by_its_pixels():
    assert bounded(30, 40, 2000) == (30, 40)
    height, width = bounded(3000, 4000, 1200)
    assert (height, width) == (30, 40)
    assert bounded(1, 10_000, 100) == (1, 1000)


@pytest.mark.parametrize("target", [5, 11, 12, 13, 40])
def test_rows_are_weighted_as_torch_weighs_them(target):
    maps = torch.rand(2, 12, 3)
    expected = whole(maps, (target, 3))
    for row in range(target):
        taps, weights = row_taps(12, target, slice(row, row + 1))
        assert torch.allclose(weights @ maps[:, taps], expected[:, row : row + 1], atol=1e-6)


@pytest.mark.parametrize("size", [(6, 9), (20, 31), (3, 40)])
def test_enlarged_bands_are_the_whole(size, monkeypatch):
    maps = torch.rand(3, 6, 9)
    monkeypatch.setattr(module, "_VALUES_AT_ONCE", 3 * size[1] * 4)
    found = list(enlarged(maps, *size))
    assert torch.allclose(torch.cat([part for _, part in found], 1), whole(maps, size), atol=1e-5)


@pytest.mark.parametrize("size", [(23, 17), (7, 5), (22, 17)])
def test_shrinking_by_bands_is_shrinking_the_whole(size):
    maps = torch.rand(2, 23, 17)
    shrunk = Shrunk(2, *size)
    for top in range(0, 23, 4):
        shrunk.add(slice(top, min(top + 4, 23)), maps[:, top : top + 4], 23)
    assert torch.allclose(shrunk.maps, whole(maps, size), atol=1e-5)
