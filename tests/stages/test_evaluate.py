"""evaluate on a handful of small masks, against counts made here by other means."""

import csv
import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gleclip_cli.artifacts.checkpoint import (
    load_checkpoint,
    save_checkpoint,
    save_hub_checkpoint,
)
from gleclip_cli.artifacts.maps import Cam, load_cam, load_label_image, save_cam, save_label_image
from gleclip_cli.artifacts.per_image import read_image_tables
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.stage import Manifest, open_stage
from gleclip_cli.artifacts.tables import ImageRecord, load_scores, save_prepared
from gleclip_cli.cam.texts import naming_texts
from gleclip_cli.config import EvaluateConfig, Execution, GenCamConfig, RefineConfig, TrainSegConfig
from gleclip_cli.datasets.vocabulary import load_vocabulary
from gleclip_cli.errors import BadInput, MissingInput, OtherSettings, UsageError
from gleclip_cli.metrics.bootstrap import TOO_FEW
from gleclip_cli.metrics.boundary import boundary_overlap
from gleclip_cli.metrics.overlap import iou_of
from gleclip_cli.progress import Silent
from gleclip_cli.seg.labeller import Labeller, Naming
from gleclip_cli.seg.network import NetworkSpec, SegmentationNetwork, build_network, load_network
from gleclip_cli.seg.predict import Views, predict_logits
from gleclip_cli.stages.evaluate import evaluate
from gleclip_cli.stages.refine import refine

CLASSES = {"a": [1, 3], "b b": [2], "no class": [], "Zwölf": [1], "unmasked": [2]}
SIZE = (18, 26)
PALETTE = load_vocabulary("voc").palette
SPEC = NetworkSpec(arch="deeplabv2-small", num_classes=21)
CPU = Execution(device="cpu")
STOP = Execution(device="cpu", on_bad="stop")
SKIP = Execution(device="cpu", overwrite=True)


def rng_of(*words: str) -> np.random.Generator:
    return np.random.default_rng(list("|".join(words).encode()))


def gt_of(split: str, image_id: str) -> np.ndarray:
    """Blobs of the image's classes, background and some ignored pixels."""
    values = np.array([0, *CLASSES[image_id], 255], dtype=np.uint8)
    coarse = rng_of("gt", split, image_id).choice(values, (6, 9))
    return coarse.repeat(3, axis=0).repeat(3, axis=1)[: SIZE[0], : SIZE[1]]


def cam_of(split: str, image_id: str) -> Cam:
    """Maps that know something of the truth."""
    gt, class_ids = gt_of(split, image_id), CLASSES[image_id]
    noise = rng_of("cam", split, image_id).random((len(class_ids), 6, 9))
    true = np.array([(gt[1::3, 1::3] == c) for c in class_ids]).reshape(len(class_ids), 6, 9)
    scores = (0.6 * noise + 0.4 * true).astype(np.float32)
    return Cam(scores, np.array(class_ids, dtype=np.int64), SIZE)


