"""One network in training: loss, gradient and step, alone or with other processes.

Of several processes, each takes the gradient of its share of every batch; the mean of these is the
gradient of the batch, if the mean of the criterion over the shares is the loss of the batch. So a
training has the same curve in any number of processes.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from gleclip_cli.errors import Diverged
from gleclip_cli.model.weights import fit_weights
from gleclip_cli.parallel.device import half_precision
from gleclip_cli.parallel.processes import ALONE, Processes
from gleclip_cli.training.average import WeightAverage
from gleclip_cli.training.batches import Batch, draw_seed
from gleclip_cli.training.recipe import Recipe
from gleclip_cli.training.trainable import Trainable, optimiser_of

_SHOWN_IDS = 20
_SKIPPED_STEPS = 20
"""Steps in a row that fp16 may leave out while it looks for a scale that gradients fit in."""

Criterion = Callable[[Batch], Tensor]
"""A batch on the device -> its loss; of a share of a batch: its part in the mean over shares."""


class Trainer:
    """One network in training: takes steps, and can be saved and brought back between two.

    `network` is a module, moved to `device`; `average` follows its weights.
    """

    def __init__(
        self,
        network: Trainable,
        criterion: Criterion,
        recipe: Recipe,
        *,
        device: torch.device,
        processes: Processes = ALONE,
        average: WeightAverage[Any] | None = None,
    ) -> None:
        self.network = network
        self.recipe = recipe
        self.device = device
        self.processes = processes
        self.step = 0
        self._module = cast(nn.Module, network).to(device).train()
        self._criterion = criterion
        self._average = average
        self._optimiser = optimiser_of(
            network,
            recipe.optimiser,
            learning_rate=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
        )
        self._trained = [p for group in self._optimiser.param_groups for p in group["params"]]
        self._scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "fp16")
        self._skipped = 0
        self._seen: list[str] = []

    def begin(self) -> None:
        """Begin a step: what it draws follows from its number and the process alone."""
        torch.manual_seed(draw_seed(self.recipe.seed, self.step, str(self.processes.rank)))
        self._seen = []
        self._optimiser.zero_grad(set_to_none=True)

    def loss(self, batch: Batch) -> tuple[Tensor, float]:
        """Return the loss of this process's share, and the loss of the whole batch.

        Raises:
            Diverged: it is NaN or infinite.
        """
        self._seen.extend(batch.image_ids)
        with half_precision(self.recipe.precision, self.device):
            loss = self._criterion(batch.to(self.device))
        whole = self.processes.mean(loss.detach()).item()
        if not math.isfinite(whole):
            raise self._diverged(f"The loss is {whole}")
        return loss, whole

    def learn(self, loss: Tensor) -> None:
        """Add the gradient of a batch to that of the step."""
        part = self._scaler.scale(loss / self.recipe.accumulate)
        part.backward()  # type: ignore[no-untyped-call]

    def update(self) -> None:
        """Take one step down the gradient, at the scheduled rate; fp16 may leave it out.

        Raises:
            Diverged: the gradient is NaN or infinite.
        """
        for group in self._optimiser.param_groups:
            group["lr"] = self.recipe.rate(self.step) * group["rate"]
        if self.processes.count > 1:
            self._average_gradients()
        self._scaler.unscale_(self._optimiser)
        norm = nn.utils.get_total_norm([p.grad for p in self._trained if p.grad is not None])
        if torch.isfinite(norm):
            self._skipped = 0
        else:
            self._skipped += 1
            if not self._scaler.is_enabled() or self._skipped >= _SKIPPED_STEPS:
                raise self._diverged("The gradient is not finite")
        if self.recipe.clip is not None:
            nn.utils.clip_grads_with_norm_(self._trained, self.recipe.clip, norm)
        self._scaler.step(self._optimiser)
        self._scaler.update()
        if self._average is not None:
            self._average.update()

    def state(self) -> dict[str, Any]:
        """Return all that decides the rest of the training; the data order follows from `step`.

        It stays what it is through forwards, not through `update`.
        """
        state = self._optimiser.state_dict()["state"]
        return {
            "step": self.step,
            # a forward changes the statistics of batch norms
            "weights": {name: value.clone() for name, value in self.network.weights().items()},
            "optimiser": {str(index): dict(entry) for index, entry in state.items()},
            "scaler": self._scaler.state_dict(),
            "average": self._average and self._average.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state.

        Raises:
            BadInput: it is the state of another network.
        """
        fit_weights(
            self._module,
            state["weights"],
            origin="of the training state",
            remedy="Train again with --overwrite.",
            wanted=self.network.weights(),
        )
        groups = self._optimiser.state_dict()["param_groups"]
        entries = {int(index): dict(entry) for index, entry in state["optimiser"].items()}
        self._optimiser.load_state_dict({"state": entries, "param_groups": groups})
        if self._scaler.is_enabled():
            self._scaler.load_state_dict(state["scaler"])
        if self._average is not None:
            self._average.restore(state["average"])
        self.step = int(state["step"])

    def _diverged(self, fault: str) -> Diverged:
        ids = [i for share in self.processes.gather(self._seen) for i in share]
        return Diverged(
            f"{fault} at step {self.step}, images {', '.join(ids[:_SHOWN_IDS])}.",
            "Lower --learning-rate and use --overwrite; the last good state is kept.",
        )

    def _average_gradients(self) -> None:
        """Take the mean over processes; what has no gradient in any of them keeps none.

        One vector for all: a message for every parameter would wait for the network each time.
        """
        has = torch.tensor([p.grad is not None for p in self._trained], device=self.device)
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in self._trained]
        vector = torch.cat([*(grad.flatten() for grad in grads), has.float()])
        sizes = [grad.numel() for grad in grads]
        *means, found = torch.split(self.processes.mean(vector), [*sizes, len(grads)])
        for parameter, mean, share in zip(self._trained, means, found.tolist(), strict=True):
            parameter.grad = mean.view_as(parameter) if share else None
