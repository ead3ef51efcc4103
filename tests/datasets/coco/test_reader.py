"""COCO as a source: splits, labels, masks, every fault at once; then through prepare-data."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gleclip_cli.artifacts.maps import load_label_image
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.tables import load_prepared
from gleclip_cli.config import Execution, PrepareDataConfig
from gleclip_cli.datasets.coco.reader import read_coco
from gleclip_cli.datasets.source import DataIndex, verify
from gleclip_cli.datasets.vocabulary import load_vocabulary, read_vocabulary
from gleclip_cli.errors import BadInput, UsageError
from gleclip_cli.stages.prepare_data import prepare_data

ONE, TWO, THREE = (f"COCO_train2014_{number:012d}" for number in (1, 2, 3))
FOUR = "COCO_val2014_000000000004"


def index(tiny: Any, masks: Path | None = None, limit: int | None = None) -> DataIndex:
    return verify(read_coco(tiny.save(), limit=limit), masks=masks, workers=1)


def test_splits_labels_and_counts(tiny_coco: Any, tmp_path: Path) -> None:
    found = index(tiny_coco, tmp_path / "drawn")
    assert found.problems == ()
    assert found.labels == {"train": {ONE: [16, 17], TWO: [1]}, "val": {FOUR: [80]}}
    assert found.notes == {
        "of train without objects, left out": 1,
        "of train show crowds, ignored in masks": 1,
    }
    assert found.records["train"][ONE].size == (24, 32)
    assert found.counts["train_masks"] == 2


def test_names_of_2017(tiny_coco: Any) -> None:
    root = tiny_coco.save()
    for path in [*root.rglob("*2014*")][::-1]:
        path.rename(path.with_name(path.name.replace("COCO_train2014_", "").replace("14", "17")))
    for path in (root / "annotations").iterdir():
        path.write_text(path.read_text().replace("COCO_train2014_", "").replace("2014", "2017"))
    source = read_coco(root)
    assert source.problems == ()
    assert source.splits["train"] == ["000000000001", "000000000002"]


def test_label_lists_serve_without_instances(tiny_coco: Any) -> None:
    list_labels(tiny_coco)
    found = index_of_lists(tiny_coco)
    assert found.problems == ()
    assert found.labels == {"train": {ONE: [16, 17], TWO: [1]}}
    assert found.records["train"][ONE].mask is None
    assert found.notes["of train without objects, left out"] == 1


def list_labels(tiny: Any) -> None:
    (tiny.root / "train.txt").write_text(f"{ONE} 15 16\n{TWO} 0\n{THREE}\n")
    shutil.rmtree(tiny.root / "val2014")


def index_of_lists(tiny: Any, masks: Path | None = None) -> DataIndex:
    return verify(read_coco(tiny.root), masks=masks, workers=1)


def save_mask(tiny: Any, name: str, *labels: int) -> Path:
    """A label image of rows, one per label."""
    values = np.array(labels, np.uint8).repeat(24 // len(labels))[:, None].repeat(32, 1)
    path: Path = tiny.root / "SegmentationClass" / f"{name}.png"
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(values).save(path)
    return path


@pytest.mark.parametrize("name", [ONE, "000000000001"])
def test_label_images_are_used_where_they_lie(tiny_coco: Any, name: str) -> None:
    list_labels(tiny_coco)
    path = save_mask(tiny_coco, name, 0, 16, 17, 255)
    found = index_of_lists(tiny_coco)
    assert found.problems == ()
    assert found.records["train"][ONE].mask == path
    assert found.records["train"][TWO].mask is None


def test_fault_41_masks_in_raw_ids_are_renumbered(tiny_coco: Any, tmp_path: Path) -> None:
    list_labels(tiny_coco)
    save_mask(tiny_coco, ONE, 0, 17, 18, 255)
    save_mask(tiny_coco, TWO, 0, 1)
    found = index_of_lists(tiny_coco, tmp_path / "drawn")
    assert found.problems == ()
    assert found.notes["of train have masks in COCO's own ids, renumbered 1 to 80"] == 2
    mask = found.records["train"][ONE].mask
    assert mask is not None
    assert np.unique(load_label_image(mask)).tolist() == [0, 16, 17, 255]


def test_fault_41_masks_of_both_numberings_are_refused(tiny_coco: Any) -> None:
    (tiny_coco.root / "train.txt").write_text(f"{ONE} 15 16\n{TWO} 15\n")
    save_mask(tiny_coco, ONE, 0, 17, 18)
    save_mask(tiny_coco, TWO, 0, 16)
    problem = read_coco(tiny_coco.root).problems[-1]
    assert problem.structural
    assert "of 2 masks 1 hold COCO's own 91 ids, 1 hold 1 to 80" in problem.cause


def test_fault_38_grey_values_are_no_labels(tiny_coco: Any) -> None:
    list_labels(tiny_coco)
    path = save_mask(tiny_coco, ONE, 0, 127, 255)
    (problem,) = index_of_lists(tiny_coco).problems
    assert f"{path} holds 127: not in 0..80 or 255." in problem.cause


def test_fault_35_annotations_of_another_size(tiny_coco: Any) -> None:
    tiny_coco.said["val"]["images"][0].update(width=20, height=30)
    (problem,) = index(tiny_coco).problems
    assert problem.image_id == FOUR
    assert "20 x 30, its picture 32 x 24" in problem.cause


def test_fault_42_outlines_of_more_than_254_classes_are_drawn_in_16_bits(
    tiny_coco: Any, tmp_path: Path
) -> None:
    names = [f"thing {number}" for number in range(300)]
    for place, name in {8: "dog", 254: "toothbrush", 255: "person", 299: "cat"}.items():
        names[place] = name
    table = tmp_path / "many.toml"
    table.write_text(
        f'name = "many"\nclasses = {json.dumps(names)}\n'
        'templates = ["a {}."]\nbackground_texts = ["sky"]\n'
    )
    source = read_coco(tiny_coco.save(), read_vocabulary(table))
    assert verify(source, masks=tmp_path / "drawn", workers=1).problems == ()
    wanted = {ONE: {0, 9, 300}, TWO: {0, 256, 65535}, FOUR: {0, 255}}
    for name, values in wanted.items():
        (path,) = (tmp_path / "drawn").rglob(f"{name}.png")
        assert set(np.unique(load_label_image(path, 301)).tolist()) == values, name


def test_classes_of_ones_own(tiny_coco: Any, tmp_path: Path) -> None:
    table = tmp_path / "own.toml"
    table.write_text(
        'name = "own"\nclasses = ["toothbrush", "dog", "cat", "person"]\n'
        'templates = ["a {}."]\nbackground_texts = ["sky"]\n'
    )
    source = read_coco(tiny_coco.save(), read_vocabulary(table))
    assert source.problems == ()
    assert source.labels == {ONE: (2, 3), TWO: (4,), FOUR: (1,)}
    drawing: Any = source.pictures[0].masks["train"]
    assert np.unique(drawing.draw()).tolist() == [0, 2, 3]


def test_objects_without_outline_make_no_mask(tiny_coco: Any) -> None:
    tiny_coco.said["train"]["annotations"][0]["segmentation"] = []
    found = index(tiny_coco)
    assert found.problems == ()
    assert found.records["train"][ONE].mask is None
    assert found.labels["train"][ONE] == [16, 17]
    assert found.notes["of train have objects without outline, and so no mask"] == 1


def test_all_faults_are_collected_in_one_pass(tiny_coco: Any) -> None:
    train = tiny_coco.said["train"]
    train["images"].append({**train["images"][2], "id": 33})
    train["annotations"][0]["segmentation"] = [[1, 2, 3]]
    (tiny_coco.root / "train2014" / f"{TWO}.jpg").unlink()
    tiny_coco.annotate("train", 99, 1, [])
    tiny_coco.save()
    tiny_coco.said["val"]["images"] = 5
    found = index(tiny_coco)
    told = "\n".join(problem.cause for problem in found.problems)
    for named in (
        f"train: {THREE} is listed 2 times.",
        f"the outlines of {ONE} cannot be drawn: a polygon is not a list of x, y, x, y ...",
        f"{TWO}.jpg is missing.",
        "1 annotations belong to no image (99 ...)",
        "instances_val2014.json lacks images",
    ):
        assert named in told
    assert len(found.problems) == 5
    assert found.records == {"train": {}, "val": {}}


def test_damaged_json_does_not_hide_the_other_split(tiny_coco: Any) -> None:
    root = tiny_coco.save()
    tiny_coco.path("val").write_bytes(tiny_coco.path("val").read_bytes()[:-40])
    (tiny_coco.root / "train2014" / f"{TWO}.jpg").unlink()
    causes = [problem.cause for problem in read_coco(root).problems]
    assert any("not valid JSON at byte" in cause for cause in causes)
    assert any(f"{TWO}.jpg is missing" in cause for cause in causes)


def test_annotations_that_change_while_they_are_read(tiny_coco: Any) -> None:
    source = read_coco(tiny_coco.save())
    tiny_coco.path("train").write_text("{}")
    found = verify(source, workers=1)
    assert len(found.problems) == 2
    assert all("cannot be drawn" in problem.cause for problem in found.problems)


def test_fault_22_one_id_in_both_splits_or_two_files_of_one_id(tiny_coco: Any) -> None:
    shutil.copy(tiny_coco.root / "train2014" / f"{ONE}.jpg", tiny_coco.root / "val2014")
    (tiny_coco.root / "train2014" / f"{TWO}.png").write_bytes(b"")
    tiny_coco.said["val"]["images"][0]["file_name"] = f"{ONE}.jpg"
    problems = read_coco(tiny_coco.save()).problems
    assert all(problem.structural for problem in problems)
    assert [problem.cause.rpartition("/")[2] for problem in problems] == [
        f"{TWO}.png share one id.",
        f"{ONE} is in train and in val.",
    ]


def test_fault_23_listed_images_that_are_missing(tiny_coco: Any) -> None:
    shutil.rmtree(tiny_coco.root / "train2014")
    (tiny_coco.root / "train2014").mkdir()
    Image.new("RGB", (8, 8)).save(tiny_coco.root / "train2014" / "other.jpg")
    problems = read_coco(tiny_coco.save()).problems
    assert [problem.image_id for problem in problems] == [ONE, TWO]


@pytest.mark.parametrize("name", ["../4.jpg", "/etc/passwd", "val2014/4.jpg", "a\\b.jpg"])
def test_fault_28_paths_are_no_names(tiny_coco: Any, name: str) -> None:
    tiny_coco.said["val"]["images"][0]["file_name"] = name
    (problem,) = read_coco(tiny_coco.save()).problems
    assert problem.structural
    assert "is a path, not a name" in problem.cause


def test_fault_27_nothing_listed_is_a_usage_error(tiny_coco: Any) -> None:
    tiny_coco.said["val"]["annotations"] = []
    with pytest.raises(UsageError, match=r"instances_val2014\.json names no image with objects"):
        read_coco(tiny_coco.save())


def test_fault_32_an_image_without_objects_is_counted(tiny_coco: Any) -> None:
    source = read_coco(tiny_coco.save())
    assert THREE not in source.labels
    assert source.notes["of train without objects, left out"] == 1


def test_limit_keeps_the_first_that_show_something(tiny_coco: Any) -> None:
    tiny_coco.said["train"]["annotations"] = [
        a for a in tiny_coco.said["train"]["annotations"] if a["image_id"] != 1
    ]
    found = index(tiny_coco, limit=1)
    assert {split: list(table) for split, table in found.records.items()} == {
        "train": [TWO],
        "val": [FOUR],
    }


def test_the_user_s_files_stay_as_they_are_and_a_rerun_changes_nothing(
    tiny_coco: Any, tmp_path: Path
) -> None:
    def contents(folder: Path) -> dict[Path, bytes]:
        timed = {"manifest.json", "log.jsonl", ".lock", "verified.json"}
        files = (p for p in folder.rglob("*") if p.is_file() and p.name not in timed)
        return {path: path.read_bytes() for path in files}

    run = RunDir(tmp_path / "runs" / "coco")
    config = PrepareDataConfig(dataset="coco", data=str(tiny_coco.save()))
    before = contents(tiny_coco.root)
    first = prepare_data(run, config)
    assert first.complete
    made = contents(run.root)
    assert len([path for path in made if path.suffix == ".png"]) == 3
    assert prepare_data(run, config).digest == first.digest
    assert contents(run.root) == made
    assert contents(tiny_coco.root) == before
    prepared = load_prepared(run)
    assert prepared.vocabulary == "coco"
    assert prepared.labels("train") == {ONE: [16, 17], TWO: [1]}
    # An edited outline is drawn again.
    tiny_coco.said["val"]["annotations"][0]["category_id"] = 18
    tiny_coco.save()
    prepare_data(run, config)
    mask = prepared.record("val", FOUR).mask
    assert mask is not None
    assert np.unique(load_label_image(mask)).tolist() == [0, 17]


def test_bad_outlines_stop_or_are_left_out(tiny_coco: Any, tmp_path: Path) -> None:
    tiny_coco.said["train"]["annotations"][0]["segmentation"] = [[1, 2, 1e9, 4, 5, 6]]
    run = RunDir(tmp_path / "run")
    config = PrepareDataConfig(dataset="coco", data=str(tiny_coco.save()))
    with pytest.raises(BadInput, match=f"the outlines of {ONE} cannot be drawn"):
        prepare_data(run, config)
    manifest = prepare_data(run, config, execution=Execution(on_bad="skip"))
    assert manifest.counts["failed"] == 1
    assert load_prepared(run).image_ids("train") == [TWO]


def test_the_class_table_is_coco_s_own() -> None:
    table = load_vocabulary("coco")
    assert len(table.classes) == 80
    assert "snowboard" in table.classes
    assert table.prompts[table.classes.index("tie")] == "necktie"
    assert len(table.background_texts) == 23
    assert not {"keyboard", "sign"} & set(table.background_texts)
