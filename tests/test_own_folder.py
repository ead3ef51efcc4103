"""A folder of one's own goes the whole road: to masks in four commands, and to a network.

pytest -m slow tests/test_own_folder.py -s

The slow test takes real photographs and a full-size ViT-B/16 with random weights: its masks mean
nothing; that every stage works on real files is the point.
"""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from gleclip_cli.artifacts.maps import load_cam
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.tables import load_prepared
from gleclip_cli.cli.main import app

pytestmark = pytest.mark.usefixtures("short_walks")

Succeed = Callable[..., None]
RUN = Path("runs/folder")
CLIP_ES = ("--method", "clip-es")  # where no model has to be trained
TAGS = {
    "Fahrräder am Café.jpg": "bike;person",
    "farm/1.png": "cow",
    "farm/2.jpg": "",
    "town/1.jpg": "person",
}


def gleclip(*words: object) -> Result:
    return CliRunner().invoke(app, [str(w) for w in words], prog_name="gleclip")


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four small pictures of three classes, tags in a table."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GLECLIP_DATA", raising=False)
    root = tmp_path / "photos"
    for number, name in enumerate(TAGS):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (24 + 8 * number, 40, 3), np.uint8)
        Image.fromarray(pixels).save(root / name)
    rows = [f"{name},{tags}" for name, tags in TAGS.items()]
    (root / "labels.csv").write_text("\n".join(["image,labels", *rows]), encoding="utf-8")
    return root


def add_masks(own: Path) -> None:
    """A mask for every picture of the farm: background, and class 2 on the left."""
    for name in ("farm/1.png", "farm/2.jpg"):
        with Image.open(own / name) as picture:
            labels = np.zeros((picture.height, picture.width), np.uint8)
        labels[:, :9] = 2
        target = own / "masks" / Path(name).with_suffix(".png")
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(labels).save(target)


def test_three_classes_to_masks_in_four_commands(
    own: Path, tiny_clip_json: str, succeed: Succeed
) -> None:
    before = {path: path.read_bytes() for path in own.rglob("*") if path.is_file()}
    succeed(
        ("init", own),
        ("prepare-data", "--dataset", "folder", "--data", own),
        ("gen-cam", *CLIP_ES, "--clip-model", tiny_clip_json, "--clip-weights", "random"),
        ("refine", "--par-iterations", 2),
    )
    classes = {"bike": 1, "cow": 2, "person": 3}
    paths = RunDir(RUN)
    for name, tags in TAGS.items():
        image_id = str(Path(name).with_suffix(""))
        wanted = sorted(classes[tag] for tag in tags.split(";") if tag)
        assert load_prepared(paths).labels("train")[image_id] == wanted
        assert load_cam(paths.cam("train", image_id)).class_ids.tolist() == wanted
        with (
            Image.open(own / name) as picture,
            Image.open(paths.pseudo_mask("train", image_id)) as mask,
        ):
            assert mask.size == picture.size
            assert set(np.unique(np.asarray(mask))) <= {0, *wanted}
    assert len(list((RUN / "refine/train/pseudo_masks").iterdir())) == 4
    (own / "gleclip.toml").unlink()
    assert {path: path.read_bytes() for path in own.rglob("*") if path.is_file()} == before


def test_masks_are_for_scores_and_a_network_needs_none(
    own: Path, tiny_clip_json: str, succeed: Succeed
) -> None:
    add_masks(own)
    clip = ("--clip-model", tiny_clip_json, "--clip-weights", "random")
    succeed(
        ("prepare-data", "--dataset", "folder", "--data", own),
        ("train-cam", *clip, "--epochs", 2, "--batch-size", 2, "--crop", 32),
        ("gen-cam", *clip),
        ("refine", "--par-iterations", 2),
        ("evaluate", "--what", "pseudo", "--split", "train"),
        ("train-seg", *clip, "--epochs", 1, "--batch-size", 2, "--crop", 32),
        ("evaluate",),
    )
    for output in ("pseudo-train", "seg-val"):
        scores = json.loads((RUN / "evaluate" / output / "scores.json").read_text())
        assert scores["images"] == 2
    facts = json.loads((RUN / "train_seg/seg/checkpoint.json").read_text())
    assert facts["network"]["arch"] == "clip-decoder"  # the preset of folder
    assert facts["classes"] == ["background", "bike", "cow", "person"]


def test_fault_42_three_hundred_classes_go_the_whole_road(
    own: Path, tiny_clip_json: str, succeed: Succeed
) -> None:
    names = [*(f"thing {number}" for number in range(1, 298)), "bike", "cow", "person"]
    (own / "classes.txt").write_text("\n".join(names))
    add_masks(own)
    for path in (own / "masks").rglob("*.png"):  # a cow to the left, a strip ignored
        labels = np.where(np.asarray(Image.open(path)) == 2, 299, 0).astype(np.uint16)
        labels[:, -3:] = 65535
        Image.fromarray(labels).save(path)
    clip = ("--clip-model", tiny_clip_json, "--clip-weights", "random")
    succeed(
        ("prepare-data", "--dataset", "folder", "--data", own),
        ("gen-cam", *CLIP_ES, *clip),
        ("evaluate", "--what", "cam", "--split", "train"),
        ("refine", "--steps", "none"),
        ("evaluate", "--what", "pseudo", "--split", "train"),
        ("train-seg", *clip, "--epochs", 1, "--batch-size", 2, "--crop", 32),
        ("train-seg", *clip, "--targets", "gt", "--name", "gt", "--epochs", 1, "--crop", 32),
        ("evaluate",),
    )
    for folder in ("refine/train/pseudo_masks", "evaluate/seg-val/pred_masks"):
        with Image.open(RUN / folder / "farm%2F1.png") as made:
            assert (made.mode, made.size) == ("I;16", (40, 32))
    with Image.open(RunDir(RUN).pseudo_mask("train", "farm/1")) as made:
        pseudo = np.asarray(made)[:, :-3]
    assert set(np.unique(pseudo).tolist()) == {0, 299}
    scores = json.loads((RUN / "evaluate/pseudo-train/scores.json").read_text())
    assert scores["images"] == 2
    left = np.arange(37) < 9  # the other picture has no tag and so an empty pseudo mask
    both = np.concatenate([np.tile(left, 32), np.tile(left, 40)])
    seen = np.concatenate([pseudo.ravel() == 299, np.zeros(37 * 40, bool)])
    iou = (both & seen).sum() / (both | seen).sum()
    assert scores["per_class_iou"]["cow"] == pytest.approx(iou)


