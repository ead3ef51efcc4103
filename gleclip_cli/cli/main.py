"""The `gleclip` command; its commands stand in pipeline order."""

from typing import Annotated

import typer

from gleclip_cli import __version__
from gleclip_cli.cli.check import check
from gleclip_cli.cli.doctor import doctor
from gleclip_cli.cli.evaluate import evaluate
from gleclip_cli.cli.export import export
from gleclip_cli.cli.gen_cam import gen_cam
from gleclip_cli.cli.init import init
from gleclip_cli.cli.picture import picture
from gleclip_cli.cli.predict import predict
from gleclip_cli.cli.prepare_data import prepare_data
from gleclip_cli.cli.prompts import prompts
from gleclip_cli.cli.refine import refine
from gleclip_cli.cli.report import report
from gleclip_cli.cli.reporting import Commands
from gleclip_cli.cli.run import run
from gleclip_cli.cli.train_cam import train_cam
from gleclip_cli.cli.train_seg import train_seg

app = typer.Typer(
    name="gleclip",
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 internal error, 2 usage, 3 bad input data, 4 finished with "
    "failed items, 5 output of other settings, 6 environment, 130 interrupted.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gleclip {__version__}")
        raise typer.Exit


@app.callback()
def gleclip(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show version.")
    ] = False,
) -> None:
    """Image-level tags in, a segmentation network out: weakly supervised with CLIP."""


app.command("prepare-data")(prepare_data)
app.command("train-cam")(train_cam)
app.command("gen-cam")(gen_cam)
app.command("refine")(refine)
app.command("train-seg")(train_seg)
app.command("evaluate")(evaluate)
app.command("run")(run)
app.command("predict")(predict)
app.command("picture")(picture)
app.command("report")(report)
app.command("export")(export)
app.command("check")(check)
app.command("init")(init)
app.command("prompts")(prompts)
app.command("doctor")(doctor)
