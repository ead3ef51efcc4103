"""What logs tell of trainings that were interrupted or done again."""

from typing import Any

from gleclip_cli.tools.report.outputs import training_of


def step(number: int, loss: float) -> dict[str, Any]:
    return {"event": "step", "step": number, "loss": loss, "rate": loss / 10}


def test_steps_that_were_repeated_count_once() -> None:
    first = [{"event": "open"}, step(0, 3.0), step(10, 2.0), step(20, 9.0)]
    monitor = {"event": "monitor", "split": "val", "miou": 0.4, "images": 20}
    again = [{"event": "resumed", "step": 15}, step(20, 1.5), step(30, 1.0), monitor]
    training = training_of([*first, monitor, *again])
    assert training.losses == [(0, 3.0), (10, 2.0), (20, 1.5), (30, 1.0)]
    assert training.rates[-1] == (30, 0.1)
    assert training.monitored == [(30, 0.4)]
    assert training.monitored_split == "val"


def test_a_training_done_anew_forgets_the_first() -> None:
    long_ago = [step(number, 5.0) for number in range(0, 100, 10)]
    assert training_of([*long_ago, step(0, 2.0), step(10, 1.0)]).losses == [(0, 2.0), (10, 1.0)]


def test_what_is_odd_is_passed_over() -> None:
    odd = [{"event": "step"}, {"event": "step", "step": "x"}, {"event": "monitor"}, step(0, 1.0)]
    training = training_of([*odd, {"event": "step", "step": 10, "loss": None}])
    assert training.losses == [(0, 1.0)]
    assert training.monitored == []
