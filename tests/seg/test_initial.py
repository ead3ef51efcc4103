"""Weights a body starts from: files of several layouts, names, and what does not fit."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import resnet18

from gleclip_cli.errors import BadInput, EnvironmentFault, UsageError
from gleclip_cli.seg import initial as module
from gleclip_cli.seg.deeplabv2 import deeplabv2_small
from gleclip_cli.seg.initial import Initial, fill, find_initial


@pytest.fixture(scope="module")
def resnet() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return resnet18().state_dict()


def body_from(tensors: dict[str, torch.Tensor]) -> tuple[nn.Module, tuple[str, ...]]:
    network = deeplabv2_small(3, pretrained=True)
    return network.body, fill(network.body, network.head, Initial("x", tensors))


@pytest.mark.parametrize("suffix", ["safetensors", "pth", "bin"])
def test_a_body_is_read_from_a_file(suffix, resnet, tmp_path):
    path = tmp_path / f"resnet18.{suffix}"
    save_file(resnet, path) if suffix == "safetensors" else torch.save(resnet, path)
    found = find_initial("deeplabv2-small", str(path))
    assert found is not None
    body, notes = body_from(dict(found.tensors))
    assert all(torch.equal(value, resnet[name]) for name, value in body.state_dict().items())
    assert "layer3.1.bn2.running_var" in body.state_dict()
    assert notes == ("Not used of the weights x: fc, layer4.",)


@pytest.mark.parametrize("part", ["encoder.", "backbone."])
def test_a_body_is_found_below_the_name_of_a_part_and_in_half_precision(part, resnet):
    given = {part + n: v.half() if v.is_floating_point() else v for n, v in resnet.items()}
    given = {n: v for n, v in given.items() if "num_batches" not in n}
    body, _ = body_from({**given, "decoder.weight": torch.zeros(2)})
    weight = body.state_dict()["layer2.0.conv1.weight"]
    assert weight.dtype == torch.float32
    assert torch.equal(weight, resnet["layer2.0.conv1.weight"].half().float())


def test_77_everything_that_does_not_fit_is_listed_and_nothing_is_loaded(resnet):
    given = {n: v for n, v in resnet.items() if n != "layer2.0.conv1.weight"}
    given["conv1.weight"] = torch.zeros(64, 1, 7, 7)  # of grey pictures
    network = deeplabv2_small(3, pretrained=True)
    before = {name: value.clone() for name, value in network.body.state_dict().items()}
    with pytest.raises(BadInput) as caught:
        fill(network.body, None, Initial("x", given))
    assert "layer2.0.conv1.weight missing" in caught.value.cause
    assert "conv1.weight is (64, 1, 7, 7), not (64, 3, 7, 7)" in caught.value.cause
    after = network.body.state_dict()
    assert all(torch.equal(value, before[name]) for name, value in after.items())


def test_names_that_nobody_knows_name_those_that_are_known(tmp_path):
    with pytest.raises(UsageError, match=r"neither a file nor known .*\n.*imagenet"):
        find_initial("deeplabv2-small", "imagenet22k")
    with pytest.raises(UsageError, match="no weights file"):
        find_initial("deeplabv2", str(tmp_path / "gone.pth"))
    assert find_initial("deeplabv2", "none") is None


def test_weights_that_cannot_be_fetched_are_a_fault_of_the_environment(monkeypatch):
    class Gone:
        __members__ = ("IMAGENET1K_V1",)

        def __class_getitem__(cls, name):
            raise OSError("no route to host")

    monkeypatch.setitem(module._TORCHVISION, "deeplabv2", Gone)
    with pytest.raises(EnvironmentFault, match=r"no route to host\n.*--pretrained FILE"):
        find_initial("deeplabv2", "imagenet")
