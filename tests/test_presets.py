"""Presets say only what the stages know."""

import pytest

from gleclip_cli.cli.values import build
from gleclip_cli.config import CONFIGS, DATASETS
from gleclip_cli.presets import PRESETS


@pytest.mark.parametrize("preset", PRESETS)
def test_every_field_of_a_preset_exists_and_fits(preset: str) -> None:
    assert set(PRESETS[preset]) <= set(CONFIGS)
    for command, values in PRESETS[preset].items():
        config = build(CONFIGS[command], values, {"data": "x"} if _is_read(values) else {})
        assert {name: getattr(config, name) for name in values} == values


def test_every_data_set_has_a_preset() -> None:
    assert {preset["prepare-data"]["dataset"] for preset in PRESETS.values()} == set(DATASETS)
    assert set(DATASETS) <= set(PRESETS)


def test_what_training_and_maps_have_in_common_agrees() -> None:
    for preset in PRESETS.values():
        trained, asked = (preset.get(command, {}) for command in ("train-cam", "gen-cam"))
        for name in ("clip_model", "clip_weights", "texts", "background_texts"):
            assert trained.get(name) == asked.get(name)


def _is_read(values: dict[str, object]) -> bool:
    return values.get("dataset", "scenes") != "scenes"
