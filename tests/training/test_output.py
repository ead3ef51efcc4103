"""Of several processes one writes; what any of them cannot read is recorded once."""

import json
from dataclasses import dataclass, replace
from typing import Any

import pytest

from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.config import Execution
from gleclip_cli.errors import BadInput
from gleclip_cli.parallel.processes import Processes
from gleclip_cli.training.output import BadImages, open_training

CPU = Execution(device="cpu")


@dataclass(frozen=True)
class Fake(Processes):
    """Two processes, played one after the other; `others` is what the other one gathers."""

    count: int = 2
    others: Any = None

    def wait(self) -> None:
        """The test has the right order."""

    def gather(self, value: Any) -> list[Any]:
        return [value] if self.others is None else [value, self.others]


MAIN, SECOND = Fake(0), Fake(1)


@pytest.fixture
def run(tmp_path) -> RunDir:
    return RunDir(tmp_path / "run")


def opened(run: RunDir, processes: Processes, execution: Execution = CPU):
    return open_training(
        run, "train_seg", {"a": 1}, name="x", processes=processes, execution=execution
    )


def failed(run: RunDir) -> list[str]:
    path = run.output("train_seg", "x") / "failed.jsonl"
    return [json.loads(line)["id"] for line in path.read_text().splitlines()]


def test_the_main_process_writes_and_the_others_look(run):
    with opened(run, MAIN) as main:
        before = {p.name: p.read_bytes() for p in main.folder.iterdir()}
        assert ".lock" in before
        with opened(run, SECOND) as second:  # no second lock
            assert not second.finished
            second.log({"event": "step"})
            second.warn("dropped")
            second.finish(steps=1)
        assert {p.name: p.read_bytes() for p in main.folder.iterdir()} == before
        main.finish(steps=1)
    for execution, finished in ((CPU, True), (replace(CPU, resume=False), False)):
        with opened(run, MAIN, execution) as main, opened(run, SECOND, execution) as second:
            assert main.finished == second.finished == finished


def test_67_what_any_process_cannot_read_is_recorded_once_by_the_main_one(run):
    mine, other = BadInput("a is broken."), BadInput("b is broken.", "Mend it.")
    with opened(run, MAIN) as stage:
        bad = BadImages(stage, Fake(0, others={"a": mine, "b": other}), images=3, on_bad="skip")
        bad("a", mine)
        bad("a", mine)  # of a later pass
        assert failed(run) == ["a"]
        bad.gather()
        assert failed(run) == ["a", "b"]
        with opened(run, SECOND) as looking:
            second = BadImages(looking, Fake(1, others={"a": mine}), images=3, on_bad="skip")
            second("b", other)
            second.gather()
        assert failed(run) == ["a", "b"]


@pytest.mark.parametrize("processes", [MAIN, SECOND])
def test_67_bad_images_stop_when_asked_to_and_when_none_is_left(run, processes):
    stopping = replace(CPU, on_bad="stop")
    with opened(run, MAIN, stopping) as stage, pytest.raises(BadInput, match="a is broken"):
        BadImages(stage, processes, images=3, on_bad="stop")("a", BadInput("a is broken."))
    with opened(run, MAIN) as stage:
        bad = BadImages(
            stage, replace(processes, others={"b": BadInput("b.")}), images=2, on_bad="skip"
        )
        bad("a", BadInput("a is broken."))
        with pytest.raises(BadInput, match="No image can be read"):
            bad.gather()
