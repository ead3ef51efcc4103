"""What a run would do: images, time and disk of every step, scaled up from a few real ones.

The probe is the run itself on two and on six images of every split, in a temporary folder: the
difference is what an image costs, the rest what a step costs once. A run on one image goes before
it, because the first run of a process also pays for loading the libraries.

A training that keeps CLIP's features is probed with all its passes: the first is the dear one. Few
images always fit into memory; where all of them will not, CLIP reads each in every pass, for about
what a map costs.
"""

import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gleclip_cli import pipeline
from gleclip_cli.artifacts.checkpoint import weights_file
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.tables import load_prepared
from gleclip_cli.config import EvaluateConfig, Execution, PrepareDataConfig, TrainSegConfig
from gleclip_cli.datasets.readers import read_source, reading_once
from gleclip_cli.errors import GleclipError, MissingInput
from gleclip_cli.model.weights import RANDOM, find_clip
from gleclip_cli.progress import SILENT, Progress, counted
from gleclip_cli.resources import clip_files
from gleclip_cli.training.cached import CACHE_LIMIT

_FEW, _MORE = 2, 6

_Measured = dict[str, tuple[float, float, float]]
"""Step -> seconds, bytes on disk, bytes of features kept in memory."""


@dataclass(frozen=True)
class Estimate:
    """One step of a run; `seconds` and `size` (bytes on disk) are None where the probe failed.

    `images` counts every pass of a training that keeps no features: it sees each image once per
    epoch. What is finished or left out costs nothing; `note` says so, and why.
    """

    label: str
    images: int
    seconds: float | None
    size: float | None
    note: str = ""


@dataclass(frozen=True)
class Plan:
    """All steps, and the bytes that are free where the run will lie."""

    steps: list[Estimate]
    free: int


def plan(
    run: RunDir,
    configs: Mapping[str, Any],
    executions: Mapping[str, Execution],
    *,
    fused: bool = False,
    progress: Progress = SILENT,
) -> Plan:
    """Measure a probe and scale it up; nothing is written into `run`.

    Raises:
        BadInput, UsageError: the data set cannot be read at all.
    """
    with reading_once():
        return _plan(run, configs, executions, fused, progress)


def _plan(
    run: RunDir,
    configs: Mapping[str, Any],
    executions: Mapping[str, Execution],
    fused: bool,
    progress: Progress,
) -> Plan:
    started = time.monotonic()
    splits = _splits(run, configs["prepare-data"])
    reading = time.monotonic() - started
    todo = pipeline.steps(configs, fused=fused)
    notes = dict.fromkeys(_finished(run, configs, executions, fused), "finished")
    notes |= _left_out(todo, splits, _with_masks(run, configs["prepare-data"]))
    probes: list[_Measured] = []
    if len(notes) < len(todo):
        try:
            configs = _with_weights_at_hand(configs, progress)
            for count in (1, _FEW, _MORE):
                progress.say(f"Probe: the whole run on {counted(count, 'image')} of every split.")
                probes.append(_probe(configs, executions, count))
        except GleclipError as error:
            progress.warn(f"The probe ended early, so times are unknown: {error.cause}")
    steps = [
        Estimate(label, 0, 0.0, 0.0, notes[label])
        if (label := pipeline.label(step)) in notes
        else _estimate(step, splits, *(probes[1:] if len(probes) == 3 else ({}, {})))
        for step in todo
    ]
    if steps[0].seconds:  # the probes did not read the data set again
        steps[0] = replace(steps[0], seconds=steps[0].seconds + reading)
    place = next(folder for folder in (run.root, *run.root.absolute().parents) if folder.exists())
    return Plan(steps, shutil.disk_usage(place).free)


def _splits(run: RunDir, config: PrepareDataConfig) -> dict[str, int]:
    """Return how many images every split has, without opening one."""
    try:
        prepared = load_prepared(run)
    except MissingInput:
        if config.dataset == "scenes":
            return {"train": config.train_images, "val": config.val_images}
        return {split: len(ids) for split, ids in read_source(config).splits.items()}
    return {split: len(prepared.image_ids(split)) for split in prepared.splits()}


def _with_masks(run: RunDir, config: PrepareDataConfig) -> set[str]:
    """Return the splits of which at least one image has a true mask."""
    try:
        prepared = load_prepared(run)
    except MissingInput:
        if config.dataset == "scenes":
            return {"train", "val"}
        pictures = read_source(config).pictures
        return {split for picture in pictures for split, mask in picture.masks.items() if mask}
    return {
        split
        for split in prepared.splits()
        if any(prepared.record(split, i).mask for i in prepared.image_ids(split))
    }


