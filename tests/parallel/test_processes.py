"""Processes of one training: alone, two over gloo, and when one of them dies."""

import json
import os
import sys
from pathlib import Path

import pytest
import torch

from gleclip_cli.errors import EnvironmentFault, UsageError
from gleclip_cli.parallel.processes import ALONE, Processes, joined

CPU = torch.device("cpu")


def test_alone_everything_is_what_it_was(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined("auto") as processes:
        assert processes == ALONE == Processes(0, 1, "auto")
        value = torch.tensor([1.0, 2.0])
        assert processes.mean(value) is value
        assert processes.gather("a") == ["a"]
        assert processes.all(True, CPU)
        assert not processes.all(False, CPU)
        processes.wait()


def test_a_batch_is_divided_evenly_or_refused():
    assert Processes(1, 3).share(6) == (1, 3)
    with pytest.raises(UsageError, match="batch-size 7 cannot be divided among 3") as caught:
        Processes(1, 3).share(7)
    assert caught.value.exit_code == 2
    assert caught.value.remedy == "Use a multiple of 3."


@pytest.mark.parametrize("device", ["cuda:1", "mps"])
def test_a_device_that_cannot_be_shared_is_refused(device, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="one device for 2 processes"), joined(device):
        pass


def test_two_processes_compute_together_and_one_learns_of_the_death_of_the_other(
    in_two_processes, tmp_path
):
    assert in_two_processes(__file__, str(tmp_path)) == [0, 7]
    told = json.loads((tmp_path / "told.json").read_text())
    assert told == {
        "mean": [0.5, 10.0],
        "all": [True, False, False],
        "gather": ["of 0", "of 1"],
        "device": "cpu",
        "fault": "Another process of this training has ended or cannot be reached.",
    }


def one_of_two(folder: Path) -> None:
    """What each process does: together, then the second dies."""
    with joined("cpu") as processes:
        rank = processes.rank
        told = {
            "mean": processes.mean(torch.tensor([rank, 10.0])).tolist(),
            "all": [processes.all(flag, CPU) for flag in (True, rank == 0, False)],
            "gather": processes.gather(f"of {rank}"),
            "device": processes.device,
        }
        if rank == 1:
            os._exit(7)
        try:
            processes.wait()
        except EnvironmentFault as fault:
            (folder / "told.json").write_text(json.dumps({**told, "fault": fault.cause}))
            os._exit(0)


if __name__ == "__main__":
    one_of_two(Path(sys.argv[1]))
