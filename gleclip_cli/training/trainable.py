"""What a network brings along to be trained."""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor


@runtime_checkable  # so that the shape checks of the tests can look at signatures
class Trainable(Protocol):
    """What a module must bring along to be trained."""

    def optimiser(self, *, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
        """Return its optimiser; `rate` of a group scales the scheduled rate."""
        ...

    def weights(self) -> dict[str, Tensor]:
        """Everything a checkpoint has to hold."""
        ...


def optimiser_of(
    network: Trainable, kind: str, *, learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """Return the network's own optimiser (`auto`), or `sgd` or `adamw` with the same groups."""
    own = network.optimiser(learning_rate=learning_rate, weight_decay=weight_decay)
    if kind == "auto":
        return own
    groups = [
        {name: group[name] for name in ("params", "rate", "weight_decay")}
        for group in own.param_groups
    ]
    if kind == "sgd":
        return torch.optim.SGD(groups, lr=learning_rate, momentum=0.9)
    return torch.optim.AdamW(groups, lr=learning_rate)
