"""train-seg on a handful of pictures with a tiny random CLIP: the contract of a stage."""

import functools
import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gleclip_cli.artifacts.checkpoint import load_checkpoint
from gleclip_cli.artifacts.maps import save_confidence, save_label_image
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.stage import Manifest, load_manifest, open_stage
from gleclip_cli.artifacts.tables import ImageRecord, save_prepared
from gleclip_cli.cam.texts import texts_hash, wording_of
from gleclip_cli.config import EvaluateConfig, Execution, TrainSegConfig
from gleclip_cli.datasets.vocabulary import IGNORE_INDEX, load_vocabulary
from gleclip_cli.errors import BadInput, Diverged, MissingInput, OtherSettings, UsageError
from gleclip_cli.model.clip import FrozenClip, load_clip
from gleclip_cli.model.texts import text_embeddings
from gleclip_cli.progress import Silent
from gleclip_cli.refine import naming
from gleclip_cli.refine.naming import RegionNamer
from gleclip_cli.seg import refresh as refresh_module
from gleclip_cli.seg.network import load_network
from gleclip_cli.seg.predict import predict_logits
from gleclip_cli.stages import train_seg as module
from gleclip_cli.stages.evaluate import evaluate
from gleclip_cli.stages.train_seg import train_seg
from gleclip_cli.training.loop import fit
from gleclip_cli.training.trainer import Trainer

CPU = Execution(device="cpu")
SPLITS = {"train": ["a boat", "b", "c", "d", "e", "Zwölf"], "val": ["v", "w"]}
UNSURE = 7
PALETTE = load_vocabulary("voc").palette


