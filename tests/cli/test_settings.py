"""Where a value comes from: command line > environment > TOML > preset > default."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

from gleclip_cli.artifacts.run_dir import RunDir, last_run
from gleclip_cli.cli.settings import nearest, read_toml
from gleclip_cli.config import GenCamConfig
from gleclip_cli.errors import OtherSettings, UsageError
from gleclip_cli.presets import PRESETS

Run = Callable[..., Result]


def hold(root: str, dataset: str, *splits: str) -> None:
    """Write the least that makes a run hold a data set."""
    folder = RunDir(root).output("prepare_data")
    folder.mkdir(parents=True)
    facts = {"dataset": dataset, "vocabulary": dataset, "root": "x"}
    splits = splits or ("train", "val")
    text = json.dumps({**facts, "splits": dict.fromkeys(splits, 1)})
    (folder / "dataset.json").write_text(text)
    (folder / "lists").mkdir()
    for split in splits:
        (folder / "lists" / f"{split}.txt").write_text("a\n")


def test_toml_keys_may_have_dashes(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text('[gen-cam]\nclip-model = "x"\n[all]\non-bad = "stop"\nrun = "y"\n')
    assert read_toml(file) == {
        "gen-cam": {"clip_model": "x"},
        "all": {"on_bad": "stop", "run": "y"},
    }


@pytest.mark.parametrize(
    ("text", "cause", "remedy"),
    [
        ("[gen-cam]\nscale = [1.0]", "unknown key 'scale' in [gen-cam]", "'scales'"),
        ("[all]\ndevise = 'cpu'", "unknown key 'devise' in [all]", "'device'"),
        ("[gen_cam]\n", "unknown table 'gen_cam'", "'gen-cam'"),
        ("device = 'cpu'", "unknown table 'device'", "Known: all, evaluate"),
        ("[gen-cam", "is not TOML", "Mend"),
    ],
)
def test_what_a_toml_file_may_not_say(tmp_path: Path, text: str, cause: str, remedy: str) -> None:
    file = tmp_path / "a.toml"
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_toml(file)
    assert cause in caught.value.cause
    assert remedy in caught.value.remedy


def test_a_missing_toml_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.toml: No such file"):
        read_toml(tmp_path / "none.toml")


def test_nearest_names_all_when_nothing_is_near() -> None:
    assert nearest("zzz", ["b_c", "a"]) == "Known: a, b-c."


def test_command_line_wins_over_toml_over_preset_over_default(stages: Any, gleclip: Run) -> None:
    hold("runs/scenes", "scenes")
    Path("a.toml").write_text(
        '[all]\nlimit = 7\ndevice = "cpu"\n[gen-cam]\nscales = [2.0]\nclip-weights = "random"\n'
    )
    gleclip("gen-cam", "--run", "runs/scenes", "--config", "a.toml", "--scales", "0.5,1")
    config = stages.last.config
    assert config.scales == (0.5, 1.0)  # command line
    assert config.clip_weights == "random"  # TOML over preset
    assert config.limit == 7  # [all]
    assert config.clip_model == "micro-clip"  # preset of the data set the run holds
    assert config.calibration == GenCamConfig().calibration  # default
    assert stages.last.execution.device == "cpu"


def test_a_default_typed_out_wins_over_the_preset(stages: Any, gleclip: Run) -> None:
    hold("runs/scenes", "scenes")
    gleclip("gen-cam", "--dataset", "scenes", "--clip-weights", "openai")
    assert stages.last.config.clip_weights == "openai"


def test_the_environment_names_the_data(
    stages: Any, gleclip: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLECLIP_DATA", "from-environment")
    Path("a.toml").write_text('[prepare-data]\ndata = "from-toml"\n')
    gleclip("prepare-data", "--dataset", "voc", "--config", "a.toml")
    assert stages.last.config.data == "from-environment"
    gleclip("prepare-data", "--dataset", "voc", "--data", "typed")
    assert stages.last.config.data == "typed"
    assert gleclip("prepare-data").exit_code == 0  # scenes are drawn: the variable does not matter
    assert stages.last.config.data == ""


def test_a_dataset_names_run_and_preset(stages: Any, gleclip: Run) -> None:
    hold("runs/voc", "voc")
    (Path("runs/voc/prepare_data/manifest.json")).write_text(
        '{"stage": "prepare_data", "key": "", "counts": {}, "complete": true}'
    )
    gleclip("gen-cam", "--dataset", "voc")
    assert [call.stage for call in stages.calls] == ["train_cam", "gen_cam"]
    assert stages.last.run.root == Path("runs/voc")
    assert stages.last.config.clip_model == "ViT-B-16-quickgelu"


SAID = "This VOC has no trainaug, so train takes its place"


def test_voc_takes_trainaug_as_published_or_says_that_it_has_none(
    stages: Any, gleclip: Run
) -> None:
    hold("runs/voc", "voc", "train", "trainaug", "val")
    hold("runs/bare", "voc", "train", "val")
    for command in ("train-cam", "gen-cam", "refine", "train-seg"):
        assert SAID not in gleclip(command, "--run", "runs/voc").stderr
        assert stages.last.config.split == "trainaug"
        assert gleclip(command, "--run", "runs/bare").stderr.count(SAID) == 1
        assert stages.last.config.split == "train"
        # gle-clip would be trained first, on the split of its own settings
        words = ("--split", "val", *(("--method", "clip-es") if command == "gen-cam" else ()))
        assert SAID not in gleclip(command, "--run", "runs/bare", *words).stderr
        assert stages.last.config.split == "val"
    gleclip("evaluate", "--run", "runs/voc")
    assert stages.last.config.split == "val"


def test_before_voc_is_prepared_its_lists_tell_whether_there_is_trainaug(
    stages: Any, gleclip: Run, tiny_voc: Path
) -> None:
    words = ("gen-cam", "--dataset", "voc", "--data", tiny_voc, "--method", "clip-es")
    assert SAID in gleclip(*words).stderr
    assert stages.last.config.split == "train"
    (tiny_voc / "SegmentationClassAug").mkdir()
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(tiny_voc / "SegmentationClassAug" / "a.png")
    assert SAID not in gleclip(*words).stderr
    assert stages.last.config.split == "trainaug"


def test_without_a_name_the_run_used_last_is_used_and_named(stages: Any, gleclip: Run) -> None:
    hold("runs/mine", "scenes")
    gleclip("refine", "--run", "runs/mine")
    for command in ("train-seg", "evaluate"):
        result = gleclip(command)
        assert stages.last.run.root == Path("runs/mine")
        assert "Using runs/mine, the run used last." in result.stderr
    assert stages.calls[1].config.arch == PRESETS["scenes"]["train-seg"]["arch"]


def test_the_first_command_ever_uses_scenes(stages: Any, gleclip: Run) -> None:
    gleclip("refine")
    assert stages.last.run.root == Path("runs/scenes")


@pytest.mark.parametrize("opened", [False, True])
def test_what_is_refused_at_once_is_not_the_run_used_last(
    stages: Any, gleclip: Run, opened: bool
) -> None:
    hold("runs/mine", "scenes")
    assert gleclip("refine", "--run", "runs/mine", "--steps", "nope").exit_code == 2
    assert last_run(Path("runs")) is None

    def act(called: Any, progress: Any) -> None:
        called.run.opened = opened
        raise OtherSettings("Other.")

    stages.act = act
    assert gleclip("refine", "--run", "runs/mine").exit_code == 5
    assert last_run(Path("runs")) == (Path("runs/mine") if opened else None)


def test_a_dry_run_is_not_remembered(stages: Any, gleclip: Run) -> None:
    hold("runs/mine", "scenes")
    gleclip("refine", "--run", "runs/mine", "--dry-run")
    assert stages.last.execution.dry_run
    assert last_run(Path("runs")) is None


def test_a_run_that_holds_another_dataset_is_refused(stages: Any, gleclip: Run) -> None:
    hold("runs/mine", "scenes")
    result = gleclip("refine", "--run", "runs/mine", "--dataset", "voc")
    assert result.exit_code == 2
    assert "runs/mine holds scenes, not voc." in result.stderr
    assert not stages.calls


def test_gen_cam_prepares_a_named_dataset_first_and_says_so(stages: Any, gleclip: Run) -> None:
    words = ("--limit", 2, "--shard", "1/2", "--on-bad", "skip", "--workers", 1)
    result = gleclip("gen-cam", "--dataset", "voc", "--data", "DIR", "--method", "clip-es", *words)
    assert [call.stage for call in stages.calls] == ["prepare_data", "gen_cam"]
    first, second = stages.calls
    assert "preparing them first" in result.stderr
    assert (first.config.dataset, first.config.data) == ("voc", "DIR")
    assert (first.config.limit, second.config.limit) == (None, 2)
    assert (first.execution.shard, second.execution.shard) == ((0, 1), (1, 2))
    assert (first.execution.on_bad, second.execution.on_bad) == ("stop", "skip")


def test_gen_cam_trains_gle_clip_first_and_says_so(stages: Any, gleclip: Run) -> None:
    hold("runs/mine", "scenes")
    Path("a.toml").write_text("[train-cam]\nepochs = 2.5\nclip-weights = 'other'\n")
    words = ("--config", "a.toml", "--clip-weights", "random", "--texts", "plain", "--limit", 2)
    result = gleclip("gen-cam", "--run", "runs/mine", *words, "--shard", "1/2", "--workers", 1)
    assert [call.stage for call in stages.calls] == ["train_cam", "gen_cam"]
    first, second = stages.calls
    assert "training it first" in result.stderr
    assert first.config.epochs == 2.5
    assert first.config.crop == PRESETS["scenes"]["train-cam"]["crop"]
    for name in ("clip_model", "clip_weights", "texts", "background_texts"):
        assert getattr(first.config, name) == getattr(second.config, name)
    assert second.config.clip_weights == "random"
    limit = PRESETS["scenes"]["train-cam"]["limit"]
    assert (first.config.limit, second.config.limit) == (limit, 2)
    assert (first.execution.shard, second.execution.shard) == ((0, 1), (1, 2))
    stages.calls.clear()
    gleclip("gen-cam", "--run", "runs/mine", "--method", "similarity")
    assert [call.stage for call in stages.calls] == ["gen_cam"]


def test_gen_cam_prepares_nothing_into_a_folder_without_a_dataset(
    stages: Any, gleclip: Run
) -> None:
    gleclip("gen-cam", "--run", "runs/typo", "--method", "clip-es")
    assert [call.stage for call in stages.calls] == ["gen_cam"]  # which misses its input


def test_prepare_data_stops_at_a_bad_item_and_other_stages_go_on(stages: Any, gleclip: Run) -> None:
    gleclip("prepare-data")
    gleclip("refine")
    assert [call.execution.on_bad for call in stages.calls] == ["stop", "skip"]
    gleclip("prepare-data", "--on-bad", "skip")
    assert stages.last.execution.on_bad == "skip"


def test_torchrun_splits_images_unless_they_are_split_already(
    stages: Any, gleclip: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold("runs/voc", "voc")
    gleclip("refine", "--dataset", "voc", "--shard", "1/3")
    assert (stages.last.execution.shard, stages.last.execution.together) == ((1, 3), False)
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "2")
    for command in ("refine", "evaluate"):
        gleclip(command, "--dataset", "voc", "--dry-run")
        assert (stages.last.execution.shard, stages.last.execution.together) == ((2, 4), True)
    gleclip("train-seg", "--dataset", "voc", "--dry-run")
    assert stages.last.execution.shard == (0, 1)  # joins the others by itself
    monkeypatch.setenv("RANK", "0")
    result = gleclip("refine", "--dataset", "voc", "--shard", "1/3")
    assert result.exit_code == 2
    assert "torchrun with its 4 processes" in result.stderr
