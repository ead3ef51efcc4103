"""DeepLabV2: shapes, stride, dilations, and what is trained at which rate."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torchvision.ops import FrozenBatchNorm2d

from gleclip_cli.seg.deeplabv2 import DeepLabV2, deeplabv2, deeplabv2_small


@pytest.fixture(scope="module")
def small() -> DeepLabV2:
    torch.manual_seed(0)
    return deeplabv2_small(4, pretrained=False).eval()


@pytest.mark.parametrize("size", [(1, 1), (15, 15), (40, 57)])
def test_logits_have_the_size_of_the_picture(small, size):
    assert small(torch.rand(2, 3, *size)).shape == (2, 4, *size)


def test_output_stride_is_eight(small):
    assert small.body(torch.rand(1, 3, 64, 96)).shape == (1, 256, 8, 12)
    (logits,) = small.training_logits(torch.rand(1, 3, 64, 96))
    assert logits.shape == (1, 4, 8, 12)


def test_head_is_the_sum_of_four_dilated_branches(small):
    features = torch.randn(1, 256, 9, 9)
    expected = sum(
        functional.conv2d(features, branch.weight, branch.bias, padding=d, dilation=d)
        for d, branch in zip((6, 12, 18, 24), small.head, strict=True)
    )
    small_body, small.body = small.body, nn.Identity()
    try:
        assert torch.equal(small._logits(features), expected)
    finally:
        small.body = small_body


def test_several_scales_give_their_logits_and_the_maximum():
    class Grey(nn.Module):
        def forward(self, images):
            return images.mean(1, keepdim=True)[..., ::4, ::4]

    network = DeepLabV2(Grey(), channels=1, num_classes=2)
    outputs = network.training_logits(torch.rand(1, 3, 64, 64))
    assert [tuple(o.shape[-2:]) for o in outputs] == [(16, 16), (12, 12), (8, 8), (16, 16)]
    full, three_quarters, half, maximum = outputs
    enlarged = [
        functional.interpolate(o, (16, 16), mode="bilinear") for o in (three_quarters, half)
    ]
    assert torch.equal(maximum, torch.maximum(full, torch.maximum(*enlarged)))


def test_rates_of_the_published_recipe(small):
    optimiser = small.optimiser(learning_rate=1.0, weight_decay=0.1)
    found = {
        id(parameter): (group["rate"], group["weight_decay"])
        for group in optimiser.param_groups
        for parameter in group["params"]
    }
    assert len(found) == sum(1 for _ in small.parameters())
    for name, parameter in small.named_parameters():
        expected = {
            "body.conv1.weight": (1.0, 0.1),
            "body.bn1.weight": (1.0, 0.0),
            "head.0.weight": (10.0, 0.1),
            "head.3.bias": (20.0, 0.0),
        }.get(name, found[id(parameter)])
        assert found[id(parameter)] == expected
    assert all(group["momentum"] == 0.9 for group in optimiser.param_groups)


def test_68_a_pretrained_body_has_frozen_norms_and_learns_from_a_batch_of_one():
    network = deeplabv2_small(3, pretrained=True).train()
    norms = [m for m in network.modules() if isinstance(m, FrozenBatchNorm2d)]
    before = {name: value.clone() for name, value in network.named_buffers()}
    (logits,) = network.training_logits(torch.rand(1, 3, 9, 9))
    logits.sum().backward()
    assert norms
    assert not any(isinstance(m, nn.BatchNorm2d | nn.GroupNorm) for m in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.named_buffers())


def test_68_a_body_from_scratch_has_no_batch_statistics_at_all(small):
    assert not any(isinstance(m, nn.BatchNorm2d | FrozenBatchNorm2d) for m in small.modules())


def test_resnet_101_at_stride_eight():
    with torch.device("meta"):  # shapes and counts only
        network = deeplabv2(21, pretrained=True)
        features = network.body(torch.empty(1, 3, 321, 321))
    assert features.shape == (1, 2048, 41, 41)
    convolutions = {n: m for n, m in network.body.named_modules() if isinstance(m, nn.Conv2d)}
    assert convolutions["layer3.22.conv2"].dilation == (2, 2)
    assert convolutions["layer4.2.conv2"].dilation == (4, 4)
    trained = sum(p.numel() for p in network.parameters())
    head = 4 * (2048 * 9 * 21 + 21)
    assert trained - head == 42_394_816  # convolutions of ResNet-101: 44,549,160 - fc - norms
