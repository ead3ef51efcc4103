"""The walk against powers of the n x n transition matrix, and pairs against plain cosines."""

import numpy as np
import pytest
import torch

from gleclip_cli.refine import walk as module
from gleclip_cli.refine.walk import MAX_CELLS, OFFSETS, pairs_of, random_walk, walk_grid

GRIDS = [(7, 9), (1, 6), (5, 1), (12, 3), (1, 1)]


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def dense_transition(pairs: torch.Tensor, exponent: float) -> np.ndarray:
    """T as published: powers of symmetric affinities, 1 on the diagonal, over the column sums."""
    height, width = pairs.shape[1:]
    affinity = np.eye(height * width)
    for plane, (down, right) in zip(pairs.double().numpy(), OFFSETS, strict=True):
        for y, x in np.ndindex(height, width):
            if y + down < height and 0 <= x + right < width:
                i, j = y * width + x, (y + down) * width + x + right
                affinity[i, j] = affinity[j, i] = plane[y, x]
    powers = affinity**exponent
    return powers / powers.sum(axis=0, keepdims=True)


def dense_walk(maps: torch.Tensor, pairs: torch.Tensor, exponent: float, steps: int) -> np.ndarray:
    power = np.linalg.matrix_power(dense_transition(pairs, exponent), steps)
    return (maps.double().flatten(1).numpy() @ power).reshape(maps.shape)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize(("exponent", "steps"), [(10.0, 256), (1.0, 3)])
def test_the_walk_equals_the_power_of_the_transition(
    grid: tuple[int, int], exponent: float, steps: int
) -> None:
    maps, pairs = random(2, *grid), random(34, *grid, seed=1)
    walked = random_walk(maps, pairs, exponent=exponent, steps=steps)
    np.testing.assert_allclose(walked, dense_walk(maps, pairs, exponent, steps), atol=1e-4)


@pytest.mark.parametrize("grid", [(6, 8), (40, 33)])  # cells for one block, and for several
def test_compiled_steps_are_those_of_torch(
    grid: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    maps, pairs = torch.rand(2, *grid), torch.rand(34, *grid) ** 3
    compiled = random_walk(maps, pairs, steps=5)
    monkeypatch.setattr(module, "_compiled", lambda maps: False)
    torch.testing.assert_close(compiled, random_walk(maps, pairs, steps=5))
    assert compiled.std() > 0.01


def test_there_are_34_offsets_of_less_than_5() -> None:
    both = {*OFFSETS, *((-down, -right) for down, right in OFFSETS), (0, 0)}
    disc = {(y, x) for y in range(-5, 6) for x in range(-5, 6) if y * y + x * x < 25}
    assert len(OFFSETS) == 34
    assert both == disc


def test_scores_do_not_pass_a_border_and_a_constant_map_stays() -> None:
    features = torch.zeros(2, 6, 12)
    features[0, :, :7], features[1, :, 7:] = 1, 1
    maps = torch.zeros(2, 6, 12)
    maps[0, 2, 1], maps[1] = 1, 0.3
    walked = random_walk(maps, pairs_of(features, (6, 12)))
    assert (walked[0, :, 7:] == 0).all()
    assert float(walked[0, :, :7].min()) > 0.01  # of 1 on one of 42 cells
    assert float(walked[0, :, :7].max()) < 0.04
    torch.testing.assert_close(walked[1], maps[1])


def test_classes_do_not_mix_and_no_class_is_no_map() -> None:
    maps, pairs = random(3, 6, 8), random(34, 6, 8, seed=1)
    order = torch.tensor([2, 0, 1])
    walked = random_walk(maps, pairs, steps=20)
    torch.testing.assert_close(random_walk(maps[order], pairs, steps=20), walked[order])
    torch.testing.assert_close(random_walk(maps[1:2], pairs, steps=20), walked[1:2])
    assert random_walk(maps[:0], pairs).shape == (0, 6, 8)
    assert torch.equal(random_walk(maps, pairs, steps=0), maps)


def test_mirrored_input_gives_the_mirrored_output() -> None:
    maps, features = random(2, 7, 9), random(5, 7, 9, seed=1)
    mirrored = random_walk(maps.flip(2), pairs_of(features.flip(2), (7, 9)), steps=30)
    walked = random_walk(maps, pairs_of(features, (7, 9)), steps=30)
    torch.testing.assert_close(mirrored.flip(2), walked)


@pytest.mark.parametrize("grid", GRIDS)
def test_pairs_are_cosines_of_centred_features(grid: tuple[int, int]) -> None:
    features = random(70, *grid) - 0.2  # more channels than are taken at once
    unit = features.double() / features.double().norm(dim=0)
    centred = unit - unit.mean(dim=(1, 2), keepdim=True)
    found = pairs_of(features, grid)
    for plane, (down, right) in zip(found, OFFSETS, strict=True):
        for y, x in np.ndindex(*grid):
            expected = 0.0
            if y + down < grid[0] and 0 <= x + right < grid[1]:
                here, there = centred[:, y, x], centred[:, y + down, x + right]
                expected = max(0.0, float(here @ there / (here.norm() * there.norm())))
            assert float(plane[y, x]) == pytest.approx(expected, abs=1e-5)


def test_features_of_another_grid_are_resized() -> None:
    features = random(3, 4, 5)
    unit = torch.nn.functional.normalize(features, dim=0)
    centred = unit - unit.mean(dim=(1, 2), keepdim=True)
    large = torch.nn.functional.interpolate(centred[None], (9, 11), mode="bilinear")[0]
    (here, there), plane = (large[:, 0, 0], large[:, 0, 1]), pairs_of(features, (9, 11))[0]
    assert OFFSETS[0] == (0, 1)
    cosine = torch.nn.functional.cosine_similarity(here, there, dim=0).clamp_min(0)
    torch.testing.assert_close(plane[0, 0], cosine)


def test_a_grid_has_stride_4_until_it_would_be_too_large() -> None:
    assert walk_grid((375, 500)) == (94, 125)
    assert walk_grid((1, 3)) == (1, 1)
    height, width = walk_grid((6000, 8000))
    assert 0.9 * MAX_CELLS < height * width < 1.1 * MAX_CELLS


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_gpu_equals_cpu() -> None:
    maps, pairs = random(3, 20, 30), random(34, 20, 30, seed=1)
    walked = random_walk(maps.cuda(), pairs.cuda()).cpu()
    torch.testing.assert_close(walked, random_walk(maps, pairs), atol=1e-4, rtol=0)
