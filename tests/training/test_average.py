"""The mean of weights against one computed by hand."""

import torch
from torch import Tensor, nn

from gleclip_cli.training.average import WeightAverage


class Counted(nn.Module):
    """A trained weight, a frozen one, and a counter."""

    def __init__(self) -> None:
        super().__init__()
        self.trained = nn.Parameter(torch.tensor([1.0]))
        self.frozen = nn.Parameter(torch.tensor([5.0]), requires_grad=False)
        self.register_buffer("count", torch.tensor(0))

    def optimiser(self, *, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
        return torch.optim.SGD([self.trained], lr=learning_rate)

    def weights(self) -> dict[str, Tensor]:
        return self.state_dict()


def test_it_is_the_exponential_mean_and_young_means_move_fast():
    learning = Counted()
    average, expected = WeightAverage(learning, 0.3), 1.0
    for step, value in enumerate((3.0, 7.0, 5.0, 6.0)):
        learning.trained.data.fill_(value)
        learning.count += 1
        average.update()
        keep = min(0.3, (1 + step) / (10 + step))
        expected = keep * expected + (1 - keep) * value
    assert torch.allclose(average.network.trained, torch.tensor([expected]))
    assert average.network.count == 4
    assert learning.trained == 6.0
    assert learning.trained.requires_grad
    assert not average.network.trained.requires_grad
    assert not average.network.training


def test_what_is_frozen_is_shared():
    learning = Counted()
    average = WeightAverage(learning, 0.9)
    assert average.network.frozen is learning.frozen
    assert average.network.trained is not learning.trained


def test_it_comes_back():
    first, second = (WeightAverage(Counted(), 0.9) for _ in range(2))
    first._learning.trained.data.fill_(9.0)
    first.update()
    second.restore(first.state())
    assert second.updates == 1
    assert torch.equal(second.network.trained, first.network.trained)
