"""Which steps of `refine` win on scenes: chains on the maps of GLE-CLIP and of CLIP-ES, as a table.

    pytest -m benchmark tests/benchmarks/test_steps.py -s

`GLECLIP_BENCH_IMAGES` (default 100) scenes of train are scored; `GLECLIP_BENCH_RUN` names a run of
scenes with a trained GLE-CLIP, which else is trained as the preset does; `GLECLIP_BENCH_DIR`
(gleclip-steps where temporary files live) keeps what is made.

A seed is maps by the best constant background of these images, as `evaluate` scores them. Every
chain is tried with several backgrounds; what stands in the table is the mIoU of its masks. What caa
and walk make of the maps serves all chains that go on from there.
"""

import os
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gleclip_cli.artifacts.json_files import write_json
from gleclip_cli.artifacts.maps import load_cam, load_label_image
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.stage import load_manifest
from gleclip_cli.artifacts.tables import load_prepared, load_scores
from gleclip_cli.cam.refiner import Refiner
from gleclip_cli.cam.spread import Spreader, source_of_maps
from gleclip_cli.config import (
    EvaluateConfig,
    Execution,
    GenCamConfig,
    PrepareDataConfig,
    RefineConfig,
    TrainCamConfig,
)
from gleclip_cli.datasets.vocabulary import load_vocabulary
from gleclip_cli.metrics.confusion import confusion_of, summarise
from gleclip_cli.presets import PRESETS
from gleclip_cli.refine.naming import RegionNamer
from gleclip_cli.refine.pseudo_mask import pseudo_mask
from gleclip_cli.stages.evaluate import evaluate
from gleclip_cli.stages.gen_cam import gen_cam
from gleclip_cli.stages.prepare_data import prepare_data
from gleclip_cli.stages.train_cam import train_cam

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(0)]

IMAGES = int(os.environ.get("GLECLIP_BENCH_IMAGES", "100"))
FOLDER = Path(os.environ.get("GLECLIP_BENCH_DIR", Path(tempfile.gettempdir()) / "gleclip-steps"))
TRAINED = os.environ.get("GLECLIP_BENCH_RUN")
REDONE = Execution(overwrite=True)
CPU = torch.device("cpu")

PLAIN = "clip-es, no CAA"
MAPS = {
    "gle-clip": GenCamConfig(),
    "clip-es": GenCamConfig(method="clip-es"),
    PLAIN: GenCamConfig(method="clip-es", caa=False),
}
ON_MAPS: dict[str, dict[str, Any]] = {
    "": {},
    "caa": {"steps": ("caa",)},
    "walk": {"steps": ("walk",), "affinity": "both"},
    "caa,walk": {"steps": ("caa", "walk"), "affinity": "both"},
}
ON_PIXELS = (
    (),
    ("par",),
    ("crf",),
    ("par", "crf"),
    ("par", "regions"),
    ("crf", "regions"),
    ("regions", "crf"),
    ("par", "regions", "crf"),
)
POWERS = (1.0, 2.0)
BELOW_SEED = (0.0,)
"""Constant backgrounds, by how much they lie below the best one of the seed."""

Rows = dict[str, dict[str, float]]
"""Chain -> background -> mIoU in percent."""


@cache
def run_of(maps: str) -> RunDir:
    """A run with prepared data, a trained GLE-CLIP and these maps of the first images."""
    run, first = RunDir(FOLDER / maps.replace(", ", "-")), RunDir(TRAINED or FOLDER / "trained")
    if not TRAINED:
        prepare_data(first, PrepareDataConfig(**PRESETS["scenes"]["prepare-data"]))
        train_cam(first, TrainCamConfig(**PRESETS["scenes"]["train-cam"]))
    run.root.mkdir(parents=True, exist_ok=True)
    for stage in ("prepare_data", "train_cam"):
        if not run.output(stage).exists():
            run.output(stage).symlink_to(first.output(stage).resolve(), target_is_directory=True)
    gen_cam(run, replace(MAPS[maps], **PRESETS["scenes"]["gen-cam"], limit=IMAGES))
    return run


