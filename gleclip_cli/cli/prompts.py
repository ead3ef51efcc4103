"""`gleclip prompts`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gleclip_cli.artifacts.run_dir import OutDir, RunDir, last_run
from gleclip_cli.cli import options
from gleclip_cli.cli.console import Report, percent
from gleclip_cli.cli.reporting import reporting
from gleclip_cli.cli.settings import RUNS
from gleclip_cli.cli.values import build
from gleclip_cli.config import TEXTS, GenCamConfig
from gleclip_cli.errors import UsageError
from gleclip_cli.presets import PRESETS
from gleclip_cli.progress import counted

if TYPE_CHECKING:  # `--help` loads neither numpy nor torch
    from gleclip_cli.datasets.vocabulary import Vocabulary
    from gleclip_cli.tools.prompts import Findings, Match

DEFAULTS = GenCamConfig()
_SHOWN = 0.01


def prompts(
    context: typer.Context,
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGES...", help="Files, folders, or patterns such as 'a/**/*.jpg'."
        ),
    ],
    run: options.RunOption = None,
    dataset: options.DatasetOption = None,
    classes: options.ClassesOption = "",
    tags: Annotated[
        list[str],
        typer.Option(
            metavar="A,B|FILE.csv",
            help="What is in the pictures, or a table of it. Else CLIP's likeliest class is taken.",
        ),
    ] = [],
    texts: Annotated[
        str, typer.Option(metavar="|".join(TEXTS), help="What CLIP reads for a class.")
    ] = DEFAULTS.texts,
    clip_model: options.ClipModelOption = DEFAULTS.clip_model,
    clip_weights: options.ClipWeightsOption = DEFAULTS.clip_weights,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write a sheet of heat maps per picture there."),
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", help="At most so many pictures.")] = 12,
    details: Annotated[
        bool, typer.Option("--details", help="Show also texts that match nowhere.")
    ] = False,
    device: options.DeviceOption = "auto",
    quiet: options.QuietOption = False,
    verbose: options.VerboseOption = False,
    json_: options.JsonOption = False,
    debug: options.DebugOption = False,
) -> None:
    """Show how well class texts and background words match a few pictures of yours, and where.

    whole: probability of a text for the whole picture; peak: the highest of any of its patches;
    area: patches that the text wins.

    Classes are those of a table (--classes, such as the gleclip.toml of `gleclip init`), of a data
    set, or of a run. Change a text that loses, and look again: that takes seconds, a run hours.
    """
    with reporting(context) as report:
        vocabulary, preset = _classes(report, run, dataset, classes)
        given = {
            name: context.params[name]
            for name in ("texts", "clip_model", "clip_weights")
            if _typed(context, name)
        }
        config = build(GenCamConfig, PRESETS[preset].get("gen-cam", {}), given)

        from gleclip_cli.tools.prompts import match_prompts

        words = [word for given in tags for word in given.split(",") if word]
        found = match_prompts(
            images,
            vocabulary,
            config,
            tags=words,
            out=None if out is None else OutDir(out),
            most=limit,
            device=device,
            progress=report,
        )
        report.document |= {"clip_model": config.clip_model, **found.as_json()}
        _show(report, found, details=details)


def _typed(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def _classes(
    report: Report, run: Path | None, dataset: str | None, classes: str
) -> tuple["Vocabulary", str]:
    """Return the class table, and the data set whose preset names the CLIP."""
    from gleclip_cli.artifacts.tables import load_prepared
    from gleclip_cli.datasets.vocabulary import load_vocabulary

    if dataset is not None and dataset not in PRESETS:
        raise UsageError(f"--dataset is {dataset!r}.", f"Choose one of: {', '.join(PRESETS)}.")
    if classes:
        return load_vocabulary(classes), dataset or "folder"
    if dataset == "folder":
        raise UsageError(
            "A folder has no class table by itself.",
            "Name it with --classes FILE.toml; `gleclip init` writes one.",
        )
    if dataset is not None and run is None:
        return load_vocabulary(PRESETS[dataset]["prepare-data"]["dataset"]), dataset
    folder = run or last_run(RUNS)
    if folder is None:
        raise UsageError("No classes are named.", "Use --classes FILE.toml, --dataset, or --run.")
    data = load_prepared(RunDir(folder))
    report.say(f"Classes of {folder}.")
    return load_vocabulary(data.vocabulary), dataset or data.dataset


def _show(report: Report, found: "Findings", *, details: bool) -> None:
    def seen(name: str) -> bool:
        own = [matches[name] for matches in found.images.values()]
        return details or any(max(m.probability, m.area) >= _SHOWN for m in own)

    rows = [
        [
            text.name,
            *([text.text] if details else []),
            "background" if text.background else "class",
            f"{text.mean.similarity:.3f}",
            *(percent(v) for v in (text.mean.probability, text.mean.presence, text.mean.area)),
            f"{text.nearest[0][0]} {text.nearest[0][1]:.2f}" if text.nearest else "",
        ]
        for text in found.texts
        if seen(text.name)
    ]
    read = ["CLIP reads"] if details else []
    columns = ["text", *read, "kind", "cosine", "whole", "peak", "area", "nearest text"]
    title = "Means over the pictures, in percent; cosine: with the whole, and with the nearest text"
    report.table(title, columns, rows)
    if left := len(found.texts) - len(rows):
        report.tell(f"{counted(left, 'text')} of no weight here; --details shows all.")
    named = {image: Path(image).name for image in found.images}
    if len(set(named.values())) < len(named):
        named = {image: image for image in found.images}
    report.table(
        "Likeliest texts of the whole picture, and those that win most of its patches, in percent",
        ["picture", "guessed" if found.guessed else "tagged", "whole", "patches"],
        [
            [named[image], ", ".join(found.present[image]), _top(m, "probability"), _top(m, "area")]
            for image, m in found.images.items()
        ],
    )
    for loss in found.losses:
        kind = "the background word" if loss.to_background else "the absent class"
        report.tell(
            f"{named[loss.image]}: {loss.name} loses to {kind} {loss.winner} where it matches best "
            f"({percent(loss.own)} against {percent(loss.winners)})."
        )
    if not found.losses:
        report.tell("No class loses where it matches best.")
    for path in found.sheets:
        report.tell(f"Heat maps: {path}")


def _top(matches: Mapping[str, "Match"], share: str) -> str:
    """Return the three texts with the highest share."""
    ordered = sorted(matches, key=lambda name: -getattr(matches[name], share))
    return ", ".join(f"{name} {percent(getattr(matches[name], share))}" for name in ordered[:3])
