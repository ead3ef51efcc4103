"""`gleclip picture`."""

from pathlib import Path
from typing import Annotated

import typer

from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.cli import options
from gleclip_cli.cli.reporting import reporting
from gleclip_cli.cli.settings import run_folder
from gleclip_cli.cli.values import words
from gleclip_cli.progress import counted


def picture(
    context: typer.Context,
    run: Annotated[
        list[Path] | None,
        typer.Option(
            "--run",
            metavar="DIR",
            help="A run; several stand side by side. Else the one used last.",
        ),
    ] = None,
    split: Annotated[str, typer.Option(metavar="NAME", help="Image list to draw from.")] = "train",
    columns: Annotated[
        list[str] | None,
        typer.Option(
            metavar="A,B",
            help="Of image, seed (maps), steps (of refine, one by one), pseudo (masks), names of "
            "networks, truth. Default: all of one run, the last results of several.",
        ),
    ] = None,
    titles: Annotated[
        list[str] | None,
        typer.Option(metavar="A,B", help="What to call each run. Default: its folder."),
    ] = None,
    images: Annotated[
        int, typer.Option(min=1, metavar="N", help="So many images, spread over the list.")
    ] = 6,
    image: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="This image; give it for each.")
    ] = None,
    width: Annotated[int, typer.Option(min=16, metavar="PIXELS", help="Width of a column.")] = 200,
    out: Annotated[Path, typer.Option(metavar="FILE.png", help="The picture.")] = Path(
        "picture.png"
    ),
    device: options.DeviceOption = "auto",
    quiet: options.QuietOption = False,
    json_: options.JsonOption = False,
    debug: options.DebugOption = False,
) -> None:
    """Draw images of a run with their maps, the masks of every step, and the true masks."""
    with reporting(context) as report:
        from gleclip_cli.tools.picture import picture as draw

        drawn = draw(
            [RunDir(folder) for folder in run or [run_folder(None, None, report)]],
            out,
            split=split,
            columns=words("columns", columns or []),
            titles=words("titles", titles or []),
            image_ids=image or [],
            images=images,
            width=width,
            device=device,
            progress=report,
        )
        report.document |= {"picture": str(out), "images": drawn}
        report.say(f"{out}: {counted(len(drawn), 'image')}.")
