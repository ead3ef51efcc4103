"""`gleclip run PRESET|FILE.toml`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from gleclip_cli import pipeline
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.tables import Scores

Run = Callable[..., Result]
ORDER = [
    "prepare_data",
    "train_cam",
    "gen_cam",
    "evaluate",
    "refine",
    "evaluate",
    "train_seg",
    "evaluate",
]


@pytest.fixture
def scored(stages: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Stages whose evaluations score 0.25, on data with true masks."""
    monkeypatch.setattr(pipeline, "_has_masks", lambda run, split: True)
    monkeypatch.setattr(pipeline, "load_scores", lambda path: Scores(0.25, {"boat": 0.25}, 3))
    return stages


def test_all_stages_run_in_order_with_the_preset(scored: Any, gleclip: Run) -> None:
    result = gleclip("run", "scenes", "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert [call.stage for call in scored.calls] == ORDER
    assert {call.run.root for call in scored.calls} == {Path("runs/scenes")}
    assert {call.execution.device for call in scored.calls} == {"cpu"}
    assert [call.execution.on_bad for call in scored.calls] == ["stop"] + ["skip"] * 7
    evaluated = [c.config for c in scored.calls if c.stage == "evaluate"]
    assert [(e.what, e.split) for e in evaluated] == [
        ("cam", "train"),
        ("pseudo", "train"),
        ("seg", "val"),
    ]
    assert scored.calls[1].config.clip_model == "micro-clip"
    for row in ("evaluate cam train", "evaluate pseudo train", "evaluate seg val"):
        assert row in result.stdout
    assert result.stdout.count("25.0") == 3
    assert "[8/8] evaluate seg val" in result.stderr


def test_voc_learns_from_trainaug_and_scores_its_maps_on_train(scored: Any, gleclip: Run) -> None:
    assert gleclip("run", "voc", "--data", "somewhere").exit_code == 0
    scores = [call.config.split for call in scored.calls if call.stage == "evaluate"]
    others = {c.config.split for c in scored.calls if c.stage not in ("prepare_data", "evaluate")}
    assert (others, scores) == ({"trainaug"}, ["train", "train", "val"])


def test_torchrun_is_refused(stages: Any, gleclip: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    result = gleclip("run", "scenes")
    assert result.exit_code == 2
    assert "torchrun has started 2" in result.stderr
    assert not stages.calls


def test_quick_is_a_smaller_preset_in_its_own_run(scored: Any, gleclip: Run) -> None:
    gleclip("run", "scenes", "--quick")
    first = scored.calls[0]
    assert first.run.root == Path("runs/scenes-quick")
    assert first.config.train_images < 600
    assert gleclip("run", "voc", "--quick").exit_code == 2


def test_fused_is_told_to_the_pipeline(
    stages: Any, gleclip: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []

    def run(run: RunDir, *_: Any, fused: bool, **__: Any) -> pipeline.Summary:
        told.append(fused)
        return pipeline.Summary(run)

    monkeypatch.setattr(pipeline, "run", run)
    assert gleclip("run", "scenes").exit_code == 0
    assert gleclip("run", "scenes", "--fused").exit_code == 0
    assert told == [False, True]


def test_shared_options_reach_every_stage(scored: Any, gleclip: Run) -> None:
    gleclip("run", "voc", "--data", "DIR", "--limit", 2, "--clip-weights", "random")
    assert {call.config.limit for call in scored.calls} == {2}
    assert scored.calls[0].config.data == "DIR"
    assert scored.calls[1].config.clip_weights == "random"
    assert scored.calls[6].config.clip_weights == "random"


def test_a_toml_file_names_everything(scored: Any, gleclip: Run) -> None:
    Path("my.toml").write_text(
        '[all]\ndataset = "scenes"\nrun = "here"\n[gen-cam]\nsplit = "val"\n'
        '[refine]\nsplit = "val"\nsteps = ["caa", "par"]\n[train-seg]\nname = "net"\n'
    )
    assert gleclip("run", "my.toml").exit_code == 0
    assert scored.calls[4].config.steps == ("caa", "par")
    assert scored.last.run.root == Path("here")
    assert [(c.config.what, c.config.split) for c in scored.calls if c.stage == "evaluate"] == [
        ("cam", "val"),
        ("pseudo", "val"),
        ("net", "val"),
    ]
    assert scored.calls[1].config.clip_model == "micro-clip"


@pytest.mark.parametrize(
    ("word", "text", "message"),
    [
        ("scene", "", "Did you mean 'scenes'?"),
        ("none.toml", "", "none.toml: No such file"),
        ("my.toml", "[refine]\n", "names no known data set"),
        ("my.toml", '[all]\ndataset = "cococo"\n', "names no known data set"),
    ],
)
def test_what_cannot_be_run(stages: Any, gleclip: Run, word: str, text: str, message: str) -> None:
    Path("my.toml").write_text(text)
    result = gleclip("run", word)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not stages.calls


def test_failed_items_end_the_run_before_the_next_stage(scored: Any, gleclip: Run) -> None:
    scored.counts = {"items": 3, "done": 2, "failed": 1}
    scored.failures = [{"id": "a", "reason": "broken", "remedy": "mend it"}]
    result = gleclip("run", "scenes")
    assert result.exit_code == 4
    assert [call.stage for call in scored.calls] == ["prepare_data"]
    assert "--allow-partial" in result.stderr
    assert "not reached" in result.stdout
    scored.calls.clear()
    assert gleclip("run", "scenes", "--allow-partial").exit_code == 4
    assert [call.stage for call in scored.calls] == ORDER


def test_without_true_masks_nothing_is_scored(
    scored: Any, gleclip: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "_has_masks", lambda run, split: split == "val")
    result = gleclip("run", "voc", "--data", "DIR")
    assert result.exit_code == 0
    assert [call.stage for call in scored.calls if call.stage == "evaluate"] == ["evaluate"]
    assert result.stdout.count("no true masks") == 2


def test_fault_73_yaml_is_no_configuration_and_nothing_in_it_runs(
    gleclip: Run, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    payload = f"!!python/object/apply:os.mkdir ['{victim}']"
    for name in ("my.yaml", "my.toml"):
        (tmp_path / name).write_text(f"all: {payload}\n")
        assert gleclip("run", str(tmp_path / name)).exit_code == 2
        options = ("--config", str(tmp_path / name), "--dataset", "scenes")
        assert gleclip("prepare-data", *options).exit_code == 2
    assert not victim.exists()
