"""Checkpoints and training state: no pickle, no damage, bit for bit."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gleclip_cli.artifacts.checkpoint import (
    checkpoint_files,
    load_checkpoint,
    load_training_state,
    save_checkpoint,
    save_hub_checkpoint,
    save_training_state,
)
from gleclip_cli.artifacts.lines import sha256_of
from gleclip_cli.errors import BadInput, MissingInput


def tensors() -> dict[str, torch.Tensor]:
    shared = torch.arange(6.0)
    return {
        "a.weight": torch.randn(2, 3, generator=torch.Generator().manual_seed(0)),
        "half": torch.ones(3, dtype=torch.bfloat16),
        "count": torch.tensor(7),
        "view": shared.view(2, 3).T,
        "same": shared,
        "grad": torch.nn.Parameter(torch.ones(2)),
    }


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "checkpoint.safetensors"
    save_checkpoint(path, tensors(), {"arch": "deeplabv2", "miou": 0.5})
    loaded, meta = load_checkpoint(path)
    assert meta == {"arch": "deeplabv2", "miou": 0.5, "sha256": sha256_of(path)}
    for name, tensor in tensors().items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], tensor), name


def test_the_same_weights_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_checkpoint(tmp_path / f"{name}.safetensors", tensors(), {"x": 1})
        save_training_state(tmp_path / name, {"weights": tensors(), "step": 3})
    for name in (".safetensors", ".json", "/state.safetensors"):
        assert Path(f"{tmp_path}/a{name}").read_bytes() == Path(f"{tmp_path}/b{name}").read_bytes()


def test_fault_52_damaged_checkpoints_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(MissingInput, match="train-seg"):
        load_checkpoint(path)
    save_checkpoint(path, tensors(), {})
    data = path.read_bytes()
    for position in (3, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        with pytest.raises(BadInput, match="damaged"):
            load_checkpoint(path)
    path.write_bytes(b"no safetensors")
    meta = json.dumps({"sha256": sha256_of(path)})
    path.with_suffix(".json").write_text(meta)
    with pytest.raises(BadInput, match="no safetensors"):
        load_checkpoint(path)


def test_every_kind_of_state_comes_back(tmp_path: Path) -> None:
    state: dict[str, Any] = {
        "step": 12,
        "rate": 0.1 + 0.2,
        "best": float("inf"),
        "name": "Zwölf",
        "flags": [True, None, (1, [2.5])],
        "by number": {0: {"step": torch.tensor(3.0)}, 10: {}},
        "python": random.Random(0).getstate(),
        "torch": torch.Generator().get_state(),
        "numpy": np.random.RandomState(0).get_state()[1],
        "nothing": torch.zeros(0, 4),
    }
    save_training_state(tmp_path, state)
    loaded = load_training_state(tmp_path)
    assert loaded is not None
    assert list(loaded) == list(state)
    for name in ("step", "rate", "best", "name", "flags", "python"):
        assert loaded[name] == state[name]
    assert isinstance(loaded["flags"][2], tuple)
    assert list(loaded["by number"]) == [0, 10]
    assert torch.equal(loaded["by number"][0]["step"], torch.tensor(3.0))
    assert torch.equal(loaded["torch"], state["torch"])
    assert loaded["numpy"].dtype == np.uint32
    np.testing.assert_array_equal(loaded["numpy"], state["numpy"])
    assert loaded["nothing"].shape == (0, 4)


def test_a_random_state_goes_on_bit_for_bit(tmp_path: Path) -> None:
    save_training_state(tmp_path, {"torch": torch.get_rng_state()})
    expected = torch.randn(5)
    loaded = load_training_state(tmp_path)
    assert loaded is not None
    torch.set_rng_state(loaded["torch"])
    assert torch.equal(torch.randn(5), expected)


def test_no_state_and_damaged_state(tmp_path: Path) -> None:
    assert load_training_state(tmp_path) is None
    save_training_state(tmp_path, {"a": torch.arange(100), "b": "x"})
    path = tmp_path / "state.safetensors"
    data = path.read_bytes()
    for position in range(0, len(data), 7):
        path.write_bytes(data[:position] + bytes([data[position] ^ 2]) + data[position + 1 :])
        with pytest.raises(BadInput, match="damaged"):
            load_training_state(tmp_path)


def test_what_no_state_can_hold(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="set"):
        save_training_state(tmp_path, {"a": {1, 2}})
    assert not list(tmp_path.iterdir())


def test_the_files_of_a_checkpoint(tmp_path: Path) -> None:
    """A file; the folder of a training; a folder as hubs keep it, or its weights."""
    hub, own = tmp_path / "hub", tmp_path / "seg"
    save_hub_checkpoint(hub, {"a": torch.ones(2)}, {"classes": ["x"]})
    save_checkpoint(own / "checkpoint.safetensors", {"a": torch.zeros(2)}, {})
    for path, first in ((hub, 1), (hub / "model.safetensors", 1), (own, 0)):
        tensors, _ = load_checkpoint(path)
        assert tensors["a"][0] == first
    assert checkpoint_files(hub)[1].name == "config.json"
    assert sorted(path.name for path in hub.iterdir()) == ["config.json", "model.safetensors"]
    with pytest.raises(MissingInput):
        load_checkpoint(tmp_path)
