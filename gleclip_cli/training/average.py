"""A network whose weights are the exponential mean of those of another in training (EMA)."""

import copy
from collections.abc import Mapping
from typing import Any, Generic, TypeVar, cast

import torch
from torch import Tensor, nn

from gleclip_cli.training.trainable import Trainable

N = TypeVar("N", bound=Trainable)


class WeightAverage(Generic[N]):
    """Keeps `network`, a copy in evaluation mode; what is not trained is shared, not copied.

    `decay`: share of the mean that a step keeps; less in the first steps, so that the mean forgets
    where the training started.
    """

    def __init__(self, learning: N, decay: float) -> None:
        self._learning, self._decay = learning, decay
        module = cast(nn.Module, learning)
        shared = {id(p): p for p in module.parameters() if not p.requires_grad}
        twin = copy.deepcopy(module, shared)
        self.network = cast(N, twin.requires_grad_(False).eval())
        self.updates = 0

    @torch.no_grad()
    def update(self) -> None:
        """Move towards the weights as they are now."""
        keep = min(self._decay, (1 + self.updates) / (10 + self.updates))
        new = self._learning.weights()
        for name, mean in self.network.weights().items():
            if mean.is_floating_point():
                mean.lerp_(new[name], 1 - keep)
            else:
                mean.copy_(new[name])
        self.updates += 1

    def state(self) -> dict[str, Any]:
        """Return all that decides what the mean becomes."""
        return {"updates": self.updates, "weights": dict(self.network.weights())}

    @torch.no_grad()
    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state of the same network."""
        saved: Mapping[str, Tensor] = state["weights"]
        for name, mean in self.network.weights().items():
            mean.copy_(saved[name])
        self.updates = int(state["updates"])