def seed_of(maps: str) -> tuple[float, float]:
    """Return the mIoU of maps by their best constant background, and that background."""
    run = run_of(maps)
    evaluate(run, EvaluateConfig(what="cam", split="train", limit=IMAGES), execution=REDONE)
    scores = load_scores(run.evaluation("cam", "train"))
    return 100 * scores.miou, float(scores.extra["threshold"])


def spreaders(maps: str, run: RunDir) -> dict[str, Spreader | None]:
    """Return what moves maps on their grid, by name; CAA is for maps made without it."""
    cams, training = load_manifest(run, "gen_cam", "train"), load_manifest(run, "train_cam")
    found: dict[str, Spreader | None] = {}
    for name, settings in ON_MAPS.items():
        config = RefineConfig(**{"steps": (), **settings})
        if "caa" in config.steps and maps != PLAIN:
            continue
        source = None
        if config.needs_model:
            followed = training if config.follows_training else None
            source = source_of_maps(run, config, cams, followed)
        found[name] = Spreader(source, config, CPU) if source else None
    return found


def namer_of(run: RunDir) -> RegionNamer | None:
    config, cams = RefineConfig(steps=("regions",)), load_manifest(run, "gen_cam", "train")
    return Spreader(source_of_maps(run, config, cams, None), config, CPU).namer()


@cache
def table(maps: str) -> Rows:
    """Print and return the mIoU of every chain; the seed stands under "seed"."""
    seed, threshold = seed_of(maps)
    constants = [round(threshold - below, 2) for below in BELOW_SEED if threshold > below]
    backgrounds: dict[str, dict[str, Any]] = {f"power {p:g}": {"bg_power": p} for p in POWERS}
    backgrounds |= {f"constant {c:g}": {"bg_threshold": c} for c in constants}
    counts = count_chains(maps, backgrounds)
    rows = {"seed": {f"constant {threshold:g}": seed}}
    print(f"\n{maps}, {IMAGES} scenes of train: seed {seed:.2f} at {threshold:g}")
    print(f"{'':16}", *(f"{name:>13}" for name in backgrounds))
    for chain, by_background in counts.items():
        rows[chain] = {n: 100 * float(summarise(c).miou) for n, c in by_background.items()}
        print(f"{chain:16}", *(f"{miou:13.2f}" for miou in rows[chain].values()), flush=True)
    write_json(FOLDER / f"steps-{maps.replace(', ', '-')}.json", rows)
    return rows


def count_chains(
    maps: str, backgrounds: dict[str, dict[str, Any]]
) -> dict[str, dict[str, np.ndarray]]:
    """Return chain -> background -> confusion matrix."""
    run = run_of(maps)
    data, moves = load_prepared(run), spreaders(maps, run)
    num_classes = len(load_vocabulary(data.vocabulary).class_names)
    namer = namer_of(run)
    refiners = {
        (steps, name): Refiner(RefineConfig(steps=steps, **settings), CPU, namer=namer)
        for steps in ON_PIXELS
        for name, settings in backgrounds.items()
    }
    empty = np.zeros((num_classes, num_classes + 1), np.int64)
    counts: dict[str, dict[str, np.ndarray]] = {}
    for image_id in data.image_ids("train")[:IMAGES]:
        image, mask = data.load_image("train", image_id), data.record("train", image_id).mask
        assert mask is not None
        gt_mask, cam = load_label_image(mask), load_cam(run.cam("train", image_id))
        for on_maps, move in moves.items():
            moved = replace(cam, scores=move(cam.scores, image)) if move else cam
            for (steps, background), refiner in refiners.items():
                places, _ = pseudo_mask(refiner(moved, image))
                own = confusion_of(gt_mask, cam.labels(places, num_classes), num_classes)
                row = counts.setdefault(",".join((on_maps, *steps)).strip(",") or "no step", {})
                row[background] = row.get(background, empty) + own
    return counts


def gain(maps: str) -> float:
    rows = table(maps)
    best = max(max(row.values()) for chain, row in rows.items() if chain != "seed")
    return best - max(rows["seed"].values())


def test_gle_clip_gains_four_points() -> None:
    assert gain("gle-clip") >= 4


@pytest.mark.parametrize("maps", ["clip-es", PLAIN])
def test_clip_es_gains_five_points(maps: str) -> None:
    assert gain(maps) >= 5
