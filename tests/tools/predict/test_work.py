"""predict with tiny networks and maps: masks, resume, shards, bad pictures, other settings."""

import csv
import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gleclip_cli.artifacts.checkpoint import save_checkpoint
from gleclip_cli.artifacts.json_files import read_json
from gleclip_cli.artifacts.maps import load_image, load_label_image
from gleclip_cli.artifacts.run_dir import OutDir, RunDir
from gleclip_cli.artifacts.stage import Manifest
from gleclip_cli.config import Execution, PredictConfig
from gleclip_cli.datasets.class_table import class_table
from gleclip_cli.errors import BadInput, MissingInput, OtherSettings, UsageError
from gleclip_cli.seg.network import NetworkSpec, SegmentationNetwork, build_network
from gleclip_cli.seg.predict import predict_logits
from gleclip_cli.tools.predict import predict
from gleclip_cli.tools.predict.model import network_model

NAMES = ("background", "cat", "dog", "cow")
SPEC = NetworkSpec(arch="deeplabv2-small", num_classes=4)
RUN = RunDir("run")
PLAIN = {"flip": False}


@pytest.fixture(scope="module")
def network() -> SegmentationNetwork:
    return build_network(SPEC, seed=1).eval()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: SegmentationNetwork) -> Path:
    """Three pictures and a trained network, in the working folder."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in ("farm/1.png", "town/1.png", "town/zwölf x.png"):
        file = Path("photos", name)
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (6, 9, 3), np.uint8).repeat(4, 0).repeat(4, 1)
        Image.fromarray(pixels).save(file)
    meta = {"network": asdict(SPEC), "clip_sha256": "", "classes": NAMES}
    save_checkpoint(RUN.checkpoint("seg"), network.weights(), meta)
    return tmp_path


def go(
    *words: str, out: str = "out", execution: dict[str, Any] | None = None, **options: Any
) -> Manifest:
    checkpoint = options.pop("checkpoint", None)
    return predict(
        words or ["photos"],
        OutDir(out),
        PredictConfig(**(PLAIN | options)),
        run=RUN,
        checkpoint=checkpoint,
        execution=Execution(device="cpu", **(execution or {})),
    )


def content(out: str = "out") -> dict[str, bytes]:
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in Path(out).rglob("*")
        if path.is_file() and path.name not in ("log.jsonl", "manifest.json")
    }


def test_masks_overlays_and_areas_are_those_of_the_network(
    here: Path, network: SegmentationNetwork
) -> None:
    before = {path: path.read_bytes() for path in Path("photos").rglob("*.png")}
    manifest = go()
    assert manifest.complete
    assert manifest.counts["done"] == 3
    about = read_json(OutDir("out").areas())
    assert sorted(about["pictures"]) == ["photos/farm/1", "photos/town/1", "photos/town/zwölf x"]
    for image_id, facts in about["pictures"].items():
        image = load_image(Path(f"{image_id}.png"))
        shares = predict_logits(network, image, flip=False).softmax(0).numpy()
        labels = load_label_image(OutDir("out").mask(image_id), 4)
        assert np.array_equal(labels, shares.argmax(0))
        overlay = np.asarray(Image.open(OutDir("out").overlay(image_id, "jpg")))
        assert overlay.shape == image.shape
        assert facts["size"] == [24, 36]
        assert facts["tags"] is None
        for place, name in enumerate(NAMES):
            there = labels == place
            area = facts["classes"].get(name, {"pixels": 0})
            assert area["pixels"] == there.sum()
            if there.any():
                assert area["confidence"] == pytest.approx(shares.max(0)[there].mean(), abs=1e-5)
    assert {path: path.read_bytes() for path in Path("photos").rglob("*.png")} == before


def test_tags_leave_no_other_class(here: Path) -> None:
    go(tags=("dog",), overlays="none")
    labels = load_label_image(OutDir("out").mask("photos/town/1"), 4)
    assert set(np.unique(labels)) <= {0, 2}
    assert not Path("out/overlays").exists()
    assert read_json(OutDir("out").areas("photos/town/1"))["tags"] == ["dog"]
    with pytest.raises(UsageError, match="no class 'dgo'"):
        go(tags=("dgo",))


def test_a_rerun_does_nothing_and_other_pictures_are_added(here: Path) -> None:
    go(out="whole")
    go("photos/town")
    manifest = go()
    assert manifest.counts["items"] == 3
    assert content() == content("whole")
    times = {
        path: path.stat().st_mtime_ns
        for path in Path("out").rglob("*.*")
        if path.name != "log.jsonl"
    }
    again = go("photos/farm")
    assert again.complete
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_57_what_has_changed_or_is_gone_is_made_again_alone(here: Path) -> None:
    go()
    before = content()
    OutDir("out").mask("photos/town/1").unlink()
    Image.new("RGB", (30, 20)).save("photos/farm/1.png")
    go(tags=())
    after = content()
    assert after["masks/photos/town/1.png"] == before["masks/photos/town/1.png"]
    assert load_label_image(OutDir("out").mask("photos/farm/1")).shape == (20, 30)
    assert read_json(OutDir("out").areas())["pictures"]["photos/farm/1"]["size"] == [20, 30]
    OutDir("out").mask("photos/farm/1").unlink()
    go("photos/town")  # gone, and not asked for again
    assert list(read_json(OutDir("out").areas())["pictures"]) == [
        "photos/town/1",
        "photos/town/zwölf x",
    ]
    go(tags=("cat",))  # other tags: made again, too
    assert b"dog" not in content()["areas.json"]


def test_shards_write_the_same_bytes(here: Path) -> None:
    go(out="whole")
    for index in (1, 0):
        manifest = go(execution={"shard": (index, 2)})
    assert manifest.complete
    assert content() == content("whole")
    go(out="threads", execution={"workers": 2})
    assert content("threads") == content("whole")


def test_bad_pictures_are_named_and_the_others_done(here: Path) -> None:
    """faults 1, 3, 4, 29: truncated, empty, no picture, not there."""
    data = Path("photos/farm/1.png").read_bytes()
    Path("photos/cut.png").write_bytes(data[: len(data) // 2])
    Path("photos/empty.jpg").write_bytes(b"")
    Path("photos/page.jpg").write_text("<html>")
    manifest = go("photos", "gone.jpg")
    assert not manifest.complete
    assert manifest.counts["failed"] == 4
    told = {row["id"]: row["reason"] for row in manifest.data["failures"]}
    assert sorted(told) == ["gone.jpg", "photos/cut", "photos/empty", "photos/page"]
    assert "not an image" in told["photos/page"]
    assert len(read_json(OutDir("out").areas())["pictures"]) == 3
    for name in ("cut.png", "empty.jpg", "page.jpg"):
        Path("photos", name).unlink()
    assert go().complete


def test_faults_6_8_9_11_12_odd_pictures_are_read_as_everywhere(here: Path) -> None:
    upright = Image.open("photos/farm/1.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    upright.save("photos/turned.jpg", exif=turned)
    upright.convert("L").save("photos/grey.png")
    upright.convert("RGBA").save("photos/alpha.png")
    Image.fromarray(np.full((24, 36), 40000, np.uint16)).save("photos/deep.png")
    upright.save("photos/film.gif", save_all=True, append_images=[Image.new("RGB", upright.size)])
    assert go().complete
    pictures = read_json(OutDir("out").areas())["pictures"]
    assert pictures["photos/turned"]["size"] == [36, 24]
    assert load_label_image(OutDir("out").mask("photos/turned")).shape == (36, 24)
    assert pictures["photos/turned"]["notes"] == ["EXIF orientation 6 applied"]
    assert pictures["photos/film"]["notes"] == ["first of 2 frames used"]


def test_fault_53_other_settings_or_another_network_are_refused(here: Path) -> None:
    go()
    assert go(clip_model="unused", bg_power=2.0).complete
    with pytest.raises(OtherSettings, match="flip false -> true"):
        go(flip=True)
    meta = read_json(RUN.checkpoint("seg").with_suffix(".json"))
    save_checkpoint(RUN.checkpoint("seg"), build_network(SPEC, seed=2).weights(), meta)
    with pytest.raises(OtherSettings, match="weight network"):
        go()
    assert go(execution={"overwrite": True}).complete


def test_a_network_of_any_folder_gives_the_same(here: Path) -> None:
    go()
    shutil.copytree(RUN.output("train_seg", "seg"), "elsewhere")
    shutil.rmtree("run")
    for name, checkpoint in (("a", "elsewhere"), ("b", "elsewhere/checkpoint.safetensors")):
        go(out=name, checkpoint=Path(checkpoint))
        assert content(name) == content()
    with pytest.raises(MissingInput, match="There is no network"):
        go()
    colours = "palette = [[0, 0, 0], [1, 2, 3], [4, 5, 6], [7, 8, 9]]\n"
    Path("elsewhere/classes.toml").write_text(colours + class_table(NAMES[1:]))
    go(out="c", checkpoint=Path("elsewhere"))
    with Image.open(OutDir("c").mask("photos/town/1")) as mask:
        assert mask.getpalette()[3:6] == [1, 2, 3]


def test_a_network_that_cannot_be_read_leaves_no_folder(here: Path) -> None:
    RUN.checkpoint("seg").write_bytes(b"damaged")
    with pytest.raises(BadInput, match="damaged"):
        go()
    assert not Path("out").exists()


def test_colours_are_those_of_the_run_that_a_network_lies_in(here: Path) -> None:
    folder = RUN.output("prepare_data")
    folder.mkdir(parents=True)
    facts = {"dataset": "folder", "vocabulary": "classes.toml", "root": "x", "splits": {}}
    (folder / "dataset.json").write_text(json.dumps(facts))
    colours = "palette = [[0, 0, 0], [1, 2, 3]]\n"
    (folder / "classes.toml").write_text(colours + class_table(NAMES[1:]))
    model = network_model(RUN.checkpoint("seg"), RunDir("none"), PredictConfig())
    assert model.vocabulary.palette[1].tolist() == [1, 2, 3]


def test_a_dry_run_writes_nothing(here: Path) -> None:
    assert go(execution={"dry_run": True}).counts["to_do"] == 3
    assert not Path("out").exists()


def test_similarity_needs_tags_but_no_run(here: Path, tiny_clip_json: str) -> None:
    clip = {"clip_model": tiny_clip_json, "clip_weights": "random", "method": "similarity"}
    Path("tags.csv").write_text("farm/1.png,cow;sheep\ntown/1.png,\n")
    shutil.move("tags.csv", "photos/tags.csv")
    manifest = go(tags=("photos/tags.csv",), **clip)
    assert manifest.counts["done"] == 2
    assert [row["id"] for row in manifest.data["failures"]] == ["photos/town/zwölf x"]
    about = read_json(OutDir("out").areas())["pictures"]
    assert set(about["photos/farm/1"]["classes"]) <= {"background", "cow", "sheep"}
    assert set(about["photos/town/1"]["classes"]) == {"background"}
    digest = hashlib.sha256(Path("photos/town/1.png").read_bytes()).hexdigest()
    assert about["photos/town/1"]["sha256"] == digest


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_photographs_of_ones_own(
    photographs: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """60 photographs with tags by micro-CLIP; every mask has the size of its picture."""
    folder = photographs("own-photos")
    monkeypatch.chdir(tmp_path)
    manifest = go(
        str(folder / "images"),
        tags=(str(folder / "labels.csv"),),
        method="similarity",
        clip_model="micro-clip",
        clip_weights="micro-clip",
    )
    assert manifest.complete
    assert manifest.counts["done"] == 60
    about = read_json(OutDir("out").areas())["pictures"]
    tags = {
        row["image"]: set(filter(None, row["labels"].split(";")))
        for row in csv.DictReader((folder / "labels.csv").read_text("utf-8").splitlines())
    }
    for image_id, facts in about.items():
        name = str(Path(facts["image"]).relative_to(folder / "images"))
        assert set(facts["classes"]) <= {"background", *tags[name]}
        with Image.open(facts["image"]) as picture:
            assert load_label_image(OutDir("out").mask(image_id)).shape == picture.size[::-1]
