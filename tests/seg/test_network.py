"""Networks from names, weights from files, checkpoints back into networks."""

from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torchvision.models import resnet18

from gleclip_cli.artifacts.checkpoint import save_checkpoint, save_hub_checkpoint
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.errors import BadInput, EnvironmentFault, MissingInput, UsageError
from gleclip_cli.model.clip import load_clip
from gleclip_cli.seg import network as module
from gleclip_cli.seg.initial import find_initial
from gleclip_cli.seg.network import (
    NetworkSpec,
    build_network,
    load_network,
    load_weights,
    network_at,
    start_network,
)


@pytest.fixture
def spec(tiny_clip_json) -> NetworkSpec:
    return NetworkSpec(
        arch="clip-decoder", num_classes=3, clip_model=tiny_clip_json, clip_weights="random"
    )


SMALL = NetworkSpec(arch="deeplabv2-small", num_classes=3)


def save(run: RunDir, network, spec: NetworkSpec, clip_sha256: str) -> None:
    meta = {"network": asdict(spec), "clip_sha256": clip_sha256}
    save_checkpoint(run.checkpoint("seg"), network.weights(), meta)


def test_weights_come_from_the_seed_alone(spec):
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, again, other = (build_network(spec, seed=s).weights() for s in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_a_checkpoint_comes_back(spec, tmp_path):
    run, images = RunDir(tmp_path), torch.rand(1, 3, 32, 32)
    for kind in (spec, SMALL):
        network = build_network(kind, seed=3).eval()
        save(run, network, kind, getattr(network, "clip", None) and network.clip.weights_sha256)
        loaded = load_network(run, "seg")
        assert not loaded.training
        assert torch.equal(loaded(images), network(images))


def test_the_file_holds_no_clip(spec, tmp_path):
    network = build_network(spec)
    save(RunDir(tmp_path), network, spec, network.clip.weights_sha256)
    size = RunDir(tmp_path).checkpoint("seg").stat().st_size
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    assert size < 4 * trained + 20_000


def test_53_another_clip_is_refused(spec, tmp_path):
    save(RunDir(tmp_path), build_network(spec), spec, "0" * 64)
    with pytest.raises(BadInput, match="other weights"):
        load_network(RunDir(tmp_path), "seg")


@pytest.fixture
def moved(spec, tmp_path) -> Path:
    """A checkpoint whose CLIP lay in files that are gone; they are kept in the folder `kept`."""
    home, kept = tmp_path / "elsewhere", tmp_path / "kept"
    home.mkdir()
    model, weights = home / "tiny.json", home / "clip.safetensors"
    model.write_bytes(Path(spec.clip_model).read_bytes())
    save_file(load_clip(spec.clip_model, "random").clip.state_dict(), weights)
    spec = replace(spec, clip_model=str(model), clip_weights=str(weights))
    network = build_network(spec)
    meta = {"network": asdict(spec), "clip_sha256": network.clip.weights_sha256}
    save_hub_checkpoint(tmp_path / "hub", network.weights(), meta)
    home.rename(kept)
    return tmp_path / "hub"


def test_files_of_clip_are_looked_for_beside_the_network(moved):
    with pytest.raises(MissingInput, match="no model configuration") as caught:
        network_at(moved)
    digest = sha256((moved.parent / "kept" / "clip.safetensors").read_bytes()).hexdigest()
    assert f"clip.safetensors (SHA-256 {digest[:12]})" in caught.value.cause
    assert f"may lie in {moved / 'clip'}" in caught.value.cause
    (moved.parent / "kept").rename(moved / "clip")
    assert network_at(moved).clip.weights_sha256 == digest
    tensors = load_file(moved / "clip" / "clip.safetensors")
    save_file({name: value + 1 for name, value in tensors.items()}, moved / "clip/clip.safetensors")
    with pytest.raises(BadInput, match="other weights"):
        network_at(moved)


def test_clip_that_cannot_be_fetched_is_named_with_its_network(spec, tmp_path, monkeypatch):
    network, tagged = build_network(spec), replace(spec, clip_weights="openai")
    save(RunDir(tmp_path), network, tagged, "0123456789abcdef")

    def unreachable(*_):
        raise EnvironmentFault("No answer.", "Name a file with --clip-weights.")

    monkeypatch.setattr(module, "load_clip", unreachable)
    with pytest.raises(
        EnvironmentFault, match=r"openai \(SHA-256 0123456789ab\).*: No answer"
    ) as caught:
        load_network(RunDir(tmp_path), "seg")
    assert "--clip-weights" not in caught.value.remedy  # predict and evaluate have no such option


def test_a_network_that_was_never_trained(tmp_path):
    with pytest.raises(MissingInput, match="train-seg"):
        load_network(RunDir(tmp_path), "seg")


def test_52_a_flipped_bit_is_found(spec, tmp_path):
    network = build_network(spec)
    save(RunDir(tmp_path), network, spec, network.clip.weights_sha256)
    path = RunDir(tmp_path).checkpoint("seg")
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(BadInput, match="damaged"):
        load_network(RunDir(tmp_path), "seg")


def test_77_all_differences_are_listed_and_nothing_is_loaded(spec):
    network = build_network(spec)
    before = {name: value.clone() for name, value in network.weights().items()}
    given = {name: value + 1 for name, value in before.items()}
    del given["join.bias"]
    given["stranger"] = torch.zeros(2)
    given["join.weight"] = torch.zeros(2, 2)
    with pytest.raises(BadInput) as caught:
        load_weights(network, given, origin="x")
    for fault in ("join.bias missing", "stranger unknown", r"join.weight is (2, 2), not (64, 512)"):
        assert fault in caught.value.cause
    assert all(torch.equal(value, before[name]) for name, value in network.weights().items())


def test_a_checkpoint_without_a_description(spec, tmp_path):
    save_checkpoint(RunDir(tmp_path).checkpoint("seg"), build_network(spec).weights(), {})
    with pytest.raises(BadInput, match="which network"):
        load_network(RunDir(tmp_path), "seg")


def test_a_network_starts_from_a_file_and_comes_back_as_it_was_started(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "resnet18.safetensors"
    save_file(resnet18().state_dict(), path)
    started = start_network(SMALL, str(path), seed=1)
    assert started.spec == replace(SMALL, pretrained=True)
    assert not started.warnings
    assert "not used" in started.notes[0].lower()
    run, images = RunDir(tmp_path), torch.rand(1, 3, 33, 40)
    save(run, started.network, started.spec, "")
    assert torch.equal(load_network(run, "seg")(images), started.network.eval()(images))


@pytest.mark.parametrize("pretrained", [False, True])
def test_a_network_starts_from_one_of_either_norm_in_a_folder_for_a_hub(pretrained, tmp_path):
    """A body from nothing has group norm, one from weights frozen batch norm."""
    kind = replace(SMALL, pretrained=pretrained)
    first = build_network(kind, seed=3)
    meta = {"network": asdict(kind), "clip_sha256": ""}
    save_hub_checkpoint(tmp_path, first.weights(), meta)
    started = start_network(SMALL, str(tmp_path), seed=1)
    assert started.spec == kind
    assert (started.notes, started.warnings) == ((), ())
    weights = started.network.weights()
    assert all(torch.equal(value, weights[name]) for name, value in first.weights().items())
    other = start_network(replace(SMALL, num_classes=5), str(tmp_path / "model.safetensors"))
    assert torch.equal(other.network.body.conv1.weight, first.body.conv1.weight)
    assert "Not used" in other.notes[0]
    (tmp_path / "model.safetensors").write_bytes(b"other")
    with pytest.raises(BadInput, match="damaged"):
        start_network(SMALL, str(tmp_path))


def test_the_colours_and_strides_of_the_caffe_layout_come_along(tmp_path):
    kind = NetworkSpec(arch="deeplabv2", num_classes=2, caffe=True, pretrained=True)
    meta = {"network": asdict(kind), "clip_sha256": ""}
    save_hub_checkpoint(tmp_path, {"x": torch.zeros(1)}, meta)
    assert find_initial("deeplabv2", str(tmp_path)).caffe


def test_the_body_of_clip_decoder_is_clip_whatever_presets_say(spec):
    started = start_network(spec, "imagenet")
    assert started.spec == spec
    assert not started.warnings


def test_without_weights_that_is_said():
    started = start_network(SMALL, "none")
    assert started.spec == SMALL
    assert "random weights" in started.warnings[0]


def test_an_unknown_architecture():
    with pytest.raises(UsageError, match="no architecture 'deeplab'"):
        build_network(NetworkSpec(arch="deeplab", num_classes=3))
