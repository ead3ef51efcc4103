"""`gleclip check`."""

import shlex
from pathlib import Path

import typer

from gleclip_cli.cli import options
from gleclip_cli.cli.reporting import reporting
from gleclip_cli.cli.results import show_findings
from gleclip_cli.config import PrepareDataConfig
from gleclip_cli.errors import BadInput, UsageError
from gleclip_cli.progress import Progress, counted


def check(
    context: typer.Context,
    dataset: options.DatasetOption = None,
    data: options.DataOption = "",
    classes: options.ClassesOption = "",
    masks: options.MasksOption = "",
    limit: options.LimitOption = None,
    workers: options.WorkersOption = 0,
    quiet: options.QuietOption = False,
    json_: options.JsonOption = False,
    debug: options.DebugOption = False,
) -> None:
    """Open every file of a data set and list all faults, each with its remedy; write nothing.

    Without --dataset the folder tells its layout. Ends with 0 if there is no fault, else with 3.
    """
    with reporting(context) as report:
        from gleclip_cli.tools.check import check as inspect

        dataset = dataset or _layout(data, report)
        config = PrepareDataConfig(
            dataset=dataset, data=data, classes=classes, masks=masks, limit=limit
        )
        index = inspect(config, workers=workers, progress=report)
        report.document["dataset"] = dataset
        show_findings(report, index)
        if index.problems:
            raise BadInput(
                f"{counted(len(index.problems), 'problem')} in {index.root}.",
                _remedy(config, leave_out=not any(p.structural for p in index.problems)),
            )


def _layout(data: str, progress: Progress) -> str:
    from gleclip_cli.datasets.readers import layout_of

    if not data:
        raise UsageError(
            "There is nothing to check.",
            "Name a folder with --data DIR or the environment variable GLECLIP_DATA.",
        )
    folder = Path(data).expanduser()
    layout = layout_of(folder)
    if folder.is_dir():
        progress.say(f"{data} is read as {layout}; --dataset names another layout.")
    return layout


def _remedy(config: PrepareDataConfig, *, leave_out: bool) -> str:
    if not leave_out:
        return "Mend them: some concern the whole, so leaving images out does not help."
    given = {name: getattr(config, name) for name in ("dataset", "data", "classes", "masks")}
    words = [f"--{name} {shlex.quote(value)}" for name, value in given.items() if value]
    command = f"gleclip prepare-data {' '.join(words)} --on-bad skip"
    return f"Mend them, or leave the images out: `{command}`."
