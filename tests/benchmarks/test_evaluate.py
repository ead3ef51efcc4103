"""evaluate against the usual ways: images per second and core, and memory; interleaved.

    OMP_NUM_THREADS=1 pytest -m benchmark tests/benchmarks/test_evaluate.py -s

True masks of VOC's photographs (`GLECLIP_TEST_DATA`), moved a little for predictions. Times are of
the processor, so that what else the machine does counts little, and more threads do not help.
"""

import os
import statistics
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from gleclip_cli.artifacts.maps import Cam, load_cam, load_label_image, save_cam, save_label_image
from gleclip_cli.artifacts.per_image import open_image_tables, read_image_tables
from gleclip_cli.datasets.vocabulary import IGNORE_INDEX, voc_palette
from gleclip_cli.metrics.bootstrap import bootstrap
from gleclip_cli.metrics.confusion import confusion_of, summarise
from gleclip_cli.metrics.sweep import THRESHOLDS, BackgroundSweep, levels_of, peaks_of
from gleclip_cli.metrics.tally import Tally, count_image

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("GLECLIP_TEST_DATA", ROOT.parent / "shared" / "data"))
MASKS = DATA / "voc-photos" / "VOCdevkit" / "VOC2012" / "SegmentationClass"
IMAGES = int(os.environ.get("GLECLIP_BENCH_IMAGES", "100"))
ROUNDS = 7
CLASSES = 21

pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not MASKS.exists(), reason=f"no photographs under {DATA}"),
]

