"""The dense CRF as array programs, for GPUs: several pictures of one size at once.

The lattice of `permutohedral` by other means: vertices are found by sorting their codes; splat adds
rows by number, blur and slice read them by number. Answers differ from those of the compiled loops
by rounding, and on CUDA from run to run, as additions have no order there.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float, Float32, Int64, Shaped, UInt8
from torch import Tensor
from torch.nn import functional

from gleclip_cli.refine.crf import SMALLEST, CrfSettings
from gleclip_cli.refine.permutohedral import code_strides, lattice_steps


@dataclass(frozen=True)
class SortedLattice:
    """Corners of n points and the neighbours of m vertices; row m of a table stays 0.

    `weights` include the normalisation, as in `permutohedral.Lattice`.
    """

    offsets: Int64[Tensor, "n d1"]
    weights: Float32[Tensor, "n d1"]
    neighbours: Int64[Tensor, "d1 2 m"]

    def filtered(self, values: Float32[Tensor, "n k"]) -> Float32[Tensor, "n k"]:
        """Return what the points read after splat and blur."""
        table = values.new_zeros(self.neighbours.shape[2] + 1, values.shape[1])
        for corner, weight in zip(self.offsets.unbind(1), self.weights.unbind(1), strict=True):
            table.index_add_(0, corner, values * weight[:, None])
        for before, after in self.neighbours:
            table[:-1] += (table[before] + table[after]) / 2
        return functional.embedding_bag(
            self.offsets, table, mode="sum", per_sample_weights=self.weights
        )


@torch.no_grad()
def mean_field(
    images: UInt8[Tensor, "b H W 3"],
    scores: Float[Tensor, "b k H W"],
    settings: CrfSettings,
    iterations: int,
) -> Float32[Tensor, "b k H W"]:
    """Return the probabilities of every class, as `dense_crf` does for one picture on the CPU.

    `certainty` of the settings is the caller's work.

    Raises:
        BadInput: the pictures are too large for the standard deviations.
    """
    batch, classes, height, width = scores.shape
    gaussian = _gaussian(batch, height, width, settings.gaussian_sxy, scores.device)
    kernels = (
        (gaussian, settings.gaussian_weight),
        (_bilateral(images, settings), settings.bilateral_weight),
    )
    logits = scores.float().clamp(SMALLEST, 1).log().permute(0, 2, 3, 1).reshape(-1, classes)
    marginals = logits.softmax(dim=1)
    for _ in range(iterations):
        energy = logits.clone()
        for lattice, weight in kernels:
            energy.add_(lattice.filtered(marginals), alpha=weight)
        marginals = energy.softmax(dim=1)
    return marginals.reshape(batch, height, width, classes).permute(0, 3, 1, 2)


def build_sorted_lattice(features: Float32[Tensor, "b d n"]) -> SortedLattice:
    """Return the lattice of b clouds of n points that do not see each other, b * n points in all.

    Features are divided by their standard deviations.

    Raises:
        BadInput: the features spread too far to be counted in 64 bits.
    """
    batch, d, _ = features.shape
    scaled = features * torch.tensor(lattice_steps(d), device=features.device)[:, None]
    spread = (scaled.amax(dim=(0, 2)) - scaled.amin(dim=(0, 2))).tolist()
    codes = torch.tensor(code_strides(spread, clouds=batch), device=features.device)
    strides, next_cloud = codes[:-1], codes[-1]
    corners, weights = _corners(scaled.permute(1, 0, 2), strides)
    corners += next_cloud * torch.arange(batch, device=features.device)[:, None]
    vertices, offsets = torch.unique(corners.flatten(1).T, return_inverse=True)
    steps = strides.sum() - (d + 1) * strides
    pairs = [torch.stack([_found(vertices, -s), _found(vertices, s)]) for s in steps.unbind()]
    plain = SortedLattice(offsets, weights.flatten(1).T.contiguous(), torch.stack(pairs))
    mass = plain.filtered(weights.new_ones(len(offsets), 1))
    return SortedLattice(offsets, plain.weights / mass.sqrt(), plain.neighbours)


def _corners(
    scaled: Float32[Tensor, "d *n"], strides: Int64[Tensor, " d1"]
) -> tuple[Int64[Tensor, "d1 *n"], Float32[Tensor, "d1 *n"]]:
    """Return codes and weights of every point's corners. Source: Adams et al. 2010, section 3.

    Rounds as `simplices` does: a vertex that is there or not, even without weight, lets through.
    """
    size = len(strides)
    rest = scaled.flip(0).cumsum(0).flip(0)  # of the coordinates from this one on
    number = torch.arange(size, device=scaled.device).view(-1, *[1] * (scaled.dim() - 1))
    point = torch.cat([rest, torch.zeros_like(rest[:1])])
    point[1:] -= number[1:] * scaled
    zero = (point * (1 / size)).round()
    point -= zero * size
    # the place of each coordinate in descending order, moved by how far they are from summing to 0
    rank = point.argsort(dim=0, descending=True, stable=True).argsort(dim=0)
    rank += zero.sum(dim=0).long()
    turn = (rank < 0).long() - (rank >= size).long()
    order = (rank + turn * size).argsort(dim=0)
    distance = (point * (1 / size) - turn).gather(0, order)
    falling = strides[order].flip(0)
    first = ((zero.long() + turn) * size * strides.view_as(number)).sum(dim=0)
    codes = first + torch.cat(
        [torch.zeros_like(falling[:1]), (strides.sum() - size * falling[:-1]).cumsum(0)]
    )
    rising = distance.flip(0)
    weights = torch.cat([1 + rising[:1] - rising[-1:], rising[1:] - rising[:-1]])
    return codes, weights


def _found(vertices: Int64[Tensor, " m"], step: Int64[Tensor, ""]) -> Int64[Tensor, " m"]:
    """Return the number of the vertex one step from each, or m; `vertices` are in order."""
    wanted = vertices + step
    places = torch.searchsorted(vertices, wanted).clamp_(max=len(vertices) - 1)
    return torch.where(vertices[places] == wanted, places, len(vertices))


@lru_cache(maxsize=4)
def _gaussian(
    batch: int, height: int, width: int, sxy: float, device: torch.device
) -> SortedLattice:
    return build_sorted_lattice(_positions(height, width, sxy, device).expand(batch, -1, -1))


def _bilateral(images: UInt8[Tensor, "b H W 3"], settings: CrfSettings) -> SortedLattice:
    batch, height, width, _ = images.shape
    positions = _positions(height, width, settings.bilateral_sxy, images.device)
    colours = _scaled(images.flatten(1, 2).mT, settings.bilateral_srgb)
    return build_sorted_lattice(torch.cat([positions.expand(batch, -1, -1), colours], dim=1))


def _positions(height: int, width: int, sxy: float, device: torch.device) -> Float32[Tensor, "2 n"]:
    axes = (torch.arange(n, dtype=torch.float32, device=device) for n in (height, width))
    rows, columns = torch.meshgrid(*axes, indexing="ij")
    return _scaled(torch.stack([columns.flatten(), rows.flatten()]), sxy)


def _scaled(features: Shaped[Tensor, "*any"], deviation: float) -> Float32[Tensor, "*any"]:
    # a tensor, as CUDA multiplies by the reciprocal of a number: other roundings
    return features / torch.tensor(deviation, device=features.device)
