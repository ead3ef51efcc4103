"""Entering an output folder, and what stays of it after an error."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gleclip_cli.artifacts.stage import Stage, open_stage
from gleclip_cli.config import Execution
from gleclip_cli.errors import BadInput, OtherSettings

OTHER = {"scales": (0.5,)}


def fail(toy: Any, **options: Any) -> None:
    """Meet a bad item before any other."""
    with pytest.raises(BadInput, match="b is bad"):
        toy(bad=["b"], on_bad="stop", **options)


def test_what_fails_before_anything_is_made_leaves_nothing(toy: Any) -> None:
    fail(toy)
    assert not toy.run.root.exists()
    assert toy(config=OTHER).complete


def test_shards_that_fail_leave_nothing(toy: Any) -> None:
    for index in range(2):
        with pytest.raises(BadInput):
            toy(bad=toy.ids, on_bad="stop", shard=(index, 2))
    assert not toy.run.root.exists()


def test_folders_of_somebody_else_stay(toy: Any) -> None:
    toy.folder.mkdir(parents=True)
    (toy.folder / ".hidden").write_text("mine")
    fail(toy)
    assert [path.name for path in toy.folder.iterdir()] == [".hidden"]
    assert toy(config=OTHER).complete


def train(toy: Any, work: Callable[[Stage], None]) -> None:
    """A stage without items that does some work and fails."""
    with open_stage(toy.run, "train_seg", {}, execution=Execution()) as stage:
        work(stage)
        _ = 1 / 0


def test_empty_folders_go_with_the_settings(toy: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        train(toy, lambda stage: (stage.folder / "state" / "new").mkdir(parents=True))
    assert not toy.run.root.exists()


def test_settings_stay_with_what_was_made_under_them(toy: Any) -> None:
    for made in (toy.ids[:3], []):  # the second call makes nothing
        with pytest.raises(BadInput):
            toy(bad=["c"], on_bad="stop")
        assert toy.made == made
    with pytest.raises(OtherSettings):
        toy(config=OTHER)
    assert toy().complete
    assert toy.made == toy.ids[3:]


def test_what_a_message_points_to_stays(toy: Any) -> None:
    with pytest.raises(BadInput, match=r"failed\.jsonl") as caught:
        toy(bad=["b"], max_failures=1)
    assert Path(caught.value.remedy.split()[1][:-1]).exists()
    with pytest.raises(OtherSettings):
        toy(config=OTHER)


def test_the_log_of_some_work_stays(toy: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        train(toy, lambda stage: stage.log({"event": "step", "step": 0, "loss": 1.0}))
    names = {path.name for path in toy.run.output("train_seg").iterdir()}
    assert names == {"settings.json", "log.jsonl"}


def test_the_claim_of_a_working_shard_stays(toy: Any) -> None:
    first = Execution(shard=(0, 2))
    settings = {"scales": (1.0,), "flip": False}
    with open_stage(toy.run, "gen_cam", settings, name="train", execution=first):
        with pytest.raises(BadInput):
            toy(bad=toy.ids, on_bad="stop", shard=(1, 2))
        assert (toy.folder / "settings.json").exists()


def test_a_replaced_output_that_fails_leaves_nothing(toy: Any) -> None:
    toy()
    fail(toy, config=OTHER, overwrite=True)
    assert not any(toy.folder.iterdir())
    assert toy().complete
