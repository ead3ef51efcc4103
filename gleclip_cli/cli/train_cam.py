"""`gleclip train-cam`."""

from typing import Annotated

import typer

from gleclip_cli.cli import options
from gleclip_cli.cli.reporting import reporting
from gleclip_cli.cli.settings import Settings
from gleclip_cli.config import (
    BCA,
    CALIBRATIONS,
    DAF,
    DAF_FUSIONS,
    DAF_PROJECTIONS,
    TEXTS,
    TrainCamConfig,
)

DEFAULTS = TrainCamConfig()


def train_cam(
    context: typer.Context,
    run: options.RunOption = None,
    dataset: options.DatasetOption = None,
    config: options.ConfigOption = None,
    split: options.SplitOption = DEFAULTS.split,
    val_split: Annotated[
        str, typer.Option(help="Image list scored at the end.")
    ] = DEFAULTS.val_split,
    clip_model: options.ClipModelOption = DEFAULTS.clip_model,
    clip_weights: options.ClipWeightsOption = DEFAULTS.clip_weights,
    calibration: Annotated[
        str, typer.Option(metavar="|".join(CALIBRATIONS), help="Last blocks' attention.")
    ] = DEFAULTS.calibration,
    texts: Annotated[
        str,
        typer.Option(
            metavar="|".join(TEXTS),
            help="What stands for a class: name, prompt, or also attributes.",
        ),
    ] = DEFAULTS.texts,
    background_texts: Annotated[
        bool,
        typer.Option(
            "--background-texts/--no-background-texts",
            help="Let background words compete with the classes.",
        ),
    ] = DEFAULTS.background_texts,
    gd: Annotated[bool, typer.Option("--gd/--no-gd", help="Grounding decoder.")] = DEFAULTS.gd,
    gd_levels: Annotated[
        int,
        typer.Option(metavar="N", help="Most grids: patches, half of them ..."),
    ] = DEFAULTS.gd_levels,
    bca: Annotated[
        str,
        typer.Option(metavar="|".join(BCA), help="Bidirectional cross-attention."),
    ] = DEFAULTS.bca,
    bca_layers: Annotated[int, typer.Option(metavar="N", help="Its layers.")] = DEFAULTS.bca_layers,
    daf: Annotated[
        str,
        typer.Option(metavar="|".join(DAF), help="Dynamic attention fusion."),
    ] = DEFAULTS.daf,
    daf_projection: Annotated[
        str,
        typer.Option(
            metavar="|".join(DAF_PROJECTIONS),
            help="How the global embedding enters.",
        ),
    ] = DEFAULTS.daf_projection,
    daf_fusion: Annotated[
        str,
        typer.Option(metavar="|".join(DAF_FUSIONS), help="What is fused."),
    ] = DEFAULTS.daf_fusion,
    caa: Annotated[
        bool,
        typer.Option("--caa/--no-caa", help="Spread maps along attention."),
    ] = DEFAULTS.caa,
    caa_threshold: options.CaaThresholdOption = DEFAULTS.caa_threshold,
    gate: Annotated[
        bool,
        typer.Option(
            "--gate/--no-gate",
            help="From round 2, attention counts where the learned affinity agrees.",
        ),
    ] = DEFAULTS.gate,
    teacher_steps: Annotated[
        list[str],
        typer.Option(
            metavar="walk,par,regions,crf",
            help="Refinement of the teacher's labels, in order; or none. walk: from round 2 on.",
        ),
    ] = list(DEFAULTS.teacher_steps),
    rounds: Annotated[
        int,
        typer.Option(metavar="N", help="How often the teacher makes labels."),
    ] = DEFAULTS.rounds,
    mosaics: Annotated[
        float,
        typer.Option(
            metavar="0..1", help="Mosaics of pictures of one class, per picture of the split."
        ),
    ] = DEFAULTS.mosaics,
    epochs: Annotated[
        float, typer.Option(metavar="N", help="Passes over the split, all rounds together.")
    ] = DEFAULTS.epochs,
    batch_size: Annotated[
        int, typer.Option(metavar="N", help="Images per step.")
    ] = DEFAULTS.batch_size,
    crop: Annotated[
        int, typer.Option(metavar="PIXELS", help="Side of the training crops.")
    ] = DEFAULTS.crop,
    flip: Annotated[
        bool, typer.Option("--flip/--no-flip", help="Mirror pictures at random.")
    ] = DEFAULTS.flip,
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
    loss_seg: Annotated[
        float,
        typer.Option(metavar="X", help="Weight of the loss on the teacher's labels of pixels."),
    ] = DEFAULTS.loss_seg,
    loss_pairs: Annotated[
        float,
        typer.Option(metavar="X", help="Weight of the loss on pairs of patches."),
    ] = DEFAULTS.loss_pairs,
    loss_presence: Annotated[
        float, typer.Option(metavar="X", help="Weight of the loss on the picture's tags.")
    ] = DEFAULTS.loss_presence,
    loss_text: Annotated[
        float,
        typer.Option(metavar="X", help="Weight of the loss that tells each map from other texts."),
    ] = DEFAULTS.loss_text,
    loss_area: Annotated[
        float, typer.Option(metavar="X", help="Weight of the loss on the area of absent classes.")
    ] = DEFAULTS.loss_area,
    loss_variation: Annotated[
        float, typer.Option(metavar="X", help="Weight of the loss on total variation.")
    ] = DEFAULTS.loss_variation,
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
    """Train GLE-CLIP from image-level labels alone."""
    with reporting(context) as report:
        from gleclip_cli.stages.train_cam import train_cam as stage

        settings = Settings.of_stage(context, report)
        report.done(
            stage(
                settings.run,
                settings.config("train-cam"),
                execution=settings.execution("train-cam"),
                progress=report,
            )
        )
