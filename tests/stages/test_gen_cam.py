"""gen-cam on a handful of pictures with a tiny random CLIP: the contract of a stage."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from gleclip_cli.artifacts.maps import load_cam
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.stage import Manifest, open_stage
from gleclip_cli.artifacts.tables import ImageRecord, save_prepared
from gleclip_cli.cam.method import CamMethod
from gleclip_cli.config import Execution, GenCamConfig, TrainCamConfig
from gleclip_cli.datasets.vocabulary import load_vocabulary
from gleclip_cli.errors import BadInput, EnvironmentFault, MissingInput, OtherSettings, UsageError
from gleclip_cli.model.clip import FrozenClip, load_clip
from gleclip_cli.progress import Silent
from gleclip_cli.stages import gen_cam as module
from gleclip_cli.stages.gen_cam import gen_cam
from gleclip_cli.stages.train_cam import train_cam

pytestmark = pytest.mark.usefixtures("short_walks")

# Sizes repeat, so that there is something to batch; "no class" has no tag.
IMAGES = {
    "a boat": ((30, 44), [4]),
    "b": ((44, 30), [15]),
    "c": ((30, 44), [8, 12]),
    "no class": ((30, 44), []),
    "tiny": ((5, 3), [1]),
    "Zwölf": ((44, 30), [2, 3, 20]),
}
CPU = Execution(device="cpu")


class Heard(Silent):
    """Counts what a stage reports."""

    def __init__(self) -> None:
        self.items = 0
        self.total = -1
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)

    warn = say

    def each(self, items: Any, *, total: int, label: str = "") -> Any:
        self.total = total
        for item in items:
            self.items += 1
            yield item


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return make_run(tmp_path)


def make_run(folder: Path, *, mirrored: str = "") -> RunDir:
    """A run as prepare-data leaves it, made through the same artifacts."""
    run = RunDir(folder / "run")
    root = folder / "photos"
    root.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    records = {}
    for image_id, ((height, width), _) in IMAGES.items():
        path = root / f"{image_id}.png"
        pixels = generator.integers(0, 256, (height, width, 3)).astype(np.uint8)
        Image.fromarray(pixels[:, ::-1] if image_id == mirrored else pixels).save(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        records[image_id] = ImageRecord(path, None, (height, width), digest)
    labels = {image_id: class_ids for image_id, (_, class_ids) in IMAGES.items()}
    with open_stage(run, "prepare_data", {}, execution=CPU) as stage:
        stage.finish(
            *save_prepared(
                run,
                dataset="voc",
                vocabulary="voc",
                root=root,
                records={"train": records},
                labels={"train": labels},
            )
        )
    return run


@pytest.fixture
def config(tiny_clip_json: str) -> GenCamConfig:
    return GenCamConfig(method="clip-es", clip_model=tiny_clip_json, clip_weights="random")


@pytest.fixture(params=["clip-es", "gle-clip"])
def any_config(request: pytest.FixtureRequest, config: GenCamConfig) -> GenCamConfig:
    return replace(config, method=request.param)


def train(run: RunDir, config: GenCamConfig, **changes: Any) -> Manifest:
    """A model of a single step."""
    shared = {name: getattr(config, name) for name in ("clip_model", "clip_weights", "texts")}
    settings = {**shared, "rounds": 1, "epochs": 0.5, "crop": 32, "batch_size": 2, **changes}
    return train_cam(run, TrainCamConfig(**settings), execution=CPU)


def ready(run: RunDir, config: GenCamConfig) -> RunDir:
    if config.method == "gle-clip":
        train(run, config)
    return run


def cams(run: RunDir) -> dict[str, bytes]:
    return {
        image_id: run.cam("train", image_id).read_bytes()
        for image_id in IMAGES
        if run.cam("train", image_id).exists()
    }


def test_every_image_gets_a_map_and_the_manifest_tells_what_was_used(
    run: RunDir, config: GenCamConfig
) -> None:
    heard = Heard()
    manifest = gen_cam(run, config, execution=CPU, progress=heard)
    assert manifest.complete
    assert (heard.items, heard.total) == (len(IMAGES), len(IMAGES))
    for image_id, (size, class_ids) in IMAGES.items():
        cam = load_cam(run.cam("train", image_id))
        assert cam.size == size
        assert cam.class_ids.tolist() == class_ids
        grid = tuple(-(-side // 8) for side in size)
        assert cam.scores.shape == (len(class_ids), *grid)
    assert manifest.counts["without_classes"] == 1
    arguments = manifest.data["arguments"]
    assert "bird avian" in arguments["prompts"]
    assert arguments["templates"] == ["a clean origami {}."]
    assert "railroad" in arguments["background_words"]
    assert arguments["method"] == "clip-es"


def test_fault_32_the_map_of_an_image_without_classes_is_empty(
    run: RunDir, config: GenCamConfig
) -> None:
    gen_cam(run, config, execution=CPU)
    cam = load_cam(run.cam("train", "no class"))
    assert cam.scores.shape == (0, 4, 6)
    assert cam.enlarged().shape == (0, 30, 44)


def test_a_rerun_does_nothing(
    run: RunDir, config: GenCamConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = gen_cam(run, config, execution=CPU)
    monkeypatch.setattr(module, "build_clip", None)  # the network is not even built
    again = gen_cam(run, config, execution=CPU)
    assert again.complete
    assert again.key == first.key


def test_a_lost_map_is_made_again_with_the_same_bytes(run: RunDir, config: GenCamConfig) -> None:
    gen_cam(run, config, execution=CPU)
    before = cams(run)
    assert len(before) == len(IMAGES)
    run.cam("train", "c").unlink()
    heard = Heard()
    assert gen_cam(run, config, execution=CPU, progress=heard).complete
    assert heard.items == 1
    assert cams(run) == before


@pytest.mark.parametrize(
    "execution",
    [replace(CPU, workers=2), replace(CPU, workers=16)],
    ids=["two workers", "more workers than images"],
)
def test_workers_do_not_change_the_bytes(
    tmp_path: Path, run: RunDir, config: GenCamConfig, execution: Execution
) -> None:
    gen_cam(run, config, execution=CPU)
    other = make_run(tmp_path / "other")
    gen_cam(other, config, execution=execution)
    assert len(cams(run)) == len(IMAGES)
    assert cams(other) == cams(run)


def test_shards_write_the_same_bytes(tmp_path: Path, run: RunDir, config: GenCamConfig) -> None:
    gen_cam(run, config, execution=CPU)
    other = make_run(tmp_path / "other")
    manifests = [
        gen_cam(other, config, execution=replace(CPU, shard=(index, 2))) for index in range(2)
    ]
    assert [manifest.complete for manifest in manifests] == [False, True]
    assert len(cams(run)) == len(IMAGES)
    assert cams(other) == cams(run)


def test_batches_give_what_single_images_give(
    tmp_path: Path, run: RunDir, config: GenCamConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    gen_cam(run, config, execution=CPU)
    sizes = record_batches(monkeypatch)
    monkeypatch.setattr(module, "_PATCHES_AT_ONCE", {"cpu": 48})
    other = make_run(tmp_path / "other")
    gen_cam(other, config, execution=CPU)
    assert sorted(sizes) == [1, 2, 2]
    for image_id in IMAGES:
        one, many = (load_cam(r.cam("train", image_id)).scores for r in (run, other))
        np.testing.assert_allclose(many, one, atol=2e-3)  # one step of float16 near 1


def record_batches(monkeypatch: pytest.MonkeyPatch, *, most: int | None = None) -> list[int]:
    """Note the size of every batch tried; raise out-of-memory above `most`."""
    sizes: list[int] = []
    original = CamMethod.__call__

    def call(
        self: CamMethod, images: Sequence[Any], class_ids: Sequence[Sequence[int]]
    ) -> list[NDArray[np.float32]]:
        sizes.append(len(images))
        if most is not None and len(images) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(self, images, class_ids)

    monkeypatch.setattr(CamMethod, "__call__", call)
    return sizes


def test_fault_61_out_of_memory_halves_this_batch_and_all_later_ones(
    tmp_path: Path, run: RunDir, any_config: GenCamConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    gen_cam(ready(run, any_config), any_config, execution=CPU)
    other = ready(make_run(tmp_path / "other"), any_config)
    sizes = record_batches(monkeypatch, most=1)
    monkeypatch.setattr(module, "_PATCHES_AT_ONCE", {"cpu": 48})
    assert gen_cam(other, any_config, execution=CPU).complete
    assert sizes == [2, 1, 1, 1, 1, 1]
    assert cams(other) == cams(run)


def test_fault_61_one_image_that_does_not_fit_ends_the_run(
    run: RunDir, any_config: GenCamConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready(run, any_config)
    record_batches(monkeypatch, most=0)
    with pytest.raises(EnvironmentFault, match="memory for one image"):
        gen_cam(run, any_config, execution=CPU)


def test_a_bad_image_is_recorded_and_the_others_are_done(
    tmp_path: Path, run: RunDir, config: GenCamConfig
) -> None:
    (tmp_path / "photos" / "c.png").write_bytes(b"no longer a picture")
    heard = Heard()
    manifest = gen_cam(run, config, execution=CPU, progress=heard)
    assert not manifest.complete
    assert heard.items == len(IMAGES)
    assert set(cams(run)) == set(IMAGES) - {"c"}
    failed = (run.output("gen_cam", "train") / "failed.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in failed] == ["c"]


def test_on_bad_stop_ends_at_the_bad_image(
    tmp_path: Path, run: RunDir, config: GenCamConfig
) -> None:
    (tmp_path / "photos" / "b.png").write_bytes(b"")
    with pytest.raises(BadInput):
        gen_cam(run, config, execution=replace(CPU, on_bad="stop", workers=2))


def test_fault_64_a_map_that_is_not_finite_fails_its_image_alone(
    run: RunDir, any_config: GenCamConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready(run, any_config)
    original = CamMethod.__call__

    def call(self: CamMethod, images: Any, class_ids: Any) -> list[NDArray[np.float32]]:
        maps = original(self, images, class_ids)
        return [np.full_like(m, np.nan) if len(m) == 2 else m for m in maps]

    monkeypatch.setattr(CamMethod, "__call__", call)
    gen_cam(run, any_config, execution=CPU)
    assert set(cams(run)) == set(IMAGES) - {"c"}


def test_texts_are_encoded_once_per_run_and_change_no_byte(
    tmp_path: Path, run: RunDir, config: GenCamConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    original = FrozenClip.encode_texts

    def encode(self: FrozenClip, token_ids: torch.Tensor) -> torch.Tensor:
        encoded.append(len(token_ids))
        return original(self, token_ids)

    monkeypatch.setattr(FrozenClip, "encode_texts", encode)
    again = replace(CPU, overwrite=True, resume=False)
    gen_cam(run, config, execution=CPU)
    first = cams(run)
    assert encoded == [45]  # 20 classes, 25 backgrounds, one template
    gen_cam(run, replace(config, scales=(0.5,)), execution=again)
    gen_cam(run, config, execution=again)
    assert encoded == [45]
    assert cams(run) == first
    gen_cam(run, replace(config, background_texts=False), execution=again)
    gen_cam(run, replace(config, clip_weights=saved_weights(config, tmp_path)), execution=again)
    assert encoded == [45, 20, 45]


@pytest.mark.parametrize("texts", ["plain", "enriched"])
def test_texts_change_maps_key_and_manifest(
    tmp_path: Path, run: RunDir, config: GenCamConfig, texts: str
) -> None:
    usual = gen_cam(run, config, execution=CPU)
    other = make_run(tmp_path / "other")
    manifest = gen_cam(other, replace(config, texts=texts), execution=CPU)
    assert manifest.key != usual.key
    assert manifest.data["weights"]["texts"] != usual.data["weights"]["texts"]
    assert all(cams(other)[name] != made for name, made in cams(run).items() if name == "b")
    told = manifest.data["arguments"]
    assert ("bird avian" in told["prompts"]) == (texts == "enriched")
    assert len(told["attributes"]) == (20 if texts == "enriched" else 0)


def saved_weights(config: GenCamConfig, folder: Path) -> str:
    clip = load_clip(config.clip_model, "random", seed=7).clip
    torch.save(clip.state_dict(), folder / "weights.pt")
    return str(folder / "weights.pt")


def test_fault_80_resized_positions_are_a_warning(
    tmp_path: Path, run: RunDir, config: GenCamConfig
) -> None:
    content = json.loads(Path(config.clip_model).read_text())
    content["vision_cfg"]["image_size"] = 48
    larger = tmp_path / "larger.json"
    larger.write_text(json.dumps(content))
    weights = saved_weights(config, tmp_path)
    heard = Heard()
    config = replace(config, clip_model=str(larger), clip_weights=weights)
    assert gen_cam(run, config, execution=CPU, progress=heard).complete
    (warning,) = heard.lines
    assert "trained on 32 x 32 pixels: position embeddings resized for 48 x 48" in warning


def test_other_settings_are_refused(run: RunDir, config: GenCamConfig) -> None:
    gen_cam(run, config, execution=CPU)
    for other in (replace(config, caa=False), replace(config, limit=2)):
        with pytest.raises(OtherSettings):
            gen_cam(run, other, execution=CPU)
    assert gen_cam(
        run, replace(config, method="similarity"), execution=replace(CPU, overwrite=True)
    ).complete


def test_other_prompts_are_other_settings(
    run: RunDir, config: GenCamConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    gen_cam(run, config, execution=CPU)
    changed = replace(load_vocabulary("voc"), templates=("a photo of a {}.",))
    monkeypatch.setattr(module, "load_vocabulary", lambda name: changed)
    with pytest.raises(OtherSettings):
        gen_cam(run, config, execution=CPU)


def test_half_precision_on_a_cpu_is_float32_and_says_so(
    tmp_path: Path, run: RunDir, config: GenCamConfig
) -> None:
    gen_cam(run, config, execution=CPU)
    heard = Heard()
    other = make_run(tmp_path / "other")
    gen_cam(other, replace(config, precision="bf16"), execution=CPU, progress=heard)
    assert heard.lines == ["bf16 is for CUDA: computing in fp32."]
    assert cams(other) == cams(run)


def test_a_limit_is_complete_for_its_list(run: RunDir, config: GenCamConfig) -> None:
    manifest = gen_cam(run, replace(config, limit=2), execution=CPU)
    assert manifest.complete
    assert len(cams(run)) == 2


def test_a_dry_run_writes_nothing(run: RunDir, config: GenCamConfig) -> None:
    manifest = gen_cam(run, config, execution=replace(CPU, dry_run=True))
    assert not manifest.complete
    assert not run.output("gen_cam", "train").exists()


def test_what_cannot_be_had_is_said_before_any_work(
    tmp_path: Path, run: RunDir, config: GenCamConfig
) -> None:
    with pytest.raises(MissingInput, match="prepare_data"):
        gen_cam(RunDir(tmp_path / "nothing"), config, execution=CPU)
    with pytest.raises(UsageError, match="no split"):
        gen_cam(run, replace(config, split="trian"), execution=CPU)
    with pytest.raises(UsageError):
        gen_cam(run, replace(config, clip_weights="missing.pt"), execution=CPU)
    assert not run.output("gen_cam", "train").exists()


@pytest.fixture
def gle_clip(run: RunDir, config: GenCamConfig) -> GenCamConfig:
    """Settings of maps by the model that the run holds."""
    train(run, config)
    return replace(config, method="gle-clip")


def test_gle_clip_makes_maps_on_its_finest_grid(run: RunDir, gle_clip: GenCamConfig) -> None:
    manifest = gen_cam(run, replace(gle_clip, scales=(0.5, 1.0), flip=True), execution=CPU)
    assert manifest.complete
    assert set(manifest.data["inputs"]) == {"prepare_data", "train_cam"}
    for image_id, (size, class_ids) in IMAGES.items():
        cam = load_cam(run.cam("train", image_id))
        assert cam.class_ids.tolist() == class_ids
        if class_ids:  # two cells per patch of 8 pixels
            assert cam.scores.shape[1:] == tuple(2 * -(-side // 8) for side in size)


def test_gle_clip_needs_a_model_and_names_the_command(run: RunDir, config: GenCamConfig) -> None:
    with pytest.raises(MissingInput, match="gleclip train-cam"):
        gen_cam(run, replace(config, method="gle-clip"), execution=CPU)
    assert not run.output("gen_cam", "train").exists()


def test_gle_clip_refuses_other_weights_and_texts(
    tmp_path: Path, run: RunDir, gle_clip: GenCamConfig
) -> None:
    weights = saved_weights(gle_clip, tmp_path)
    for other, named in (
        ({"clip_weights": weights}, "another CLIP"),
        ({"texts": "plain"}, "texts of classes"),
        ({"background_texts": False}, "texts of classes"),
    ):
        with pytest.raises(OtherSettings, match=named) as caught:
            gen_cam(run, replace(gle_clip, **other), execution=CPU)
        assert caught.value.exit_code == 5
        assert "gleclip train-cam --overwrite" in caught.value.remedy
    assert not run.output("gen_cam", "train").exists()


def test_without_labels_every_class_is_looked_for(run: RunDir, gle_clip: GenCamConfig) -> None:
    manifest = gen_cam(run, replace(gle_clip, labels="none"), execution=CPU)
    assert manifest.complete
    assert "without_classes" not in {name for name, n in manifest.counts.items() if n}
    for image_id, (size, class_ids) in IMAGES.items():
        cam = load_cam(run.cam("train", image_id))
        assert cam.size == size
        found = cam.class_ids.tolist()
        assert found == sorted(set(found))
        assert set(found) <= set(range(1, 21))
        assert set(found) - set(class_ids)  # untrained: it sees what is not there
        assert cam.scores.max(axis=(1, 2)).min() >= 0.049
    with pytest.raises(OtherSettings, match="labels"):
        gen_cam(run, gle_clip, execution=CPU)


def test_fault_64_holds_without_labels(
    run: RunDir, gle_clip: GenCamConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = CamMethod.__call__

    def call(self: CamMethod, images: Any, class_ids: Any) -> list[NDArray[np.float32]]:
        maps = original(self, images, class_ids)
        small = [views[0].shape == (8, 8, 3) for views in images]
        return [m * np.nan if bad else m for bad, m in zip(small, maps, strict=True)]

    monkeypatch.setattr(CamMethod, "__call__", call)
    gen_cam(run, replace(gle_clip, labels="none"), execution=CPU)
    assert set(cams(run)) == set(IMAGES) - {"tiny"}


def test_maps_of_a_model_trained_anew_are_made_anew(
    tmp_path: Path, run: RunDir, config: GenCamConfig
) -> None:
    """Settings are the same; one picture has changed, and with it the weights."""
    recipe, maps = {"epochs": 4.0, "learning_rate": 0.05}, replace(config, method="gle-clip")
    train(run, config, **recipe)
    gen_cam(run, maps, execution=CPU)
    before = cams(run)
    make_run(tmp_path, mirrored="a boat")
    train(run, config, **recipe)
    heard = Heard()
    assert gen_cam(run, maps, execution=CPU, progress=heard).complete
    assert heard.items == len(IMAGES)
    assert before["b"] != cams(run)["b"]
    assert gen_cam(run, maps, execution=CPU, progress=heard).complete
    assert heard.items == len(IMAGES)
