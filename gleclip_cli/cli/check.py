"""`gleclip check`."""

import typer

from gleclip_cli.cli import options
from gleclip_cli.cli.reporting import reporting
from gleclip_cli.config import PrepareDataConfig
from gleclip_cli.errors import BadInput


def check(
    context: typer.Context,
    dataset: options.DatasetOption = None,
    data: options.DataOption = "",
    classes: options.ClassesOption = "",
    limit: options.LimitOption = None,
    workers: options.WorkersOption = 0,
    quiet: options.QuietOption = False,
    json_: options.JsonOption = False,
    debug: options.DebugOption = False,
) -> None:
    """Open every file of a data set and list all faults, each with its remedy; write nothing.

    Ends with 0 if there is none, else with 3.
    """
    with reporting(context) as report:
        from gleclip_cli.tools.check import check as inspect

        config = PrepareDataConfig(
            dataset=dataset or "voc", data=data, classes=classes, limit=limit
        )
        index = inspect(config, workers=workers, progress=report)
        report.findings(index)
        if index.problems:
            raise BadInput(
                f"{len(index.problems)} problems in {index.root}.",
                "Mend them, or leave bad images out with `gleclip prepare-data --on-bad skip`.",
            )
