"""Words become values of the right kind, or are refused."""

from typing import Any

import pytest

from gleclip_cli.cli.values import build
from gleclip_cli.config import Execution, GenCamConfig, RefineConfig, TrainSegConfig
from gleclip_cli.errors import UsageError


@pytest.mark.parametrize(
    ("config", "values", "name", "expected"),
    [
        (GenCamConfig, {"scales": ["0.5,1", "2"]}, "scales", (0.5, 1.0, 2.0)),
        (GenCamConfig, {"scales": [1, 2]}, "scales", (1.0, 2.0)),
        (GenCamConfig, {"scales": 1}, "scales", (1.0,)),
        (GenCamConfig, {"limit": None}, "limit", None),
        (GenCamConfig, {"limit": 3}, "limit", 3),
        (GenCamConfig, {"caa_threshold": 1}, "caa_threshold", 1.0),
        (RefineConfig, {"steps": ["caa,par"]}, "steps", ("caa", "par")),
        (RefineConfig, {"steps": ["none"]}, "steps", ()),
        (RefineConfig, {"steps": []}, "steps", ()),
        (Execution, {"shard": "1/4"}, "shard", (1, 4)),
    ],
)
def test_values_become_what_the_field_says(
    config: type[Any], values: dict[str, Any], name: str, expected: object
) -> None:
    value = getattr(build(config, values), name)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("config", "values"),
    [
        (GenCamConfig, {"limit": 2.5}),
        (GenCamConfig, {"limit": True}),
        (GenCamConfig, {"limit": "two"}),
        (GenCamConfig, {"scales": ["one"]}),
        (GenCamConfig, {"flip": 1}),
        (GenCamConfig, {"method": 3}),
        (GenCamConfig, {"method": "magic"}),
        (TrainSegConfig, {"epochs": True}),
        (Execution, {"shard": "4"}),
        (Execution, {"shard": "4/4"}),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_by_its_option(
    config: type[Any], values: dict[str, Any]
) -> None:
    with pytest.raises(UsageError, match="--" + next(iter(values))):
        build(config, values)


def test_later_layers_win_and_other_fields_are_left_out() -> None:
    config = build(GenCamConfig, {"split": "a", "limit": 1}, {"split": "b", "epochs": 3})
    assert (config.split, config.limit) == ("b", 1)
