"""Which steps of `refine` win on scenes: chains on the maps of GLE-CLIP and of CLIP-ES, as a table.

    pytest -m benchmark tests/benchmarks/test_steps.py -s

`GLECLIP_BENCH_IMAGES` (default 100) scenes of train are scored; `GLECLIP_BENCH_RUN` names a run of
scenes with a trained GLE-CLIP, which else is trained as the preset does; `GLECLIP_BENCH_DIR`
(gleclip-steps where temporary files live) keeps what is made.

A seed is maps by the best constant background of these images, as `evaluate` scores them. Every
chain is tried with the backgrounds below; what stands in the table is the mIoU of its masks.
"""

import os
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gleclip_cli.artifacts.json_files import write_json
from gleclip_cli.artifacts.maps import load_label_image
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.tables import load_prepared, load_scores
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
from gleclip_cli.stages.evaluate import evaluate
from gleclip_cli.stages.gen_cam import gen_cam
from gleclip_cli.stages.prepare_data import prepare_data
from gleclip_cli.stages.refine import refine
from gleclip_cli.stages.train_cam import train_cam

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(0)]

IMAGES = int(os.environ.get("GLECLIP_BENCH_IMAGES", "100"))
FOLDER = Path(os.environ.get("GLECLIP_BENCH_DIR", Path(tempfile.gettempdir()) / "gleclip-steps"))
TRAINED = os.environ.get("GLECLIP_BENCH_RUN")
REDONE = Execution(overwrite=True)

PLAIN = "clip-es, no CAA"
MAPS = {
    "gle-clip": GenCamConfig(),
    "clip-es": GenCamConfig(method="clip-es"),
    PLAIN: GenCamConfig(method="clip-es", caa=False),
}
CHAINS: dict[str, dict[str, Any]] = {
    "no step": {"steps": ()},
    "caa": {"steps": ("caa",)},
    "par": {"steps": ("par",)},
    "crf": {"steps": ("crf",)},
    "par,crf": {"steps": ("par", "crf")},
    "caa,crf": {"steps": ("caa", "crf")},
    "walk": {"steps": ("walk",), "affinity": "both"},
    "walk,par": {"steps": ("walk", "par"), "affinity": "both"},
    "walk,crf": {"steps": ("walk", "crf"), "affinity": "both"},
    "caa,walk,crf": {"steps": ("caa", "walk", "crf"), "affinity": "both"},
}
POWERS = (1.0, 2.0, 4.0)
BELOW_SEED = (0.0, 0.1)
"""Constant backgrounds, by how much they lie below the best one of the seed."""


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


def masks_miou(maps: str, config: RefineConfig) -> float:
    """Return the mIoU of the pseudo masks of the first images."""
    run = run_of(maps)
    refine(run, replace(config, limit=IMAGES), execution=REDONE)
    data = load_prepared(run)
    num_classes = len(load_vocabulary(data.vocabulary).class_names)
    confusion = np.zeros((num_classes, num_classes + 1), np.int64)
    for image_id in data.image_ids("train")[:IMAGES]:
        mask = data.record("train", image_id).mask
        assert mask is not None
        made = load_label_image(run.pseudo_mask("train", image_id))
        confusion += confusion_of(load_label_image(mask), made, num_classes)
    return 100 * float(summarise(confusion).miou)


@cache
def table(maps: str) -> dict[str, dict[str, float]]:
    """Print and return chain -> background -> mIoU; the seed stands under "seed"."""
    seed, threshold = seed_of(maps)
    constants = [round(threshold - below, 2) for below in BELOW_SEED if threshold > below]
    backgrounds = {f"power {power:g}": {"bg_power": power} for power in POWERS}
    backgrounds |= {f"constant {c:g}": {"bg_threshold": c} for c in constants}
    rows = {"seed": {f"constant {threshold:g}": seed}}
    print(f"\n{maps}, {IMAGES} scenes of train: seed {seed:.2f} at {threshold:g}", flush=True)
    print(f"{'':14}", *(f"{name:>13}" for name in backgrounds), flush=True)
    for chain, settings in CHAINS.items():
        if "caa" in settings["steps"] and maps != PLAIN:  # the others were made with it
            continue
        rows[chain] = {
            name: masks_miou(maps, RefineConfig(**settings, **background))
            for name, background in backgrounds.items()
        }
        print(f"{chain:14}", *(f"{miou:13.2f}" for miou in rows[chain].values()), flush=True)
    write_json(FOLDER / f"steps-{maps.replace(', ', '-')}.json", rows)
    return rows


def gain(maps: str) -> float:
    rows = table(maps)
    best = max(max(row.values()) for chain, row in rows.items() if chain != "seed")
    return best - max(rows["seed"].values())


def test_gle_clip_gains_four_points() -> None:
    assert gain("gle-clip") >= 4


@pytest.mark.parametrize("maps", ["clip-es", PLAIN])
def test_clip_es_gains_five_points(maps: str) -> None:
    assert gain(maps) >= 5
