"""`gleclip evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

from gleclip_cli.cli import options
from gleclip_cli.cli.reporting import reporting
from gleclip_cli.cli.scores import show_comparison, show_published, show_scores
from gleclip_cli.cli.settings import Settings
from gleclip_cli.config import EvaluateConfig
from gleclip_cli.errors import UsageError

DEFAULTS = EvaluateConfig()


def evaluate(
    context: typer.Context,
    run: options.RunOption = None,
    dataset: options.DatasetOption = None,
    config: options.ConfigOption = None,
    what: Annotated[
        str, typer.Option(metavar="cam|pseudo|NAME", help="Maps, pseudo masks or a network.")
    ] = DEFAULTS.what,
    split: options.SplitOption = DEFAULTS.split,
    bg_threshold: Annotated[
        float | None,
        typer.Option(
            metavar="0..1", help="Background score of maps; else swept on this split and said so."
        ),
    ] = DEFAULTS.bg_threshold,
    scales: options.ScalesOption = list(map(str, DEFAULTS.scales)),
    flip: options.FlipOption = DEFAULTS.flip,
    window: options.WindowOption = DEFAULTS.window,
    stride: options.StrideOption = DEFAULTS.stride,
    crf: options.CrfOption = DEFAULTS.crf,
    regions: options.RegionsOption = DEFAULTS.regions,
    allow_missing: Annotated[
        bool,
        typer.Option(
            "--allow-missing/--no-allow-missing", help="Score the images that have a prediction."
        ),
    ] = DEFAULTS.allow_missing,
    save_predictions: Annotated[
        bool,
        typer.Option("--save-predictions/--no-save-predictions", help="Keep predicted masks."),
    ] = DEFAULTS.save_predictions,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            metavar="RUN_A RUN_B",
            help="Only compare what is already scored of two runs (or two folders of "
            "evaluations): paired bootstrap over images.",
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(metavar="published", help="Show published results beside the scores."),
    ] = None,
    details: Annotated[bool, typer.Option("--details", help="Show all columns.")] = False,
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
    """Score maps, pseudo masks or a network against the true masks of a split."""
    with reporting(context) as report:
        if against not in (None, "published"):
            raise UsageError(f"--against is {against!r}.", "It knows one word: published.")
        if compare:
            from gleclip_cli.tools.compare import compare as compare_runs

            show_comparison(report, compare_runs(*compare, what=what, split=split))
            return
        from gleclip_cli.artifacts.tables import load_scores
        from gleclip_cli.stages.evaluate import evaluate as stage

        settings = Settings.of_stage(context, report)
        chosen = settings.config("evaluate")
        execution = settings.execution("evaluate")
        if against:
            from gleclip_cli.tools.published import beside_published, results_for

            results_for(settings.run, chosen.what, chosen.split)  # refused before the work
        manifest = stage(settings.run, chosen, execution=execution, progress=report)
        report.done(manifest)
        if execution.dry_run or not manifest.path.exists():  # other processes are still at work
            return
        scores = load_scores(settings.run.evaluation(chosen.what, chosen.split))
        show_scores(report, scores, details=details)
        if against:
            found = beside_published(settings.run, scores, chosen.what, chosen.split)
            show_published(report, found)
