"""Schedules, computed by hand."""

import pytest

from gleclip_cli.config import TrainSegConfig
from gleclip_cli.training.recipe import Recipe


def recipe(**changes) -> Recipe:
    return Recipe(**{"steps": 100, "learning_rate": 2.0, "weight_decay": 0.0, **changes})


def test_poly_rises_linearly_and_falls_polynomially():
    plan = recipe(warmup=0.1, poly_power=0.9)
    assert plan.rate(0) == pytest.approx(2.0 * 0.1)
    assert plan.rate(4) == pytest.approx(2.0 * 0.5 * 0.96**0.9)
    assert plan.rate(9) == pytest.approx(2.0 * 0.91**0.9)
    assert plan.rate(50) == pytest.approx(2.0 * 0.5**0.9)
    assert plan.rate(99) == pytest.approx(2.0 * 0.01**0.9)
    assert recipe().rate(0) == 2.0


def test_cosine_falls_slowly_at_both_ends():
    plan = recipe(schedule="cosine")
    assert [plan.rate(step) for step in (0, 25, 50, 75)] == pytest.approx(
        [2.0, 1 + 0.5**0.5, 1.0, 1 - 0.5**0.5]
    )
    warm = recipe(schedule="cosine", warmup=0.5)
    assert warm.rate(25) == pytest.approx(26 / 50 * (1 + 0.5**0.5))


def test_a_step_takes_all_batches_whose_gradients_it_adds_up():
    config = TrainSegConfig(epochs=20.0, batch_size=5, accumulate=2, seed=7)
    plan = Recipe.of(config, 1000, accumulate=config.accumulate)
    assert (plan.steps, plan.accumulate, plan.seed) == (2000, 2, 7)
    assert Recipe.of(config, 1, least=3).steps == 4
    assert Recipe.of(config, 0, least=3).steps == 3
