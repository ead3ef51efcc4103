"""Crops that training gets per second: photographs read, scaled, cropped and mirrored.

    pytest -m benchmark tests/benchmarks/test_loading.py -s

60 VOC photographs with masks, crops of 321 pixels. Each figure is per second by the clock, and per
second that a processor was busy in the one process, which does not change with the load of the
machine. The same for a list ten times as long: no work of a step may grow with the data set.
"""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.tables import load_prepared
from gleclip_cli.datasets.transforms import Augment
from gleclip_cli.seg.lesson import Lesson
from gleclip_cli.training.batches import AugmentedBatches, Order

STEPS, BATCH = 40, 10
WORKERS = 2

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(600)]


def refuse(image_id: str, error: Exception) -> None:
    raise error


def crops_per_second(lesson: Lesson, image_ids: Sequence[str], workers: int) -> tuple[float, float]:
    """By the clock and by the processor, after a first batch, which starts the processes."""
    augment = Augment(321, scales=(0.5, 2.0))
    order = Order(image_ids, BATCH, 0)
    batches = AugmentedBatches(order, lesson, augment, on_bad=refuse, workers=workers)
    stream = batches.steps(0, STEPS + 1)
    next(stream)
    clock, busy = time.perf_counter(), time.process_time()
    seen = sum(len(batch.image_ids) for batch in stream)
    return seen / (time.perf_counter() - clock), seen / (time.process_time() - busy)


def test_a_hundred_crops_per_second(
    photographs: Callable[[str], Path],
    succeed: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    data = photographs("voc-photos") / "VOCdevkit" / "VOC2012"
    succeed(("prepare-data", "--dataset", "voc", "--data", data))
    run = RunDir(Path("runs/voc"))
    prepared = load_prepared(run)
    image_ids = prepared.image_ids("train")
    lesson = Lesson(run, prepared, "train", 21, pseudo=False)
    torch.set_num_threads(1)
    clock, busy = crops_per_second(lesson, image_ids, 0)
    _, busy_with_more = crops_per_second(lesson, image_ids * 10, 0)
    shared, _ = crops_per_second(lesson, image_ids, WORKERS)
    told = {
        "one process": clock,
        f"{WORKERS} processes": shared,
        "one busy processor": busy,
        "one busy processor, ten times as many photographs": busy_with_more,
    }
    print(json.dumps({name: round(value, 1) for name, value in told.items()}))
    assert busy >= 100
    assert busy_with_more > 0.8 * busy
