"""train-cam on a handful of pictures with a tiny random CLIP: the contract of a stage."""

import functools
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gleclip_cli.artifacts.checkpoint import load_checkpoint, save_checkpoint
from gleclip_cli.artifacts.maps import load_cam, save_label_image
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.stage import load_manifest, open_stage
from gleclip_cli.artifacts.tables import ImageRecord, save_prepared
from gleclip_cli.cam.build import load_gleclip
from gleclip_cli.config import Execution, GenCamConfig, TrainCamConfig
from gleclip_cli.datasets.vocabulary import load_vocabulary
from gleclip_cli.errors import BadInput, Diverged, MissingInput, OtherSettings, UsageError
from gleclip_cli.progress import Silent
from gleclip_cli.stages import train_cam as module
from gleclip_cli.stages.gen_cam import gen_cam
from gleclip_cli.stages.train_cam import train_cam
from gleclip_cli.training.loop import fit
from gleclip_cli.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("short_walks")

CPU = Execution(device="cpu")
TAGS = {
    "train": {"a boat": [1], "b": [2], "c": [1, 3], "d": [2], "none": [], "e": [1], "Zwölf": [3]},
    "val": {"v": [1], "w": [2, 3], "x": []},
}
TAGGED = [image_id for image_id, tags in TAGS["train"].items() if tags]


class Heard(Silent):
    """Keeps the warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def scene(image_id: str, class_ids: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Bright squares of the classes on dark noise."""
    rng = np.random.default_rng(list(image_id.encode()))
    height = 32 if len(image_id) > 1 else 40
    image = rng.integers(0, 60, (height, 48, 3), dtype=np.uint8)
    mask = np.zeros((height, 48), np.uint8)
    for place, class_id in enumerate(class_ids):
        rows, columns = slice(8, 24), slice(4 + 22 * place, 20 + 22 * place)
        image[rows, columns, class_id - 1] = 220
        mask[rows, columns] = class_id
    return image, mask


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return make_run(tmp_path)


def make_run(folder: Path, *, odd: bool = False) -> RunDir:
    """A run as prepare-data leaves it; only val has masks. `odd`: of seven images, all tagged."""
    known = {**TAGS, "train": {**TAGS["train"], "none": [2]}} if odd else TAGS
    run, root = RunDir(folder / "run"), folder / "photos"
    root.mkdir(parents=True)
    records: dict[str, dict[str, ImageRecord]] = {split: {} for split in known}
    palette = load_vocabulary("voc").palette
    for split, tags in known.items():
        for image_id, class_ids in tags.items():
            image, mask = scene(image_id, class_ids)
            path, mask_path = root / f"{image_id}.png", root / f"{image_id}-mask.png"
            Image.fromarray(image).save(path)
            save_label_image(mask_path, mask, palette)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            true = mask_path if split == "val" else None
            records[split][image_id] = ImageRecord(path, true, mask.shape, digest)
    with open_stage(run, "prepare_data", {}, execution=CPU) as stage:
        paths = save_prepared(
            run, dataset="voc", vocabulary="voc", root=root, records=records, labels=known
        )
        stage.finish(*paths)
    return run


@pytest.fixture(scope="module")
def config(tiny_clip_json: str) -> TrainCamConfig:
    return TrainCamConfig(
        clip_model=tiny_clip_json,
        clip_weights="random",
        epochs=4.0,
        batch_size=3,
        crop=32,
        learning_rate=3e-3,
    )


@pytest.fixture
def maps(tiny_clip_json: str) -> GenCamConfig:
    return GenCamConfig(clip_model=tiny_clip_json, clip_weights="random")


