"""The training loop of train-seg: one loss, one schedule, resumable to the bit on the CPU."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from gleclip_cli.artifacts.checkpoint import load_training_state, save_training_state
from gleclip_cli.artifacts.labels import ignore_index
from gleclip_cli.errors import Diverged
from gleclip_cli.model.losses import balanced_cross_entropy, plain_cross_entropy
from gleclip_cli.progress import SILENT, Progress
from gleclip_cli.seg.batches import Batch
from gleclip_cli.seg.clip_decoder import ClipDecoder
from gleclip_cli.seg.network import SegmentationNetwork, load_weights

_LOG_EVERY = 10
_SHOWN_IDS = 20


Batches = Callable[[int, int], Iterator[Batch]]
"""First step, step after the last -> their batches; a step is the same batch in every run."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Numbers of a training; `warmup` is a share of the steps (0 to 1)."""

    steps: int
    learning_rate: float
    weight_decay: float
    warmup: float = 0.0
    poly_power: float = 0.9
    balanced: bool = True

    def rate(self, step: int) -> float:
        """Return the learning rate of a step: rising linearly, then falling polynomially."""
        rising = round(self.warmup * self.steps)
        share = min(1.0, (step + 1) / rising) if rising else 1.0
        return float(self.learning_rate * share * (1 - step / self.steps) ** self.poly_power)


class Trainer:
    """One network in training: takes steps, and can be saved and brought back between two."""

    def __init__(
        self, network: SegmentationNetwork, recipe: Recipe, *, device: torch.device
    ) -> None:
        self.network = network.to(device).train()
        self.recipe = recipe
        self.device = device
        self.step = 0
        self._optimiser = network.optimiser(
            learning_rate=recipe.learning_rate, weight_decay=recipe.weight_decay
        )

    def loss(self, batch: Batch) -> Tensor:
        """Return the loss of a batch: the sum over the network's outputs.

        Raises:
            Diverged: it is NaN or infinite.
        """
        images = batch.images.to(self.device).float() / 255
        masks = batch.masks.to(self.device)
        if batch.features is not None and isinstance(self.network, ClipDecoder):
            outputs = [self.network.decode(batch.features.to(self.device).float(), images)]
        else:
            outputs = self.network.training_logits(images)
        criterion = balanced_cross_entropy if self.recipe.balanced else plain_cross_entropy
        ignored = ignore_index(masks)
        losses = [
            criterion(logits, labels_on_grid(masks, logits), ignore_index=ignored)
            for logits in outputs
        ]
        total = torch.stack(losses).sum()
        if not math.isfinite(total.item()):
            shown = ", ".join(batch.image_ids[:_SHOWN_IDS])
            raise Diverged(
                f"The loss is {total.item()} at step {self.step}, images {shown}.",
                "Lower --learning-rate and use --overwrite; the last good state is kept.",
            )
        return total

    def learn(self, loss: Tensor) -> None:
        """Take one step down the gradient of `loss`, at the scheduled rate."""
        for group in self._optimiser.param_groups:
            group["lr"] = self.recipe.rate(self.step) * group["rate"]
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
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
        load_weights(self.network, state["weights"], origin="of the training state")
        groups = self._optimiser.state_dict()["param_groups"]
        entries = {int(index): dict(entry) for index, entry in state["optimiser"].items()}
        self._optimiser.load_state_dict({"state": entries, "param_groups": groups})
        torch.random.set_rng_state(state["random"])
        self.step = int(state["step"])


def fit(
    trainer: Trainer,
    batches: Batches,
    *,
    state_folder: Path,
    save_seconds: float = 30.0,
    log: Callable[[Mapping[str, Any]], None],
    progress: Progress = SILENT,
) -> None:
    """Train to the last step, from the state in `state_folder` if there is one.

    Raises:
        Diverged: a loss is NaN or infinite; the state of an earlier step, whose loss was finite,
            stays in `state_folder`.
    """
    saved = load_training_state(state_folder)
    if saved is not None:
        trainer.restore(saved)
        log({"event": "resumed", "step": trainer.step})
    last = trainer.recipe.steps
    stream = batches(trainer.step, last)
    last_saved = time.monotonic()
    for batch in progress.each(stream, total=last - trainer.step, label="steps"):
        if batch.image_ids:
            loss = trainer.loss(batch)
            # Saved between forward and backward: these weights have just given a finite loss.
            if time.monotonic() - last_saved >= save_seconds:
                save_training_state(state_folder, trainer.state())
                last_saved = time.monotonic()
            trainer.learn(loss)
            if trainer.step % _LOG_EVERY == 0 or trainer.step == last - 1:
                rate = trainer.recipe.rate(trainer.step)
                log({"event": "step", "step": trainer.step, "loss": loss.item(), "rate": rate})
        trainer.step += 1


def labels_on_grid(masks: Tensor, logits: Tensor) -> Tensor:
    """Return masks (b, H, W) on the grid of the logits: the label at the centre of each cell."""
    if masks.shape[-2:] == logits.shape[-2:]:
        return masks
    # as floats, which hold every label: torch interpolates no 16-bit integers
    on_grid = functional.interpolate(
        masks[:, None].float(), logits.shape[-2:], mode="nearest-exact"
    )
    return on_grid[:, 0].to(masks.dtype)
