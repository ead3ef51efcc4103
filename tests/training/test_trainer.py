"""One step: gradients of several batches, half precision, gradients that are no numbers."""

import pytest
import torch
from torch import Tensor, nn

from gleclip_cli.errors import Diverged
from gleclip_cli.training.batches import Batch
from gleclip_cli.training.recipe import Recipe
from gleclip_cli.training.trainer import Trainer

CPU = torch.device("cpu")


class Line(nn.Module):
    """One weight; the loss of a batch is the weight times its picture's colour."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor([1.0]))

    def optimiser(self, *, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
        return torch.optim.SGD([{"params": [self.slope], "rate": 1.0}], lr=learning_rate)

    def weights(self) -> dict[str, Tensor]:
        return self.state_dict()


class Multiplied(nn.Linear):
    """A product, which half precision computes in its own type."""

    def optimiser(self, *, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
        groups = [{"params": list(self.parameters()), "rate": 1.0}]
        return torch.optim.SGD(groups, lr=learning_rate)

    def weights(self) -> dict[str, Tensor]:
        return self.state_dict()


def batch(image_id: str, colour: float) -> Batch:
    return Batch((image_id,), torch.full((1, 3, 1, 1), colour), torch.zeros(1, 1, 1))


def trainer_of(line: Line, **changes) -> Trainer:
    plan = Recipe(**{"steps": 4, "learning_rate": 0.1, "weight_decay": 0.0, **changes})
    return Trainer(line, lambda batch: (line.slope * batch.images.mean()).sum(), plan, device=CPU)


def take(trainer: Trainer, *batches: Batch) -> None:
    trainer.begin()
    for part in batches:
        trainer.learn(trainer.loss(part)[0])
    trainer.update()
    trainer.step += 1


def test_a_step_takes_the_mean_gradient_of_its_batches():
    line = Line()
    take(trainer_of(line, accumulate=2), batch("a", 1.0), batch("b", 4.0))
    assert line.slope.item() == pytest.approx(1 - 0.1 * 2.5)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_that_of_the_forward(precision):
    line = Multiplied(2, 1)
    seen = []
    plan = Recipe(steps=1, learning_rate=0.1, weight_decay=0.0, precision=precision)

    def criterion(batch: Batch) -> Tensor:
        made = line(batch.images.reshape(1, 3)[:, :2])
        seen.append(made.dtype)
        return made.float().sum()

    before = line.weight.detach().clone()
    trainer = Trainer(line, criterion, plan, device=CPU)
    trainer._scaler = torch.amp.GradScaler("cpu", init_scale=4.0, enabled=precision == "fp16")
    take(trainer, batch("a", 0.5))
    assert seen == [torch.bfloat16 if precision == "bf16" else torch.float16]
    assert torch.allclose(line.weight, before - 0.1 * 0.5, atol=1e-6)


def test_fault_65_a_gradient_that_is_no_number_stops_and_names_all_images_of_the_step():
    line = Line()
    trainer = trainer_of(line, accumulate=2)
    line.slope.register_hook(lambda grad: grad * torch.inf)
    with pytest.raises(Diverged, match=r"gradient is not finite at step 0, images a, b\."):
        take(trainer, batch("a", 1.0), batch("b", 1.0))
    assert line.slope.item() == 1.0


def test_fp16_leaves_steps_out_until_gradients_fit_but_not_for_ever():
    line = Line()
    trainer = trainer_of(line, precision="fp16")
    limit = line.slope.register_hook(lambda g: g.where(g.abs() < 20000, torch.inf))
    for _ in range(2):  # 65536, 32768
        take(trainer, batch("a", 1.0))
        assert line.slope.item() == 1.0
    take(trainer, batch("a", 1.0))
    assert line.slope.item() < 1.0
    limit.remove()
    line.slope.register_hook(lambda grad: grad * torch.inf)
    for _ in range(19):
        trainer.step = 0
        take(trainer, batch("a", 1.0))
    with pytest.raises(Diverged, match="not finite"):
        take(trainer, batch("a", 1.0))


def test_the_scale_of_fp16_is_part_of_the_state():
    first, second = (trainer_of(Line(), precision="fp16") for _ in range(2))
    first.learn(first.loss(batch("a", 1.0))[0])
    first._scaler.update(128.0)
    second.restore(first.state())
    assert second._scaler.get_scale() == 128.0


def test_a_step_draws_by_its_number_alone():
    drawn = []
    for past in (1, 2):
        torch.manual_seed(past)
        trainer = trainer_of(Line(), seed=3)
        trainer.step = 5
        trainer.begin()
        drawn.append(torch.rand(1).item())
    trainer.step = 6
    trainer.begin()
    assert drawn[0] == drawn[1] != torch.rand(1).item()
