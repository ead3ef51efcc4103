"""Names, files and tags of CLIP weights: found, or refused with the reason."""

import hashlib
import json
import pickle
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import httpx2
import huggingface_hub
import open_clip
import pytest
import safetensors.torch
import torch
from torch import Tensor

from gleclip_cli.errors import BadInput, EnvironmentFault, UsageError
from gleclip_cli.model.clip import load_clip
from gleclip_cli.model.weights import find_clip, fit_weights, read_weights

Save = Callable[[Any, Path], str]


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


def test_fault_77_a_fault_of_many_layers_is_said_once(
    tiny_clip_json: str, tmp_path: Path, state: dict[str, Tensor]
) -> None:
    for number in range(1, 4):
        del state[f"visual.transformer.resblocks.{number}.ln_1.weight"]
    for number in (0, 2):
        state[f"visual.transformer.resblocks.{number}.ln_9.weight"] = torch.ones(1)
    torch.save(state, tmp_path / "odd.pt")
    with pytest.raises(BadInput) as caught:
        load_clip(tiny_clip_json, str(tmp_path / "odd.pt"))
    assert caught.value.cause.endswith(
        "do not fit the model: visual.transformer.resblocks.{1-3}.ln_1.weight missing; "
        "visual.transformer.resblocks.{0,2}.ln_9.weight unknown."
    )


def test_fault_77_nothing_is_loaded_from_weights_that_do_not_fit() -> None:
    module = torch.nn.Linear(2, 2)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    for given in (
        {"weight": torch.zeros(2, 2)},
        {"weight": torch.zeros(2, 2), "bias": torch.zeros(3)},
        {"weight": torch.zeros(2, 2), "bias": torch.zeros(2, dtype=torch.int8)},
        {"weight": torch.zeros(2, 2), "bias": torch.zeros(2), "more": torch.zeros(1)},
    ):
        with pytest.raises(BadInput, match="do not fit"):
            fit_weights(module, given, origin="a.pt", remedy="")
        assert all(torch.equal(module.state_dict()[name], before[name]) for name in before)


def test_fault_77_hugging_faces_layout_tells_what_is_missing(
    tiny_clip_json: str,
    tmp_path: Path,
    state: dict[str, Tensor],
    to_hugging_face: Callable[[dict[str, Tensor]], dict[str, Tensor]],
) -> None:
    theirs = to_hugging_face(state)
    del theirs["vision_model.encoder.layers.2.self_attn.k_proj.weight"]
    torch.save(theirs, tmp_path / "pytorch_model.bin")
    with pytest.raises(BadInput) as caught:
        load_clip(tiny_clip_json, str(tmp_path / "pytorch_model.bin"))
    for part in ("in_proj_weight missing", "q_proj.weight unknown", "v_proj.weight unknown"):
        assert f"visual.transformer.resblocks.2.attn.{part}" in caught.value.cause


def test_every_part_counts(tiny_clip_json: str, tmp_path: Path, savers: dict[str, Save]) -> None:
    folder = Path(savers["hf parts"](load_clip(tiny_clip_json, "random", seed=9).clip, tmp_path))
    first, second = sorted(folder.glob("*.safetensors"))
    index = folder / "model.safetensors.index.json"
    before = find_clip(tiny_clip_json, str(folder)).sha256
    assert find_clip(tiny_clip_json, str(index)).sha256 == before
    other = load_clip(tiny_clip_json, "random", seed=8).clip
    (tmp_path / "other").mkdir()
    savers["hf parts"](other, tmp_path / "other")
    second.write_bytes((tmp_path / "other" / second.name).read_bytes())
    assert find_clip(tiny_clip_json, str(folder)).sha256 != before
    for part in (first, second):
        part.unlink()
    with pytest.raises(BadInput, match=f"missing: {first.name}, {second.name}"):
        find_clip(tiny_clip_json, str(index))


