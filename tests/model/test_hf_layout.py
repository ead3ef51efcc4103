"""Hugging Face's layout: renamed to open_clip's, and the settings that lie beside."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gleclip_cli.errors import BadInput
from gleclip_cli.model.clip import load_clip
from gleclip_cli.model.hf_layout import as_open_clip, settings_beside, weights_in

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def state(tiny_clip_json: str) -> State:
    return dict(load_clip(tiny_clip_json, "random", seed=9).clip.state_dict())


def test_every_name_becomes_open_clips(
    state: State, to_hugging_face: Callable[[State], State]
) -> None:
    theirs = to_hugging_face(state)
    assert not set(theirs) & (set(state) - {"logit_scale"})
    renamed = as_open_clip(theirs)
    positions = {f"{part}_model.embeddings.position_ids" for part in ("vision", "text")}
    assert set(renamed) == set(state) | positions  # which `read_weights` leaves out
    assert all(torch.equal(renamed[name], value) for name, value in state.items())


def test_a_state_dict_of_open_clip_stays_as_it_is(state: State) -> None:
    again = as_open_clip(state)
    assert list(again) == list(state)
    assert all(again[name] is state[name] for name in state)


def test_a_layer_without_its_keys_is_left_apart(
    state: State, to_hugging_face: Callable[[State], State]
) -> None:
    theirs = to_hugging_face(state)
    del theirs["vision_model.encoder.layers.2.self_attn.k_proj.weight"]
    renamed = as_open_clip(theirs)
    block = "visual.transformer.resblocks.2.attn."
    assert f"{block}in_proj_weight" not in renamed
    assert {f"{block}q_proj.weight", f"{block}v_proj.weight", f"{block}in_proj_bias"} <= set(
        renamed
    )


@pytest.mark.parametrize(
    ("vision", "quick_gelu"), [({"hidden_act": "gelu"}, False), ({"patch_size": 16}, True)]
)
def test_settings_are_those_of_the_folder(
    tmp_path: Path, vision: dict[str, Any], quick_gelu: bool
) -> None:
    file = tmp_path / "model.safetensors"
    (tmp_path / "config.json").write_text(json.dumps({"vision_config": vision}))
    assert settings_beside(file) == (quick_gelu, {})
    seen = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.2, 0.1], "size": 224}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(seen))
    colours = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.1]}
    assert settings_beside(file) == (quick_gelu, colours)


@pytest.mark.parametrize("content", [None, "{}", "[]", '{"vision_cfg": {}, "vision_config": 3}'])
def test_other_configurations_say_nothing(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    assert settings_beside(tmp_path / "model.safetensors") is None


def test_a_broken_configuration_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(BadInput, match=r"config\.json cannot be read"):
        settings_beside(tmp_path / "model.safetensors")


def test_a_folder_gives_its_weights(tmp_path: Path) -> None:
    assert weights_in(tmp_path) is None
    (tmp_path / "tokenizer.json").touch()
    assert weights_in(tmp_path) is None
    for name in ("pytorch_model.bin", "model.safetensors", "open_clip_model.safetensors"):
        (tmp_path / name).touch()
        assert weights_in(tmp_path) == tmp_path / name
