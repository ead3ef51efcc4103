"""`gleclip train-seg`."""

from typing import Annotated

import typer

from gleclip_cli.cli import options
from gleclip_cli.cli.reporting import reporting
from gleclip_cli.cli.settings import Settings
from gleclip_cli.config import ARCHITECTURES, TrainSegConfig

DEFAULTS = TrainSegConfig()


def train_seg(
    context: typer.Context,
    run: options.RunOption = None,
    dataset: options.DatasetOption = None,
    config: options.ConfigOption = None,
    name: Annotated[str, typer.Option(help="Name of the network in the run.")] = DEFAULTS.name,
    split: options.SplitOption = DEFAULTS.split,
    val_split: Annotated[
        str, typer.Option(help="Image list scored while training.")
    ] = DEFAULTS.val_split,
    targets: Annotated[
        str,
        typer.Option(metavar="pseudo|gt", help="Pseudo masks, or true masks as a yardstick."),
    ] = DEFAULTS.targets,
    arch: Annotated[
        str,
        typer.Option(
            metavar="|".join(ARCHITECTURES), help="Architecture. Preset scenes: clip-decoder."
        ),
    ] = DEFAULTS.arch,
    clip_model: options.ClipModelOption = DEFAULTS.clip_model,
    clip_weights: options.ClipWeightsOption = DEFAULTS.clip_weights,
    pretrained: Annotated[
        str,
        typer.Option(
            metavar="none|imagenet|FILE",
            help="Weights of the body: fetched, or a file of torchvision, timm or smp; for "
            "deeplabv2 also of deeplab-pytorch (COCO).",
        ),
    ] = DEFAULTS.pretrained,
    epochs: Annotated[
        float, typer.Option(metavar="N", help="Passes over the training split.")
    ] = DEFAULTS.epochs,
    batch_size: Annotated[
        int, typer.Option(metavar="N", help="Images per step.")
    ] = DEFAULTS.batch_size,
    crop: Annotated[
        int, typer.Option(metavar="PIXELS", help="Side of the training crops.")
    ] = DEFAULTS.crop,
    learning_rate: Annotated[
        float, typer.Option(metavar="X", help="At the start of the polynomial schedule.")
    ] = DEFAULTS.learning_rate,
    weight_decay: Annotated[
        float, typer.Option(metavar="X", help="Weight decay.")
    ] = DEFAULTS.weight_decay,
    warmup: Annotated[
        float, typer.Option(metavar="0..1", help="Share of the steps with a rising rate.")
    ] = DEFAULTS.warmup,
    poly_power: Annotated[
        float, typer.Option(metavar="P", help="Power of the polynomial schedule.")
    ] = DEFAULTS.poly_power,
    balanced: Annotated[
        bool,
        typer.Option(
            "--balanced/--no-balanced", help="Weigh background and objects equally in the loss."
        ),
    ] = DEFAULTS.balanced,
    confidence_threshold: Annotated[
        float, typer.Option(metavar="0..1", help="Ignore pixels of pseudo masks below it.")
    ] = DEFAULTS.confidence_threshold,
    scales: Annotated[
        list[str], typer.Option(metavar="A,B", help="Range of random scales of the pictures.")
    ] = list(map(str, DEFAULTS.scales)),
    flip: Annotated[
        bool, typer.Option("--flip/--no-flip", help="Mirror pictures at random.")
    ] = DEFAULTS.flip,
    seed: Annotated[
        int, typer.Option(metavar="N", help="Seed of weights, order and crops.")
    ] = DEFAULTS.seed,
    limit: options.LimitOption = DEFAULTS.limit,
    device: options.DeviceOption = "auto",
    workers: options.WorkersOption = 0,
    resume: options.ResumeOption = True,
    overwrite: options.OverwriteOption = False,
    allow_partial: options.AllowPartialOption = False,
    on_bad: options.OnBadOption = "skip",
    max_failures: options.MaxFailuresOption = None,
    dry_run: options.DryRunOption = False,
    log_to: options.LogToOption = "",
    quiet: options.QuietOption = False,
    verbose: options.VerboseOption = False,
    json_: options.JsonOption = False,
    debug: options.DebugOption = False,
) -> None:
    """Train a segmentation network on pseudo masks."""
    with reporting(context) as report:
        from gleclip_cli.stages.train_seg import train_seg as stage

        settings = Settings.of_stage(context, report)
        report.done(
            stage(
                settings.run,
                settings.config("train-seg"),
                execution=settings.execution("train-seg"),
                progress=report,
            )
        )
