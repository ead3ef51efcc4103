"""Batch norm over a whole batch: one process, several, and a single value."""

import json
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from gleclip_cli.parallel.processes import ALONE, Processes, joined
from gleclip_cli.seg.norms import SharedBatchNorm, share_norms


def norm() -> nn.BatchNorm2d:
    torch.manual_seed(0)
    plain = nn.BatchNorm2d(3)
    nn.init.normal_(plain.weight)
    nn.init.normal_(plain.bias)
    return plain


def test_alone_it_is_the_plain_one():
    maps, shared = torch.randn(4, 3, 5, 2), SharedBatchNorm(norm(), ALONE)
    plain = norm()
    for mode in (True, False):
        assert torch.equal(shared.train(mode)(maps), plain.train(mode)(maps))
    assert list(shared.state_dict()) == list(plain.state_dict())
    assert torch.equal(shared.running_var, plain.running_var)


@pytest.mark.parametrize("count", [1, 2])
def test_68_a_single_value_takes_running_statistics(count):
    class Empty(Processes):
        def mean(self, tensor):
            return tensor / self.count  # the other share is empty

    shared = SharedBatchNorm(norm(), Empty(0, count))
    before = shared.running_mean.clone()
    value = torch.randn(1, 3, 1, 1)
    assert torch.equal(shared(value), norm().eval()(value))
    assert torch.equal(shared.running_mean, before)


def test_all_plain_norms_are_replaced_and_others_told():
    class Other(nn.BatchNorm2d):
        pass

    network = nn.Sequential(norm(), nn.Sequential(norm()))
    assert not share_norms(network, ALONE)
    assert sum(isinstance(m, SharedBatchNorm) for m in network.modules()) == 2
    assert share_norms(nn.Sequential(norm(), Other(3)), ALONE)


MAPS = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(1))


def step(processes: Processes, shares: slice) -> dict[str, list[float]]:
    """Losses over two steps on a share, gradients and statistics after them."""
    shared = SharedBatchNorm(norm(), processes)
    losses = []
    for power in (2, 3):
        maps = MAPS[shares].clone().requires_grad_()
        # its mean over the shares is the sum over the batch, divided by two
        loss = shared(maps).pow(power).mul(MAPS[shares]).sum() * processes.count / 2
        loss.backward()
        losses.append(processes.mean(loss.detach()).item())
    weight = processes.mean(shared.weight.grad)
    return {
        "losses": losses,
        "weight": weight.tolist(),
        "statistics": torch.cat([shared.running_mean, shared.running_var]).tolist(),
        "pictures": [g.abs().sum().item() / processes.count for g in maps.grad],
    }


@pytest.mark.slow
def test_two_processes_have_the_statistics_and_gradients_of_one(in_two_processes, tmp_path):
    assert in_two_processes(__file__, str(tmp_path)) == [0, 0]
    found = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    expected = step(ALONE, slice(None))
    for name in ("losses", "weight", "statistics"):
        for one in found:
            assert one[name] == pytest.approx(expected[name], rel=1e-5, abs=1e-5)
    pictures = found[0]["pictures"] + found[1]["pictures"]
    assert pictures == pytest.approx(expected["pictures"], rel=1e-5)


if __name__ == "__main__":
    with joined("cpu") as both:
        own = step(both, slice(0, 2) if both.main else slice(2, None))
        (Path(sys.argv[1]) / f"{both.rank}.json").write_text(json.dumps(own))