def pseudo_of(image_id: str) -> np.ndarray:
    gt = gt_of("train", image_id)
    wrong = rng_of("pseudo", image_id).random(SIZE) < 0.3
    return np.where((gt == 255) | wrong, 0, gt).astype(np.uint8)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """Two splits of the same image ids with other content; one image has no true mask."""
    run, root = RunDir(tmp_path / "run"), tmp_path / "photos"
    records: dict[str, dict[str, ImageRecord]] = {"train": {}, "val": {}, "test": {}}
    for split, table in records.items():
        for image_id in CLASSES:
            image, mask = root / split / f"{image_id}.png", root / split / f"{image_id} mask.png"
            image.parent.mkdir(parents=True, exist_ok=True)
            pixels = rng_of("image", split, image_id).integers(0, 256, (*SIZE, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(image)
            save_label_image(mask, gt_of(split, image_id), PALETTE)
            masked = split != "test" and image_id != "unmasked"
            digest = hashlib.sha256(image.read_bytes()).hexdigest()
            table[image_id] = ImageRecord(image, mask if masked else None, SIZE, digest)
    records["trainaug"] = records["train"]
    with open_stage(run, "prepare_data", {}, execution=CPU) as stage:
        tables = save_prepared(
            run,
            dataset="voc",
            vocabulary="voc",
            root=root,
            records=records,
            labels=dict.fromkeys(records, CLASSES),
        )
        stage.finish(*tables)
    for split in ("train", "val"):
        write_maps(run, split)
    write_pseudo_masks(run, list(CLASSES))
    return run


def write_maps(run: RunDir, split: str, *, inputs: Sequence[Manifest] = (), **config: Any) -> None:
    made_with = GenCamConfig(split=split, **config)
    with open_stage(
        run,
        "gen_cam",
        made_with,
        name=split,
        weights={"clip": "0"},
        inputs=inputs,
        item_ids=list(CLASSES),
        execution=SKIP,
    ) as stage:
        stage.todo()
        for image_id in CLASSES:
            path = run.cam(split, image_id)
            save_cam(path, cam_of(split, image_id))
            stage.done(image_id, path)
        stage.finish()


def write_pseudo_masks(run: RunDir, image_ids: list[str]) -> None:
    with open_stage(
        run, "refine", RefineConfig(), name="train", item_ids=image_ids, execution=SKIP
    ) as stage:
        stage.todo()
        for image_id in image_ids:
            path = run.pseudo_mask("train", image_id)
            save_label_image(path, pseudo_of(image_id), PALETTE)
            stage.done(image_id, path)
        stage.finish()


def miou_of(pairs: list[tuple[np.ndarray, np.ndarray]]) -> tuple[float, dict[int, float]]:
    """Sets of pixels, class by class, over all images at once."""
    gt = np.concatenate([true.ravel() for true, _ in pairs])
    pred = np.concatenate([guess.ravel() for _, guess in pairs])[gt != 255]
    gt = gt[gt != 255]
    ious = {}
    for c in sorted({*gt.tolist(), *pred.tolist()} - {255}):
        ious[c] = float(((gt == c) & (pred == c)).sum() / ((gt == c) | (pred == c)).sum())
    return float(np.mean(list(ious.values()))), ious


def scores_of(run: RunDir, what: str, split: str) -> Any:
    return load_scores(run.evaluation(what, split))


def thresholded(run: RunDir, split: str, image_id: str, threshold: float) -> np.ndarray:
    cam = load_cam(run.cam(split, image_id))
    if not len(cam.class_ids):
        return np.zeros(SIZE, dtype=np.uint8)
    full = cam.enlarged()
    best = cam.class_ids[full.argmax(axis=0)]
    return np.where(full.max(axis=0) > np.float32(threshold), best, 0)


def masked() -> list[str]:
    return [image_id for image_id in CLASSES if image_id != "unmasked"]


def test_pseudo_masks_score_as_an_independent_count_says(run: RunDir) -> None:
    manifest = evaluate(run, EvaluateConfig(what="pseudo", split="train"), execution=CPU)
    assert manifest.complete
    miou, ious = miou_of([(gt_of("train", i), pseudo_of(i)) for i in masked()])
    scores = scores_of(run, "pseudo", "train")
    assert scores.miou == pytest.approx(miou)
    names = load_vocabulary("voc").class_names
    assert {names.index(n): v for n, v in scores.per_class_iou.items() if v is not None} == (
        pytest.approx(ious)
    )
    assert set(scores.per_class_iou) == set(names)
    assert scores.images == len(masked())
    assert (scores.extra["without_mask"], scores.extra["missing"]) == (1, 0)
    assert scores.extra["image_level_labels_used"] is True


def test_the_files_agree_with_each_other(run: RunDir) -> None:
    folder = evaluate(run, EvaluateConfig(what="pseudo", split="train"), execution=CPU).path.parent
    confusion = np.load(folder / "confusion.npz")["confusion"]
    with (folder / "per_image.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["image"] for row in rows) == sorted(masked())
    assert sum(int(row["pixels"]) for row in rows) == confusion.sum()
    for row in rows:
        one = miou_of([(gt_of("train", row["image"]), pseudo_of(row["image"]))])
        assert float(row["miou"]) == pytest.approx(one[0])
    assert 0 <= json.loads((folder / "scores.json").read_text())["miou"] <= 1
    counts = sum(one.counts for one in read_image_tables(folder, len(confusion)))
    np.testing.assert_array_equal(counts[:, 0], confusion.sum(axis=1))
    np.testing.assert_array_equal(counts[:, 2], np.diagonal(confusion))
    bands = sum(boundary_overlap(gt_of("train", i), pseudo_of(i), len(confusion)) for i in masked())
    np.testing.assert_array_equal(counts[:, 3:], bands)
    extra = load_scores(folder).extra
    assert extra["boundary_miou"] == pytest.approx(np.nanmean(iou_of(bands)))
    assert (extra["miou_interval"], extra["no_interval"]) == ([None, None], TOO_FEW)
    assert set(map(tuple, extra["per_class_interval"].values())) == {(None, None)}


def test_an_interval_is_told_of_enough_images(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gleclip_cli.metrics.bootstrap.LEAST_IMAGES", len(masked()))
    evaluate(run, EvaluateConfig(what="pseudo", split="train"), execution=CPU)
    scores = scores_of(run, "pseudo", "train")
    low, high = scores.extra["miou_interval"]
    assert low <= scores.miou <= high
    assert scores.extra["no_interval"] is None


def test_maps_of_train_are_swept_there_and_the_best_threshold_counts(run: RunDir) -> None:
    evaluate(run, EvaluateConfig(what="cam", split="train"), execution=CPU)
    scores = scores_of(run, "cam", "train")
    naive = [
        miou_of([(gt_of("train", i), thresholded(run, "train", i, t / 100)) for i in masked()])[0]
        for t in range(101)
    ]
    assert scores.extra["sweep"]["miou"] == pytest.approx(naive)
    assert scores.miou == pytest.approx(max(naive))
    assert scores.extra["threshold"] == np.argmax(naive) / 100
    assert scores.extra["threshold_chosen_on"] == "train"


def test_maps_of_val_take_the_threshold_of_train_when_there_is_one(run: RunDir) -> None:
    config = EvaluateConfig(what="cam", split="val")
    evaluate(run, config, execution=CPU)
    own = scores_of(run, "cam", "val").extra
    assert own["threshold_chosen_on"] == "val"
    evaluate(run, EvaluateConfig(what="cam", split="train"), execution=CPU)
    with pytest.raises(OtherSettings, match="cam-train"):
        evaluate(run, config, execution=CPU)
    evaluate(run, config, execution=SKIP)
    scores = scores_of(run, "cam", "val")
    threshold = scores_of(run, "cam", "train").extra["threshold"]
    assert threshold != own["threshold"]
    assert scores.extra["threshold"] == threshold
    assert scores.extra["threshold_chosen_on"] == "train"
    pairs = [(gt_of("val", i), thresholded(run, "val", i, threshold)) for i in masked()]
    assert scores.miou == pytest.approx(miou_of(pairs)[0])


def test_where_the_threshold_is_known_the_sweep_is_told_all_the_same(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chosen on val: the scores flatter, which is said; given: one pass counts and sweeps."""
    said: list[str] = []
    progress = Silent()
    monkeypatch.setattr(progress, "say", said.append)
    evaluate(run, EvaluateConfig(what="cam", split="val"), execution=CPU, progress=progress)
    swept = scores_of(run, "cam", "val").extra
    assert said[-1].endswith("the best of val itself, so that the scores flatter.")
    assert swept["sweep"]["best"] == swept["threshold"]
    given = EvaluateConfig(what="cam", split="val", bg_threshold=0.37)
    evaluate(run, given, execution=SKIP)
    known = scores_of(run, "cam", "val")
    assert known.extra["sweep"] == swept["sweep"]
    assert known.extra["sweep"]["miou"][37] == pytest.approx(known.miou)
    assert known.extra["sweep"]["over_activation"][37] == known.extra["over_activation"]


def test_more_threads_write_the_same_bytes(run: RunDir) -> None:
    config = EvaluateConfig(what="cam", split="train")
    names = ("scores.json", "confusion.npz", "per_image.csv", "per_class.csv")
    written = []
    for workers in (0, 5):
        execution = replace(SKIP, workers=workers, resume=False)
        folder = evaluate(run, config, execution=execution).path.parent
        written.append([(folder / name).read_bytes() for name in names])
    assert written[0] == written[1]


def test_a_threshold_of_other_maps_is_not_taken(run: RunDir) -> None:
    evaluate(run, EvaluateConfig(what="cam", split="train"), execution=CPU)
    write_maps(run, "val", method="similarity")
    evaluate(run, EvaluateConfig(what="cam", split="val"), execution=CPU)
    assert scores_of(run, "cam", "val").extra["threshold_chosen_on"] == "val"


@pytest.mark.parametrize("what", ["cam", "pseudo"])
def test_what_was_made_without_labels_says_so(run: RunDir, what: str) -> None:
    config = EvaluateConfig(what=what, split="val")
    if what == "pseudo":
        refine(run, RefineConfig(split="val", steps=()), execution=SKIP)
    evaluate(run, config, execution=SKIP)
    assert scores_of(run, what, "val").extra["image_level_labels_used"] is True
    write_maps(run, "val", labels="none")
    if what == "pseudo":
        refine(run, RefineConfig(split="val", steps=()), execution=SKIP)
    evaluate(run, config, execution=SKIP)
    assert scores_of(run, what, "val").extra["image_level_labels_used"] is False


def test_a_threshold_of_another_training_is_not_taken(run: RunDir) -> None:
    config = EvaluateConfig(what="cam", split="val")
    for split, training in (("train", "a"), ("val", "a"), ("val", "b")):
        with open_stage(run, "train_cam", {"training": training}, execution=SKIP) as stage:
            model = stage.finish()
        write_maps(run, split, inputs=[model])
        if split == "train":
            evaluate(run, EvaluateConfig(what="cam", split="train"), execution=CPU)
            continue
        evaluate(run, config, execution=SKIP)
        chosen_on = scores_of(run, "cam", "val").extra["threshold_chosen_on"]
        assert chosen_on == ("train" if training == "a" else "val")


def test_a_given_threshold_is_used_and_told(run: RunDir) -> None:
    config = EvaluateConfig(what="cam", split="val", bg_threshold=0.37)
    evaluate(run, config, execution=CPU)
    scores = scores_of(run, "cam", "val")
    pairs = [(gt_of("val", i), thresholded(run, "val", i, 0.37)) for i in masked()]
    assert scores.miou == pytest.approx(miou_of(pairs)[0])
    assert (scores.extra["threshold"], scores.extra["threshold_chosen_on"]) == (0.37, "given")


def test_a_rerun_does_nothing_and_changed_masks_are_counted_again(run: RunDir) -> None:
    config = EvaluateConfig(what="pseudo", split="train")
    path = evaluate(run, config, execution=CPU).path.parent / "scores.json"
    before = path.stat().st_mtime_ns
    evaluate(run, config, execution=CPU)
    assert path.stat().st_mtime_ns == before
    with open_stage(
        run, "refine", RefineConfig(), name="train", item_ids=list(CLASSES), execution=CPU
    ) as stage:
        stage.todo(dict.fromkeys(CLASSES, "new"))
        for image_id in CLASSES:
            mask = run.pseudo_mask("train", image_id)
            save_label_image(mask, np.zeros(SIZE, np.uint8), PALETTE)
            stage.done(image_id, mask)
        stage.finish()
    evaluate(run, config, execution=CPU)
    assert scores_of(run, "pseudo", "train").per_class_iou["aeroplane"] == 0


def test_fault_47_a_missing_prediction_stops_unless_allowed_and_counted(run: RunDir) -> None:
    write_pseudo_masks(run, ["a", "no class"])
    config = EvaluateConfig(what="pseudo", split="train")
    with pytest.raises(BadInput, match="2 of 4 images of train have no prediction") as caught:
        evaluate(run, config, execution=CPU)
    assert caught.value.exit_code == 3
    evaluate(run, replace(config, allow_missing=True), execution=CPU)
    scores = scores_of(run, "pseudo", "train")
    assert (scores.images, scores.extra["missing"]) == (2, 2)


def test_output_of_trainaug_serves_train_which_it_holds(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores and threshold equal those of train's own output."""
    for what in ("cam", "pseudo"):
        evaluate(run, EvaluateConfig(what=what, split="train"), execution=CPU)
    own = {what: scores_of(run, what, "train") for what in ("cam", "pseudo")}
    for stage in ("gen_cam", "refine"):
        run.output(stage, "train").rename(run.output(stage, "trainaug"))
    shutil.rmtree(run.root / "evaluate")
    for what, scores in own.items():
        said: list[str] = []
        progress = Silent()
        monkeypatch.setattr(progress, "say", said.append)
        evaluate(run, EvaluateConfig(what=what, split="train"), execution=CPU, progress=progress)
        after = scores_of(run, what, "train")
        threshold = after.extra.get("threshold")
        told = [f"Background threshold {threshold}: the best of train."]
        assert said == [
            "train has no output of its own: trainaug, which holds it, serves.",
            *(told if what == "cam" else []),
        ]
        assert (after.miou, after.images) == (scores.miou, scores.images)
        assert after.extra == {**scores.extra, "made_for": "trainaug"}
    evaluate(run, EvaluateConfig(what="cam", split="val"), execution=CPU)
    assert scores_of(run, "cam", "val").extra["threshold_chosen_on"] == "train"


def test_fault_46_masks_numbered_from_zero_are_warned_of(run: RunDir) -> None:
    for image_id in CLASSES:
        from_zero = gt_of("train", image_id) - np.uint8(1)
        from_zero[from_zero == 254] = 0
        path = run.pseudo_mask("train", image_id)
        save_label_image(path, from_zero, PALETTE)
    right, wrong = (EvaluateConfig(what=what, split="train") for what in ("cam", "pseudo"))
    assert evaluate(run, right, execution=CPU).data["warnings"] == []
    (warning,) = evaluate(run, wrong, execution=CPU).data["warnings"]
    assert "number classes from 0" in warning


def test_without_any_prediction_the_command_that_makes_them_is_named(run: RunDir) -> None:
    with pytest.raises(MissingInput) as caught:
        evaluate(run, EvaluateConfig(what="pseudo", split="val"), execution=CPU)
    assert "gleclip refine" in caught.value.remedy
    with pytest.raises(MissingInput) as caught:
        evaluate(run, EvaluateConfig(what="my-net", split="val"), execution=CPU)
    assert "gleclip train-seg" in caught.value.remedy


def test_no_command_makes_a_split_or_a_folder_that_is_not_there(run: RunDir) -> None:
    with pytest.raises(UsageError, match="has no split 'mine'") as caught:
        evaluate(run, EvaluateConfig(what="pseudo", split="mine"), execution=CPU)
    assert caught.value.remedy == "Choose one of: test, train, trainaug, val."
    with pytest.raises(MissingInput, match="nets/none is no folder") as missing:
        evaluate(run, EvaluateConfig(what="nets/none", split="val"), execution=CPU)
    assert "train-seg" not in missing.value.remedy


def test_a_split_without_true_masks_says_so(run: RunDir) -> None:
    write_maps(run, "test")
    with pytest.raises(BadInput, match="test have no true masks"):
        evaluate(run, EvaluateConfig(what="cam", split="test"), execution=CPU)


@pytest.mark.parametrize(
    ("spoilt", "reason"),
    [
        (np.zeros((5, 5), np.uint8), "5 x 5 pixels, the true mask 18 x 26"),  # fault 35
        (np.full(SIZE, 127, np.uint8), "holds 127"),  # faults 38 and 41
    ],
)
def test_faults_35_38_41_a_bad_mask_is_named_and_never_averaged_away(
    run: RunDir, spoilt: np.ndarray, reason: str
) -> None:
    save_label_image(run.pseudo_mask("train", "b b"), spoilt, PALETTE)
    config = EvaluateConfig(what="pseudo", split="train")
    with pytest.raises(BadInput, match=f"b b.* {reason}"):
        evaluate(run, config, execution=STOP)
    manifest = evaluate(run, config, execution=CPU)
    assert not manifest.complete
    assert manifest.data["failures"][0]["id"] == "b b"
    scores = scores_of(run, "pseudo", "train")
    assert (scores.images, scores.extra["unscorable"]) == (3, 1)
    again = evaluate(run, config, execution=CPU)  # a failure is tried again, not forgotten
    assert again.counts["failed"] == 1


def test_limit_takes_the_first_images(run: RunDir) -> None:
    config = EvaluateConfig(what="pseudo", split="train", limit=2)
    evaluate(run, config, execution=CPU)
    assert scores_of(run, "pseudo", "train").images == 2


def test_a_dry_run_writes_nothing(run: RunDir) -> None:
    config = EvaluateConfig(what="cam", split="train")
    evaluate(run, config, execution=replace(CPU, dry_run=True))
    assert not run.evaluation("cam", "train").exists()


def test_threads_change_nothing(run: RunDir) -> None:
    config = EvaluateConfig(what="cam", split="train")
    folder = evaluate(run, config, execution=CPU).path.parent
    names = ("scores.json", "confusion.npz", "per_image.csv")
    inline = [(folder / name).read_bytes() for name in names]
    evaluate(run, config, execution=Execution(device="cpu", workers=2, resume=False))
    assert [(folder / name).read_bytes() for name in names] == inline


@pytest.fixture(scope="module")
def untrained() -> SegmentationNetwork:
    return build_network(SPEC)


@pytest.fixture
def run_with_network(run: RunDir, untrained: SegmentationNetwork) -> RunDir:
    """A run with an untrained network called net."""
    with open_stage(run, "train_seg", TrainSegConfig(), name="net", execution=CPU) as stage:
        path = run.checkpoint("net")
        save_checkpoint(path, untrained.weights(), {"network": asdict(SPEC), "clip_sha256": ""})
        stage.finish(path, path.with_suffix(".json"))
    return run


NET = EvaluateConfig(what="net", split="val", scales=(0.5, 1.0))


def predictions(run: RunDir) -> dict[str, bytes]:
    paths = {image_id: run.pred_mask("net", "val", image_id) for image_id in CLASSES}
    return {image_id: path.read_bytes() for image_id, path in paths.items() if path.exists()}


def test_a_network_predicts_every_image_and_scores_those_with_masks(
    run_with_network: RunDir,
) -> None:
    run = run_with_network
    assert evaluate(run, NET, execution=CPU).complete
    scores = scores_of(run, "net", "val")
    pairs = []
    network = load_network(run, "net")
    for image_id in CLASSES:
        image = rng_of("image", "val", image_id).integers(0, 256, (*SIZE, 3)).astype(np.uint8)
        logits = predict_logits(network, image, scales=(0.5, 1.0), flip=True)
        labels = load_label_image(run.pred_mask("net", "val", image_id))
        assert np.array_equal(labels, logits.argmax(0).numpy())
        if image_id != "unmasked":
            pairs.append((gt_of("val", image_id), labels))
    assert scores.miou == pytest.approx(miou_of(pairs)[0])
    assert scores.images == len(masked())
    assert scores.extra["image_level_labels_used"] is False


def test_an_interrupted_prediction_is_kept_and_the_end_is_the_same(
    run_with_network: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_with_network
    folder = evaluate(run, NET, execution=CPU).path.parent
    names = ("scores.json", "confusion.npz", "per_image.csv")
    whole = {**predictions(run), **{name: (folder / name).read_bytes() for name in names}}
    done: list[str] = []

    def interrupted(path: Path, *arguments: Any) -> None:
        if len(done) == 2:
            raise KeyboardInterrupt
        save_label_image(path, *arguments)
        done.append(path.name)

    monkeypatch.setattr("gleclip_cli.stages.evaluate.save_label_image", interrupted)
    with pytest.raises(KeyboardInterrupt):
        evaluate(run, NET, execution=Execution(device="cpu", resume=False))
    assert len(predictions(run)) == 2
    done.clear()
    monkeypatch.setattr(
        "gleclip_cli.stages.evaluate.save_label_image",
        lambda path, *arguments: (done.append(path.name), save_label_image(path, *arguments)),
    )
    assert evaluate(run, NET, execution=CPU).complete
    assert len(done) == len(CLASSES) - 2
    again = {**predictions(run), **{name: (folder / name).read_bytes() for name in names}}
    assert again == whole


def test_a_network_of_a_hub_is_scored_alike(run_with_network: RunDir, tmp_path: Path) -> None:
    run, folder = run_with_network, tmp_path / "hub"
    evaluate(run, NET, execution=CPU)
    tensors, meta = load_checkpoint(run.checkpoint("net"))
    names = load_vocabulary("voc").class_names
    save_hub_checkpoint(folder, tensors, {**meta, "classes": names})
    evaluate(run, replace(NET, what=str(folder)), execution=CPU)
    assert scores_of(run, str(folder), "val").miou == scores_of(run, "net", "val").miou
    save_hub_checkpoint(folder, tensors, {**meta, "classes": names[::-1]})
    with pytest.raises(BadInput, match="knows other classes"):
        evaluate(run, replace(NET, what=str(folder)), execution=CPU)


def test_shards_predict_and_the_last_one_scores(run_with_network: RunDir) -> None:
    run, folder = run_with_network, run_with_network.evaluation("net", "val")
    evaluate(run, NET, execution=CPU)
    whole = content(folder)
    shutil.rmtree(folder)
    for index in range(2):
        manifest = evaluate(run, NET, execution=Execution(device="cpu", shard=(index, 2)))
        assert manifest.path.exists() == bool(index)
    assert manifest.complete
    assert content(folder) == whole
    with pytest.raises(UsageError, match="nothing else"):
        evaluate(run, EvaluateConfig(what="pseudo"), execution=Execution(shard=(0, 2)))


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("log.jsonl", "manifest.json")
    }


def test_window_and_crf_reach_the_network(run_with_network: RunDir) -> None:
    run, masks = run_with_network, []
    for options in ({}, {"window": 16}, {"crf": True}):
        config = EvaluateConfig(what="net", split="val", flip=False, limit=1, **options)
        evaluate(run, config, execution=SKIP)
        masks.append(load_label_image(run.pred_mask("net", "val", "Zwölf")))
    image = rng_of("image", "val", "Zwölf").integers(0, 256, (*SIZE, 3)).astype(np.uint8)
    network = load_network(run, "net")
    views = Views(flip=False), Views(flip=False, window=16), Views(flip=False)
    for mask, view, crf in zip(masks, views, (False, False, True), strict=True):
        assert np.array_equal(mask, Labeller(network, view, crf)(image).labels)


def test_regions_are_named_by_the_clip_of_the_training(
    run: RunDir, untrained: SegmentationNetwork, tiny_clip_json: str
) -> None:
    trained = TrainSegConfig(clip_model=tiny_clip_json, clip_weights="random")
    with open_stage(run, "train_seg", trained, name="net", execution=CPU) as stage:
        path = run.checkpoint("net")
        save_checkpoint(path, untrained.weights(), {"network": asdict(SPEC), "clip_sha256": ""})
        stage.finish(path, path.with_suffix(".json"))
    config = EvaluateConfig(what="net", split="val", flip=False, limit=1, regions=True)
    evaluate(run, config, execution=SKIP)
    image = rng_of("image", "val", "Zwölf").integers(0, 256, (*SIZE, 3)).astype(np.uint8)
    network, texts = load_network(run, "net"), naming_texts(load_vocabulary("voc"))
    namer = Naming(texts, tiny_clip_json, "random").by(network)
    expected = Labeller(network, Views(flip=False), namer=namer)(image).labels
    assert np.array_equal(load_label_image(run.pred_mask("net", "val", "Zwölf")), expected)
    assert not np.array_equal(Labeller(network, Views(flip=False))(image).labels, expected)


def test_without_saved_predictions_the_scores_are_the_same(run_with_network: RunDir) -> None:
    evaluate(run_with_network, NET, execution=CPU)
    kept = scores_of(run_with_network, "net", "val")
    evaluate(run_with_network, replace(NET, save_predictions=False), execution=SKIP)
    assert scores_of(run_with_network, "net", "val") == kept
    assert predictions(run_with_network) == {}


def test_a_broken_image_fails_alone_and_is_counted(run_with_network: RunDir) -> None:
    picture = run_with_network.root.parent / "photos" / "val" / "a.png"
    picture.write_bytes(picture.read_bytes()[:-30])
    manifest = evaluate(run_with_network, NET, execution=CPU)
    assert (manifest.counts["done"], manifest.counts["failed"]) == (len(CLASSES) - 1, 1)
    scores = scores_of(run_with_network, "net", "val")
    assert (scores.images, scores.extra["unscorable"]) == (3, 1)
    with pytest.raises(BadInput, match=r"a\.png"):
        evaluate(run_with_network, NET, execution=STOP)
