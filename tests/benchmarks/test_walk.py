"""The random walk against powers of the dense transition: seconds and memory.

    OMP_NUM_THREADS=1 pytest -m benchmark tests/benchmarks/test_walk.py -s

A picture of 500x375 at stride 4, two classes. T^256 is 8 squarings of a matrix of 552 MB that all
cost the same: one is timed, times 8. Times are of the processor, so that what else the machine does
counts little.
"""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from gleclip_cli.refine.walk import OFFSETS, pairs_of, random_walk, walk_grid

ROOT = Path(__file__).resolve().parents[2]
GRID = walk_grid((375, 500))
SQUARINGS = 8

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(3600)]


def case(grid: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(16, *(side // 4 + 1 for side in grid), generator=generator)
    return torch.rand(2, *grid, generator=generator), pairs_of(features, grid)


def transition(pairs: torch.Tensor) -> np.ndarray:
    """Affinities to the tenth over their column sums, n x n in float32."""
    height, width = pairs.shape[1:]
    cells = np.arange(height * width).reshape(height, width)
    dense = np.eye(height * width, dtype=np.float32)
    for plane, (down, right) in zip(pairs.numpy(), OFFSETS, strict=True):
        left, end = max(0, -right), width - max(0, right)
        here, there = cells[: height - down, left:end], cells[down:, left + right : end + right]
        powers = plane[: height - down, left:end] ** 10
        dense[here, there] = dense[there, here] = powers
    dense /= dense.sum(axis=0, keepdims=True)
    return dense


def test_both_are_the_same_walk() -> None:
    maps, pairs = case((24, 31))
    power = np.linalg.matrix_power(transition(pairs).astype(np.float64), 2**SQUARINGS)
    expected = (maps.flatten(1).double().numpy() @ power).reshape(maps.shape)
    difference = float(np.abs(random_walk(maps, pairs).numpy() - expected).max())
    print(f"\n24x31 cells: greatest difference {difference:.1e}")
    assert difference < 1e-4


def test_500x375_at_stride_4() -> None:
    maps, pairs = case(GRID)
    sparse = []
    for _ in range(5):
        started = time.process_time()
        random_walk(maps, pairs)
        sparse.append(time.process_time() - started)
    dense = torch.from_numpy(transition(pairs))
    started = time.process_time()
    torch.mm(dense, dense)
    squaring = time.process_time() - started
    ours, theirs = float(np.median(sparse)), SQUARINGS * squaring
    print(
        f"\n{GRID[0]}x{GRID[1]} cells, 2 classes, 256 steps: {ours:.3f} s; dense {theirs:.0f} s "
        f"(8 x {squaring:.1f} s); ratio {theirs / ours:.0f}"
    )
    assert theirs >= 100 * ours


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_memory() -> None:
    code = f"import runpy; runpy.run_path({__file__!r})['print_growth']()"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert not result.returncode, result.stderr
    grown = int(result.stdout)
    print(f"\n500x375 at stride 4, 768 features and 256 steps, beyond the imports: {grown} MB")
    assert grown < 50


def print_growth() -> None:
    random_walk(*case((12, 12)))
    features = torch.randn(768, 24, 32)
    before = peak()
    random_walk(torch.rand(2, *GRID), pairs_of(features, GRID))
    print((peak() - before) // 1024)


def peak() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
