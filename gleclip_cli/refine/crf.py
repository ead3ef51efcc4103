"""Dense CRF: every pixel talks to all others, the more the nearer and the more alike they are.

Paper: Krähenbühl and Koltun 2011. U = -log(clip(score, 1e-5, 1)); Q = softmax(-U) at first, then
ten times Q <- softmax(-U + sum_m w_m K_m Q) with a Gaussian kernel of position and a bilateral one
of position and colour, both normalised symmetrically; Potts compatibility.
Here: Q sums to 1 and K is linear, so the background is not filtered: its message is K 1 less the
others'. Only the classes of the image take part.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from gleclip_cli.errors import BadInput, EnvironmentFault
from gleclip_cli.refine.bands import MAX_PIXELS, bounded
from gleclip_cli.refine.permutohedral import Lattice, build_lattice, slice_, splat
from gleclip_cli.refine.softmax import softmax

_MAX_KEPT_PIXELS = 2**20  # some 45 MB; those of the last four sizes are kept
SMALLEST = 1e-5
_LANES = (1, 2, 4, 8)


@dataclass(frozen=True)
class CrfSettings:
    """Standard deviations (pixels, grey levels) and weights of the two kernels.

    `certainty`: the scores count only by their largest, which has this probability.
    """

    gaussian_sxy: float
    gaussian_weight: float
    bilateral_sxy: float
    bilateral_srgb: float
    bilateral_weight: float
    certainty: float | None = None

    def scaled(self, share: float) -> "CrfSettings":
        """Return the settings for a picture whose sides are multiplied by `share`."""
        return replace(
            self,
            gaussian_sxy=self.gaussian_sxy * share,
            bilateral_sxy=self.bilateral_sxy * share,
        )


PRESETS = {
    "deeplab": CrfSettings(1.0, 3.0, 67.0, 3.0, 4.0),
    "afa": CrfSettings(3.0, 3.0, 64.0, 5.0, 4.0),
    "irn": CrfSettings(3.0, 3.0, 50.0, 5.0, 10.0, certainty=0.7),
    "psa": CrfSettings(3.0, 3.0, 80.0, 13.0, 10.0),
}
"""As published: deeplab-pytorch, CLIP-ES and ExCEL; AFA and WeCLIP; the labels of IRN; PSA."""


def dense_crf(
    image: UInt8[np.ndarray, "H W 3"],
    scores: Float[np.ndarray, "k H W"],
    settings: CrfSettings = PRESETS["deeplab"],
    *,
    iterations: int = 10,
    backend: str = "lattice",
    device: str = "cpu",
    max_pixels: int = MAX_PIXELS,
) -> Float32[np.ndarray, "k H W"]:
    """Return the probability of every class; they sum to 1.

    `scores` in [0, 1] need not sum to 1. Beyond `max_pixels` the picture is refined on a smaller
    grid, and enlarged again. `lattice` computes on `device` if that is CUDA, else on
    the CPU; `pydensecrf` always there. Memory on the CPU for a photograph: some 200 bytes per
    pixel and 8 more per class.

    Raises:
        BadInput: a score is NaN or infinite.
        EnvironmentFault: the backend is not installed.
    """
    if not np.isfinite(scores).all():
        raise BadInput("The scores hold NaN or infinite values.", "Make the maps again.")
    height, width = scores.shape[1:]
    grid = bounded(height, width, max_pixels)
    if grid != (height, width):
        image = cv2.resize(image, grid[::-1], interpolation=cv2.INTER_AREA)
        scores = np.stack([cv2.resize(s, grid[::-1], interpolation=cv2.INTER_AREA) for s in scores])
        settings = settings.scaled((max_pixels / (height * width)) ** 0.5)
    if settings.certainty is not None:
        scores = _certain(scores, settings.certainty)
    if backend == "pydensecrf":
        refined = _pydensecrf(image, scores, settings, iterations)
    elif device.startswith("cuda"):
        refined = _on_device(image, scores, settings, iterations, device)
    else:
        refined = _lattice(image, scores, settings, iterations)
    if grid != (height, width):
        refined = np.stack([cv2.resize(r, (width, height)) for r in refined])
    return refined


def require_backend(backend: str) -> None:
    """Raise EnvironmentFault where the library of a backend is missing; none stands in for it."""
    if backend == "pydensecrf":
        _densecrf2d()


def _unary(score: Float[np.ndarray, "*any"]) -> Float32[np.ndarray, "*any"]:
    energy: Float32[np.ndarray, "*any"] = np.clip(score, SMALLEST, 1, dtype=np.float32)
    np.log(energy, out=energy)
    energy *= -1
    return energy


def _certain(scores: Float[np.ndarray, "k H W"], certainty: float) -> Float[np.ndarray, "k H W"]:
    """Return scores of `certainty` for the largest; the rest is shared evenly."""
    others = (1 - certainty) / max(1, len(scores) - 1)
    winner = scores.argmax(axis=0) == np.arange(len(scores))[:, None, None]
    return np.where(winner, np.float32(certainty), np.float32(others))


def _lattice(
    image: UInt8[np.ndarray, "H W 3"],
    scores: Float[np.ndarray, "k H W"],
    settings: CrfSettings,
    iterations: int,
) -> Float32[np.ndarray, "k H W"]:
    count, height, width = scores.shape
    lanes = next((n for n in _LANES if n >= count - 1), _LANES[-1])
    zero, blocks = (0,) * lanes, -(-(count - 1) // lanes)
    # column c of block b is class 1 + b * lanes + c
    values = np.zeros((blocks, height * width, lanes), np.float32)
    refined = _unary(scores).reshape(count, height * width)
    logits = np.subtract(refined[0], refined[1:], out=refined[1:])
    softmax(values, logits)
    small = height * width <= _MAX_KEPT_PIXELS
    gaussian_lattice = _kept_gaussian_lattice if small else _gaussian_lattice
    kernels = [
        (gaussian_lattice(height, width, settings.gaussian_sxy), settings.gaussian_weight),
        (_bilateral_lattice(image, settings), settings.bilateral_weight),
    ]
    logits -= sum(np.float32(weight) * lattice.mass for lattice, weight in kernels)
    tables = [np.empty((lattice.vertices, lanes), np.float32) for lattice, _ in kernels]
    for _ in range(iterations):
        for block in values:
            for table, (lattice, _weight) in zip(tables, kernels, strict=True):
                splat(table, block, lattice, zero)
            for number, (table, (lattice, weight)) in enumerate(zip(tables, kernels, strict=True)):
                slice_(block, table, lattice, float(number > 0), weight, zero)
        softmax(values, logits)
    refined[0] = 1
    for k in range(count - 1):
        refined[k + 1] = values[k // lanes, :, k % lanes]
        refined[0] -= refined[k + 1]
    np.maximum(refined[0], 0, out=refined[0])
    return refined.reshape(count, height, width)


def _on_device(
    image: UInt8[np.ndarray, "H W 3"],
    scores: Float[np.ndarray, "k H W"],
    settings: CrfSettings,
    iterations: int,
    device: str,
) -> Float32[np.ndarray, "k H W"]:
    import torch  # for GPUs alone

    from gleclip_cli.refine.sorted_lattice import mean_field

    images, maps = (torch.tensor(array, device=device)[None] for array in (image, scores))
    refined: Float32[np.ndarray, "k H W"]
    refined = mean_field(images, maps, settings, iterations)[0].cpu().numpy()
    return refined


def _gaussian_lattice(height: int, width: int, sxy: float) -> Lattice:
    return build_lattice(_positions(height, width, sxy))


_kept_gaussian_lattice = lru_cache(maxsize=4)(_gaussian_lattice)


def _bilateral_lattice(image: UInt8[np.ndarray, "H W 3"], settings: CrfSettings) -> Lattice:
    positions = _positions(image.shape[0], image.shape[1], settings.bilateral_sxy)
    colours = image.reshape(-1, 3).T / np.float32(settings.bilateral_srgb)
    return build_lattice(np.concatenate([positions, colours]))


def _positions(height: int, width: int, sxy: float) -> Float32[np.ndarray, "2 n"]:
    rows, columns = np.indices((height, width), np.float32).reshape(2, -1)
    return np.stack([columns, rows]) / np.float32(sxy)


def _densecrf2d() -> Any:
    try:
        from pydensecrf.densecrf import DenseCRF2D
    except ImportError as error:
        raise EnvironmentFault(
            "pydensecrf is not installed.",
            "Install gleclip[crf] (it needs a C++ compiler), or use --crf-backend lattice.",
        ) from error
    return DenseCRF2D


def _pydensecrf(
    image: UInt8[np.ndarray, "H W 3"],
    scores: Float[np.ndarray, "k H W"],
    settings: CrfSettings,
    iterations: int,
) -> Float32[np.ndarray, "k H W"]:
    count, height, width = scores.shape
    crf = _densecrf2d()(width, height, count)
    crf.setUnaryEnergy(_unary(scores).reshape(count, -1))
    crf.addPairwiseGaussian(sxy=settings.gaussian_sxy, compat=settings.gaussian_weight)
    crf.addPairwiseBilateral(
        sxy=settings.bilateral_sxy,
        srgb=settings.bilateral_srgb,
        rgbim=np.array(image, order="C"),  # one that may be written, though it is not
        compat=settings.bilateral_weight,
    )
    refined = np.array(crf.inference(iterations), dtype=np.float32)
    return refined.reshape(count, height, width)
