"""CAA against the dense formula of CLIP-ES, and boxes against hand-drawn ones."""

import numpy as np
import pytest
import torch

from gleclip_cli.refine.affinity import (
    box_mask,
    caa,
    gated,
    min_max,
    part_spread,
    raised,
    sinkhorn_scaling,
)

GRIDS = [(5, 7), (6, 6), (1, 9)]


def random_attention(n: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    # As in CLIP: rows sum to less than 1 because the CLS column was cut away.
    return torch.softmax(3 * torch.randn(n, n + 1, generator=generator), dim=1)[:, 1:]


def random_cams(k: int, grid: tuple[int, int], seed: int = 1) -> torch.Tensor:
    return torch.rand(k, *grid, generator=torch.Generator().manual_seed(seed))


def dense_caa(attention: np.ndarray, boxed: np.ndarray) -> np.ndarray:
    """T T (box * cam) with n x n matrices in float64, straight from the published steps."""
    d = attention.astype(np.float64)
    for _ in range(3):
        d = d / d.sum(axis=0, keepdims=True)
        d = d / d.sum(axis=1, keepdims=True)
    t = (d + d.T) / 2
    t = t @ t
    return (t @ boxed.reshape(len(boxed), -1).T).T.reshape(boxed.shape)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("parity", [False, True])
def test_caa_equals_the_dense_formula(grid: tuple[int, int], parity: bool) -> None:
    attention, cams = random_attention(grid[0] * grid[1]), random_cams(3, grid)
    boxed = cams.numpy() * box_mask(cams, threshold=0.4, parity=parity).numpy()
    refined = caa(attention, cams, threshold=0.4, parity=parity)
    np.testing.assert_allclose(refined, dense_caa(attention.numpy(), boxed), atol=1e-5)


def test_the_scaling_is_three_rounds_of_division() -> None:
    attention = random_attention(30)
    divided = attention
    for _ in range(3):
        divided = divided / divided.sum(0, keepdim=True)
        divided = divided / divided.sum(1, keepdim=True)
    row, column = sinkhorn_scaling(attention)
    torch.testing.assert_close(row[:, None] * attention * column, divided)


def test_a_token_that_nobody_attends_to_gives_no_nan() -> None:
    attention = random_attention(12)
    attention[:, 4] = 0
    attention[7, :] = 0
    assert caa(attention, random_cams(2, (3, 4)), threshold=0.4).isfinite().all()


def test_no_class_gives_no_map() -> None:
    assert caa(random_attention(12), torch.empty(0, 3, 4), threshold=0.4).shape == (0, 3, 4)


def test_half_precision_attention_is_computed_in_float32() -> None:
    attention, cams = random_attention(12), random_cams(2, (3, 4))
    refined = caa(attention.bfloat16(), cams, threshold=0.4)
    torch.testing.assert_close(refined, caa(attention, cams, threshold=0.4), rtol=0.02, atol=0.01)


def test_boxes_surround_every_component() -> None:
    cam = torch.zeros(1, 5, 6)
    cam[0, 0, 0] = 1.0
    cam[0, 2, 2] = cam[0, 3, 3] = 0.6  # joined by the corner: one box of 2 x 2
    cam[0, 1, 5] = 0.3  # below .4 of the maximum
    expected = torch.zeros(1, 5, 6, dtype=torch.bool)
    expected[0, 0, 0] = True
    expected[0, 2:4, 2:4] = True
    assert torch.equal(box_mask(cam, threshold=0.4), expected)


def test_parity_leaves_out_the_last_row_and_column() -> None:
    cam = torch.ones(1, 4, 5)
    assert box_mask(cam, threshold=0.4).all()
    kept = box_mask(cam, threshold=0.4, parity=True)
    expected = torch.ones(1, 4, 5, dtype=torch.bool)
    expected[0, 3, :] = expected[0, :, 4] = False
    assert torch.equal(kept, expected)


def test_the_threshold_is_taken_on_bytes() -> None:
    # floor(.4 * 255) = 102: byte 102 (0.4 to 0.4039) is not above it, byte 103 is.
    cam = torch.tensor([[[1.0, 0.0, 0.4035, 0.0, 0.4045]]])
    assert box_mask(cam, threshold=0.4)[0, 0].tolist() == [True, False, False, False, True]


def test_an_empty_map_has_no_box_and_stays_zero() -> None:
    cams = torch.zeros(1, 3, 4)
    assert not box_mask(cams, threshold=0.4).any()
    assert caa(random_attention(12), cams, threshold=0.4).eq(0).all()


def test_min_max_stretches_each_map_and_leaves_a_flat_one_at_zero() -> None:
    maps = torch.tensor([[[2.0, 4.0], [3.0, 2.0]], [[7.0, 7.0], [7.0, 7.0]]])
    expected = torch.tensor([[[0.0, 1.0], [0.5, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
    assert torch.equal(min_max(maps), expected)
    torch.testing.assert_close(min_max(maps, parity=True), expected, atol=1e-6, rtol=0)


def test_min_max_keeps_the_shape_of_the_faintest_map() -> None:
    faint = torch.tensor([[[0.0, 1e-12], [5e-13, 0.0]]])
    torch.testing.assert_close(min_max(faint), torch.tensor([[[0.0, 1.0], [0.5, 0.0]]]))
    # Published: a / (1e-7 + a), then once more with its own maximum.
    once = 1e-12 / (1e-7 + 1e-12)
    expected = once / (1e-7 + once)
    assert min_max(faint, parity=True).max().item() == pytest.approx(expected, rel=1e-5)


def test_two_thirds_of_a_map_are_what_caa_makes_by_hand() -> None:
    """Two patches alike and one unlike them; the box holds the first alone."""
    affinity = torch.tensor([[0.8, 0.7, 0.1], [0.7, 0.8, 0.1], [0.1, 0.1, 0.9]])
    fine = np.array([[[0.8, 0, 0]], [[0, 0, 0]]], np.float32)
    whole = dense_caa(affinity.numpy(), fine)[:1]
    coarse = 0.8 * (whole - whole.min()) / (whole.max() - whole.min())

    def spread(maps: np.ndarray, **options: float) -> np.ndarray:
        fine = torch.from_numpy(maps)
        return part_spread(fine, affinity, (1, 3), threshold=0.4, **options).numpy()

    found = spread(fine)
    np.testing.assert_allclose(found[:1], (fine[:1] + 2 * coarse) / 3, atol=1e-5)
    assert not found[1].any()
    half = spread(fine, share=0.5)
    np.testing.assert_allclose(half[:1], (fine[:1] + coarse) / 2, atol=1e-5)
    at_twice = [0.8, 0.6 + 0.25 * coarse[0, 0, 1]]  # bilinear, half-pixel centres
    large = spread(fine.repeat(2, axis=1).repeat(2, axis=2))
    np.testing.assert_allclose(large[0, :, :2], [(0.8 + 2 * np.array(at_twice)) / 3] * 2, atol=1e-5)


def test_raised_maps_reach_one_and_zeros_stay() -> None:
    maps = torch.tensor([[[0.2, 0.1]], [[0.0, 0.0]], [[1.0, 0.3]]])
    expected = torch.tensor([[[1.0, 0.5]], [[0.0, 0.0]], [[1.0, 0.3]]])
    torch.testing.assert_close(raised(maps), expected)


def test_the_gate_keeps_attention_that_is_near_what_was_learned() -> None:
    learned = torch.tensor([[0.5, 0.4], [0.4, 0.5]])
    attention = torch.stack([torch.full((2, 2), value) for value in (0.1, 0.2, 0.44, 0.43)])
    # sum(learned - attention): 1.4, 1.0, 0.04, 0.08, mean 0.63
    torch.testing.assert_close(gated(attention, learned), 0.435 * learned)


def test_a_gate_between_equals_keeps_all_and_none_is_the_mean() -> None:
    learned = torch.tensor([[0.3, 0.1], [0.2, 0.7]])
    same = torch.tensor([[0.1, 0.2], [0.3, 0.1]])
    torch.testing.assert_close(gated(same.repeat(5, 1, 1), learned), same * learned)
    attention = torch.rand(3, 4, 4)
    assert torch.equal(gated(attention, None), attention.mean(dim=0))
