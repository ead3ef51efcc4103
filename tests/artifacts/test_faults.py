"""What becomes of bad items: recorded, tried again, or the end."""

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from gleclip_cli.artifacts.stage import open_stage
from gleclip_cli.config import Execution
from gleclip_cli.errors import BadInput, EnvironmentFault


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_failed_item_is_recorded_and_tried_again(toy: Any) -> None:
    manifest = toy(bad=["c", "a b"])
    assert not manifest.complete
    assert manifest.counts["failed"] == 2
    assert manifest.counts["done"] == 6
    failed = lines(toy.folder / "failed.jsonl")
    assert failed == [
        {"id": "a b", "reason": "a b is bad.", "remedy": "Mend it."},
        {"id": "c", "reason": "c is bad.", "remedy": "Mend it."},
    ]
    assert manifest.data["failures"] == failed
    assert len(toy.heard) == 2
    assert toy().complete
    assert toy.made == ["a b", "c"]
    assert not (toy.folder / "failed.jsonl").exists()


def test_on_bad_stop_keeps_what_was_done(toy: Any) -> None:
    with pytest.raises(BadInput, match="c is bad"):
        toy(bad=["c"], on_bad="stop")
    assert toy.made == ["b", "a b", "Zwölf"]
    toy()
    assert toy.made == toy.ids[3:]


def test_max_failures_stops_the_stage(toy: Any) -> None:
    with pytest.raises(BadInput, match="Stopped after 2 failed items") as caught:
        toy(bad=["a b", "c", "d"], max_failures=2)
    assert caught.value.exit_code == 3
    assert toy.made == ["b", "Zwölf"]


def test_errors_of_files_are_failures_and_those_of_the_disk_are_not(toy: Any) -> None:
    with open_stage(toy.run, "gen_cam", {}, item_ids=["a", "b"], execution=Execution()) as stage:
        with stage.item("a", Path("a\x1b.jpg")):
            raise FileNotFoundError(errno.ENOENT, "No such file", "a.jpg")
        with pytest.raises(EnvironmentFault, match="disk is full"), stage.item("b"):
            raise OSError(errno.ENOSPC, "No space left")
        with pytest.raises(ZeroDivisionError), stage.item("b"):  # ours: never hidden
            _ = 1 / 0
    assert lines(stage.folder / "failed.jsonl") == [
        {
            "id": "a",
            "path": r"a\x1b.jpg",
            "reason": "a.jpg: No such file.",
            "remedy": "Check the file and run the same command again.",
        }
    ]
