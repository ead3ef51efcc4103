"""The numbers of a training: how many steps, how fast, how exact."""

import math
from dataclasses import dataclass

from gleclip_cli.config import TrainCamConfig, TrainSegConfig


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Numbers of a training.

    `optimiser`: sgd, adamw or auto, the network's own. `schedule`: poly or cosine, after a
    `warmup`, a share of the steps (0 to 1). `accumulate`: batches whose gradients make one step;
    `clip`: a gradient norm. `precision`: fp32, bf16 or fp16 of the forward.
    """

    steps: int
    learning_rate: float
    weight_decay: float
    warmup: float = 0.0
    poly_power: float = 0.9
    schedule: str = "poly"
    optimiser: str = "auto"
    accumulate: int = 1
    clip: float | None = None
    precision: str = "fp32"
    seed: int = 0

    @classmethod
    def of(
        cls,
        config: TrainSegConfig | TrainCamConfig,
        images: int,
        *,
        least: int = 1,
        accumulate: int = 1,
    ) -> "Recipe":
        """Return the recipe of a configuration for a number of images: `least` steps or more."""
        return cls(
            steps=max(least, round(config.epochs * images / (config.batch_size * accumulate))),
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            warmup=config.warmup,
            poly_power=config.poly_power,
            accumulate=accumulate,
            seed=config.seed,
        )

    def rate(self, step: int) -> float:
        """Return the learning rate of a step: rising linearly, then falling by the schedule."""
        rising = round(self.warmup * self.steps)
        share = min(1.0, (step + 1) / rising) if rising else 1.0
        done = step / self.steps
        if self.schedule == "cosine":
            left = (1 + math.cos(math.pi * done)) / 2
        else:
            left = (1 - done) ** self.poly_power
        return float(self.learning_rate * share * left)