Case = tuple[Path, Path, Path]


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    """True mask, predicted mask (the true one moved) and maps of every image."""
    folder, random, made = tmp_path_factory.mktemp("masks"), np.random.default_rng(0), []
    for gt_file in sorted(MASKS.glob("*.png"))[:IMAGES]:
        labels = load_label_image(gt_file, CLASSES)
        moved = np.roll(np.where(labels == IGNORE_INDEX, 0, labels), (7, -11), axis=(0, 1))
        class_ids = np.unique(moved)[1:].astype(np.int64)
        pred_file, cam_file = (folder / f"{gt_file.stem}{end}" for end in (".png", ".npz"))
        save_label_image(pred_file, moved.astype(np.uint8), voc_palette())
        height, width = (side // 16 for side in labels.shape)
        grids = [cv2.resize((moved == c).astype(np.float32), (width, height)) for c in class_ids]
        scores = 0.7 * np.stack(grids) + 0.3 * random.random((len(grids), height, width))
        save_cam(cam_file, Cam(scores.astype(np.float32), class_ids, labels.shape))
        made.append((gt_file, pred_file, cam_file))
    return made


def histogram(gt_mask: np.ndarray, pred_mask: np.ndarray) -> np.ndarray:
    """The usual one, as in many repositories."""
    counted = (gt_mask >= 0) & (gt_mask < CLASSES)
    joint = CLASSES * gt_mask[counted].astype(int) + pred_mask[counted]
    return np.bincount(joint, minlength=CLASSES**2).reshape(CLASSES, CLASSES)


def usual(cases: list[Case]) -> np.ndarray:
    total = np.zeros((CLASSES, CLASSES))
    for gt_file, pred_file, _ in cases:
        total += histogram(np.array(Image.open(gt_file)), np.array(Image.open(pred_file)))
    return total


def the_same(cases: list[Case]) -> np.ndarray:
    """No more than the usual one counts."""
    total = np.zeros((CLASSES, CLASSES + 1), np.int64)
    for gt_file, pred_file, _ in cases:
        gt_mask, pred_mask = (load_label_image(file, CLASSES) for file in (gt_file, pred_file))
        total += confusion_of(gt_mask, pred_mask, CLASSES)
    return total[:, :-1]


def whole(cases: list[Case], folder: Path) -> np.ndarray:
    """All that evaluate counts and writes: contours, tables of images, intervals."""
    tally = Tally(CLASSES)
    with open_image_tables(folder) as tables:
        for number, (gt_file, pred_file, _) in enumerate(cases):
            gt_mask, pred_mask = (load_label_image(file, CLASSES) for file in (gt_file, pred_file))
            one = count_image(str(number), gt_mask, pred_mask, CLASSES)
            tally.add(one)
            tables.add(one.image, one.facts())
    images = read_image_tables(folder, CLASSES)
    overlaps = (image.overlap for image in images)
    intervals = bootstrap(overlaps, tally.images, resamples=1000)
    tally.scores(tuple(map(str, range(CLASSES))), intervals)
    return tally.confusion[:, :-1]


def three_passes(cases: list[Case]) -> list[float]:
    """Maps at three thresholds, each in a pass of its own."""
    return [_one_pass(cases, threshold) for threshold in (0.2, 0.3, 0.4)]


def _one_pass(cases: list[Case], threshold: float) -> float:
    total = np.zeros((CLASSES, CLASSES + 1), np.int64)
    for gt_file, _, cam_file in cases:
        cam = load_cam(cam_file)
        background = np.full((1, *cam.size), threshold, np.float32)
        places = np.concatenate([background, cam.enlarged()]).argmax(axis=0)
        labels = np.concatenate([[0], cam.class_ids]).astype(np.uint8)[places]
        total[:, :-1] += histogram(np.array(Image.open(gt_file)), labels)
    return summarise(total).miou


def swept(cases: list[Case]) -> list[float]:
    """All 101 thresholds in one pass."""
    sweep = BackgroundSweep(CLASSES)
    for gt_file, _, cam_file in cases:
        cam = load_cam(cam_file)
        peaks = peaks_of(cam.each_enlarged(), cam.class_ids, cam.size)
        sweep.add(peaks.class_ids, levels_of(load_label_image(gt_file, CLASSES), peaks, CLASSES))
    miou = sweep.result().miou
    return [miou[int(np.argmin(abs(THRESHOLDS - wanted)))] for wanted in (0.2, 0.3, 0.4)]


def ratios(slow: Callable[[], object], quick: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return, in the median of interleaved rounds, how many times as fast each is."""
    found: dict[str, list[float]] = {name: [] for name in quick}
    for action in (slow, *quick.values()):  # compiled code and files are warm
        action()
    for _ in range(ROUNDS):
        base = _seconds(slow)
        for name, action in quick.items():
            found[name].append(base / _seconds(action))
    return {name: statistics.median(values) for name, values in found.items()}


def _seconds(action: Callable[[], object]) -> float:
    started = time.process_time()
    action()
    return time.process_time() - started


def test_masks_are_counted_at_least_twice_as_fast(cases: list[Case], tmp_path: Path) -> None:
    np.testing.assert_array_equal(the_same(cases), usual(cases))
    np.testing.assert_array_equal(whole(cases, tmp_path), usual(cases))
    found = ratios(
        lambda: usual(cases),
        {
            "the same counts": lambda: the_same(cases),
            "all of evaluate": lambda: whole(cases, tmp_path),
        },
    )
    each = 1000 * _seconds(lambda: whole(cases, tmp_path)) / len(cases)
    print(f"\nTimes as fast as a NumPy histogram with Pillow: {found}; {each:.2f} ms an image")
    assert found["the same counts"] >= 2
    assert found["all of evaluate"] >= 2


def test_maps_are_swept_at_least_five_times_as_fast_as_three_passes(cases: list[Case]) -> None:
    assert swept(cases) == pytest.approx(three_passes(cases))
    found = ratios(lambda: three_passes(cases), {"101 thresholds": lambda: swept(cases)})
    each = 1000 * _seconds(lambda: swept(cases)) / len(cases)
    print(f"\nTimes as fast as three passes: {found}; {each:.2f} ms an image")
    assert found["101 thresholds"] >= 5


@pytest.mark.slow
def test_ten_thousand_masks_take_the_memory_of_a_hundred(cases: list[Case], tmp_path: Path) -> None:
    def peak(count: int) -> int:
        many = [cases[number % len(cases)] for number in range(count)]
        tracemalloc.start()
        whole(many, tmp_path)
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    peak(10)
    few, many = peak(300), peak(10_000)
    print(f"\nPeak of 300 masks {few / 1e6:.1f} MB, of 10,000 {many / 1e6:.1f} MB")
    assert many < 1.2 * few + 1e6