def _left_out(
    todo: Sequence[pipeline.Step], splits: Mapping[str, int], with_masks: set[str]
) -> dict[str, str]:
    """Return the evaluations that a run skips, and why."""
    splits_of = {
        pipeline.label(step): step[1].split for step in todo if isinstance(step[1], EvaluateConfig)
    }
    return {
        label: "no true masks" if split in splits else f"no split {split}"
        for label, split in splits_of.items()
        if split not in with_masks
    }


def _with_weights_at_hand(configs: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Return configurations that fetch nothing: random weights take as much time."""
    at_hand = dict(configs)
    for command, config in configs.items():
        if hasattr(config, "clip_weights"):
            names = clip_files(config.clip_model, config.clip_weights)
            if not find_clip(*names, fetch=False).sha256:
                at_hand[command] = replace(config, clip_weights=RANDOM)
    if at_hand != configs:
        progress.say("The weights of CLIP are not on this machine: random ones serve the probe.")
    network = at_hand["train-seg"]
    if weights_file(network.pretrained) is None:
        at_hand["train-seg"] = replace(network, pretrained="none", freeze_norms=False)
    return at_hand


def _finished(
    run: RunDir, configs: Mapping[str, Any], executions: Mapping[str, Execution], fused: bool
) -> set[str]:
    """Return the steps that have nothing left to do."""
    try:
        load_prepared(run)
    except MissingInput:
        return set()
    dry = {command: replace(execution, dry_run=True) for command, execution in executions.items()}
    results = pipeline.run(run, configs, dry, fused=fused).results
    return {result.label for result in results if not result.manifest.counts["to_do"]}


def _probe(
    configs: Mapping[str, Any], executions: Mapping[str, Execution], count: int
) -> _Measured:
    """Return what every step takes for `count` images of every split."""
    few = {command: replace(config, limit=count) for command, config in configs.items()}
    few["train-seg"] = replace(few["train-seg"], epochs=_probed_epochs(few["train-seg"]))
    if few["prepare-data"].dataset == "scenes":
        few["prepare-data"] = replace(
            few["prepare-data"], train_images=count, val_images=count, limit=None
        )
    real = {
        command: replace(execution, dry_run=False, overwrite=False, shard=(0, 1))
        for command, execution in executions.items()
    }
    with tempfile.TemporaryDirectory(prefix="gleclip-probe-") as folder:
        summary = pipeline.run(RunDir(folder), few, real)
        return {
            r.label: (
                r.seconds,
                _bytes_in(r.manifest.path.parent),
                float(r.manifest.data.get("cache_bytes", 0)),
            )
            for r in summary.results
        }


def _probed_epochs(config: TrainSegConfig) -> float:
    """Return one epoch, or all where the first one is the dear one: it fills the cache."""
    cached = config.arch == "clip-decoder" and config.scales == (1.0,) and not config.jitter
    return config.epochs if cached else 1.0


def _bytes_in(folder: Path) -> float:
    return float(sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()))


def _estimate(
    step: pipeline.Step,
    splits: Mapping[str, int],
    few: _Measured,
    more: _Measured,
) -> Estimate:
    command, config = step
    label = pipeline.label(step)
    if command == "prepare-data":
        images, probed = sum(splits.values()), len(splits)
    else:
        images, probed = min(splits.get(config.split, 0), config.limit or 10**12), 1
    seen = images
    if command == "train-seg":
        seen = round(images * config.epochs / _probed_epochs(config))
    if label not in few or label not in more:
        return Estimate(label, seen, None, None)
    seconds, size, cache = (
        first + cost * max(0, number / probed - _FEW)
        for first, cost, number in zip(
            few[label], _per_image(label, few, more), (seen, images, images), strict=True
        )
    )
    if cache > CACHE_LIMIT and "gen-cam" in more:
        seconds += (config.epochs - 1) * images * _per_image("gen-cam", few, more)[0]
    return Estimate(label, seen, seconds, size)


def _per_image(label: str, few: _Measured, more: _Measured) -> list[float]:
    pairs = zip(few[label], more[label], strict=True)
    return [max(0.0, (b - a) / (_MORE - _FEW)) for a, b in pairs]
