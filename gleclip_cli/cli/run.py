"""`gleclip run`."""

import os
from typing import Annotated

import typer

from gleclip_cli.cli import options
from gleclip_cli.cli.reporting import reporting
from gleclip_cli.cli.results import show_plan, show_summary
from gleclip_cli.cli.settings import Settings
from gleclip_cli.config import STAGE_CONFIGS
from gleclip_cli.errors import UsageError


def run(
    context: typer.Context,
    preset: Annotated[
        str,
        typer.Argument(
            metavar="PRESET|FILE.toml", help="scenes, voc, coco, folder, or a file of settings."
        ),
    ],
    quick: Annotated[
        bool, typer.Option("--quick", help="A small version that ends within minutes.")
    ] = False,
    fused: Annotated[
        bool,
        typer.Option(
            "--fused",
            help="Refine the maps of an image as soon as they are made; keep and score no maps.",
        ),
    ] = False,
    run: options.RunOption = None,
    data: options.DataOption = "",
    clip_model: options.ClipModelOption = "",
    clip_weights: options.ClipWeightsOption = "",
    limit: options.LimitOption = None,
    device: options.DeviceOption = "auto",
    workers: options.WorkersOption = 0,
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
    """Run all stages in order and print the mIoU of maps, pseudo masks and network.

    Each stage alone does the same; finished work is kept, so the same command goes on. With
    --dry-run a few images are tried in a temporary folder, and time and disk space are foretold.
    """
    with reporting(context) as report:
        _alone()
        settings = Settings.of_preset(context, report)
        configs = {command: settings.config(command) for command in STAGE_CONFIGS}
        executions = {command: settings.execution(command) for command in STAGE_CONFIGS}

        from gleclip_cli import pipeline
        from gleclip_cli.plan import plan

        if dry_run:
            steps = plan(settings.run, configs, executions, fused=fused, progress=report)
            show_plan(report, steps)
        else:
            made = pipeline.run(settings.run, configs, executions, fused=fused, progress=report)
            show_summary(report, made)


def _alone() -> None:
    """Refuse torchrun, whose processes would all write the same outputs."""
    if (count := int(os.environ.get("WORLD_SIZE", "1"))) > 1:
        raise UsageError(
            f"`gleclip run` is one process, and torchrun has started {count}.",
            "Leave torchrun out, or give it the stages that can share their work, one by one.",
        )
