"""`gleclip init`."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from gleclip_cli.cli import options
from gleclip_cli.cli.reporting import reporting
from gleclip_cli.progress import counted


def init(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Your folder of pictures.")],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing gleclip.toml.")
    ] = False,
    quiet: options.QuietOption = False,
    json_: options.JsonOption = False,
    debug: options.DebugOption = False,
) -> None:
    """Write gleclip.toml, the class table of your own pictures, into their folder.

    Pictures lie anywhere in DIR. Tags come from DIR/labels.csv, one row per picture:

    \b
        image,labels
        farm/1.jpg,cow;horse
        2.jpg,

    or from DIR/labels.json, {"farm/1.jpg": ["cow", "horse"]}, or from one sub-folder per class.
    Optional: DIR/classes.txt, the classes in the order that masks follow; DIR/masks/farm/1.png;
    DIR/train.txt and DIR/val.txt, names of pictures.

    The table holds classes, prompts and background words for you to edit. Nothing else in DIR is
    written, and without the table gleclip works with the same defaults.
    """
    with reporting(context) as report:
        from gleclip_cli.tools.init import init as write_table

        made = write_table(folder, overwrite=overwrite, progress=report)
        report.document |= {
            "output": str(made.table),
            "classes": made.counts,
            "images": made.pictures,
        }
        named = ", ".join(f"{name} ({count})" for name, count in made.counts.items())
        classes = counted(len(made.counts), "class", "classes")
        report.say(f"{made.table}: {classes} in {counted(made.pictures, 'image')}: {named}.")
        report.say("Edit prompts and background words there if you like. Then:")
        report.say(f"  gleclip prepare-data --dataset folder --data {shlex.quote(str(folder))}")
        report.say("  gleclip gen-cam     # class activation maps")
        report.say("  gleclip refine      # pseudo masks, in runs/folder/refine/train/pseudo_masks")
        report.say("  gleclip train-seg   # a network that needs no tags")
