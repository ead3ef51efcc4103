"""`gleclip predict`."""

from pathlib import Path
from typing import Annotated

import typer

from gleclip_cli.cli import options
from gleclip_cli.cli.reporting import reporting
from gleclip_cli.cli.results import show_areas
from gleclip_cli.cli.settings import Settings
from gleclip_cli.config import CAM_METHODS, OVERLAYS, PredictConfig

DEFAULTS = PredictConfig()


def predict(
    context: typer.Context,
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGES...", help="Files, folders, or patterns such as 'a/**/*.jpg'."
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where everything is written.")],
    run: options.RunOption = None,
    dataset: options.DatasetOption = None,
    config: options.ConfigOption = None,
    name: Annotated[str, typer.Option(help="Name of the network in the run.")] = DEFAULTS.name,
    checkpoint: Annotated[
        Path | None,
        typer.Option(metavar="DIR|FILE", help="A network of any place, in place of the run's."),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            metavar="|".join(("network", *CAM_METHODS)),
            help="A trained network, or maps alone: by the run's GLE-CLIP, or without training.",
        ),
    ] = DEFAULTS.method,
    tags: Annotated[
        list[str],
        typer.Option(
            metavar="A,B|FILE.csv",
            help="What is in the pictures, or a table of it. Nothing else is looked for.",
        ),
    ] = list(DEFAULTS.tags),
    classes: options.ClassesOption = "",
    scales: options.ScalesOption = list(map(str, DEFAULTS.scales)),
    flip: options.FlipOption = DEFAULTS.flip,
    window: options.WindowOption = DEFAULTS.window,
    stride: options.StrideOption = DEFAULTS.stride,
    crf: options.CrfOption = DEFAULTS.crf,
    regions: options.RegionsOption = DEFAULTS.regions,
    bg_power: Annotated[
        float, typer.Option(metavar="P", help="Background of maps: (1 - max over classes) ** P.")
    ] = DEFAULTS.bg_power,
    bg_threshold: Annotated[
        float | None,
        typer.Option(metavar="0..1", help="Background of maps: this constant instead."),
    ] = DEFAULTS.bg_threshold,
    clip_model: options.ClipModelOption = DEFAULTS.clip_model,
    clip_weights: options.ClipWeightsOption = DEFAULTS.clip_weights,
    overlays: Annotated[
        str, typer.Option(metavar="|".join(OVERLAYS), help="Pictures under their colours.")
    ] = DEFAULTS.overlays,
    device: options.DeviceOption = "auto",
    workers: options.WorkersOption = 0,
    shard: options.ShardOption = "0/1",
    resume: options.ResumeOption = True,
    overwrite: options.OverwriteOption = False,
    on_bad: options.OnBadOption = "skip",
    max_failures: options.MaxFailuresOption = None,
    dry_run: options.DryRunOption = False,
    quiet: options.QuietOption = False,
    verbose: options.VerboseOption = False,
    json_: options.JsonOption = False,
    debug: options.DebugOption = False,
) -> None:
    """Label pictures of your own: masks, overlays, and how much of each class is where.

    The mask of farm/1.jpg is DIR/masks/farm/1.png, its overlay DIR/overlays/farm/1.jpg, and
    DIR/areas.json tells pixels, share and confidence of every class, by picture and in all. What
    is there already is kept, and pictures of other calls stay.
    """
    with reporting(context) as report:
        settings = Settings.of_stage(context, report)
        chosen, execution = settings.config("predict"), settings.execution("predict")
        if checkpoint is not None:
            report.run = None  # it is not looked at

        from gleclip_cli.artifacts.json_files import read_json
        from gleclip_cli.artifacts.run_dir import OutDir
        from gleclip_cli.tools.predict import predict as work

        folder = OutDir(out)
        manifest = work(
            images,
            folder,
            chosen,
            run=settings.run,
            checkpoint=checkpoint,
            classes=classes,
            execution=execution,
            progress=report,
        )
        report.done(manifest)
        if not execution.dry_run and manifest.path.exists():  # else others are still at work
            show_areas(report, read_json(folder.areas())["classes"])
