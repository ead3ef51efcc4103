"""What a manifest tells, and the command it names when there is none."""

from pathlib import Path
from typing import Any

import pytest

from gleclip_cli.artifacts.manifest import Manifest, load_manifest, require
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.stage import open_stage
from gleclip_cli.config import Execution, GenCamConfig
from gleclip_cli.errors import BadInput, MissingInput


@pytest.mark.parametrize(
    ("stage", "name", "command"),
    [
        ("prepare_data", "", "gleclip prepare-data --run runs/x --dataset NAME`"),
        ("gen_cam", "val", "gleclip gen-cam --run runs/x --split val`"),
        ("refine", "train", "gleclip refine --run runs/x --split train`"),
        ("train_seg", "seg", "gleclip train-seg --run runs/x --name seg`"),
        ("evaluate", "my-net-val", "gleclip evaluate --run runs/x --what my-net --split val`"),
    ],
)
def test_a_missing_stage_names_its_command(stage: str, name: str, command: str) -> None:
    with pytest.raises(MissingInput) as caught:
        load_manifest(RunDir("runs/x"), stage, name)
    assert command in caught.value.remedy
    assert "is missing" in caught.value.cause


def test_the_manifest_tells_where_the_output_comes_from(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "runs" / "x")
    with open_stage(run, "prepare_data", {}, execution=Execution()) as stage:
        upstream = stage.finish()
    with open_stage(
        run,
        "gen_cam",
        GenCamConfig(method="clip-es"),
        name="train",
        inputs=[upstream],
        weights={"clip": "abc"},
        execution=Execution(device="cpu", workers=2),
        arguments={"preset": "voc"},
    ) as stage:
        stage.note(backend="lattice")
        stage.warn("odd")
        stage.finish(images=3)
    data = load_manifest(run, "gen_cam", "train").data
    assert data["inputs"] == {"prepare_data": upstream.key}
    assert data["digests"] == {"prepare_data": upstream.digest}
    assert data["weights"] == {"clip": "abc"}
    assert data["config"]["method"] == "clip-es"
    assert data["arguments"] == {"preset": "voc"}
    assert data["execution"]["workers"] == 2
    assert data["backend"] == "lattice"
    assert data["warnings"] == ["odd"]
    assert data["counts"] == {"items": 0, "done": 0, "failed": 0, "images": 3}
    assert data["seconds"] >= 0
    assert {"python", "numpy", "torch", "gleclip"} <= set(data["versions"])
    text = (run.output("gen_cam", "train") / "manifest.json").read_text()
    assert str(Path.home()) not in text
    assert str(tmp_path) not in text


def test_maps_of_yesterdays_tags_are_refused(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "x")
    maps = GenCamConfig(method="similarity")

    def prepare(tags: str) -> Manifest:
        with open_stage(run, "prepare_data", {}, execution=Execution(overwrite=True)) as stage:
            path = stage.folder / "labels.json"
            path.write_text(tags)
            return stage.finish(path)

    def make(source: Manifest) -> None:
        with open_stage(
            run, "gen_cam", maps, name="train", inputs=[source], item_ids=["a"],
            execution=Execution(),
        ) as stage:  # fmt: skip
            for image_id in stage.todo():
                path = stage.folder / "a.npz"
                path.write_text("maps")
                stage.done(image_id, path)
            stage.finish()

    make(prepare("sheep"))
    require(run, "gen_cam", "train", allow_partial=False)
    corrected = prepare("cow")
    with pytest.raises(MissingInput, match="made before prepare_data changed") as caught:
        require(run, "gen_cam", "train", allow_partial=True)
    assert "--split train --method similarity` again" in caught.value.remedy
    make(corrected)  # the same bytes, of the new tags
    require(run, "gen_cam", "train", allow_partial=False)


def test_counts_are_whole_numbers(tmp_path: Path) -> None:
    wrong: Any = {"miou": 0.5}
    with (
        open_stage(RunDir(tmp_path), "evaluate", {}, execution=Execution()) as stage,
        pytest.raises(TypeError),
    ):
        stage.finish(**wrong)


def test_a_damaged_manifest_is_named(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    with open_stage(run, "prepare_data", {}, execution=Execution()) as stage:
        stage.finish()
    (tmp_path / "prepare_data" / "manifest.json").write_text("{")
    with pytest.raises(BadInput, match=r"manifest\.json is damaged"):
        load_manifest(run, "prepare_data")
