"""`gleclip report`."""

from typing import Annotated

import typer

from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.cli import options
from gleclip_cli.cli.reporting import reporting
from gleclip_cli.cli.settings import run_folder
from gleclip_cli.progress import counted


def report(
    context: typer.Context,
    run: options.RunOption = None,
    dataset: options.DatasetOption = None,
    images: Annotated[
        int, typer.Option(metavar="N", help="Most images in the gallery; 0 for none.")
    ] = 300,
    split: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only images of this list. Else of all with output."),
    ] = None,
    workers: options.WorkersOption = 0,
    quiet: options.QuietOption = False,
    json_: options.JsonOption = False,
    debug: options.DebugOption = False,
) -> None:
    """Write RUN/report.html: scores, curves, times, commands and a gallery, in one file.

    The page needs no network and no other file. It shows what the run holds, however far it has
    come, and names what is missing with the command that makes it.
    """
    with reporting(context) as told:
        from gleclip_cli.tools.report import report as write

        told.run = RunDir(run_folder(run, dataset, told))
        page = write(told.run, images=images, split=split, workers=workers, progress=told)
        told.document |= {
            "output": str(page.path),
            "bytes": page.size,
            "images": page.images,
            "missing": [f"{gap.text} {gap.command}".strip() for gap in page.gaps],
        }
        for gap in page.gaps:
            told.say(f"Missing: {gap.text}{f' `{gap.command}`' if gap.command else ''}")
        size = f"{page.size / 1e6:.1f} MB"
        told.say(f"{page.path}: {counted(page.images, 'image')}, {size}. Open it in a browser.")
