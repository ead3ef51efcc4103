"""What every part of GLE-CLIP brings on scenes: several seeds, intervals, the best maps untrained.

    pytest -m benchmark tests/benchmarks/test_ablation.py -s

`GLECLIP_BENCH_IMAGES` (default 600) scenes of train; `GLECLIP_BENCH_SEEDS` (0,1,2);
`GLECLIP_BENCH_ROWS` names of rows, all of them by default; `GLECLIP_BENCH_EPOCHS` (the preset's);
`GLECLIP_BENCH_DIR` (gleclip-ablation where temporary files live). What is finished there is not
done again and a cut training goes on; after a change of the program, name another folder.

All on is the whole model, with BCA, which is off by default: "bca off" is the default. Maps are
those of `gen-cam` at one scale, of the first 200 images of train and of val. The background
threshold is the best of train with labels; "own bg" are label-free maps at their own. Spread is the
standard deviation over seeds. Differences are to "all on", or as in `REFERENCES`, with intervals of
95 % of a bootstrap over images and seeds.
"""

import os
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import cache
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gleclip_cli.artifacts.arrays import load_arrays, save_arrays
from gleclip_cli.artifacts.json_files import read_json, write_json
from gleclip_cli.artifacts.labels import Labels
from gleclip_cli.artifacts.lines import read_lines
from gleclip_cli.artifacts.maps import Cam, load_label_image
from gleclip_cli.artifacts.provenance import environment
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.stage import load_manifest
from gleclip_cli.artifacts.tables import PreparedData, load_prepared
from gleclip_cli.cam.build import load_gleclip
from gleclip_cli.cam.method import CamMethod, trained, training_free
from gleclip_cli.config import GenCamConfig, PrepareDataConfig, TrainCamConfig
from gleclip_cli.datasets.vocabulary import Vocabulary, load_vocabulary
from gleclip_cli.errors import GleclipError
from gleclip_cli.metrics.bootstrap import paired_bootstrap
from gleclip_cli.metrics.boundary import boundary_overlap
from gleclip_cli.metrics.confusion import Counts, confusion_of
from gleclip_cli.metrics.overlap import iou_of, mean_iou, overlap_of
from gleclip_cli.metrics.sweep import BackgroundSweep, levels_of, peaks_of
from gleclip_cli.model.clip import build_clip
from gleclip_cli.model.weights import ClipSource, find_clip
from gleclip_cli.parallel.device import pick_device
from gleclip_cli.presets import PRESETS
from gleclip_cli.refine.pseudo_mask import pseudo_mask, with_background
from gleclip_cli.resources import clip_files
from gleclip_cli.stages.prepare_data import prepare_data
from gleclip_cli.stages.train_cam import train_cam

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(0)]

ALL_ON = "all on"
PARTS: dict[str, dict[str, Any]] = {
    ALL_ON: {},
    "gd off": {"gd": False},
    "bca off": {"bca": "off"},
    "bca t2p": {"bca": "t2p"},
    "bca p2t": {"bca": "p2t"},
    "daf local": {"daf": "local"},
    "daf global": {"daf": "global"},
    "daf fixed": {"daf": "fixed"},
    "projection off": {"daf_projection": "off"},
    "texts enriched": {"texts": "enriched"},  # the default is synonyms
    "background texts off": {"background_texts": False},
    "gate off": {"gate": False},
    # with the losses that need tags alone, or next to nothing would be trained
    "pseudo labels off": {"loss_seg": 0.0, "loss_presence": 0.1, "loss_text": 0.1},
    "mosaics off": {"mosaics": 0.0},
    "bca and daf off": {"bca": "off", "daf": "local"},
}
REFERENCES = {"bca and daf off": "bca off"}
"""What DAF brings to the model as it is by default; other rows are compared with all on."""
SIMILARITY = GenCamConfig(method="similarity", caa_threshold=0.88)
UNTRAINED = {
    "similarity": SIMILARITY,
    "similarity best": replace(SIMILARITY, scales=(0.5, 1.0), flip=True),
}
LABELLED, LABEL_FREE, OWN_BG, VAL = "train", "label_free", "label_free_own_bg", "val"
PLACES = {"labelled": LABELLED, "label-free": LABEL_FREE, "(own bg)": OWN_BG, "val": VAL}
DIFFERENCES = {name: place for name, place in PLACES.items() if place != VAL}
MEASURES = {"miou": "confusion", "boundary_iou": "boundary"}
"""Measure -> what is counted for it in every image."""

