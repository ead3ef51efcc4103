"""`gleclip export`."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from gleclip_cli.cli import options
from gleclip_cli.cli.reporting import reporting
from gleclip_cli.cli.settings import Settings
from gleclip_cli.cli.values import build
from gleclip_cli.config.export import EXPORT_FORMATS, ExportConfig

DEFAULTS = ExportConfig(format="png")


def export(
    context: typer.Context,
    format_: Annotated[
        str,
        typer.Option("--format", metavar="|".join(EXPORT_FORMATS), help="For which program."),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE|DIR", help="What is written.")],
    run: options.RunOption = None,
    dataset: options.DatasetOption = None,
    config: options.ConfigOption = None,
    what: Annotated[
        str,
        typer.Option(
            metavar="pseudo|cam|NAME",
            help="Pseudo masks, maps, or a network: its predictions, or itself (onnx, hub).",
        ),
    ] = DEFAULTS.what,
    split: Annotated[
        str, typer.Option(metavar="NAME", help="Image list: train, of a network val, or test.")
    ] = "",
    polygons: Annotated[
        bool, typer.Option("--polygons", help="coco: polygons in place of run lengths.")
    ] = DEFAULTS.polygons,
    simplify: Annotated[
        float,
        typer.Option(
            metavar="PIXELS", help="How far outlines of polygons may be moved; 0: to the pixel."
        ),
    ] = DEFAULTS.simplify,
    ignore_band: Annotated[
        int,
        typer.Option(metavar="PIXELS", help="Ignored (255) on both sides of every boundary."),
    ] = DEFAULTS.ignore_band,
    images: Annotated[
        str, typer.Option(metavar="URL", help="labelstudio: address below which pictures lie.")
    ] = DEFAULTS.images,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Leave out images that have no mask.")
    ] = DEFAULTS.allow_missing,
    limit: options.LimitOption = DEFAULTS.limit,
    device: options.DeviceOption = "auto",
    workers: options.WorkersOption = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what an earlier export has written.")
    ] = False,
    allow_partial: options.AllowPartialOption = False,
    dry_run: options.DryRunOption = False,
    quiet: options.QuietOption = False,
    verbose: options.VerboseOption = False,
    json_: options.JsonOption = False,
    debug: options.DebugOption = False,
) -> None:
    """Hand masks, maps or a network to another program.

    Corrected masks come back by `gleclip prepare-data --masks FILE|DIR --run NEW`, from coco,
    cvat, labelstudio, labelme and png. Predictions are those that evaluate has kept, else they are
    made as [evaluate] of --config says.
    """
    with reporting(context) as report:
        from gleclip_cli.tools.export.run import export as work

        chosen = build(ExportConfig, {**context.params, "format": format_})
        settings = Settings.of_stage(context, report)
        evaluate = replace(settings.config("evaluate"), what=chosen.what, split=chosen.split)
        execution = replace(
            settings.execution("evaluate"),
            device=device,
            workers=workers,
            overwrite=overwrite,
            allow_partial=allow_partial,
        )
        made = work(
            settings.run, chosen, out, evaluate=evaluate, execution=execution, progress=report
        )
        report.document |= {
            "output": str(made.out),
            "counts": made.counts,
            "missing": list(made.missing),
        }
        if made.missing:
            report.warn(f"Without a mask: {', '.join(made.missing)}.")
        told = ", ".join(f"{number} {name}" for name, number in made.counts.items()) or made.note
        report.say(f"{made.out}: {told}{'; nothing written' if dry_run else ''}.")
