"""A network made ready to learn as a configuration says, and the network to keep in the end."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from gleclip_cli.config import TrainSegConfig
from gleclip_cli.errors import EnvironmentFault
from gleclip_cli.parallel.processes import Processes
from gleclip_cli.seg.correction import BEGINS, Correction
from gleclip_cli.seg.criterion import Forward, PixelCriterion
from gleclip_cli.seg.network import SegmentationNetwork
from gleclip_cli.seg.norms import share_norms
from gleclip_cli.seg.relabel import PAIRS
from gleclip_cli.seg.smp import SmpNetwork
from gleclip_cli.training.average import WeightAverage
from gleclip_cli.training.recipe import Recipe
from gleclip_cli.training.trainer import Trainer


def make_trainer(
    network: SegmentationNetwork,
    config: TrainSegConfig,
    tags: Mapping[str, Sequence[int]],
    images: int,
    *,
    device: torch.device,
    processes: Processes,
    warn: Callable[[str], None],
) -> tuple[Trainer, SegmentationNetwork]:
    """Return a trainer, and what it makes: the network, or the mean of its weights.

    `tags`: image id -> class ids; `images`: how many there are; `warn` is told what will be slow
    or not quite as in one process.
    """
    if config.precision != "fp32" and device.type == "cpu":
        warn(f"--precision {config.precision} makes a CPU slower, not faster.")
    if share_norms(network, processes) and processes.count > 1:
        warn("Batch norms of this network see the share of their process alone.")
    if config.freeze_norms and isinstance(network, SmpNetwork):
        network.freeze_norms()
    network.to(device)
    if config.channels_last:
        network.to(memory_format=torch.channels_last)
    average = WeightAverage(network, config.ema) if config.ema else None
    recipe = replace(
        Recipe.of(config, images, least=1 + config.refresh, accumulate=config.accumulate),
        schedule=config.schedule,
        optimiser=config.optimiser,
        clip=config.clip_norm or None,
        precision=config.precision,
    )
    correction = None
    if average is not None and config.correction:
        first = round(BEGINS * recipe.steps)
        correction = Correction(average, tags, config.correction, first)
    criterion = PixelCriterion(
        network,
        config.balanced,
        processes.mean,
        correction,
        _compiled(network.training_logits) if config.compile else None,
        config.channels_last,
        PAIRS if config.refresh else 0.0,
    )
    trainer = Trainer(
        network, criterion, recipe, device=device, processes=processes, average=average
    )
    return trainer, network if average is None else average.network


def _compiled(forward: Forward) -> Forward:
    compiled: Forward = torch.compile(forward)

    def run(images: Tensor) -> list[Tensor]:
        try:
            return compiled(images)
        except torch._dynamo.exc.TorchDynamoException as error:
            reason = " ".join(str(error).split())[:200]
            raise EnvironmentFault(
                f"torch.compile fails here: {reason}", "Leave out --compile."
            ) from error

    return run