IMAGES = int(os.environ.get("GLECLIP_BENCH_IMAGES", "600"))
SCORED = min(200, IMAGES)
SEEDS = [int(seed) for seed in os.environ.get("GLECLIP_BENCH_SEEDS", "0,1,2").split(",")]
ROWS = os.environ.get("GLECLIP_BENCH_ROWS", ",".join([*PARTS, *UNTRAINED])).split(",")
RECIPE: dict[str, Any] = {**PRESETS["scenes"]["train-cam"], "bca": "both"}
if "GLECLIP_BENCH_EPOCHS" in os.environ:
    RECIPE["epochs"] = float(os.environ["GLECLIP_BENCH_EPOCHS"])
FOLDER = Path(os.environ.get("GLECLIP_BENCH_DIR", Path(tempfile.gettempdir()) / "gleclip-ablation"))
DATA = RunDir(FOLDER / "data")


@dataclass(frozen=True)
class Result:
    """One row with one seed: facts, and counts of every image by "place what" (n, ...)."""

    facts: dict[str, Any]
    counts: dict[str, Counts]


Pairs = list[tuple[Labels, Cam]]
"""True mask and maps of every image."""


@cache
def data() -> tuple[PreparedData, Vocabulary]:
    prepare_data(DATA, PrepareDataConfig(train_images=IMAGES, val_images=SCORED))
    prepared = load_prepared(DATA)
    return prepared, load_vocabulary(prepared.vocabulary)


def micro_clip() -> ClipSource:
    return find_clip(*clip_files("micro-clip", "micro-clip"))


def result_of(row: str, seed: int) -> Result:
    """Return what is saved of a row with a seed, made first where it is not."""
    data()
    folder = FOLDER / f"{row.replace(' ', '-')}-{seed}"
    if row in PARTS:
        key, seconds = train(RunDir(folder), row, seed)
    else:
        told = (
            f"{UNTRAINED[row]} {micro_clip().sha256} {load_manifest(DATA, 'prepare_data').digest}"
        )
        key, seconds = sha256(told.encode()).hexdigest(), 0.0
    facts_file, counts_file = folder / "result.json", folder / "counts.npz"
    if facts_file.exists() and (known := read_json(facts_file))["key"] == key:
        return Result(known, load_arrays(counts_file))
    started = time.perf_counter()
    result = scored(row, RunDir(folder))
    spent = {"train_seconds": seconds, "map_seconds": round(time.perf_counter() - started, 1)}
    facts = {"key": key, "row": row, "seed": seed, **spent, **result.facts}
    save_arrays(counts_file, result.counts)
    write_json(facts_file, facts)  # last: it says that the row is finished
    print(f"{row}, seed {seed}: {spent}", flush=True)
    return Result(facts, result.counts)


def train(run: RunDir, row: str, seed: int) -> tuple[str, float]:
    """Train a row or finish its training; return the hash of the outcome, and all its seconds."""
    run.root.mkdir(parents=True, exist_ok=True)
    link = run.output("prepare_data")
    if not link.exists():
        link.symlink_to(Path("..") / "data" / link.name, target_is_directory=True)
    manifest = train_cam(run, TrainCamConfig(**{**RECIPE, **PARTS[row]}, seed=seed))
    events = [
        (line["event"], datetime.fromisoformat(line["time"]))
        for line in read_lines(run.output("train_cam") / "log.jsonl")
    ]
    # the first events of another session: between sessions nothing was done
    first = ("open", "warning")
    steps = [now - before for (_, before), (event, now) in pairwise(events) if event not in first]
    return manifest.digest, round(sum(step.total_seconds() for step in steps), 1)


