"""`gleclip refine`."""

from typing import Annotated

import typer

from gleclip_cli.cli import options
from gleclip_cli.cli.reporting import reporting
from gleclip_cli.cli.settings import Settings
from gleclip_cli.config import CRF_PRESETS, REFINE_STEPS, RefineConfig
from gleclip_cli.config.refine import AFFINITIES, BACKGROUND_RULES, CAMS_FORMATS, WALK_STRIDES

DEFAULTS = RefineConfig()


def refine(
    context: typer.Context,
    run: options.RunOption = None,
    dataset: options.DatasetOption = None,
    config: options.ConfigOption = None,
    split: options.SplitOption = DEFAULTS.split,
    cams: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Maps made elsewhere: a file per image, named by its id."),
    ] = DEFAULTS.cams,
    cams_format: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(CAMS_FORMATS), help="What wrote them; npz: gleclip's own files."
        ),
    ] = DEFAULTS.cams_format,
    steps: Annotated[
        list[str],
        typer.Option(
            metavar="A,B", help=f"In order, of: {', '.join(REFINE_STEPS)}; or none of them: none."
        ),
    ] = list(DEFAULTS.steps),
    bg_rule: Annotated[
        str,
        typer.Option(
            metavar="|".join(BACKGROUND_RULES),
            help="What leaves the rest to the background: the best class, or all together, which "
            "in maps of gle-clip without CAA is the mass of the background words.",
        ),
    ] = DEFAULTS.bg_rule,
    bg_power: Annotated[
        float, typer.Option(metavar="P", help="Background score: (1 - max over classes) ** P.")
    ] = DEFAULTS.bg_power,
    bg_threshold: Annotated[
        float | None,
        typer.Option(metavar="0..1", help="Background score: this constant instead."),
    ] = DEFAULTS.bg_threshold,
    affinity: Annotated[
        str,
        typer.Option(
            metavar="|".join(AFFINITIES),
            help="What caa and walk follow: CLIP's attention, what the run's GLE-CLIP has learned, "
            "or their product.",
        ),
    ] = DEFAULTS.affinity,
    caa_threshold: options.CaaThresholdOption = DEFAULTS.caa_threshold,
    walk_stride: Annotated[
        str,
        typer.Option(
            metavar="|".join(WALK_STRIDES), help="Cells of the walk: patches or 4 pixels."
        ),
    ] = DEFAULTS.walk_stride,
    walk_exponent: Annotated[
        float, typer.Option(metavar="P", help="Power of the walk's affinity: IRN 10, PSA 8.")
    ] = DEFAULTS.walk_exponent,
    walk_steps: Annotated[int, typer.Option(metavar="N", help="Steps of the walk.")] = (
        DEFAULTS.walk_steps
    ),
    par_iterations: Annotated[
        int, typer.Option(metavar="N", help="Iterations of pixel-adaptive refinement.")
    ] = DEFAULTS.par_iterations,
    crf_preset: Annotated[
        str,
        typer.Option(
            metavar="NAME", help=f"Published settings of the dense CRF: {', '.join(CRF_PRESETS)}."
        ),
    ] = DEFAULTS.crf_preset,
    crf_iterations: Annotated[
        int, typer.Option(metavar="N", help="Iterations of the dense CRF.")
    ] = DEFAULTS.crf_iterations,
    crf_backend: Annotated[
        str,
        typer.Option(metavar="NAME", help="lattice (gleclip's own) or pydensecrf (extra crf)."),
    ] = DEFAULTS.crf_backend,
    limit: options.LimitOption = DEFAULTS.limit,
    device: options.DeviceOption = "auto",
    workers: options.WorkersOption = 0,
    shard: options.ShardOption = "0/1",
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
    """Turn activation maps into pseudo masks with a confidence per pixel."""
    with reporting(context) as report:
        from gleclip_cli.stages.refine import refine as stage

        settings = Settings.of_stage(context, report)
        report.done(
            stage(
                settings.run,
                settings.config("refine"),
                execution=settings.execution("refine"),
                progress=report,
            )
        )
