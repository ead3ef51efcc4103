"""`gleclip prepare-data`."""

from typing import Annotated

import typer

from gleclip_cli.cli import options
from gleclip_cli.cli.reporting import reporting
from gleclip_cli.cli.settings import Settings
from gleclip_cli.config import PrepareDataConfig

DEFAULTS = PrepareDataConfig()


def prepare_data(
    context: typer.Context,
    run: options.RunOption = None,
    dataset: options.DatasetOption = DEFAULTS.dataset,
    data: options.DataOption = DEFAULTS.data,
    classes: options.ClassesOption = DEFAULTS.classes,
    masks: options.MasksOption = DEFAULTS.masks,
    download: Annotated[
        bool,
        typer.Option("--download", help="Fetch what is missing in --data: voc with SBD, coco."),
    ] = False,
    config: options.ConfigOption = None,
    train_images: Annotated[
        int, typer.Option(metavar="N", help="Training scenes to draw.")
    ] = DEFAULTS.train_images,
    val_images: Annotated[
        int, typer.Option(metavar="N", help="Validation scenes to draw.")
    ] = DEFAULTS.val_images,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the scenes.")] = DEFAULTS.seed,
    limit: options.LimitOption = DEFAULTS.limit,
    workers: options.WorkersOption = 0,
    resume: options.ResumeOption = True,
    overwrite: options.OverwriteOption = False,
    on_bad: options.OnBadOption = "stop",
    max_failures: options.MaxFailuresOption = None,
    dry_run: options.DryRunOption = False,
    quiet: options.QuietOption = False,
    verbose: options.VerboseOption = False,
    json_: options.JsonOption = False,
    debug: options.DebugOption = False,
) -> None:
    """Verify and index a data set, or draw the scenes.

    Writes image lists and image-level labels. The user's images are never copied or touched.
    """
    with reporting(context) as report:
        from gleclip_cli.stages.prepare_data import prepare_data as stage

        settings = Settings.of_stage(context, report)
        wanted = settings.config("prepare-data")
        if download:
            from gleclip_cli.tools.fetch import fetch

            if not fetch(wanted, dry_run=dry_run, progress=report):
                return
        report.done(
            stage(
                settings.run,
                wanted,
                execution=settings.execution("prepare-data"),
                progress=report,
            )
        )