def scored(row: str, run: RunDir) -> Result:
    """Make the maps of a row, choose the threshold on train, count every image."""
    device = pick_device("auto")
    maps: dict[str, Pairs] = {}
    if row in PARTS:
        model = load_gleclip(run, device)
        method = trained(GenCamConfig(), model)
        label_free = trained(GenCamConfig(labels="none"), model)
        maps[LABEL_FREE] = maps_of(label_free, "train", labelled=False)
    else:
        clip = build_clip(micro_clip()).to(device)
        method = training_free(UNTRAINED[row], clip, data()[1])
    maps[LABELLED], maps[VAL] = (
        maps_of(method, split, labelled=True) for split in ("train", "val")
    )
    thresholds = dict.fromkeys(maps, best_background(maps[LABELLED]))
    if LABEL_FREE in maps:
        maps[OWN_BG] = maps[LABEL_FREE]
        thresholds[OWN_BG] = best_background(maps[OWN_BG])
    counts: dict[str, Counts] = {}
    for place, pairs in maps.items():
        areas, boundaries = counted(pairs, thresholds[place])
        counts |= {f"{place} confusion": areas, f"{place} boundary": boundaries}
    return Result({"thresholds": thresholds}, counts)


def maps_of(method: CamMethod, split: str, *, labelled: bool) -> Pairs:
    prepared, vocabulary = data()
    tags, everything = prepared.labels(split), list(range(1, len(vocabulary.class_names)))
    pairs = []
    for image_id in prepared.image_ids(split)[:SCORED]:
        image, record = prepared.load_image(split, image_id), prepared.record(split, image_id)
        class_ids = tags[image_id] if labelled else everything
        (maps,) = method([method.prepare(image)], [class_ids])
        cam = Cam(maps, np.array(class_ids, np.int64), record.size)
        assert record.mask is not None
        pairs.append((load_label_image(record.mask), cam if labelled else cam.seen()))
    return pairs


def best_background(pairs: Pairs) -> float:
    """Return the threshold with the highest mIoU."""
    num_classes = len(data()[1].class_names)
    sweep = BackgroundSweep(num_classes)
    for gt_mask, cam in pairs:
        peaks = peaks_of(cam.each_enlarged(), cam.class_ids, cam.size)
        sweep.add(peaks.class_ids, levels_of(gt_mask, peaks, num_classes))
    return sweep.result().threshold


def counted(pairs: Pairs, threshold: float) -> tuple[Counts, Counts]:
    """Return the confusion matrix and the overlap of boundaries of every image."""
    num_classes = len(data()[1].class_names)
    areas, boundaries = [], []
    for gt_mask, cam in pairs:
        scores = with_background(cam, constant=threshold)
        places, _ = pseudo_mask(scores)
        pred_mask = cam.labels(places, num_classes)
        areas.append(confusion_of(gt_mask, pred_mask, num_classes))
        boundaries.append(boundary_overlap(gt_mask, pred_mask, num_classes))
    return np.stack(areas).astype(np.int32), np.stack(boundaries).astype(np.int32)


def overlaps(results: list[Result], measure: str, place: str) -> Counts:
    """Return intersections and unions (seeds, images, classes, 2)."""
    what = MEASURES[measure]
    counts = np.stack([result.counts[f"{place} {what}"] for result in results])
    return overlap_of(counts) if what == "confusion" else counts


def summary(results: list[Result], reference: list[Result]) -> dict[str, Any]:
    """Return all that is told of a row, with its differences to the reference if there is one."""
    facts = [result.facts for result in results]
    told: dict[str, Any] = {"thresholds": [fact["thresholds"] for fact in facts]}
    for name in ("train_seconds", "map_seconds"):
        told[name] = float(np.mean([fact[name] for fact in facts]))
    for measure in MEASURES:
        told[measure] = {}
        for place in facts[0]["thresholds"]:
            own = overlaps(results, measure, place)
            scores = mean_iou(iou_of(own.sum(axis=1)))
            spread = float(scores.std(ddof=1)) if len(scores) > 1 else float("nan")
            told[measure][place] = {"mean": float(scores.mean()), "spread": spread}
            told[measure][place]["seeds"] = scores.tolist()
            if reference:
                base = overlaps(reference, measure, place)
                found = paired_bootstrap(base, np.broadcast_to(own, base.shape)).miou
                told[measure][place]["difference"] = asdict(found)
    return told