class Heard(Silent):
    """Keeps what is said and warned of."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.warnings: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def scene(image_id: str) -> tuple[np.ndarray, np.ndarray]:
    """A bright square of class 1 or 2 on dark noise."""
    rng = np.random.default_rng(list(image_id.encode()))
    image = rng.integers(0, 60, (32, 40, 3), dtype=np.uint8)
    mask = np.zeros((32, 40), np.uint8)
    kind, left = 1 + len(image_id) % 2, int(rng.integers(4, 20))
    image[8:24, left : left + 16, kind - 1] = 220
    mask[8:24, left : left + 16] = kind
    return image, mask


def save_mask(path: Path, mask: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_label_image(path, mask, PALETTE)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return make_run(tmp_path)


def make_run(folder: Path, *, steps: tuple[str, ...] = ()) -> RunDir:
    """A run as prepare-data and refine leave it; the left half of a pseudo mask is unsure.

    `steps`: those of refine, after which gen-cam has left a manifest, too.
    """
    run, root = RunDir(folder / "run"), folder / "photos"
    records: dict[str, dict[str, ImageRecord]] = {split: {} for split in SPLITS}
    root.mkdir(parents=True)
    for split, image_ids in SPLITS.items():
        for image_id in image_ids:
            image, mask = scene(image_id)
            path, mask_path = root / f"{image_id}.png", root / f"{image_id}-mask.png"
            Image.fromarray(image).save(path)
            save_mask(mask_path, mask)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            records[split][image_id] = ImageRecord(path, mask_path, mask.shape, digest)
    labels = {split: {i: [1] for i in image_ids} for split, image_ids in SPLITS.items()}
    with open_stage(run, "prepare_data", {}, execution=CPU) as stage:
        paths = save_prepared(
            run, dataset="voc", vocabulary="voc", root=root, records=records, labels=labels
        )
        stage.finish(*paths)
    inputs = [make_maps(run)] if steps else []
    with open_stage(
        run, "refine", {"steps": steps} if steps else {}, name="train", inputs=inputs,
        item_ids=SPLITS["train"], execution=CPU,
    ) as stage:  # fmt: skip
        for image_id in stage.todo():
            mask = run.pseudo_mask("train", image_id)
            confidence = run.confidence("train", image_id)
            sure = np.ones((32, 40))
            sure[:, :20] = UNSURE / 255
            save_mask(mask, scene(image_id)[1])
            save_confidence(confidence, sure)
            stage.done(image_id, mask, confidence)
        stage.finish()
    return run


WORDING = wording_of(load_vocabulary("voc"), "plain", background_texts=True)


def make_maps(run: RunDir) -> Manifest:
    settings = {"texts": "plain", "background_texts": True}
    weights = {"texts": texts_hash(WORDING)}
    with open_stage(
        run, "gen_cam", settings, name="train", weights=weights, execution=CPU
    ) as stage:
        return stage.finish()


@pytest.fixture
def config(tiny_clip_json: str) -> TrainSegConfig:
    return TrainSegConfig(
        arch="clip-decoder",
        clip_model=tiny_clip_json,
        clip_weights="random",
        epochs=4.0,
        batch_size=3,
        crop=32,
        learning_rate=3e-3,
        scales=(1.0,),
    )


def events(run: RunDir) -> list[dict[str, Any]]:
    text = (run.output("train_seg", "seg") / "log.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_outputs_of_the_stage(run, config):
    manifest = train_seg(run, config, execution=CPU)
    assert manifest.complete
    assert manifest.counts["steps"] == 8  # 4 passes over 6 images, 3 at a time
    assert manifest.counts["images"] == 6
    tensors, meta = load_checkpoint(run.checkpoint("seg"))
    assert not any(name.startswith("clip") for name in tensors)
    assert meta["classes"][:2] == ["background", "aeroplane"]
    assert meta["network"]["num_classes"] == 21
    assert meta["monitor"]["images"] == 2
    assert 0 <= meta["monitor"]["miou"] <= 1
    assert not run.training_state("seg").exists()
    steps = [event for event in events(run) if event["event"] == "step"]
    assert [event["step"] for event in steps] == [0, 7]


def test_fault_80_resized_positions_are_a_warning_wherever_clip_is_built(run, config, tmp_path):
    weights, larger = tmp_path / "weights.pt", tmp_path / "larger.json"
    torch.save(load_clip(config.clip_model, "random").clip.state_dict(), weights)
    content = json.loads(Path(config.clip_model).read_text())
    content["vision_cfg"]["image_size"] = 48
    larger.write_text(json.dumps(content))
    config = replace(config, clip_model=str(larger), clip_weights=str(weights), epochs=1.0)
    for manifest in (
        train_seg(run, config, execution=CPU),
        evaluate(run, EvaluateConfig(), execution=CPU),
    ):
        (warning,) = manifest.data["warnings"]
        assert "position embeddings resized for 48 x 48" in warning


def test_it_learns_what_it_is_shown(run, config):
    train_seg(run, replace(config, epochs=40.0), execution=CPU)
    network = load_network(run, "seg", "cpu")
    image, mask = scene("v")
    predicted = predict_logits(network, image).argmax(0).numpy()
    inside = mask > 0
    assert (predicted[inside] == mask[inside]).mean() > 0.8
    assert (predicted[~inside] == 0).mean() > 0.8


def test_a_rerun_does_nothing_and_other_settings_stop(run, config, monkeypatch):
    first = train_seg(run, config, execution=CPU)
    monkeypatch.setattr(module, "start_network", None)  # would fail if it were called
    assert train_seg(run, config, execution=CPU).digest == first.digest
    with pytest.raises(OtherSettings, match="learning_rate"):
        train_seg(run, replace(config, learning_rate=1.0), execution=CPU)


def test_names_keep_networks_apart(run, config):
    train_seg(run, config, execution=CPU)
    train_seg(run, replace(config, name="other", targets="gt"), execution=CPU)
    assert run.checkpoint("other").exists()
    assert run.checkpoint("seg").exists()


EVERYTHING: dict[str, Any] = {
    "scales": (0.5, 1.5),
    "jitter": 0.3,
    "accumulate": 2,
    "batch_size": 2,
    "epochs": 6.0,
    "schedule": "cosine",
    "optimiser": "sgd",
    "clip_norm": 1.0,
    "ema": 0.9,
    "confidence_weights": True,
    "correction": 0.4,
    "channels_last": True,
    "precision": "bf16",
}


# step 5 of 8 lies in the second of two rounds
REFRESHED: dict[str, Any] = {"refresh": 1, "ema": 0.9, "confidence_weights": True}


@pytest.mark.parametrize("changes", [{}, EVERYTHING, REFRESHED])
def test_66_killed_and_resumed_gives_the_same_bytes(tmp_path, config, changes, monkeypatch):
    config = replace(config, **changes)
    whole, cut = make_run(tmp_path / "whole"), make_run(tmp_path / "cut")
    train_seg(whole, config, execution=CPU)
    monkeypatch.setattr(module, "fit", functools.partial(fit, save_seconds=0.0))
    learn = Trainer.learn

    def killed_at_five(self: Trainer, loss: torch.Tensor) -> None:
        if self.step == 5:
            raise KeyboardInterrupt
        learn(self, loss)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "learn", killed_at_five)
        with pytest.raises(KeyboardInterrupt):
            train_seg(cut, config, execution=CPU)
    assert not cut.checkpoint("seg").exists()
    torch.manual_seed(77)
    train_seg(cut, config, execution=CPU)
    assert any(event["event"] == "resumed" and event["step"] == 5 for event in events(cut))
    for suffix in (".safetensors", ".json"):
        contents = [r.checkpoint("seg").with_suffix(suffix).read_bytes() for r in (whole, cut)]
        assert contents[0] == contents[1]
    assert sorted(p.name for p in cut.output("train_seg", "seg").iterdir()) == sorted(
        p.name for p in whole.output("train_seg", "seg").iterdir()
    )


def test_pseudo_masks_are_made_anew_and_a_kill_between_them_changes_nothing(
    tmp_path, config, monkeypatch
):
    config = replace(config, refresh=2, scales=(0.8, 1.2))
    whole, cut = make_run(tmp_path / "whole"), make_run(tmp_path / "cut")
    for run in (whole, cut):
        run.pseudo_mask("train", "b").write_bytes(b"no png")  # it gets no new one either
    made: list[Path] = []
    save = refresh_module.save_label_image

    def saving(path: Path, labels: np.ndarray, palette: np.ndarray) -> None:
        made.append(path)
        if path.is_relative_to(cut.root) and len(made) == 17:
            raise KeyboardInterrupt
        assert set(np.unique(labels)) <= {0, 1}  # what the pictures are tagged with
        save(path, labels, palette)

    monkeypatch.setattr(refresh_module, "save_label_image", saving)
    manifest = train_seg(whole, config, execution=CPU)
    assert len(made) == 10
    assert manifest.counts["steps"] == 8
    first, second = manifest.data["refreshed"]
    assert (first["step"], second["step"], first["images"]) == (3, 5, 5)
    assert 0 < first["changed"] < 1
    logged = [event for event in events(whole) if event["event"] == "refresh"]
    assert [event["changed"] for event in logged] == [first["changed"], second["changed"]]

    with pytest.raises(KeyboardInterrupt):  # at the second mask of the second time
        train_seg(cut, config, execution=CPU)
    del made[:]
    assert train_seg(cut, config, execution=CPU).data["refreshed"] == [first, second]
    assert len(made) == 4
    contents = [run.checkpoint("seg").read_bytes() for run in (whole, cut)]
    assert contents[0] == contents[1]
    assert not cut.training_state("seg").exists()


def test_refresh_names_regions_and_tells_which_steps_it_leaves_out(tmp_path, config, monkeypatch):
    run, heard = make_run(tmp_path, steps=("caa", "regions")), Heard()
    made: list[tuple[torch.Tensor, int]] = []
    named: list[list[int]] = []

    class Listening(RegionNamer):
        def __init__(self, clip: FrozenClip, texts: torch.Tensor, num_classes: int) -> None:
            made.append((texts, num_classes))
            super().__init__(clip, texts, num_classes)

        def __call__(self, scores, image, class_ids):
            named.append(class_ids)
            return super().__call__(scores, image, class_ids)

    monkeypatch.setattr(naming, "RegionNamer", Listening)
    config = replace(config, refresh=1, epochs=1.0)
    manifest = train_seg(run, config, execution=CPU, progress=heard)
    assert manifest.data["refresh_leaves_out"] == ["caa"]
    assert heard.said.count("Refresh leaves out: caa.") == 1
    ((texts, num_classes),) = made
    assert torch.equal(texts, text_embeddings(load_clip(config.clip_model, "random"), WORDING))
    assert num_classes == len(WORDING.prompts)
    assert named == [[1]] * 6  # as the pictures are tagged


def test_the_mean_of_weights_is_what_is_kept(run, config, monkeypatch):
    made = []
    make = module.make_trainer

    def listening(*arguments, **named):
        made.append(make(*arguments, **named))
        return made[0]

    monkeypatch.setattr(module, "make_trainer", listening)
    train_seg(run, replace(config, ema=0.9, epochs=1.0), execution=CPU)
    ((trainer, kept),) = made
    tensors, _ = load_checkpoint(run.checkpoint("seg"))
    assert all(torch.equal(value, tensors[name]) for name, value in kept.weights().items())
    assert any(not torch.equal(v, tensors[n]) for n, v in trainer.network.weights().items())


def test_an_unknown_network_is_refused_before_anything_is_written(run, config):
    pytest.importorskip("segmentation_models_pytorch")
    with pytest.raises(UsageError, match="no encoder 'resnet19'"):
        train_seg(run, replace(config, arch="smp:unet:resnet19"), execution=CPU)
    assert not run.output("train_seg", "seg").exists()


def test_65_divergence_keeps_the_last_good_state_and_writes_no_checkpoint(run, config, monkeypatch):
    monkeypatch.setattr(module, "fit", functools.partial(fit, save_seconds=0.0))
    with pytest.raises(Diverged, match="step"):
        train_seg(run, replace(config, learning_rate=1e30), execution=CPU)
    assert not run.checkpoint("seg").exists()
    assert run.training_state("seg").exists()


def lesson(run: RunDir, **changes: Any) -> Any:
    prepared = module.load_prepared(run)
    return module.Lesson(run, prepared, "train", 21, **changes)


def test_unsure_pixels_of_pseudo_masks_are_ignored(run):
    image, mask = lesson(run, confidence_threshold=(UNSURE + 0.5) / 255)("b")
    assert (mask[:, :20] == IGNORE_INDEX).all()
    assert np.array_equal(mask[:, 20:], scene("b")[1][:, 20:])
    assert np.array_equal(image, scene("b")[0])
    at_threshold = lesson(run, confidence_threshold=UNSURE / 255)("b")[1]
    assert np.array_equal(at_threshold, scene("b")[1])
    assert np.array_equal(lesson(run)("b")[1], scene("b")[1])


def test_true_masks_are_read_only_when_asked_for(run):
    save_mask(run.pseudo_mask("train", "b"), np.zeros((32, 40), np.uint8))
    assert (lesson(run)("b")[1] == 0).all()
    assert np.array_equal(lesson(run, pseudo=False)("b")[1], scene("b")[1])


@pytest.mark.parametrize(
    ("mask", "reason"),
    [(np.zeros((32, 39), np.uint8), "its image"), (np.full((32, 40), 21, np.uint8), "holds 21")],
)
def test_35_41_a_mask_that_does_not_fit_is_named(run, config, mask, reason):
    save_mask(run.pseudo_mask("train", "b"), mask)
    with pytest.raises(BadInput, match=reason):
        train_seg(run, config, execution=replace(CPU, on_bad="stop"))


@pytest.mark.parametrize("scales", [(1.0,), (0.5, 1.5)])
def test_67_a_bad_mask_is_recorded_and_left_out(run, config, scales):
    run.pseudo_mask("train", "b").write_bytes(b"no png")
    heard = Heard()
    manifest = train_seg(run, replace(config, scales=scales), execution=CPU, progress=heard)
    assert not manifest.complete
    assert manifest.counts["failed"] == 1
    failed = (run.output("train_seg", "seg") / "failed.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in failed] == ["b"]
    assert len(heard.warnings) == 1
    assert run.checkpoint("seg").exists()


@pytest.mark.parametrize("scales", [(1.0,), (0.5, 1.5)])
def test_67_nothing_is_written_when_every_image_is_bad(run, config, scales):
    for image_id in SPLITS["train"]:
        run.pseudo_mask("train", image_id).write_bytes(b"no png")
    with pytest.raises(BadInput, match="No image can be read"):
        train_seg(run, replace(config, scales=scales), execution=CPU)
    assert not run.checkpoint("seg").exists()


def test_missing_input_names_the_command(tmp_path, run, config):
    with pytest.raises(MissingInput, match="prepare-data"):
        train_seg(RunDir(tmp_path / "empty"), config, execution=CPU)
    (run.output("refine", "train") / "manifest.json").unlink()
    with pytest.raises(MissingInput, match="gleclip refine"):
        train_seg(run, config, execution=CPU)
    train_seg(run, replace(config, targets="gt"), execution=CPU)  # needs no pseudo masks


def test_limit_and_dry_run(run, config):
    train_seg(run, config, execution=replace(CPU, dry_run=True))
    assert not run.output("train_seg", "seg").exists()
    manifest = train_seg(run, replace(config, limit=2), execution=CPU)
    assert manifest.counts["images"] == 2
    assert manifest.complete


def test_a_training_has_no_shards(run, config):
    with pytest.raises(UsageError, match="--shard"):
        train_seg(run, config, execution=replace(CPU, shard=(0, 2)))


def test_deeplab_goes_the_same_road(run, config):
    small = replace(config, arch="deeplabv2-small", epochs=1.0, scales=(0.5, 1.5), crop=33)
    assert train_seg(run, small, execution=CPU).counts["steps"] == 2
    network = load_network(run, "seg", "cpu")
    assert predict_logits(network, scene("v")[0]).shape == (21, 32, 40)


def test_weights_that_do_not_fit_replace_nothing(run, config, tmp_path):
    train_seg(run, replace(config, epochs=0.5), execution=CPU)
    other = replace(config, arch="deeplabv2-small")
    (tmp_path / "other.safetensors").write_bytes(run.checkpoint("seg").read_bytes())
    over = replace(CPU, overwrite=True)
    for name, error in (("other.safetensors", BadInput), ("imagenet22k", UsageError)):
        with pytest.raises(error):
            train_seg(run, replace(other, pretrained=name), execution=over)
    assert load_network(run, "seg", "cpu").num_classes == 21


def test_a_network_of_the_package_goes_the_same_road(run, config):
    pytest.importorskip("segmentation_models_pytorch")
    heard = Heard()
    other = replace(config, arch="smp:unet:mobilenet_v2", epochs=0.5)
    assert train_seg(run, other, execution=CPU, progress=heard).counts["steps"] == 1
    assert heard.warnings == [
        "The body of smp:unet:mobilenet_v2 starts from random weights: see --pretrained."
    ]
    network = load_network(run, "seg", "cpu")
    assert predict_logits(network, scene("v")[0]).shape == (21, 32, 40)


def torchrun(run: RunDir, clip: str, *words: str) -> subprocess.CompletedProcess[str]:
    """train-seg in two processes, as users start it; `--` keeps torchrun from reading --run."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2"]
    command += ["--standalone", "-m", "--", "gleclip_cli", "train-seg"]
    command += ["--run", str(run.root), "--split", "train", "--arch", "clip-decoder"]
    command += ["--clip-model", clip, "--clip-weights", "random", "--epochs", "4", "--crop", "32"]
    command += ["--learning-rate", "0.003", "--accumulate", "1", "--device", "cpu", *words]
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=100, cwd=run.root.parent
    )


@pytest.mark.slow
def test_67_two_processes_train_what_one_does_and_record_what_was_bad(tmp_path, config):
    config = replace(config, batch_size=4, scales=(0.5, 1.5))
    one, two = make_run(tmp_path / "one"), make_run(tmp_path / "two")
    for run in (one, two):
        run.pseudo_mask("train", "b").write_bytes(b"no png")
    expected = train_seg(one, config, execution=CPU)

    result = torchrun(two, config.clip_model, "--scales", "0.5,1.5", "--batch-size", "4")
    assert result.stderr.count("Warning: b: ") == 1, result.stderr  # of two, one speaks
    manifest = load_manifest(two, "train_seg", "seg")
    assert manifest.data["processes"] == 2
    assert manifest.counts == expected.counts
    losses = [[e["loss"] for e in events(r) if e["event"] == "step"] for r in (one, two)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    weights = [load_checkpoint(r.checkpoint("seg"))[0] for r in (one, two)]
    assert all(torch.allclose(weights[1][name], weights[0][name], atol=1e-3) for name in weights[0])
