"""Names of decoders, encoders and weights; what is near to an unknown one."""

import sys

import pytest
import torch
from safetensors.torch import save_file

from gleclip_cli.errors import EnvironmentFault, UsageError
from gleclip_cli.seg import smp_names as module
from gleclip_cli.seg.smp_names import check_name, colours_of, hub_names, restriction

pytest.importorskip("segmentation_models_pytorch")
NAME = "smp:deeplabv3plus:mobilenet_v2"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("smp:unet", "is not smp:<decoder>:<encoder>"),
        ("smp:unett:resnet34", "no decoder 'unett'.\nDid you mean unet"),
        ("smp:unet:resnet35", "no encoder 'resnet35'.\nDid you mean resnet50 or resnet34"),
        ("smp:unet:tu-resnet19", "no encoder 'tu-resnet19'.\nDid you mean tu-resnet18"),
        ("smp:dpt:resnet18", "dpt cannot read resnet18"),
    ],
)
def test_unknown_names_name_those_near_them(name, told):
    with pytest.raises(UsageError) as caught:
        check_name(name)
    assert told in str(caught.value)


def test_without_the_package_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    with pytest.raises(EnvironmentFault, match=r"not installed.\n.*pip install 'gleclip\[smp\]'"):
        check_name(NAME)


def test_names_of_weights_and_licences():
    assert "imagenet" in hub_names(NAME)
    assert hub_names("smp:unet:tu-resnet18") == ("imagenet",)
    assert "NVIDIA" in restriction("smp:unet:mit_b0")
    assert restriction(NAME) == ""


@pytest.mark.parametrize(
    ("encoder", "mean"),
    [("resnet18", 0.485), ("tu-vit_tiny_patch16_224", 0.5), ("tu-resnet18.a1_in1k", 0.485),
     ("xception", 0.5), ("dpn68", 124 / 255)],
)  # fmt: skip
def test_colours_are_those_an_encoder_was_trained_on(encoder, mean):
    assert colours_of(f"smp:unet:{encoder}")[0][0] == pytest.approx(mean)


def test_weights_of_the_hub_come_from_the_cache_or_a_hub_that_answers(monkeypatch, tmp_path):
    (tmp_path / "config.json").write_text('{"mean": [0.1, 0.2, 0.3], "std": [1, 2, 3]}')
    save_file({"conv.weight": torch.ones(2)}, tmp_path / "model.safetensors")
    monkeypatch.setattr(
        module.huggingface_hub, "try_to_load_from_cache", lambda repo, name, **_: tmp_path / name
    )

    def silent():
        raise ConnectionError("nobody there")

    monkeypatch.setattr(module, "reach_hub", silent)
    with pytest.raises(ConnectionError, match="nobody"):
        module.hub_encoder(NAME, "imagenet")  # a path is no string: it is not in the cache
    monkeypatch.setattr(
        module.huggingface_hub,
        "try_to_load_from_cache",
        lambda repo, name, **_: str(tmp_path / name),
    )
    tensors, mean, std = module.hub_encoder(NAME, "imagenet")
    assert torch.equal(tensors["conv.weight"], torch.ones(2))
    assert (mean, std) == ((0.1, 0.2, 0.3), (1, 2, 3))