@cache
def table() -> dict[str, dict[str, Any]]:
    """Measure what is missing, print and write the table, return its rows by name."""
    results: dict[str, list[Result]] = {row: [] for row in ROWS}
    for seed in SEEDS:
        for row in list(results):
            if row in UNTRAINED and results[row]:
                continue
            try:
                results[row].append(result_of(row, seed))
            except GleclipError as error:  # the other rows still tell something
                print(f"{row}, seed {seed} failed: {error}", flush=True)
                del results[row]
    rows = {
        row: summary(own, results.get(REFERENCES.get(row, ALL_ON), []))
        for row, own in results.items()
    }
    told = {"images": IMAGES, "scored": SCORED, "seeds": SEEDS, "recipe": RECIPE, "rows": rows}
    write_json(FOLDER / "ablation.json", {**told, **environment()})
    show(rows)
    return rows


def show(rows: dict[str, dict[str, Any]]) -> None:
    print(f"\n{IMAGES} images, seeds {SEEDS}, {RECIPE['epochs']} epochs; points of mIoU")
    print_row("", *PLACES, "boundary", *(f"{head} - reference" for head in DIFFERENCES), "train s")
    for row, told in rows.items():
        miou = told["miou"]
        print_row(
            row,
            *(points(miou.get(place)) for place in PLACES.values()),
            points(told["boundary_iou"][LABELLED]),
            *(difference(miou.get(place)) for place in DIFFERENCES.values()),
            f"{told['train_seconds']:.0f}",
        )


def print_row(name: str, *cells: str) -> None:
    widths = [10] * (len(PLACES) + 1) + [20] * len(DIFFERENCES) + [7]
    shown = (f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
    print(f"{name:20}", *shown, flush=True)


def points(score: dict[str, Any] | None) -> str:
    if not score:
        return ""
    spread = f" ± {100 * score['spread']:.1f}" if len(score["seeds"]) > 1 else ""
    return f"{100 * score['mean']:.1f}{spread}"


def difference(score: dict[str, Any] | None) -> str:
    if not score or "difference" not in score:
        return ""
    found = {name: 100 * value for name, value in score["difference"].items()}
    return f"{found['value']:+.1f} [{found['low']:+.1f}, {found['high']:+.1f}]"


def measured(row: str) -> dict[str, Any]:
    """Return a row of the table, or skip the test without it."""
    if row not in table():
        pytest.skip(f"{row} is not among the rows measured")
    return table()[row]


def mean(row: str, place: str) -> float:
    return float(measured(row)["miou"][place]["mean"])


def test_every_row_is_measured() -> None:
    assert list(table()) == ROWS


def test_at_least_ten_points_above_the_best_untrained_maps() -> None:
    assert mean(ALL_ON, LABELLED) >= 0.10 + max(mean(row, LABELLED) for row in UNTRAINED)


@pytest.mark.parametrize("row", ["gd off", "bca off", "bca and daf off"])
def test_every_module_earns_its_place(row: str) -> None:
    """Without it, maps with or without labels lose a point, and surely something."""
    measured(ALL_ON)
    losses = [measured(row)["miou"][place]["difference"] for place in (LABELLED, OWN_BG)]
    assert any(loss["value"] <= -0.01 and loss["high"] < 0 for loss in losses), losses


def test_it_learned_the_world_not_the_images() -> None:
    assert abs(mean(ALL_ON, VAL) - mean(ALL_ON, LABELLED)) <= 0.03


def test_label_free_maps_reach_nine_tenths() -> None:
    assert mean(ALL_ON, OWN_BG) >= 0.9 * mean(ALL_ON, LABELLED)