def events(run: RunDir) -> list[dict[str, Any]]:
    text = (run.output("train_cam") / "log.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def files(run: RunDir) -> list[str]:
    return sorted(path.name for path in run.output("train_cam").iterdir())


def assert_same_bytes(one: RunDir, other: RunDir) -> None:
    for suffix in (".safetensors", ".json"):
        contents = [r.cam_checkpoint().with_suffix(suffix).read_bytes() for r in (one, other)]
        assert contents[0] == contents[1]
    assert files(one) == files(other)


def no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gleclip_cli.training.source.CACHE_LIMIT", 0)


@pytest.fixture(scope="module")
def uncut(
    config: TrainCamConfig, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[bool], RunDir]:
    """Runs whose training nothing has cut, with features kept and without: to be read only."""

    @functools.cache
    def trained(cached: bool) -> RunDir:
        run = make_run(tmp_path_factory.mktemp("uncut"))
        with pytest.MonkeyPatch.context() as patch:
            if not cached:
                no_cache(patch)
            train_cam(run, config, execution=CPU)
        return run

    return trained


def test_outputs_of_the_stage(run: RunDir, config: TrainCamConfig) -> None:
    heard = Heard()
    manifest = train_cam(run, config, execution=CPU, progress=heard)
    assert manifest.complete
    assert manifest.counts["steps"] == 8  # 4 passes over 6 images, 3 at a time
    assert manifest.counts["images"] == len(TAGGED)
    assert manifest.data["cache_bytes"] > 0
    assert set(manifest.data["weights"]) == {"clip", "texts"}
    tensors, meta = load_checkpoint(run.cam_checkpoint())
    assert not any(name.startswith("clip") for name in tensors)
    assert len(meta["wording"]["prompts"]) == 20
    assert meta["monitor"]["images"] == 2  # the third of val has no class
    assert 0 <= meta["monitor"]["miou"] <= 1
    assert not run.cam_training_state().exists()
    steps = [event["step"] for event in events(run) if event["event"] == "step"]
    assert steps == [0, 7]
    assert heard.warnings == ["Left out: 1 image without a class."]
    assert manifest.data["warnings"] == heard.warnings


def test_what_is_saved_is_what_is_loaded(uncut: Callable[[bool], RunDir]) -> None:
    run = uncut(True)
    model = load_gleclip(run)
    tensors, _ = load_checkpoint(run.cam_checkpoint())
    found = model.weights()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert set(tensors) == set(found)
    assert found["decoder.gates"].abs().min() > 0  # it has learned
    assert not model.training


def test_a_checkpoint_of_something_else_is_refused(run: RunDir, config: TrainCamConfig) -> None:
    train_cam(run, replace(config, epochs=0.5), execution=CPU)
    tensors, meta = load_checkpoint(run.cam_checkpoint())
    for spoilt, reason in (
        ({"network": {}}, "does not say what it holds"),
        ({**meta, "clip_sha256": "0" * 64}, "with other weights"),
        ({**meta, "model": {**meta["model"], "gd": False}}, "checkpoint"),
    ):
        save_checkpoint(run.cam_checkpoint(), tensors, spoilt)
        with pytest.raises(BadInput, match=reason) as caught:
            load_gleclip(run)
        assert "gleclip train-cam --overwrite" in caught.value.remedy


def test_it_learns_from_the_tags(run: RunDir, config: TrainCamConfig) -> None:
    train_cam(run, replace(config, epochs=20.0), execution=CPU)
    losses = [event["loss"] for event in events(run) if event["event"] == "step"]
    assert losses[-1] < 0.8 * losses[0]


def test_a_rerun_does_nothing_and_other_settings_stop(
    run: RunDir, config: TrainCamConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train_cam(run, config, execution=CPU)
    with monkeypatch.context() as patch:
        patch.setattr(module, "build_clip", None)  # would fail if it were called
        assert train_cam(run, config, execution=CPU).digest == first.digest
        with pytest.raises(OtherSettings, match="rounds") as caught:
            train_cam(run, replace(config, rounds=3), execution=CPU)
        assert caught.value.exit_code == 5
    train_cam(run, replace(config, rounds=1), execution=replace(CPU, overwrite=True))
    assert load_manifest(run, "train_cam").key != first.key


@pytest.mark.parametrize(("cached", "step"), [(True, 2), (True, 6), (False, 6)])
def test_66_killed_and_resumed_gives_the_same_bytes(
    tmp_path: Path,
    config: TrainCamConfig,
    uncut: Callable[[bool], RunDir],
    monkeypatch: pytest.MonkeyPatch,
    cached: bool,
    step: int,
) -> None:
    """Eight steps in two rounds."""
    whole = uncut(cached)
    if not cached:
        no_cache(monkeypatch)
    cut = make_run(tmp_path)
    monkeypatch.setattr(module, "fit", functools.partial(fit, save_seconds=0.0))
    learn = Trainer.learn

    def killed(self: Trainer, loss: torch.Tensor) -> None:
        if self.step == step:
            raise KeyboardInterrupt
        learn(self, loss)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "learn", killed)
        with pytest.raises(KeyboardInterrupt):
            train_cam(cut, config, execution=CPU)
    assert not cut.cam_checkpoint().exists()
    torch.manual_seed(77)
    train_cam(cut, config, execution=CPU)
    assert [e["step"] for e in events(cut) if e["event"] == "step"][-1] == 7
    assert_same_bytes(whole, cut)


@pytest.mark.parametrize(("number", "after"), [(0, 3), (1, 0), (1, 4)])
def test_66_killed_while_the_teacher_works(
    tmp_path: Path,
    config: TrainCamConfig,
    uncut: Callable[[bool], RunDir],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    after: int,
) -> None:
    """Before round `number`, when that many labels are written."""
    whole, cut = uncut(True), make_run(tmp_path)
    save, written = module.save_label_image, []

    def killed(path: Path, *rest: Any) -> None:
        if len(written) == number * len(TAGGED) + after:
            raise KeyboardInterrupt
        save(path, *rest)
        written.append(path.parent.name)

    with monkeypatch.context() as patch:
        patch.setattr(module, "save_label_image", killed)
        with pytest.raises(KeyboardInterrupt):
            train_cam(cut, config, execution=CPU)
    assert written.count(f"teacher-{number}") == after
    again: list[str] = []

    def noted(path: Path, *rest: Any) -> None:
        again.append(path.parent.name)
        save(path, *rest)

    monkeypatch.setattr(module, "save_label_image", noted)
    train_cam(cut, config, execution=CPU)
    assert len(again) == 2 * len(TAGGED) - len(written)  # no label is made twice
    assert_same_bytes(whole, cut)


def test_65_divergence_keeps_the_last_good_state_and_writes_no_checkpoint(
    run: RunDir, config: TrainCamConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "fit", functools.partial(fit, save_seconds=0.0))
    with pytest.raises(Diverged, match="step"):
        train_cam(run, replace(config, learning_rate=1e30, rounds=1), execution=CPU)
    assert not run.cam_checkpoint().exists()
    assert run.cam_training_state().exists()


@pytest.mark.parametrize("cached", [True, False])
def test_67_a_bad_image_is_recorded_and_the_rest_goes_on(
    tmp_path: Path,
    run: RunDir,
    config: TrainCamConfig,
    monkeypatch: pytest.MonkeyPatch,
    cached: bool,
) -> None:
    if not cached:
        no_cache(monkeypatch)
    (tmp_path / "photos" / "b.png").write_bytes(b"no picture")
    manifest = train_cam(run, config, execution=CPU)
    assert not manifest.complete
    assert manifest.counts["failed"] == 1
    failed = (run.output("train_cam") / "failed.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in failed] == ["b"]
    assert run.cam_checkpoint().exists()


def test_67_on_bad_stop_ends_at_the_bad_image(
    tmp_path: Path, run: RunDir, config: TrainCamConfig
) -> None:
    (tmp_path / "photos" / "b.png").write_bytes(b"no picture")
    with pytest.raises(BadInput, match=r"b\.png"):
        train_cam(run, config, execution=replace(CPU, on_bad="stop"))
    assert not run.cam_checkpoint().exists()


def test_67_nothing_is_written_when_every_image_is_bad(
    tmp_path: Path, run: RunDir, config: TrainCamConfig
) -> None:
    for image_id in TAGGED:
        (tmp_path / "photos" / f"{image_id}.png").write_bytes(b"no picture")
    with pytest.raises(BadInput, match="No image can be read"):
        train_cam(run, config, execution=CPU)
    assert not run.cam_checkpoint().exists()


def test_limit_and_dry_run(run: RunDir, config: TrainCamConfig) -> None:
    train_cam(run, config, execution=replace(CPU, dry_run=True))
    assert not run.output("train_cam").exists()
    manifest = train_cam(run, replace(config, limit=2), execution=CPU)
    assert manifest.counts["images"] == 2
    assert manifest.complete


def test_what_cannot_be_had_is_said_before_any_work(
    tmp_path: Path, run: RunDir, config: TrainCamConfig
) -> None:
    with pytest.raises(MissingInput, match="prepare-data"):
        train_cam(RunDir(tmp_path / "empty"), config, execution=CPU)
    with pytest.raises(UsageError, match="--shard"):
        train_cam(run, config, execution=replace(CPU, shard=(0, 2)))
    with pytest.raises(UsageError, match="--crop is 1"):
        replace(config, crop=1)
    with pytest.raises(UsageError, match="no split"):
        train_cam(run, replace(config, split="trian"), execution=CPU)
    with pytest.raises(MissingInput, match="No image of train has a class"):
        train_cam(without_tags(tmp_path / "other"), config, execution=CPU)


def without_tags(folder: Path) -> RunDir:
    run = make_run(folder)
    path = run.output("prepare_data") / "labels" / "train.json"
    path.write_text(json.dumps(dict.fromkeys(TAGS["train"], ())))
    return run


def test_without_a_split_to_validate_on_there_is_no_figure(
    run: RunDir, config: TrainCamConfig
) -> None:
    for val_split in ("train", "nothing"):  # without masks; not there
        again = replace(config, val_split=val_split, epochs=1.0)
        train_cam(run, again, execution=replace(CPU, overwrite=True))
        assert load_checkpoint(run.cam_checkpoint())[1]["monitor"] == {}


SHARED_WITH_MAPS = ("texts", "background_texts", "calibration")


@pytest.mark.slow
@pytest.mark.parametrize(
    "switch",
    [
        {"gd": False},
        {"gd_levels": 1},
        {"bca": "t2p"},
        {"bca": "both"},
        {"daf": "fixed"},
        {"daf": "local"},
        {"daf": "global"},
        {"daf_projection": "static"},
        {"daf_projection": "off"},
        {"daf_fusion": "embed"},
        {"background_texts": False},
        {"texts": "plain"},
        {"texts": "enriched"},
        {"calibration": "none"},
        {"caa": False},
        {"gate": False},
        {"teacher_steps": ()},
        {"rounds": 1},
        {"mosaics": 0.0},
        {"mosaics": 1.0},
        {"flip": False},
        {"loss_pairs": 0.0},
        {"loss_seg": 0.0, "loss_presence": 0.1, "loss_text": 0.1, "loss_area": 0.1},
        {"loss_variation": 0.1},
    ],
)
def test_every_switch_trains_and_makes_maps(
    run: RunDir, config: TrainCamConfig, maps: GenCamConfig, switch: dict[str, Any]
) -> None:
    config = replace(config, epochs=1.0, limit=4, **switch)
    assert train_cam(run, config, execution=CPU).complete
    shared = {name: switch[name] for name in SHARED_WITH_MAPS if name in switch}
    manifest = gen_cam(run, replace(maps, limit=4, **shared), execution=CPU)
    assert manifest.complete
    assert load_cam(run.cam("train", "c")).class_ids.tolist() == [1, 3]


def test_the_data_decide_the_weights_and_the_seed_does(
    tmp_path: Path, config: TrainCamConfig
) -> None:
    made = []
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        run = make_run(tmp_path / name)
        train_cam(run, replace(config, seed=seed, epochs=1.0), execution=CPU)
        made.append(run.cam_checkpoint().read_bytes())
    assert made[0] == made[1]
    assert made[0] != made[2]


def torchrun(run: RunDir, config: TrainCamConfig, *words: str) -> subprocess.CompletedProcess[str]:
    """train-cam in two processes, as users start it; `--` keeps torchrun from reading --run."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone"]
    command += ["-m", "--", "gleclip_cli", "train-cam", "--run", str(run.root), "--split", "train"]
    command += ["--clip-model", config.clip_model, "--clip-weights", "random", "--crop", "32"]
    command += ["--epochs", str(config.epochs), "--batch-size", str(config.batch_size)]
    command += ["--learning-rate", str(config.learning_rate), "--device", "cpu", *words]
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=100, cwd=run.root.parent
    )


@pytest.mark.slow
@pytest.mark.parametrize("bad", [False, True])
def test_67_two_processes_train_what_one_does(
    tmp_path: Path, config: TrainCamConfig, bad: bool
) -> None:
    """Seven pictures, with one that is bad among them, in batches of four."""
    config = replace(config, batch_size=4, epochs=8.0)
    one, two = make_run(tmp_path / "one", odd=True), make_run(tmp_path / "two", odd=True)
    if bad:
        for name in ("one", "two"):
            (tmp_path / name / "photos" / "b.png").write_bytes(b"no picture")
    expected = train_cam(one, config, execution=CPU)
    assert expected.counts["images"] == 7
    result = torchrun(two, config)
    assert bool(result.returncode) == bad, result.stderr  # torchrun has codes of its own
    assert result.stderr.count("Warning: b: ") == int(bad), result.stderr  # of two, one speaks
    manifest = load_manifest(two, "train_cam")
    assert manifest.data["processes"] == 2
    assert manifest.counts == expected.counts
    ids = [[row["id"] for row in m.data["failures"]] for m in (manifest, expected)]
    assert ids[0] == ids[1]
    losses = [[e["loss"] for e in events(r) if e["event"] == "step"] for r in (one, two)]
    assert len(losses[0]) == 3
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    weights = [load_checkpoint(r.cam_checkpoint())[0] for r in (one, two)]
    assert all(torch.allclose(weights[1][n], weights[0][n], atol=5e-3) for n in weights[0])
    again = torchrun(two, config, "--dry-run")
    assert bool(again.returncode) == bad, again.stderr
