"""Prepared data and scores."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gleclip_cli.artifacts.arrays import load_arrays
from gleclip_cli.artifacts.photos import load_photo
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.tables import (
    ImageRecord,
    PreparedData,
    Scores,
    load_prepared,
    load_scores,
    save_prepared,
    save_scores,
)
from gleclip_cli.errors import BadInput, MissingInput, UsageError

IDS = ["b", "a b", "Zwölf", "50%", "line\nbreak", "\udcff"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(len(IDS)):
        Image.new("RGB", (6 + number, 4), (number, 0, 0)).save(folder / f"{number}.png")
    return folder


def prepare(run: RunDir, photos: Path) -> list[Path]:
    records = {}
    for number, image_id in enumerate(IDS):
        path = photos / f"{number}.png"
        mask = photos / f"{number}-mask.png" if number else None
        records[image_id] = ImageRecord(path, mask, (4, 6 + number), load_photo(path).sha256)
    labels = {image_id: [7, 3] if image_id == "b" else [] for image_id in IDS}
    return save_prepared(
        run,
        dataset="voc",
        vocabulary="voc",
        root=photos,
        records={"train": records, "val": {"b": records["b"]}, "none": {}},
        labels={"train": labels, "val": {}, "none": {}},
    )


@pytest.fixture
def run(tmp_path: Path, photos: Path) -> RunDir:
    prepare(run := RunDir(tmp_path / "run"), photos)
    return run


def test_prepared_data_come_back(run: RunDir, photos: Path) -> None:
    data = load_prepared(run)
    assert (data.dataset, data.vocabulary, data.root) == ("voc", "voc", photos)
    assert data.splits() == ["none", "train", "val"]
    assert data.image_ids("train") == sorted(IDS)
    assert data.labels("train")["b"] == [3, 7]
    assert data.labels("val") == {"b": []}
    record = data.record("train", "50%")
    assert record.image == photos / "3.png"
    assert record.mask == photos / "3-mask.png"
    assert record.size == (4, 9)
    assert data.record("val", "b").mask is None
    assert data.load_image("train", "50%")[0, 0].tolist() == [3, 0, 0]


def test_the_documented_files(run: RunDir, photos: Path) -> None:
    folder = run.output("prepare_data")
    facts = json.loads((folder / "dataset.json").read_text())
    assert facts == {
        "dataset": "voc",
        "vocabulary": "voc",
        "root": str(photos),
        "splits": {"train": 6, "val": 1, "none": 0},
    }
    assert (folder / "lists" / "val.txt").read_text() == "b\n"
    assert (folder / "lists" / "train.txt").read_bytes().split(b"\n") == [
        b"50%25", "Zwölf".encode(), b"a b", b"b", b"line%0Abreak", b"\xff", b"",
    ]  # fmt: skip
    images = json.loads((folder / "images" / "val.json").read_text())
    assert images["b"]["image"] == "0.png"
    assert images["b"]["size"] == [4, 6]
    assert json.loads((folder / "labels" / "train.json").read_text())["b"] == [3, 7]


def test_the_same_data_give_the_same_bytes(run: RunDir, photos: Path) -> None:
    before = {path: path.read_bytes() for path in run.root.rglob("*.*")}
    assert {path for path in before if path.is_file()} == set(prepare(run, photos))
    assert {path: path.read_bytes() for path in before} == before


def test_a_run_that_holds_its_data_can_be_moved(tmp_path: Path, photos: Path) -> None:
    run = RunDir(tmp_path / "old")
    inside = run.output("prepare_data") / "scenes"
    inside.parent.mkdir(parents=True)
    photos.rename(inside)
    prepare(run, inside)
    facts = json.loads((inside.parent / "dataset.json").read_text())
    assert facts["root"] == "prepare_data/scenes"
    run.root.rename(tmp_path / "new")
    data = load_prepared(RunDir(tmp_path / "new"))
    assert data.load_image("train", "b").shape == (4, 6, 3)


def test_relative_folders_still_give_absolute_images(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run.root.parent)
    prepare(RunDir("run2"), Path("photos"))
    image = load_prepared(RunDir("run2")).record("train", "b").image
    monkeypatch.chdir("/")
    assert image.is_absolute()
    assert image.exists()


def test_fault_57_an_image_that_has_changed_is_refused(run: RunDir, photos: Path) -> None:
    data = load_prepared(run)
    Image.new("RGB", (6, 4), (9, 9, 9)).save(photos / "0.png")
    with pytest.raises(BadInput, match=r"0\.png has changed since the data were prepared"):
        data.load_image("train", "b")


def test_fault_57_fingerprints_follow_images_and_labels(run: RunDir, photos: Path) -> None:
    before = load_prepared(run).fingerprints("train")
    assert set(before) == set(IDS)
    assert len(set(before.values())) == len(IDS)
    Image.new("RGB", (6, 4), (9, 9, 9)).save(photos / "0.png")
    prepare(run, photos)
    after = load_prepared(run).fingerprints("train")
    assert {i for i in IDS if before[i] != after[i]} == {"b"}
    # The same image with other labels.
    assert load_prepared(run).fingerprints("val")["b"] != after["b"]


def test_fault_27_missing_data_splits_lists_and_images(run: RunDir, tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="gleclip prepare-data"):
        load_prepared(RunDir(tmp_path / "nothing"))
    data: PreparedData = load_prepared(run)
    with pytest.raises(UsageError, match="Choose one of: none, train, val"):
        data.image_ids("test")
    with pytest.raises(UsageError, match="empty"):
        data.image_ids("none")
    with pytest.raises(BadInput, match="has no image x"):
        data.record("train", "x")


def test_scores_come_back(tmp_path: Path) -> None:
    scores = Scores(0.5, {"background": 0.75, "cat": 0.25, "dog": None}, 2, {"threshold": 0.3})
    confusion = np.array([[3, 1], [1, 2]])
    paths = save_scores(tmp_path / "seg-val", scores, confusion)
    assert sorted(path.name for path in paths) == ["confusion.npz", "scores.json"]
    assert load_scores(tmp_path / "seg-val") == scores
    assert load_scores(tmp_path / "seg-val" / "scores.json") == scores
    facts = json.loads((tmp_path / "seg-val" / "scores.json").read_text())
    assert facts["miou"] == 0.5
    assert facts["images"] == 2
    assert facts["per_class_iou"]["cat"] == 0.25
    np.testing.assert_array_equal(
        load_arrays(tmp_path / "seg-val" / "confusion.npz")["confusion"], confusion
    )


def test_scores_of_no_image(tmp_path: Path) -> None:
    save_scores(tmp_path, Scores(float("nan"), {}, 0), np.zeros((2, 2), np.int64))
    assert json.loads((tmp_path / "scores.json").read_text())["miou"] is None


def test_scores_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "scores.json").write_text('{"images": 3}')
    with pytest.raises(BadInput, match="miou"):
        load_scores(tmp_path)
