"""Two evaluations on disk: equal ones, a planted difference, and what cannot be compared."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gleclip_cli.artifacts.per_image import ImageCounts, open_image_tables
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.stage import open_stage
from gleclip_cli.artifacts.tables import Scores, save_scores
from gleclip_cli.config import Execution
from gleclip_cli.errors import BadInput, MissingInput
from gleclip_cli.metrics.bootstrap import TOO_FEW, paired_bootstrap
from gleclip_cli.metrics.overlap import iou_of, mean_iou
from gleclip_cli.tools import compare as module
from gleclip_cli.tools.compare import compare

NAMES = ("background", "cat", "dog")
Make = Callable[..., Path]


def counts_of(seed: int, images: int, recall: float) -> np.ndarray:
    """Counts (n, 3, 5): every image has background and one class; some are hard for all."""
    hard = np.random.default_rng(99).normal(0, 0.1, images)
    random = np.random.default_rng(seed)
    counts = np.zeros((images, 3, 5), np.int64)
    for image in range(images):
        own, share = 1 + image % 2, np.clip(recall + hard[image], 0, 1)
        true = np.array([3000, 1000])
        hits = random.binomial(true, share)
        missed = true - hits
        counts[image, [0, own], 0] = true
        counts[image, [0, own], 1] = hits + missed[::-1]
        counts[image, [0, own], 2] = hits
    return counts


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def make(
        name: str, counts: np.ndarray, *, truth: str = "0", names: tuple[str, ...] = NAMES
    ) -> Path:
        run = RunDir(tmp_path / name)
        with open_stage(run, "evaluate", {}, name="seg-val", execution=Execution()) as stage:
            with open_image_tables(stage.folder) as tables:
                facts = {"miou": 0, "pixel_accuracy": 0, "pixels": 0, "undecided_pixels": 0}
                for number, own in enumerate(counts):
                    tables.add(ImageCounts(f"{number:04}", truth, own), facts)
            true, predicted, hits = counts.sum(axis=0)[:, :3].T
            iou = iou_of(np.stack([hits, true + predicted - hits], axis=-1))
            scores = Scores(
                float(mean_iou(iou)),
                dict(zip(names, iou.tolist(), strict=True)),
                len(counts),
                {"class_names": list(names)},
            )
            save_scores(stage.folder, scores, np.zeros((3, 4), np.int64))
            stage.finish()
        return run.root

    return make


def test_two_equal_runs_do_not_differ(make: Make) -> None:
    counts = counts_of(0, 40, 0.7)
    found = compare(make("a", counts), make("b", counts), what="seg", split="val")
    assert found.images == 40
    assert found.difference.miou.low <= 0 <= found.difference.miou.high
    assert found.as_json()["contains_0"] is True
    assert found.first.miou == found.second.miou


def test_a_planted_difference_of_two_points_is_shown_on_300_images(make: Make) -> None:
    worse, better = counts_of(1, 300, 0.70), counts_of(2, 300, 0.717)
    runs = make("a", worse), make("b", better)
    found = compare(*runs, what="seg", split="val")
    miou = found.difference.miou
    assert miou.value == pytest.approx(found.second.miou - found.first.miou)
    assert miou.value == pytest.approx(0.02, abs=0.003)
    assert 0 < miou.low < miou.value < miou.high
    assert [name for name, *_ in found.by_class()] == list(NAMES)
    assert found.as_json()["per_class_difference"]["dog"]["low"] > 0
    other_way = compare(*reversed(runs), what="seg", split="val").difference.miou
    assert (other_way.low, other_way.high) == pytest.approx((-miou.high, -miou.low))


def test_noise_of_the_same_accuracy_is_no_difference(make: Make) -> None:
    runs = make("a", counts_of(1, 300, 0.7)), make("b", counts_of(2, 300, 0.7))
    miou = compare(*runs, what="seg", split="val").difference.miou
    assert miou.low < 0 < miou.high


def test_what_is_on_disk_equals_the_bootstrap_of_arrays(make: Make) -> None:
    first, second = counts_of(3, 20, 0.6), counts_of(4, 20, 0.8)
    found = compare(make("a", first), make("b", second), what="seg", split="val")
    overlaps = (
        np.stack([c[..., 2], c[..., 0] + c[..., 1] - c[..., 2]], axis=-1) for c in (first, second)
    )
    assert found.difference == paired_bootstrap(*overlaps)


def test_of_few_images_no_interval_is_told(make: Make) -> None:
    runs = make("a", counts_of(0, 19, 0.6)), make("b", counts_of(1, 19, 0.8))
    found = compare(*runs, what="seg", split="val").as_json()
    assert found["difference"] == {"value": pytest.approx(0.2, abs=0.1), "low": None, "high": None}
    assert (found["contains_0"], found["no_interval"]) == (None, TOO_FEW)


def test_the_folder_of_an_evaluation_may_be_named(make: Make) -> None:
    run = make("a", counts_of(0, 5, 0.7))
    found = compare(run / "evaluate" / "seg-val", run, what="seg", split="val")
    assert found.names == (str(run / "evaluate" / "seg-val"),) * 2


def test_other_images_masks_or_classes_are_refused(make: Make) -> None:
    counts = counts_of(0, 6, 0.7)
    run = make("a", counts)
    cases = {
        "0005 is in one of them alone": make("fewer", counts[:5]),
        "true masks of 6 of 6 images differ, first of 0000": make("masks", counts, truth="1"),
        "other classes": make("classes", counts, names=("background", "cat", "cow")),
    }
    for message, other in cases.items():
        for pair in ((run, other), (other, run)):
            with pytest.raises(BadInput, match=message):
                compare(*pair, what="seg", split="val")


def test_what_is_not_scored_yet_is_told_with_the_command(make: Make, tmp_path: Path) -> None:
    run = make("a", counts_of(0, 3, 0.7))
    with pytest.raises(MissingInput, match="no run") as caught:
        compare(run, tmp_path / "nothing", what="seg", split="val")
    with pytest.raises(MissingInput) as caught:
        compare(run, run, what="pseudo", split="train")
    assert "--what pseudo --split train" in caught.value.remedy
    (run / "evaluate" / "seg-val" / "manifest.json").unlink()
    with pytest.raises(MissingInput, match="not finished"):
        compare(run, run, what="seg", split="val")


def test_scores_of_an_older_program_are_told(make: Make) -> None:
    run = make("a", counts_of(0, 3, 0.7))
    scores = run / "evaluate" / "seg-val" / "scores.json"
    scores.write_text(scores.read_text().replace("class_names", "names"))
    with pytest.raises(BadInput, match="older gleclip"):
        compare(run, run, what="seg", split="val")


def test_images_are_paired_one_at_a_time(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that grows with the images is handed to the bootstrap."""
    run = make("a", counts_of(0, 3, 0.7))
    given: list[object] = []

    def record(pairs: object, images: int) -> object:
        given.append(next(pairs))  # type: ignore[call-overload]
        return paired_bootstrap(*(one[None] for one in given[0]))

    monkeypatch.setattr(module, "paired_bootstrap_of", record)
    compare(run, run, what="seg", split="val")
    assert given[0].shape == (2, 3, 2)
