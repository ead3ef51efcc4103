"""The stages in order, in one process; each alone does the same.

A stage never calls another: what is missing before `gen_cam` is filled in here.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from gleclip_cli.artifacts.manifest import Manifest, load_manifest
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.tables import Scores, load_prepared, load_scores
from gleclip_cli.config import (
    TRAIN,
    TRAINAUG,
    EvaluateConfig,
    Execution,
    GenCamConfig,
    PrepareDataConfig,
    RefineConfig,
    TrainCamConfig,
)
from gleclip_cli.errors import MissingInput, OtherSettings, UsageError
from gleclip_cli.progress import SILENT, Progress

_SHARED = ("clip_model", "clip_weights", "calibration", "texts", "background_texts")
"""What maps by GLE-CLIP have in common with its training."""

Step = tuple[str, Any]
"""Command and configuration."""


@dataclass(frozen=True)
class Result:
    """One finished step: its scores if it made some, and its wall time in seconds."""

    label: str
    manifest: Manifest
    scores: Scores | None
    seconds: float


@dataclass
class Summary:
    """What a run made; `unscored` lacked true masks, `waiting` was not reached."""

    run: RunDir
    results: list[Result] = field(default_factory=list)
    unscored: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)


def run(
    run: RunDir,
    configs: Mapping[str, Any],
    executions: Mapping[str, Execution] | None = None,
    *,
    fused: bool = False,
    progress: Progress = SILENT,
) -> Summary:
    """Run every stage; score maps, pseudo masks and network where true masks exist.

    `configs` maps every command to its configuration, `executions` those that need one.
    After a stage with failed items it stops, unless the next may read partial input. `fused`: the
    maps of an image are refined as soon as they are made, and not kept.
    """
    summary, ways = Summary(run), executions or {}
    todo = steps(configs, fused=fused)
    for number, step in enumerate(todo, start=1):
        command, execution = step[0], ways.get(step[0], Execution())
        stage = _stage(command)
        if fused and command == "gen-cam":
            masks = configs["refine"], ways.get("refine", Execution())
            stage = partial(_refined_at_once, masks=masks)
        progress.say(f"[{number}/{len(todo)}] {label(step)}")
        if not _advance(summary, step, stage, execution, progress):
            summary.waiting = [label(later) for later in todo[number - 1 :]]
            break
    return summary


def gen_cam(
    run: RunDir,
    config: GenCamConfig,
    *,
    prepare: Callable[[], PrepareDataConfig] | None = None,
    train: Callable[[], TrainCamConfig] | None = None,
    execution: Execution = Execution(),
    progress: Progress = SILENT,
) -> Manifest:
    """Make activation maps; what they are made from is made first if it is missing.

    `prepare` and `train` tell how, and are asked only then; without them it is an error. A model
    that is trained here has the CLIP and the texts of `config`. Processes of one launcher train
    together, and need the image lists.
    """
    first = replace(execution, shard=(0, 1), together=False, overwrite=False)
    alone = not execution.together
    if prepare is not None and alone and not _exists(run, "prepare_data"):
        progress.say(f"{run.root} has no image lists: preparing them first.")
        careful = replace(first, on_bad="stop")
        manifest = _stage("prepare-data")(run, prepare(), execution=careful, progress=progress)
        if execution.dry_run:
            return manifest
    if train is not None and config.method == "gle-clip" and not _exists(run, "train_cam"):
        _worth_training(run, config, execution)
        progress.say(f"{run.root} has no trained GLE-CLIP: training it first.")
        shared = {name: getattr(config, name) for name in _SHARED}
        manifest = _stage("train-cam")(
            run, replace(train(), **shared), execution=first, progress=progress
        )
        if execution.dry_run:
            return manifest
    return _stage("gen-cam")(run, config, execution=execution, progress=progress)


def _refined_at_once(
    run: RunDir,
    config: GenCamConfig,
    *,
    masks: tuple[RefineConfig, Execution],
    execution: Execution,
    progress: Progress,
) -> Manifest:
    """Make maps, refine each as soon as it is there and remove it; `refine` then finds all done.

    Raises:
        UsageError: masks are asked for of another split.
    """
    from gleclip_cli.stages.gen_cam import open_cams
    from gleclip_cli.stages.refine import open_masks

    settings, way = masks
    if settings.split != config.split:
        raise UsageError(
            f"--fused cannot refine {settings.split} while it makes maps of {config.split}.",
            "Give gen-cam and refine one split, or leave out --fused.",
        )
    listed = load_prepared(run).image_ids(config.split)[: settings.limit]
    with (
        open_cams(run, config, execution=execution, progress=progress) as cams,
        open_masks(
            run, settings, cams.stage.begun(), listed, execution=way, progress=progress
        ) as made,
    ):
        for image_id in made.follow(cams.made(spent=set(listed).difference(made.todo)), cams.stage):
            run.cam(config.split, image_id).unlink()
        cams.stage.note(kept=False)
        return cams.stage.finish()


def _worth_training(run: RunDir, config: GenCamConfig, execution: Execution) -> None:
    """Refuse before a training what gen-cam would refuse after it."""
    load_prepared(run).image_ids(config.split)
    with suppress(MissingInput):
        method = load_manifest(run, "gen_cam", config.split).data["config"]["method"]
        if method != config.method and not execution.overwrite:
            raise OtherSettings(
                f"The run has maps of {config.split} by {method}, and no trained GLE-CLIP.",
                f"Name --method {method}, or replace the maps with --overwrite.",
            )


def _exists(run: RunDir, stage: str) -> bool:
    try:
        load_manifest(run, stage)
    except MissingInput:
        return False
    return True


def label(step: Step) -> str:
    """Return a step's name, such as `evaluate cam train`."""
    command, config = step
    if isinstance(config, EvaluateConfig):
        return f"{command} {config.what} {config.split}"
    return command


