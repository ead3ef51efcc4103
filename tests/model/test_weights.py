"""Names, files and tags of CLIP weights: found, or refused with the reason."""

import hashlib
import json
import pickle
import urllib.error
from pathlib import Path
from typing import Any

import open_clip
import pytest
import safetensors.torch
import torch
from torch import Tensor

from gleclip_cli.errors import BadInput, EnvironmentFault, UsageError
from gleclip_cli.model.clip import load_clip
from gleclip_cli.model.weights import find_clip, read_weights


@pytest.fixture
def state(tiny_clip_json: str) -> dict[str, Tensor]:
    return dict(load_clip(tiny_clip_json, "random", seed=9).clip.state_dict())


def test_half_precision_safetensors_become_float32(
    tiny_clip_json: str, tmp_path: Path, state: dict[str, Tensor]
) -> None:
    file = tmp_path / "weights.safetensors"
    halves = {name: value.half().contiguous() for name, value in state.items()}
    safetensors.torch.save_file(halves, file)
    clip = load_clip(tiny_clip_json, str(file))
    loaded = clip.clip.state_dict()
    assert all(loaded[name].dtype == torch.float32 for name in state)
    assert all(torch.equal(loaded[name], halves[name].float()) for name in state)
    assert clip.weights_sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_training_checkpoint_of_open_clip_loads(
    tiny_clip_json: str, tmp_path: Path, state: dict[str, Tensor]
) -> None:
    file = tmp_path / "epoch_1.pt"
    wrapped = {"module." + name: value for name, value in state.items()}
    wrapped["module.logit_scale"] = state["logit_scale"].reshape(1)
    torch.save({"epoch": 1, "state_dict": wrapped}, file)
    assert torch.equal(load_clip(tiny_clip_json, str(file)).visual.proj, state["visual.proj"])


def test_numbers_beside_the_weights_are_left_out(tmp_path: Path) -> None:
    torch.save({"visual.proj": torch.ones(1), "input_resolution": 224}, tmp_path / "a.pt")
    assert list(read_weights(tmp_path / "a.pt")) == ["visual.proj"]


def test_fault_77_every_difference_is_listed(
    tiny_clip_json: str, tmp_path: Path, state: dict[str, Tensor]
) -> None:
    del state["visual.ln_post.weight"], state["ln_final.bias"]
    state["stranger"] = torch.ones(1)
    state["visual.proj"] = torch.ones(3, 4)
    torch.save(state, tmp_path / "odd.pt")
    with pytest.raises(BadInput) as caught:
        load_clip(tiny_clip_json, str(tmp_path / "odd.pt"))
    for part in (
        "visual.ln_post.weight missing",
        "ln_final.bias missing",
        "stranger unknown",
        "visual.proj is (3, 4), not (64, 24)",
    ):
        assert part in caught.value.cause


def test_fault_80_weights_of_another_resolution_are_refused(
    tiny_clip_json: str, tmp_path: Path, state: dict[str, Tensor]
) -> None:
    torch.save(state, tmp_path / "weights.pt")
    config = json.loads(Path(tiny_clip_json).read_text())
    config["vision_cfg"]["image_size"] = 64
    other = tmp_path / "other.json"
    other.write_text(json.dumps(config))
    with pytest.raises(BadInput, match=r"positional_embedding is \(17, 64\), not \(65, 64\)"):
        load_clip(str(other), str(tmp_path / "weights.pt"))


class Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("payload-ran"),)


def test_fault_72_a_pickle_with_a_payload_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"visual.proj": Payload()}, tmp_path / "zip.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps({"visual.proj": Payload()}))
    for name in ("zip.pt", "plain.pt"):
        with pytest.raises(BadInput, match="cannot be read as weights"):
            read_weights(tmp_path / name)
    assert not (tmp_path / "payload-ran").exists()


@pytest.mark.parametrize("name", ["broken.pt", "broken.safetensors"])
def test_files_that_are_no_weights_are_refused(tmp_path: Path, name: str) -> None:
    for content in (b"", b"not weights at all", b"\x80\x02}q\x00."):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadInput, match="cannot be read as weights"):
            read_weights(tmp_path / name)


def test_a_state_dict_of_other_things_is_refused(tmp_path: Path) -> None:
    torch.save({"name": "clip", "epoch": 3}, tmp_path / "a.pt")
    with pytest.raises(BadInput, match="name, epoch is no tensor"):
        read_weights(tmp_path / "a.pt")


def test_a_config_may_carry_its_preprocessing(tiny_clip_json: str, tmp_path: Path) -> None:
    wrapped = {
        "model_cfg": json.loads(Path(tiny_clip_json).read_text()),
        "preprocess_cfg": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.1]},
    }
    (tmp_path / "wrapped.json").write_text(json.dumps(wrapped))
    clip = load_clip(str(tmp_path / "wrapped.json"), "random")
    torch.testing.assert_close(clip.mean.flatten(), torch.tensor([0.5, 0.4, 0.3]))
    torch.testing.assert_close(clip.std.flatten(), torch.tensor([0.2, 0.2, 0.1]))


@pytest.mark.parametrize("content", ["{", "[]", '{"vision_cfg": {}}'])
def test_a_broken_config_is_bad_input(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(BadInput):
        find_clip(str(tmp_path / "config.json"), "random")


@pytest.mark.parametrize(
    ("model", "weights", "remedy"),
    [
        ("ViT-B-16-quickgel", "openai", "ViT-B-16-quickgelu"),
        ("ViT-B-16-quickgelu", "opnai", "openai"),
        ("ViT-B-16-quickgelu", "no/such/file.pt", "--clip-weights"),
        ("ViT-B-16-quickgelu", "missing.safetensors", "--clip-weights"),
        ("ViT-B-16", "openai", "ViT-B-16-quickgelu"),
        ("missing.json", "random", "--clip-model"),
    ],
)
def test_unknown_names_are_usage_errors_with_a_way_out(
    model: str, weights: str, remedy: str
) -> None:
    with pytest.raises(UsageError) as caught:
        find_clip(model, weights)
    assert remedy in caught.value.remedy


def test_a_hub_tag_needs_a_model_of_open_clip(tiny_clip_json: str) -> None:
    with pytest.raises(UsageError, match="no weights 'openai'"):
        find_clip(tiny_clip_json, "openai")


@pytest.mark.parametrize(
    "error",
    [urllib.error.URLError("no route"), RuntimeError("checksum"), FileNotFoundError("offline")],
)
def test_a_hub_out_of_reach_is_an_environment_fault(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def unreachable(config: dict[str, Any]) -> str:
        raise error

    monkeypatch.setattr(open_clip, "download_pretrained", unreachable)
    with pytest.raises(EnvironmentFault) as caught:
        find_clip("ViT-B-16-quickgelu", "openai")
    assert "--clip-weights FILE" in caught.value.remedy


def test_a_hub_tag_becomes_a_file_with_the_preprocessing_of_its_training(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "cached.pt"
    file.write_bytes(b"weights")
    monkeypatch.setattr(open_clip, "download_pretrained", lambda config: str(file))
    source = find_clip("ViT-B-32", "commonpool_s_clip_s13m_b4k")
    assert source.file == file
    assert source.sha256 == hashlib.sha256(b"weights").hexdigest()
    assert source.mean == pytest.approx(open_clip.OPENAI_DATASET_MEAN)