def test_runs_inside_the_folder_are_not_taken_for_pictures(
    own: Path, tiny_clip_json: str, monkeypatch: pytest.MonkeyPatch, succeed: Succeed
) -> None:
    monkeypatch.chdir(own)
    again = ("prepare-data", "--dataset", "folder", "--data", ".")
    succeed(
        again,
        ("gen-cam", *CLIP_ES, "--clip-model", tiny_clip_json, "--clip-weights", "random"),
        ("refine", "--steps", "none"),
        again,
    )
    assert len(list(Path("runs/folder/refine").rglob("*.png"))) == 8
    assert len(load_prepared(RunDir(RUN)).image_ids("train")) == 4


def test_fault_23_24_25_bad_names_are_left_out_and_counted_when_asked(own: Path) -> None:
    with (own / "labels.csv").open("a") as file:
        file.write("\nlost.jpg,cow\ntown/1.jpg,cow\n")
    Image.new("RGB", (8, 8)).save(own / "new.jpg")
    prepare = ("prepare-data", "--dataset", "folder", "--data", own)
    stopped = gleclip(*prepare)
    assert stopped.exit_code == 3
    twice = "line 5 and labels.csv line 7 name the same picture"
    for told in ("3 problems", "lost.jpg", "new.jpg", twice):
        assert told in stopped.stderr
    skipped = gleclip(*prepare, "--on-bad", "skip", "--json")
    assert skipped.exit_code == 4
    document = json.loads(skipped.stdout)
    assert {row["id"] for row in document["failures"]} == {"lost.jpg", "new"}
    assert document["counts"]["train"] == 4
    assert load_prepared(RunDir(RUN)).labels("train")["town/1"] == [2, 3]


def test_fault_31_data_inside_the_run_are_refused(own: Path) -> None:
    result = gleclip("prepare-data", "--dataset", "folder", "--data", own, "--run", own.parent)
    assert result.exit_code == 2
    assert "inside the run" in result.stderr


def test_an_edited_class_table_is_seen_by_the_next_stages(
    own: Path, tiny_clip_json: str, succeed: Succeed
) -> None:
    prepare = ("prepare-data", "--dataset", "folder", "--data", own)
    gen_cam = ("gen-cam", *CLIP_ES, "--clip-model", tiny_clip_json, "--clip-weights", "random")
    succeed(("init", own), prepare, gen_cam)
    table = own / "gleclip.toml"
    table.write_text(table.read_text().replace('# "cow" = "cow"', '"cow" = "brown cow"'))
    succeed(prepare)
    assert '"brown cow"' in (RUN / "prepare_data" / "classes.toml").read_text()
    assert gleclip(*gen_cam).exit_code == 5
    succeed((*gen_cam, "--overwrite"))


def test_labels_of_real_photographs_equal_another_reading(
    tmp_path: Path, photographs: Callable[[str], Path], succeed: Succeed
) -> None:
    data = photographs("own-photos")
    succeed(("prepare-data", "--dataset", "folder", "--data", data, "--run", tmp_path / "run"))
    assert_labels_equal_another_reading(data, RunDir(tmp_path / "run"))


def assert_labels_equal_another_reading(data: Path, run: RunDir) -> None:
    """Compare with the table as the csv module's dictionaries show it."""
    classes = (data / "classes.txt").read_text(encoding="utf-8").split()
    with (data / "labels.csv").open(encoding="utf-8", newline="") as file:
        wanted = {
            row["image"].removesuffix(".jpg"): {
                classes.index(t) + 1 for t in row["labels"].split(";")
            }
            for row in csv.DictReader(file)
        }
    assert (len(wanted), sum(map(len, wanted.values()))) == (60, 167)
    for split in ("train", "val"):
        labels = load_prepared(run).labels(split)
        assert {name: set(ids) for name, ids in labels.items()} == wanted
        for name, ids in labels.items():  # the masks were not read, and agree
            mask = load_prepared(run).record(split, name).mask
            assert mask is not None
            with Image.open(mask) as picture:
                assert set(np.unique(np.asarray(picture))) - {255} == set(ids), name


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_real_photographs_go_through_all_stages(
    photographs: Callable[[str], Path], whole_road: Callable[..., None]
) -> None:
    data = photographs("own-photos")
    clip = ("--clip-model", "ViT-B-16-quickgelu", "--clip-weights", "random")

    def masks(split: str, folder: Path) -> Iterator[tuple[np.ndarray, Path]]:
        for path in sorted((data / "masks").rglob("*.png")):
            name = path.relative_to(data / "masks").as_posix().replace("/", "%2F")
            yield np.array(Image.open(path)), folder / name

    whole_road(
        "folder",
        data,
        clip=clip,
        seg=(*clip, "--limit", 8),
        images={"pseudo-train": 60, "seg-val": 60},
        masks=masks,
    )
    assert_labels_equal_another_reading(data, RunDir(RUN))
