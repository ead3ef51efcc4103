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
            metavar="none|imagenet|FILE|FOLDER",
            help="Weights of the body: fetched, or a file of torchvision, timm or smp; for "
            "deeplabv2 also of deeplab-pytorch (COCO); or the folder of a trained network.",
        ),
    ] = DEFAULTS.pretrained,
    freeze_norms: Annotated[
        bool,
        typer.Option(
            "--freeze-norms/--no-freeze-norms",
            help="Keep the batch norm of a pretrained body as it is; deeplabv2 always does.",
        ),
    ] = DEFAULTS.freeze_norms,
    epochs: Annotated[
        float, typer.Option(metavar="N", help="Passes over the training split.")
    ] = DEFAULTS.epochs,
    batch_size: Annotated[
        int, typer.Option(metavar="N", help="Images per forward.")
    ] = DEFAULTS.batch_size,
    accumulate: Annotated[
        int, typer.Option(metavar="N", help="Batches whose gradients make a step.")
    ] = DEFAULTS.accumulate,
    crop: Annotated[
        int, typer.Option(metavar="PIXELS", help="Side of the training crops.")
    ] = DEFAULTS.crop,
    learning_rate: Annotated[
        float, typer.Option(metavar="X", help="Rate at the start of the schedule.")
    ] = DEFAULTS.learning_rate,
    weight_decay: Annotated[
        float, typer.Option(metavar="X", help="Weight decay.")
    ] = DEFAULTS.weight_decay,
    optimiser: Annotated[
        str, typer.Option(metavar="auto|sgd|adamw", help="auto: SGD for deeplabv2, else AdamW.")
    ] = DEFAULTS.optimiser,
    schedule: Annotated[
        str, typer.Option(metavar="poly|cosine", help="How the rate falls.")
    ] = DEFAULTS.schedule,
    warmup: Annotated[
        float, typer.Option(metavar="0..1", help="Share of the steps with a rising rate.")
    ] = DEFAULTS.warmup,
    poly_power: Annotated[
        float, typer.Option(metavar="P", help="Power of the polynomial schedule.")
    ] = DEFAULTS.poly_power,
    clip_norm: Annotated[
        float, typer.Option(metavar="X", help="Longest gradient; 0: as it is.")
    ] = DEFAULTS.clip_norm,
    ema: Annotated[
        float,
        typer.Option(
            metavar="0..1",
            help="Train a mean of weights that keeps this share per step, and save it; 0: none.",
        ),
    ] = DEFAULTS.ema,
    balanced: Annotated[
        bool,
        typer.Option(
            "--balanced/--no-balanced", help="Weigh background and objects equally in the loss."
        ),
    ] = DEFAULTS.balanced,
    confidence_threshold: Annotated[
        float, typer.Option(metavar="0..1", help="Ignore pixels of pseudo masks below it.")
    ] = DEFAULTS.confidence_threshold,
    confidence_weights: Annotated[
        bool,
        typer.Option(
            "--confidence-weights/--no-confidence-weights",
            help="Weigh pixels of pseudo masks by their confidence.",
        ),
    ] = DEFAULTS.confidence_weights,
    correction: Annotated[
        float,
        typer.Option(
            metavar="0..1",
            help="From half of the training on, follow --ema where it is surer; 0: never.",
        ),
    ] = DEFAULTS.correction,
    refresh: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Make pseudo masks anew N times by what clip-decoder has learned; 0: never.",
        ),
    ] = DEFAULTS.refresh,
    scales: Annotated[
        list[str], typer.Option(metavar="A,B", help="Range of random scales of the pictures.")
    ] = list(map(str, DEFAULTS.scales)),
    flip: Annotated[
        bool, typer.Option("--flip/--no-flip", help="Mirror pictures at random.")
    ] = DEFAULTS.flip,
    jitter: Annotated[
        float,
        typer.Option(metavar="0..1", help="Vary brightness, contrast and saturation this far."),
    ] = DEFAULTS.jitter,
    precision: Annotated[
        str, typer.Option(metavar="fp32|bf16|fp16", help="Arithmetic; half is for GPUs.")
    ] = DEFAULTS.precision,
    channels_last: Annotated[
        bool,
        typer.Option(
            "--channels-last/--no-channels-last",
            help="Memory layout that suits convolutions on most devices.",
        ),
    ] = DEFAULTS.channels_last,
    compile: Annotated[
        bool,
        typer.Option(
            "--compile/--no-compile",
            help="torch.compile: slow start, quicker steps; on a CPU needs a C++ compiler.",
        ),
    ] = DEFAULTS.compile,
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