def steps(configs: Mapping[str, Any], *, fused: bool = False) -> list[Step]:
    """Return the stages in order, each followed by its evaluation; fused, maps are not scored.

    Maps and pseudo masks of trainaug are scored on train: SBD's masks are coarser than VOC's.
    """
    score, train = configs["evaluate"], configs["train-seg"]
    cams, masks = (
        TRAIN if configs[command].split == TRAINAUG else configs[command].split
        for command in ("gen-cam", "refine")
    )
    trained = configs["gen-cam"].method == "gle-clip"
    return [
        ("prepare-data", configs["prepare-data"]),
        *([("train-cam", configs["train-cam"])] if trained else []),
        ("gen-cam", configs["gen-cam"]),
        *([] if fused else [("evaluate", replace(score, what="cam", split=cams))]),
        ("refine", configs["refine"]),
        ("evaluate", replace(score, what="pseudo", split=masks)),
        ("train-seg", train),
        ("evaluate", replace(score, what=train.name)),
    ]


def _advance(
    summary: Summary,
    step: Step,
    stage: Callable[..., Manifest],
    execution: Execution,
    progress: Progress,
) -> bool:
    """Do one step; returns False if the work before it does not let it start."""
    config = step[1]
    before = summary.results[-1].manifest if summary.results else None
    if before and before.counts.get("failed") and not execution.allow_partial:
        progress.warn(f"Items of {before.name} failed: use --allow-partial to go on without them.")
        return False
    started, scores = time.monotonic(), None
    try:
        if isinstance(config, EvaluateConfig) and not _has_masks(summary.run, config.split):
            progress.say(f"Skipped: the images of {config.split} have no true masks.")
            summary.unscored.append(label(step))
            return True
        manifest = stage(summary.run, config, execution=execution, progress=progress)
        if isinstance(config, EvaluateConfig) and not execution.dry_run:
            scores = load_scores(summary.run.evaluation(config.what, config.split))
    except MissingInput as missing:
        if not execution.dry_run:
            raise
        progress.say(f"Waits for the steps before it: {missing.cause}")
        return False
    summary.results.append(Result(label(step), manifest, scores, time.monotonic() - started))
    return True


def _has_masks(run: RunDir, split: str) -> bool:
    prepared = load_prepared(run)
    return split in prepared.splits() and any(
        prepared.record(split, i).mask is not None for i in prepared.image_ids(split)
    )


def _stage(command: str) -> Callable[..., Manifest]:
    """Return a stage's function; torch loads only with the stages that use it."""
    if command == "prepare-data":
        from gleclip_cli.stages.prepare_data import prepare_data

        return prepare_data
    if command == "train-cam":
        from gleclip_cli.stages.train_cam import train_cam

        return train_cam
    if command == "gen-cam":
        from gleclip_cli.stages.gen_cam import gen_cam

        return gen_cam
    if command == "refine":
        from gleclip_cli.stages.refine import refine

        return refine
    if command == "train-seg":
        from gleclip_cli.stages.train_seg import train_seg

        return train_seg
    from gleclip_cli.stages.evaluate import evaluate

    return evaluate
