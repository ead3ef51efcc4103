"""Batch norm in training: over all pictures of a batch, wherever they are computed.

Processes share the statistics of a batch, as one process would have them (torch's SyncBatchNorm
knows GPUs alone). A channel that sees a single value takes the running statistics instead: one
value has no deviation.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from gleclip_cli.parallel.processes import Processes


class SharedBatchNorm(nn.BatchNorm2d):
    """Batch norm over the shares of all processes; made of a plain one, whose weights it keeps."""

    def __init__(self, plain: nn.BatchNorm2d, processes: Processes) -> None:
        super().__init__(
            plain.num_features, plain.eps, plain.momentum, plain.affine, plain.track_running_stats
        )
        self._parameters, self._buffers = plain._parameters, plain._buffers
        self._processes = processes
        self.train(plain.training)

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Return maps of zero mean and unit deviation, scaled and shifted by the weights."""
        values = maps.numel() // self.num_features
        if not self.training or (self._processes.count == 1 and values > 1):
            return super().forward(maps)
        total = self._mean(maps.new_tensor(float(values), dtype=torch.float32))
        if total * self._processes.count <= 1:
            return functional.batch_norm(
                maps, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        exact = maps.float()
        mean = self._mean(exact.sum((0, 2, 3))) / total
        centred = exact - mean[:, None, None]
        variance = self._mean(centred.square().sum((0, 2, 3))) / total
        self._remember(mean.detach(), variance.detach(), float(total) * self._processes.count)
        scale = self.weight * (variance + self.eps).rsqrt()
        shifted = centred * scale[:, None, None] + self.bias[:, None, None]
        return shifted.to(maps.dtype)

    def _mean(self, share: Tensor) -> Tensor:
        mean: Tensor = _Mean.apply(share, self._processes)
        return mean

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: float) -> None:
        assert self.num_batches_tracked is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        self.num_batches_tracked += 1
        # momentum None: the plain mean of all batches
        step = self.momentum or 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, step)
        self.running_var.lerp_(variance * count / (count - 1), step)


class _Mean(torch.autograd.Function):
    """The mean over processes; every share has its part in the loss of every process."""

    @staticmethod
    def forward(context: Any, share: Tensor, processes: Processes) -> Tensor:
        context.processes = processes
        return processes.mean(share)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return context.processes.mean(gradient), None


def share_norms(network: nn.Module, processes: Processes) -> bool:
    """Turn every batch norm into a shared one; tell whether some are of a kind that cannot be."""
    norms = [
        (parent, name, child)
        for parent in network.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.BatchNorm2d)
    ]
    plain = [entry for entry in norms if type(entry[2]) is nn.BatchNorm2d]
    for parent, name, child in plain:
        setattr(parent, name, SharedBatchNorm(child, processes))
    return len(plain) < len(norms)
