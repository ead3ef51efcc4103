"""Published results: facts that are whole, beside scores that may stand there."""

import tomllib
from pathlib import Path

import pytest

from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.tables import ImageRecord, Scores, save_prepared
from gleclip_cli.errors import UsageError
from gleclip_cli.resources import data_file
from gleclip_cli.tools.published import Result, beside_published, load_results

TABLES = tomllib.loads(data_file("published.toml").read_text())


def run_of(folder: Path, dataset: str, class_table: str = "") -> RunDir:
    run = RunDir(folder / dataset)
    record = ImageRecord(folder / "a.jpg", None, (4, 4), "0")
    save_prepared(
        run,
        dataset=dataset,
        vocabulary="classes.toml" if class_table else dataset,
        root=folder,
        records={"val": {"a": record}},
        labels={"val": {}},
        class_table=class_table,
    )
    return run


@pytest.mark.parametrize("dataset", ["voc", "coco"])
def test_every_entry_is_a_result_with_its_source(dataset: str) -> None:
    for split, stages in TABLES["results"][dataset].items():
        assert split in TABLES["images"][dataset]
        for stage, entries in stages.items():
            assert stage in ("cam", "pseudo", "seg")
            rows = load_results(dataset, split, stage)
            assert len(rows) == len(entries)
            for row in rows:
                assert all((row.method, row.network, row.supervision, row.source)), row
                assert 30 < row.miou < 90


def test_known_figures() -> None:
    """Of CLIP-ES, the anchor of training-free seeds."""
    rows = [row for row in load_results("voc", "train", "cam") if row.method == "CLIP-ES"]
    assert [row.miou for row in rows] == [58.6, 70.8]
    assert load_results("voc", "train", "seg") == []


def test_own_scores_stand_among_them(tmp_path: Path) -> None:
    scores = Scores(0.7501, {}, 1449, {"threshold_chosen_on": "train"})
    found = beside_published(run_of(tmp_path, "voc"), scores, "seg", "val")
    assert found.warnings == []
    place = [row.method for row in found.rows].index("this run")
    assert found.rows[place - 1].miou >= 75.01 > found.rows[place + 1].miou
    assert isinstance(found.rows[place], Result)
    assert found.as_json()[place]["miou"] == pytest.approx(75.01)


def test_part_of_the_images_and_a_flattering_threshold_are_warned_of(tmp_path: Path) -> None:
    scores = Scores(0.5, {}, 60, {"threshold_chosen_on": "val"})
    warnings = beside_published(run_of(tmp_path, "voc"), scores, "pseudo", "val").warnings
    assert [warning.split()[0] for warning in warnings] == ["60", "The"]


def test_where_nothing_is_known_nothing_is_shown(tmp_path: Path) -> None:
    scores = Scores(0.5, {}, 60, {})
    with pytest.raises(UsageError, match="seg on scenes val"):
        beside_published(run_of(tmp_path, "scenes"), scores, "seg", "val")
    own = run_of(tmp_path, "voc", data_file("classes", "voc.toml").read_text())
    with pytest.raises(UsageError, match="classes of your own"):
        beside_published(own, scores, "seg", "val")
