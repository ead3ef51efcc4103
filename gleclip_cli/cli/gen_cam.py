"""`gleclip gen-cam`."""

from typing import Annotated

import typer

from gleclip_cli.cli import options
from gleclip_cli.cli.reporting import reporting
from gleclip_cli.cli.settings import Settings
from gleclip_cli.config import CALIBRATIONS, CAM_METHODS, TEXTS, GenCamConfig

DEFAULTS = GenCamConfig()


def gen_cam(
    context: typer.Context,
    run: options.RunOption = None,
    dataset: options.DatasetOption = None,
    data: options.DataOption = "",
    config: options.ConfigOption = None,
    split: options.SplitOption = DEFAULTS.split,
    method: Annotated[
        str, typer.Option(metavar="|".join(CAM_METHODS), help="How maps are made.")
    ] = DEFAULTS.method,
    labels: Annotated[
        str, typer.Option(metavar="given|none", help="Use the tags, or look for all classes.")
    ] = DEFAULTS.labels,
    clip_model: options.ClipModelOption = DEFAULTS.clip_model,
    clip_weights: options.ClipWeightsOption = DEFAULTS.clip_weights,
    scales: options.ScalesOption = list(map(str, DEFAULTS.scales)),
    flip: options.FlipOption = DEFAULTS.flip,
    calibration: Annotated[
        str,
        typer.Option(metavar="|".join(CALIBRATIONS), help="Last block's attention (similarity)."),
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
    caa: Annotated[
        bool, typer.Option("--caa/--no-caa", help="Spread maps along CLIP's attention.")
    ] = DEFAULTS.caa,
    caa_threshold: Annotated[
        float | None,
        typer.Option(
            metavar="0..1", help="Share of a map's maximum that opens a box. Default: the method's."
        ),
    ] = DEFAULTS.caa_threshold,
    parity: Annotated[
        bool,
        typer.Option("--parity/--no-parity", help="Repeat the published CLIP-ES to the letter."),
    ] = DEFAULTS.parity,
    precision: Annotated[
        str, typer.Option(metavar="fp32|bf16|fp16", help="Arithmetic of the network.")
    ] = DEFAULTS.precision,
    limit: options.LimitOption = DEFAULTS.limit,
    device: options.DeviceOption = "auto",
    workers: options.WorkersOption = 0,
    shard: options.ShardOption = "0/1",
    resume: options.ResumeOption = True,
    overwrite: options.OverwriteOption = False,
    allow_partial: options.AllowPartialOption = False,
    on_bad: options.OnBadOption = "skip",
    max_failures: options.MaxFailuresOption = None,
    dry_run: options.DryRunOption = False,
    quiet: options.QuietOption = False,
    verbose: options.VerboseOption = False,
    json_: options.JsonOption = False,
    debug: options.DebugOption = False,
) -> None:
    """Make one class activation map per image of a split.

    Needs the image lists of prepare-data and, for gle-clip, the model of train-cam; what is
    missing it makes first and says so (lists only when a data set is named).
    """
    with reporting(context) as report:
        from gleclip_cli import pipeline

        settings = Settings.of_stage(context, report)
        report.done(
            pipeline.gen_cam(
                settings.run,
                settings.config("gen-cam"),
                prepare=settings.prepare if settings.can_prepare else None,
                train=lambda: settings.config("train-cam"),
                execution=settings.execution("gen-cam"),
                progress=report,
            )
        )