@pytest.mark.parametrize("content", ["[]", "{}", '{"weight_map": {"a": "../b.safetensors"}}'])
def test_an_index_names_files_beside_it(tmp_path: Path, content: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(content)
    with pytest.raises(BadInput, match="names no files of weights beside it"):
        read_weights(tmp_path / "model.safetensors.index.json")


def changed(tiny_clip_json: str, folder: Path, **vision: int) -> str:
    config = json.loads(Path(tiny_clip_json).read_text())
    config["vision_cfg"].update(vision)
    (folder / "other.json").write_text(json.dumps(config))
    return str(folder / "other.json")


@pytest.mark.parametrize("layout", ["pt", "torchscript", "hf bin"])
def test_fault_80_weights_of_another_resolution_are_resized_and_it_is_stated(
    tiny_clip_json: str, tmp_path: Path, savers: dict[str, Save], layout: str
) -> None:
    weights = savers[layout](load_clip(tiny_clip_json, "random", seed=9).clip, tmp_path)
    clip = load_clip(changed(tiny_clip_json, tmp_path, image_size=64), weights)
    (warning,) = clip.warnings
    assert "trained on 32 x 32 pixels: position embeddings resized for 64 x 64" in warning
    assert clip.visual.positional_embedding.shape == (65, 64)


@pytest.mark.parametrize("layout", ["pt", "torchscript", "hf bin"])
def test_fault_80_weights_of_another_patch_size_are_refused(
    tiny_clip_json: str, tmp_path: Path, savers: dict[str, Save], layout: str
) -> None:
    weights = savers[layout](load_clip(tiny_clip_json, "random", seed=9).clip, tmp_path)
    with pytest.raises(BadInput, match="patches of 8 pixels, the model has patches of 16") as found:
        load_clip(changed(tiny_clip_json, tmp_path, patch_size=16), weights)
    assert "--clip-model" in found.value.remedy


@pytest.mark.parametrize("layout", ["torchscript", "hf folder"])
def test_weights_trained_with_another_activation_are_refused(
    tiny_clip_json: str, tmp_path: Path, savers: dict[str, Save], layout: str
) -> None:
    weights = savers[layout](load_clip(tiny_clip_json, "random").clip, tmp_path)
    config = {**json.loads(Path(tiny_clip_json).read_text()), "quick_gelu": False}
    (tmp_path / "plain.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match="activation") as caught:
        find_clip(str(tmp_path / "plain.json"), weights)
    assert '"quick_gelu": true' in caught.value.remedy
    with pytest.raises(UsageError, match="activation") as caught:
        find_clip("ViT-B-16", weights)
    assert caught.value.remedy == "Use --clip-model ViT-B-16-quickgelu."


def test_a_traced_model_with_the_plain_activation_wants_the_plain_model(
    tiny_clip_json: str, tmp_path: Path, savers: dict[str, Save]
) -> None:
    config = {**json.loads(Path(tiny_clip_json).read_text()), "quick_gelu": False}
    (tmp_path / "plain.json").write_text(json.dumps(config))
    plain = load_clip(str(tmp_path / "plain.json"), "random").clip
    with pytest.raises(UsageError) as caught:
        find_clip("ViT-B-16-quickgelu", savers["torchscript"](plain, tmp_path))
    assert caught.value.remedy == "Use --clip-model ViT-B-16."


def test_a_folder_brings_its_colours(
    tiny_clip_json: str, tmp_path: Path, savers: dict[str, Save]
) -> None:
    weights = savers["hf folder"](load_clip(tiny_clip_json, "random").clip, tmp_path)
    seen = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.2, 0.1]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(seen))
    source = find_clip(tiny_clip_json, weights)
    assert source.file == tmp_path / "model.safetensors"
    assert (source.mean, source.std) == ((0.5, 0.4, 0.3), (0.2, 0.2, 0.1))


def test_a_folder_without_weights_is_a_usage_error(tiny_clip_json: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no weights file"):
        find_clip(tiny_clip_json, str(tmp_path))


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


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Mock:
    """A hub that answers, and an empty cache."""
    session = Mock()
    monkeypatch.setattr(huggingface_hub, "get_session", lambda: session)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    return session


@pytest.mark.parametrize(
    "error",
    [urllib.error.URLError("no route"), RuntimeError("checksum"), FileNotFoundError("offline")],
)
def test_a_hub_out_of_reach_is_an_environment_fault(
    hub: Mock, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def unreachable(config: dict[str, Any]) -> str:
        raise error

    monkeypatch.setattr(open_clip, "download_pretrained", unreachable)
    with pytest.raises(EnvironmentFault, match=str(error)) as caught:
        find_clip("ViT-B-16-quickgelu", "openai")
    assert "--clip-weights FILE" in caught.value.remedy


def test_without_a_connection_nobody_tries_again_and_again(
    hub: Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    cause = "no\nsuch host " + "x" * 400
    hub.head.side_effect = httpx2.ConnectError(cause)
    download = Mock()
    monkeypatch.setattr(open_clip, "download_pretrained", download)
    with pytest.raises(EnvironmentFault) as caught:
        find_clip("ViT-B-16-quickgelu", "openai")
    assert caught.value.cause.endswith(f" https://huggingface.co: {' '.join(cause.split())}")
    assert "--clip-model micro-clip" in caught.value.remedy
    assert hub.head.call_args.kwargs["timeout"] <= 5
    assert not download.called


def test_every_tag_is_on_the_hub() -> None:
    tags = open_clip.list_pretrained()
    assert all(open_clip.get_pretrained_cfg(*tag)["hf_hub"].count("/") == 2 for tag in tags)


def test_what_is_not_here_has_no_hash_unless_it_may_be_fetched(
    hub: Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_clip, "download_pretrained", Mock(side_effect=AssertionError))
    source = find_clip("ViT-B-32", "commonpool_s_clip_s13m_b4k", fetch=False)
    assert (source.file, source.sha256, hub.head.called) == (None, "", False)


@pytest.mark.parametrize("name", ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"])
def test_what_is_cached_is_found_without_asking_the_hub(
    hub: Mock, tmp_path: Path, name: str
) -> None:
    repository = tmp_path / "models--laion--CLIP-ViT-B-32-CommonPool.S.clip-s13M-b4K"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc")
    file = repository / "snapshots" / "abc" / name
    file.parent.mkdir(parents=True)
    file.write_bytes(b"weights")
    for fetch in (True, False):
        source = find_clip("ViT-B-32", "commonpool_s_clip_s13m_b4k", fetch=fetch)
        assert (source.file, source.sha256) == (file, hashlib.sha256(b"weights").hexdigest())
    assert not hub.head.called


def test_a_hub_tag_becomes_a_file_with_the_preprocessing_of_its_training(
    hub: Mock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "cached.pt"
    file.write_bytes(b"weights")
    monkeypatch.setattr(open_clip, "download_pretrained", lambda config: str(file))
    source = find_clip("ViT-B-32", "commonpool_s_clip_s13m_b4k")
    assert source.file == file
    assert source.sha256 == hashlib.sha256(b"weights").hexdigest()
    assert source.mean == pytest.approx(open_clip.OPENAI_DATASET_MEAN)
