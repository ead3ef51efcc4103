"""Options that several commands share, spelled alike everywhere."""

from pathlib import Path
from typing import Annotated

import typer

from gleclip_cli.config import DATASETS

RunOption = Annotated[
    Path | None,
    typer.Option(
        "--run",
        metavar="DIR",
        help="The run. Else runs/<dataset> if a data set is named, else the run used last.",
    ),
]
DatasetOption = Annotated[
    str | None,
    typer.Option(metavar="|".join(DATASETS), help="Data set: names run and preset."),
]
DataOption = Annotated[
    str,
    typer.Option(
        metavar="DIR",
        envvar="GLECLIP_DATA",
        help="The user's data: VOCdevkit, the parent of COCO's annotations, or a folder of one's "
        "own. Never written to, but by --download and init.",
    ),
]
ClassesOption = Annotated[
    str,
    typer.Option(
        metavar="FILE.toml",
        help="Classes, prompts and background words in place of the data set's own.",
    ),
]
MasksOption = Annotated[
    str,
    typer.Option(
        metavar="FILE|DIR",
        help="Masks made or corrected elsewhere, in place of a picture's own: CVAT's .zip, COCO's "
        "or Label Studio's .json, a folder of labelme's .json or of PNGs.",
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE.toml",
        help="Tables named like commands, plus [all]; the command line wins.",
    ),
]
LimitOption = Annotated[
    int | None, typer.Option(metavar="N", help="Only the first N images of the list.")
]
SplitOption = Annotated[
    str,
    typer.Option(
        metavar="NAME", help="Image list to work on. Preset voc: trainaug, to learn from."
    ),
]
ScalesOption = Annotated[
    list[str], typer.Option(metavar="A,B", help="Scales of the image, averaged.")
]
FlipOption = Annotated[
    bool, typer.Option("--flip/--no-flip", help="Average with the mirrored image.")
]
WindowOption = Annotated[
    int | None,
    typer.Option(
        metavar="PIXELS",
        help="Longest side that a network sees at once. Default: as long as suits it.",
    ),
]
StrideOption = Annotated[
    int | None,
    typer.Option(
        metavar="PIXELS",
        help="Most pixels from one window to the next. Default: 3/4 of a window.",
    ),
]
CrfOption = Annotated[
    bool, typer.Option("--crf/--no-crf", help="Refine what is predicted by a dense CRF.")
]
RegionsOption = Annotated[
    bool,
    typer.Option("--regions/--no-regions", help="CLIP names each region, seen without the rest."),
]
CaaThresholdOption = Annotated[
    float,
    typer.Option(metavar="0..1", help="Share of a map's maximum that opens a box for CAA."),
]
ClipModelOption = Annotated[
    str,
    typer.Option(
        metavar="NAME|config.json", help="open_clip model or own config. Preset scenes: micro-clip."
    ),
]
ClipWeightsOption = Annotated[
    str,
    typer.Option(
        metavar="TAG|FILE|DIR|random",
        help="Hub tag; .safetensors or .pt of open_clip; OpenAI's .pt; Hugging Face's folder, file "
        "or index of parts; or random (for tests). Preset scenes: micro-clip.",
    ),
]
DeviceOption = Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="Device.")]
WorkersOption = Annotated[
    int,
    typer.Option(metavar="N", help="Helpers that load or compute beside this process."),
]
ShardOption = Annotated[
    str,
    typer.Option(
        metavar="i/n",
        help="Part i of n (from 0) of the images, by hash of the id.",
    ),
]
ResumeOption = Annotated[
    bool,
    typer.Option(
        "--resume/--no-resume",
        help="Keep finished items of the same settings, or redo them.",
    ),
]
OverwriteOption = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace output of other settings."),
]
AllowPartialOption = Annotated[
    bool,
    typer.Option("--allow-partial", help="Accept input with failed items."),
]
OnBadOption = Annotated[
    str,
    typer.Option(
        metavar="stop|skip",
        help="A bad item: stop, or record it in failed.jsonl and go on.",
    ),
]
MaxFailuresOption = Annotated[
    int | None,
    typer.Option(metavar="N", help="Stop after N bad items."),
]
LogToOption = Annotated[
    str,
    typer.Option(metavar="tensorboard", help="Write the curves for TensorBoard too."),
]
DryRunOption = Annotated[
    bool,
    typer.Option("--dry-run", help="Show what would be done; write nothing."),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Only errors.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Also settings.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Tracebacks of errors.")]
