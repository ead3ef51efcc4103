import pytest
import torch

from gleclip_cli.config import Execution
from gleclip_cli.errors import EnvironmentFault, UsageError
from gleclip_cli.parallel.device import device_of, own_device, pick_device
from gleclip_cli.progress import Silent


class Heard(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


def test_fault_62_without_cuda_auto_says_so_and_cuda_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    heard = Heard()
    assert pick_device("auto", heard) == torch.device("cpu")
    assert len(heard.lines) == 1
    for name in ("cuda", "cuda:0"):
        with pytest.raises(EnvironmentFault):
            pick_device(name)


def test_auto_takes_cuda_and_a_number_must_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("auto") == torch.device("cuda")
    assert pick_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(EnvironmentFault, match="cuda:2"):
        pick_device("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "meta", "cuda:x", ""])
def test_a_device_nobody_knows_is_a_usage_error(name: str) -> None:
    with pytest.raises(UsageError, match="--device"):
        pick_device(name)


def test_processes_of_one_launcher_have_a_gpu_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert own_device("cuda:1", 1) == "cuda:1"
    assert own_device("cpu", 4) == "cpu"
    assert own_device("cuda", 4) == "cuda:3"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert own_device("auto", 4) == "cpu"
    together = Execution(device="auto", shard=(3, 4), together=True)
    assert device_of(together) == torch.device("cpu")
    with pytest.raises(UsageError, match="one device for 4 processes"):
        own_device("cuda:1", 4)
