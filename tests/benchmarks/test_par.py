"""PAR against its plain form, which unfolds 48 neighbours in every iteration; interleaved.

    OMP_NUM_THREADS=1 pytest -m benchmark tests/benchmarks/test_par.py -s

20 iterations, 6 dilations, a photograph of `GLECLIP_TEST_DATA` at 512x384, background and two
classes. Times are of the processor.
"""

import os
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from gleclip_cli.refine.par import DILATIONS, DIRECTIONS, par

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("GLECLIP_TEST_DATA", ROOT.parent / "shared" / "data"))
PHOTOS = DATA / "voc-photos" / "VOCdevkit" / "VOC2012" / "JPEGImages"
ROUNDS = 5

pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not PHOTOS.exists(), reason=f"no photographs under {DATA}"),
]


def neighbours(maps: torch.Tensor) -> torch.Tensor:
    """All 48 neighbours at once, (b, c, 48, H, W): copied, which is faster than to convolve."""
    height, width = maps.shape[2:]
    margin = max(DILATIONS)
    padded = functional.pad(maps, (margin,) * 4, mode="replicate")
    corners = [
        (margin + d * down, margin + d * right) for d in DILATIONS for down, right in DIRECTIONS
    ]
    views = [padded[:, :, y : y + height, x : x + width] for y, x in corners]
    return torch.stack(views, dim=2)


def plain_par(image: torch.Tensor, maps: torch.Tensor, position: float) -> torch.Tensor:
    around = neighbours(image)
    sigma = around.std(dim=2, keepdim=True)
    difference = (around - image[:, :, None]).abs() / (0.3 * (sigma + 1e-8))
    weights = (-difference.square()).mean(dim=1, keepdim=True).softmax(dim=2)
    steps = torch.tensor(DIRECTIONS, dtype=torch.float32).norm(dim=1)
    distance = (torch.tensor(DILATIONS)[:, None] * steps).flatten()
    near = (-(distance / (0.3 * (distance.std() + 1e-8))).square()).softmax(dim=0)
    weights = weights + position * near[None, None, :, None, None]
    for _ in range(20):
        maps = (neighbours(maps) * weights).sum(dim=2)
    return maps


@pytest.mark.parametrize("position", [0.01, 0.0])
def test_par(position: float) -> None:
    photo = np.asarray(Image.open(min(PHOTOS.glob("*.jpg"))).convert("RGB"))
    image = torch.from_numpy(cv2.resize(photo, (512, 384))).permute(2, 0, 1)[None].float()
    grids = np.random.default_rng(0).random((3, 24, 32), np.float32)
    maps = torch.from_numpy(np.stack([cv2.resize(g, (512, 384)) for g in grids]))[None]
    par(image, maps)  # compiled code is warm
    ratios, totals, differences = [], [], []
    for _ in range(ROUNDS):
        started = time.process_time()
        plain = plain_par(image, maps, position)
        between = time.process_time()
        ours = par(image, maps, position=position)
        spent = time.process_time() - between
        ratios.append((between - started) / spent)
        totals.append((spent, between - started))
        differences.append(float((ours - plain).abs().max()))
    mine, theirs = np.median(totals, axis=0)
    print(
        f"\n512x384, 3 maps, 20 iterations, position {position}: {mine:.2f} s, plain {theirs:.2f} "
        f"s; ratio {np.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f}); greatest "
        f"difference {max(differences):.1e}"
    )
    assert max(differences) < 1e-4
    assert np.median(ratios) >= 5
