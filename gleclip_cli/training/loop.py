"""The training loop: one criterion, one schedule, any number of processes.

Resumable to the bit on the CPU. Of several processes, each takes the gradient of its share of
every batch; the mean of these is the gradient of the batch, if the mean of the criterion over the
shares is the loss of the batch. So a training has the same curve in any number of processes.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from gleclip_cli.artifacts.checkpoint import STATE_FILE, load_training_state, save_training_state
from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.config import TrainCamConfig, TrainSegConfig
from gleclip_cli.errors import Diverged, EnvironmentFault
from gleclip_cli.model.weights import fit_weights
from gleclip_cli.parallel.processes import ALONE, Processes
from gleclip_cli.progress import SILENT, Progress
from gleclip_cli.training.batches import Batch

_LOG_EVERY = 10
_SHOWN_IDS = 20

Batches = Callable[[int, int], Iterator[Batch]]
"""First step, step after the last -> their batches; a step is the same batch in every run."""

Criterion = Callable[[Batch], Tensor]
"""A batch on the device -> its loss; of a share of a batch: its part in the mean over shares."""


@runtime_checkable  # so that the shape checks of the tests can look at signatures
class Trainable(Protocol):
    """What a module must bring along to be trained."""

    def optimiser(self, *, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
        """Return its optimiser; `rate` of a group scales the scheduled rate."""
        ...

    def weights(self) -> dict[str, Tensor]:
        """Everything a checkpoint has to hold."""
        ...


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Numbers of a training; `warmup` is a share of the steps (0 to 1), `clip` a gradient norm."""

    steps: int
    learning_rate: float
    weight_decay: float
    warmup: float = 0.0
    poly_power: float = 0.9
    clip: float | None = None

    @classmethod
    def of(
        cls, config: TrainSegConfig | TrainCamConfig, images: int, *, least: int = 1
    ) -> "Recipe":
        """Return the recipe of a configuration for a number of images: `least` steps or more."""
        return cls(
            steps=max(least, round(config.epochs * images / config.batch_size)),
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            warmup=config.warmup,
            poly_power=config.poly_power,
        )

    def rate(self, step: int) -> float:
        """Return the learning rate of a step: rising linearly, then falling polynomially."""
        rising = round(self.warmup * self.steps)
        share = min(1.0, (step + 1) / rising) if rising else 1.0
        return float(self.learning_rate * share * (1 - step / self.steps) ** self.poly_power)


class Trainer:
    """One network in training: takes steps, and can be saved and brought back between two.

    `network` is a module, moved to `device`.
    """

    def __init__(
        self,
        network: Trainable,
        criterion: Criterion,
        recipe: Recipe,
        *,
        device: torch.device,
        processes: Processes = ALONE,
    ) -> None:
        self.network = network
        self.recipe = recipe
        self.device = device
        self.processes = processes
        self.step = 0
        self._module = cast(nn.Module, network).to(device).train()
        self._criterion = criterion
        self._optimiser = network.optimiser(
            learning_rate=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self._trained = [p for group in self._optimiser.param_groups for p in group["params"]]

    def loss(self, batch: Batch) -> tuple[Tensor, float]:
        """Return the loss of this process's share, and the loss of the whole batch.

        Raises:
            Diverged: it is NaN or infinite.
        """
        loss = self._criterion(batch.to(self.device))
        whole = self.processes.mean(loss.detach()).item()
        if not math.isfinite(whole):
            ids = [i for share in self.processes.gather(batch.image_ids) for i in share]
            raise Diverged(
                f"The loss is {whole} at step {self.step}, images {', '.join(ids[:_SHOWN_IDS])}.",
                "Lower --learning-rate and use --overwrite; the last good state is kept.",
            )
        return loss, whole

    def learn(self, loss: Tensor) -> None:
        """Take one step down the gradient of `loss`, at the scheduled rate."""
        for group in self._optimiser.param_groups:
            group["lr"] = self.recipe.rate(self.step) * group["rate"]
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.processes.count > 1:
            self._average_gradients()
        if self.recipe.clip is not None:
            nn.utils.clip_grad_norm_(self._trained, self.recipe.clip)
        self._optimiser.step()

    def state(self) -> dict[str, Any]:
        """Return all that decides the rest of the training; the data order follows from `step`."""
        state = self._optimiser.state_dict()["state"]
        return {
            "step": self.step,
            "weights": dict(self.network.weights()),
            "optimiser": {str(index): dict(entry) for index, entry in state.items()},
            "random": torch.random.get_rng_state(),
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
        torch.random.set_rng_state(state["random"])
        self.step = int(state["step"])

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


def resume(trainer: Trainer, state_folder: Path) -> bool:
    """Go on from the state in `state_folder` if it is ahead of the trainer; tell whether it is.

    Raises:
        BadInput: the state is damaged, or of another network.
        EnvironmentFault: the processes do not see the same state.
    """
    saved = load_training_state(state_folder)
    ahead = saved is not None and saved["step"] > trainer.step
    if saved is not None and ahead:
        trainer.restore(saved)
    # all wait here: the main process must not replace what others still read
    if len(set(trainer.processes.gather(trainer.step))) > 1:
        raise EnvironmentFault(
            f"The processes do not find the same {STATE_FILE} in {printable(state_folder)}.",
            "Put the run into a folder that all machines share.",
        )
    return ahead


def fit(
    trainer: Trainer,
    batches: Batches,
    *,
    until: int | None = None,
    state_folder: Path,
    save_seconds: float = 30.0,
    log: Callable[[Mapping[str, Any]], None],
    progress: Progress = SILENT,
) -> None:
    """Train to step `until` (the last by default), from the state in `state_folder` if it is ahead.

    Before the last step, the state is saved at the end. A step in which a process has no image
    that can be read is left out.

    Raises:
        Diverged: a loss is NaN or infinite; the state of an earlier step, whose loss was finite,
            stays in `state_folder`.
    """
    if resume(trainer, state_folder):
        log({"event": "resumed", "step": trainer.step})
    last = trainer.recipe.steps
    until = last if until is None else min(until, last)
    if trainer.step >= until:
        return
    main = trainer.processes.main
    stream = batches(trainer.step, until)
    last_saved = time.monotonic()
    for batch in progress.each(stream, total=until - trainer.step, label="steps"):
        if trainer.processes.all(bool(batch.image_ids), trainer.device):
            loss, whole = trainer.loss(batch)
            # Saved between forward and backward: these weights have just given a finite loss.
            if main and time.monotonic() - last_saved >= save_seconds:
                save_training_state(state_folder, trainer.state())
                last_saved = time.monotonic()
            trainer.learn(loss)
            if trainer.step % _LOG_EVERY == 0 or trainer.step == last - 1:
                rate = trainer.recipe.rate(trainer.step)
                log({"event": "step", "step": trainer.step, "loss": whole, "rate": rate})
        trainer.step += 1
    if main and until < last:
        save_training_state(state_folder, trainer.state())
