"""prepare-data: what it leaves in a run, for VOC and for scenes, whole, faulty or interrupted."""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from PIL import Image

from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.tables import load_prepared
from gleclip_cli.config import Execution, PrepareDataConfig
from gleclip_cli.datasets.scenes import draw_scene
from gleclip_cli.datasets.vocabulary import load_vocabulary
from gleclip_cli.errors import BadInput, MissingInput, OtherSettings, UsageError
from gleclip_cli.progress import Silent
from gleclip_cli.stages.prepare_data import prepare_data

T = TypeVar("T")
SKIP = Execution(on_bad="skip")
SCENES = PrepareDataConfig(train_images=3, val_images=2)
PHOTOS = (
    Path(os.environ.get("GLECLIP_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
    / "voc-photos"
)


class Listener(Silent):
    """Keeps warnings; interrupts the drawing after `patience` scenes."""

    def __init__(self, patience: int = 10**6) -> None:
        self.warnings: list[str] = []
        self.patience = patience

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def each(self, items: Iterable[T], *, total: int, label: str = "") -> Iterator[T]:
        for number, item in enumerate(items):
            if label == "Drawing scenes" and number == self.patience:
                raise KeyboardInterrupt
            yield item


def voc(data: Path, limit: int | None = None) -> PrepareDataConfig:
    return PrepareDataConfig(dataset="voc", data=str(data), limit=limit)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a stage output but those that tell the time."""
    timed = {"manifest.json", "log.jsonl", ".lock", "verified.json"}
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in timed
    }


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path / "runs" / "test")


def test_voc_is_indexed_where_it_lies(tiny_voc: Path, run: RunDir) -> None:
    before = contents(tiny_voc)
    manifest = prepare_data(run, voc(tiny_voc.parent))
    assert manifest.complete
    assert manifest.counts["images"] == 4
    assert manifest.counts["without_objects"] == 1
    prepared = load_prepared(run)
    assert prepared.vocabulary == "voc"
    assert prepared.root == tiny_voc
    assert prepared.splits() == ["train", "val"]
    assert prepared.image_ids("train") == ["a", "b", "c"]
    assert prepared.labels("train") == {"a": [8], "b": [12, 15], "c": []}
    record = prepared.record("val", "d")
    assert record.image == tiny_voc / "JPEGImages" / "d.jpg"
    assert record.size == (56, 48)
    assert contents(tiny_voc) == before
    # Nothing of the user is copied into the run.
    assert not [name for name in contents(run.root) if name.endswith((".jpg", ".png"))]


def test_classes_are_told_with_their_images(
    tiny_voc: Path, run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    listener = Listener()
    monkeypatch.setattr(listener, "say", said.append)
    prepare_data(run, voc(tiny_voc), progress=listener)
    prepared = load_prepared(run)
    labels = {i: c for split in prepared.splits() for i, c in prepared.labels(split).items()}
    names = load_vocabulary("voc").class_names
    (told,) = (line for line in said if line.startswith("Images by class: "))
    counted = dict(part.rsplit(" ", 1) for part in told[17:-1].split(", "))
    every = [names[c] for classes in labels.values() for c in classes]
    assert counted == {name: str(every.count(name)) for name in every}


def test_a_rerun_changes_nothing_and_sees_a_changed_image(tiny_voc: Path, run: RunDir) -> None:
    first = prepare_data(run, voc(tiny_voc))
    before = contents(run.root)
    again = prepare_data(run, voc(tiny_voc))
    assert contents(run.root) == before
    assert again.digest == first.digest
    Image.new("RGB", (48, 32), "red").save(tiny_voc / "JPEGImages" / "a.jpg")
    listener = Listener()
    changed = prepare_data(run, voc(tiny_voc), progress=listener)
    assert changed.digest != first.digest
    assert any("1 item" in warning for warning in listener.warnings)
    load_prepared(run).load_image("train", "a")


def test_stop_tells_every_fault_and_writes_no_lists(tiny_voc: Path, run: RunDir) -> None:
    (tiny_voc / "JPEGImages" / "a.jpg").write_bytes(b"")
    (tiny_voc / "Annotations" / "d.xml").unlink()
    with pytest.raises(BadInput) as caught:
        prepare_data(run, voc(tiny_voc))
    assert "2 problems" in str(caught.value)
    assert "a.jpg" in str(caught.value)
    assert "d.xml is missing" in str(caught.value)
    assert "--on-bad skip" in str(caught.value)
    assert not run.root.exists()


def test_a_failure_keeps_what_takes_long(
    tiny_voc: Path, run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gleclip_cli.stages.prepare_data._MANY", 4)
    (tiny_voc / "JPEGImages" / "a.jpg").write_bytes(b"")
    with pytest.raises(BadInput):
        prepare_data(run, voc(tiny_voc))
    assert list(json.loads(run.verified().read_text())["pictures"]) == ["b", "c", "d"]
    assert not run.output("prepare_data").exists()


def test_masks_that_fit_no_scene_replace_nothing(run: RunDir, tmp_path: Path) -> None:
    few = PrepareDataConfig(train_images=1, val_images=1)
    prepare_data(run, few)
    before = contents(run.root)
    folder = tmp_path / "given"
    folder.mkdir()
    Image.new("L", (2, 2)).save(folder / "stranger.png")
    given = replace(few, masks=str(folder))
    with pytest.raises(BadInput, match="no mask of a picture of the data set, but for example str"):
        prepare_data(run, given, execution=Execution(overwrite=True))
    assert contents(run.root) == before


def test_skip_leaves_bad_images_out_lists_and_counts_them(tiny_voc: Path, run: RunDir) -> None:
    (tiny_voc / "JPEGImages" / "a.jpg").write_bytes(b"")
    (tiny_voc / "ImageSets/Segmentation/train.txt").write_text("a\nb\nc\nb\n")
    listener = Listener()
    manifest = prepare_data(run, voc(tiny_voc), execution=SKIP, progress=listener)
    assert not manifest.complete
    assert manifest.counts["failed"] == 1
    assert load_prepared(run).image_ids("train") == ["b", "c"]
    lines = (run.output("prepare_data") / "failed.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["a"]
    assert "a.jpg" in json.loads(lines[0])["reason"]
    assert "train: b is listed 2 times." in listener.warnings
    # Mended, the same command ends without failures.
    Image.new("RGB", (48, 32)).save(tiny_voc / "JPEGImages" / "a.jpg")
    mended = prepare_data(run, voc(tiny_voc), execution=SKIP)
    assert mended.complete
    assert not (run.output("prepare_data") / "failed.jsonl").exists()


def test_an_image_that_went_bad_is_left_out_of_the_next_run(tiny_voc: Path, run: RunDir) -> None:
    prepare_data(run, voc(tiny_voc), execution=SKIP)
    (tiny_voc / "JPEGImages" / "a.jpg").unlink()
    manifest = prepare_data(run, voc(tiny_voc), execution=SKIP)
    assert manifest.counts["failed"] == 1
    assert manifest.counts["done"] == 3
    assert load_prepared(run).image_ids("train") == ["b", "c"]


def test_faults_of_lists_are_never_skipped(tiny_voc: Path, run: RunDir) -> None:
    (tiny_voc / "ImageSets/Segmentation/train.txt").write_text("a\n../b\n")
    with pytest.raises(BadInput, match=r"the id \.\./b is a path"):
        prepare_data(run, voc(tiny_voc), execution=SKIP)


def test_a_split_without_usable_image_is_an_error(tiny_voc: Path, run: RunDir) -> None:
    (tiny_voc / "JPEGImages" / "d.jpg").unlink()
    with pytest.raises(BadInput, match="No image of val is usable"):
        prepare_data(run, voc(tiny_voc), execution=SKIP)


def test_fault_31_data_inside_the_run_are_refused(tiny_voc: Path) -> None:
    with pytest.raises(UsageError, match="inside the run"):
        prepare_data(RunDir(tiny_voc.parent), voc(tiny_voc))


def test_shards_are_refused(tiny_voc: Path, run: RunDir) -> None:
    with pytest.raises(UsageError, match="shard"):
        prepare_data(run, voc(tiny_voc), execution=Execution(shard=(0, 2)))


def test_dry_run_checks_and_writes_nothing(tiny_voc: Path, run: RunDir) -> None:
    listener = Listener()
    dry = Execution(on_bad="skip", dry_run=True)
    (tiny_voc / "JPEGImages" / "a.jpg").write_bytes(b"")
    manifest = prepare_data(run, voc(tiny_voc), execution=dry, progress=listener)
    assert manifest.counts["items"] == 4
    assert listener.warnings == ["1 image would be left out."]
    prepare_data(run, SCENES, execution=Execution(dry_run=True))
    assert not run.root.exists()


def test_other_settings_stop(tiny_voc: Path, run: RunDir) -> None:
    prepare_data(run, voc(tiny_voc))
    with pytest.raises(OtherSettings, match="limit"):
        prepare_data(run, voc(tiny_voc, limit=1))
    overwrite = Execution(overwrite=True, on_bad="stop")
    prepare_data(run, voc(tiny_voc, limit=1), execution=overwrite)
    assert load_prepared(run).image_ids("train") == ["a"]


def test_scenes_are_drawn_and_read_as_voc(run: RunDir) -> None:
    manifest = prepare_data(run, SCENES, execution=Execution(workers=8))
    assert manifest.complete
    assert (manifest.counts["train"], manifest.counts["val"]) == (3, 2)
    prepared = load_prepared(run)
    assert prepared.vocabulary == "scenes"
    vocabulary = load_vocabulary("scenes")
    for split, count in (("train", 3), ("val", 2)):
        assert len(prepared.image_ids(split)) == count
        for number, image_id in enumerate(prepared.image_ids(split)):
            scene = draw_scene(split, number, 0)
            record = prepared.record(split, image_id)
            assert prepared.labels(split)[image_id] == list(scene.class_ids)
            assert record.size == scene.mask.shape
            assert record.mask is not None
            with Image.open(record.mask) as mask:
                assert np.array_equal(np.asarray(mask), scene.mask)
                palette = np.asarray(mask.getpalette(), np.uint8).reshape(-1, 3)
                assert np.array_equal(palette, vocabulary.palette[: len(palette)])
            # JPEG at quality 95: noise stays, colours stay close.
            image = prepared.load_image(split, image_id)
            assert np.abs(image.astype(int) - scene.image).mean() < 4


def test_interrupted_scenes_go_on_and_end_with_the_same_bytes(run: RunDir, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        prepare_data(run, SCENES, progress=Listener(patience=2))
    with pytest.raises(MissingInput):
        load_prepared(run)
    done = {path: path.stat().st_mtime_ns for path in run.root.rglob("*.jpg")}
    assert len(done) == 2
    prepare_data(run, SCENES)
    assert all(path.stat().st_mtime_ns == moment for path, moment in done.items())
    whole = RunDir(tmp_path / "runs" / "whole")
    prepare_data(whole, SCENES)
    assert contents(run.root) == contents(whole.root)


def test_a_damaged_scene_is_drawn_again(run: RunDir) -> None:
    prepare_data(run, SCENES)
    before = contents(run.root)
    victim = load_prepared(run).record("val", load_prepared(run).image_ids("val")[0]).image
    victim.write_bytes(victim.read_bytes()[:100])
    prepare_data(run, SCENES)
    assert contents(run.root) == before


def test_limit_and_seed_of_scenes(run: RunDir, tmp_path: Path) -> None:
    few = PrepareDataConfig(train_images=3, val_images=2, limit=1)
    manifest = prepare_data(run, few)
    assert (manifest.counts["train"], manifest.counts["val"]) == (1, 1)
    other = RunDir(tmp_path / "runs" / "other")
    prepare_data(other, PrepareDataConfig(train_images=1, val_images=1, seed=1))
    first, second = (
        load_prepared(r).record("val", load_prepared(r).image_ids("val")[0]) for r in (run, other)
    )
    assert first.sha256 != second.sha256


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="needs the shared photographs")
def test_real_photographs(run: RunDir) -> None:
    manifest = prepare_data(run, voc(PHOTOS))
    assert manifest.complete
    assert manifest.counts["images"] == 100
    assert {s: len(load_prepared(run).image_ids(s)) for s in load_prepared(run).splits()} == {
        "train": 60,
        "val": 40,
        "trainaug": 60,
    }
