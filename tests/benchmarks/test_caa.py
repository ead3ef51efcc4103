"""CAA as two products per class against the published n x n matrices; interleaved.

    OMP_NUM_THREADS=1 pytest -m benchmark tests/benchmarks/test_caa.py -s

Attention of 768 patches, a picture of 512x384 by ViT-B/16. The published code balances and squares
the matrix for every class. Times are of the processor.
"""

import time

import numpy as np
import pytest
import torch

from gleclip_cli.refine.affinity import box_mask, caa

GRID = (24, 32)
ROUNDS = 31

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(3600)]


def dense_caa(attention: torch.Tensor, cams: torch.Tensor) -> torch.Tensor:
    """Column and row sums three times, symmetric mean, square, product: per class."""
    spread = []
    for cam in cams:
        balanced = attention
        for _ in range(3):
            balanced = balanced / balanced.sum(dim=0, keepdim=True)
            balanced = balanced / balanced.sum(dim=1, keepdim=True)
        transition = (balanced + balanced.T) / 2
        transition = transition @ transition
        boxed = cam * box_mask(cam[None], threshold=0.4)[0]
        spread.append((transition @ boxed.flatten()).reshape(GRID))
    return torch.stack(spread)


@pytest.mark.parametrize("classes", [1, 2, 5])
def test_caa(classes: int) -> None:
    generator = torch.Generator().manual_seed(0)
    cells = GRID[0] * GRID[1]
    attention = torch.softmax(3 * torch.randn(cells, cells + 1, generator=generator), dim=1)[:, 1:]
    cams = torch.rand(classes, *GRID, generator=generator)
    ratios, differences, totals = [], [], []
    for _ in range(ROUNDS):
        started = time.process_time()
        dense = dense_caa(attention, cams)
        between = time.process_time()
        ours = caa(attention, cams, threshold=0.4)
        spent = time.process_time() - between
        ratios.append((between - started) / spent)
        totals.append((spent, between - started))
        differences.append(float((ours - dense).abs().max()))
    mine, theirs = 1000 * np.median(totals, axis=0)
    print(
        f"\n768 patches, {classes} classes: {mine:.1f} ms, dense {theirs:.1f} ms; ratio "
        f"{np.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f}); greatest difference "
        f"{max(differences):.1e}"
    )
    assert max(differences) < 1e-5
    assert np.median(ratios) >= 8
