"""Weights converted from Caffe: the network they belong to, written down independently."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from gleclip_cli.seg.caffe_layout import CAFFE_MEAN, CAFFE_STD, as_torchvision, is_caffe
from gleclip_cli.seg.deeplabv2 import DeepLabV2, bottleneck_body
from gleclip_cli.seg.initial import Initial, fill

BLOCKS = (1, 2, 1, 2)
BGR_MEAN = (104.008, 116.669, 122.675)


def published(classes: int) -> dict[str, Tensor]:
    """Random weights of a small network in the names of the published files."""
    made: dict[str, Tensor] = {}

    def unit(name: str, out: int, into: int, side: int) -> None:
        made[f"{name}.conv.weight"] = torch.randn(out, into, side, side) * (into * side**2) ** -0.5
        made[f"{name}.bn.weight"] = torch.rand(out) + 0.5
        made[f"{name}.bn.bias"] = torch.randn(out) * 0.1
        made[f"{name}.bn.running_mean"] = torch.randn(out) * 0.1
        made[f"{name}.bn.running_var"] = torch.rand(out) + 0.5
        made[f"{name}.bn.num_batches_tracked"] = torch.tensor(7)

    unit("base.layer1.conv1", 64, 3, 7)
    made["base.layer1.conv1.conv.weight"] /= 60  # the colours are bytes
    into = 64
    for stage, count in enumerate(BLOCKS):
        narrow = 64 * 2**stage
        for block in range(count):
            name = f"base.layer{stage + 2}.block{block + 1}"
            unit(f"{name}.reduce", narrow, into, 1)
            unit(f"{name}.conv3x3", narrow, narrow, 3)
            unit(f"{name}.increase", 4 * narrow, narrow, 1)
            if block == 0:
                unit(f"{name}.shortcut", 4 * narrow, into, 1)
            into = 4 * narrow
    for branch in range(4):
        made[f"base.aspp.c{branch}.weight"] = torch.randn(classes, into, 3, 3) * 0.01
        made[f"base.aspp.c{branch}.bias"] = torch.randn(classes)
    return made


def reference(tensors: dict[str, Tensor], rgb: Tensor) -> Tensor:
    """Logits of that network, from its description."""

    def unit(name: str, x: Tensor, *, stride=1, padding=0, dilation=1) -> Tensor:
        w = {k: tensors[f"base.{name}.{k}"] for k in ("conv.weight", "bn.weight", "bn.bias")}
        mean, var = (tensors[f"base.{name}.bn.running_{k}"] for k in ("mean", "var"))
        x = functional.conv2d(x, w["conv.weight"], None, stride, padding, dilation)
        return functional.batch_norm(x, mean, var, w["bn.weight"], w["bn.bias"], eps=1e-5)

    x = rgb.flip(1) * 255 - torch.tensor(BGR_MEAN).reshape(3, 1, 1)
    x = unit("layer1.conv1", x, stride=2, padding=3).relu()
    x = functional.max_pool2d(x, 3, 2, 1, ceil_mode=True)
    for stage, (count, step, dilation) in enumerate(
        zip(BLOCKS, (1, 2, 1, 1), (1, 1, 2, 4), strict=True), start=2
    ):
        for block in range(1, count + 1):
            stride, name = (step if block == 1 else 1), f"layer{stage}.block{block}"
            y = unit(f"{name}.reduce", x, stride=stride).relu()
            y = unit(f"{name}.conv3x3", y, padding=dilation, dilation=dilation).relu()
            y = unit(f"{name}.increase", y)
            x = unit(f"{name}.shortcut", x, stride=stride) if block == 1 else x
            x = (x + y).relu()
    return sum(
        functional.conv2d(
            x,
            tensors[f"base.aspp.c{i}.weight"],
            tensors[f"base.aspp.c{i}.bias"],
            padding=rate,
            dilation=rate,
        )
        for i, rate in enumerate((6, 12, 18, 24))
    )


def network(classes: int) -> DeepLabV2:
    body = bottleneck_body(BLOCKS, pretrained=True, caffe=True)
    return DeepLabV2(
        body, channels=2048, num_classes=classes, scales=(1.0,), mean=CAFFE_MEAN, std=CAFFE_STD
    ).eval()


@pytest.mark.parametrize("below", ["base.", ""])
def test_published_weights_give_the_logits_of_the_published_network(below):
    torch.manual_seed(0)
    tensors, images = published(4), torch.rand(1, 3, 50, 41)
    expected = reference(tensors, images)
    named = {below + n.removeprefix("base."): v for n, v in tensors.items()}
    assert is_caffe(named)
    ours = network(4)
    assert fill(ours.body, ours.head, Initial("x", as_torchvision(named), caffe=True)) == ()
    with torch.no_grad():
        (logits,) = ours.training_logits(images)
    assert logits.shape == expected.shape
    assert torch.allclose(logits, expected, atol=1e-4 * float(expected.abs().max()))


def test_a_classifier_of_other_classes_is_left_out_and_told():
    ours = network(3)
    before = {name: value.clone() for name, value in ours.head.state_dict().items()}
    (note,) = fill(ours.body, ours.head, Initial("coco.pth", as_torchvision(published(5))))
    assert note == "Not used of the weights coco.pth: head."
    assert all(torch.equal(value, before[n]) for n, value in ours.head.state_dict().items())


def test_torchvision_is_not_taken_for_it():
    assert not is_caffe({"layer1.0.conv1.weight": torch.zeros(1), "conv1.weight": torch.zeros(1)})
