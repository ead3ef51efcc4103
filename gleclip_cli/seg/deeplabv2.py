"""DeepLabV2: a residual network at output stride 8 and four dilated classifiers, summed.

Paper: Chen et al., "DeepLab", 2017; trained at scales 1, .75, .5 and the maximum of the three.
Here: batch norm is frozen, as is usual, when the body is pretrained; a body from scratch has group
norm instead, because frozen statistics of nothing would let activations grow with every block.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import resnet
from torchvision.ops import FrozenBatchNorm2d

from gleclip_cli.datasets.transforms import IMAGENET_MEAN, IMAGENET_STD, Normalise
from gleclip_cli.seg.caffe_layout import CAFFE_MEAN, CAFFE_STD

DILATIONS = (6, 12, 18, 24)


class DeepLabV2(nn.Module):
    """A body at output stride 8 (its output has `channels` channels) under the DeepLabV2 head.

    `scales`: sizes at which training takes a loss, the picture's own first.
    """

    patch_size = 1
    window = 1025

    def __init__(
        self,
        body: nn.Module,
        *,
        channels: int,
        num_classes: int,
        scales: tuple[float, ...] = (1.0, 0.75, 0.5),
        mean: tuple[float, ...] = IMAGENET_MEAN,
        std: tuple[float, ...] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.scales = scales
        self.normalise = Normalise(mean, std)
        red, green, blue = (round(255 * value) for value in mean)
        self.fill = red, green, blue
        self.body = body
        self.head = nn.ModuleList(
            nn.Conv2d(channels, num_classes, 3, padding=dilation, dilation=dilation)
            for dilation in DILATIONS
        )
        for branch in self.head.parameters():
            # fan-in would count each branch alone, but four are summed
            nn.init.normal_(branch, std=0.01) if branch.ndim > 1 else nn.init.zeros_(branch)

    def forward(self, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b c H W"]:
        """Return logits at the size of the pictures, which are RGB in [0, 1]."""
        logits = self._logits(self.normalise(images))
        return _resize(logits, images.shape[-2:])

    def training_logits(self, images: Float[Tensor, "b 3 H W"]) -> list[Float[Tensor, "b c h w"]]:
        """Return logits of every scale on its own grid, and their maximum if there are several."""
        normalised = self.normalise(images)
        sizes = [[max(1, round(s * side)) for side in images.shape[-2:]] for s in self.scales]
        pyramid = [self._logits(_resize(normalised, size)) for size in sizes]
        if len(pyramid) == 1:
            return pyramid
        enlarged = [_resize(logits, pyramid[0].shape[-2:]) for logits in pyramid]
        return [*pyramid, torch.stack(enlarged).amax(0)]

    def optimiser(self, *, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
        """SGD with the published rates: head weights 10 times the body's, head biases 20 times."""
        body, head = list(self.body.parameters()), list(self.head.parameters())
        groups = [
            (1.0, weight_decay, [p for p in body if p.ndim > 1]),
            (1.0, 0.0, [p for p in body if p.ndim == 1]),
            (10.0, weight_decay, [p for p in head if p.ndim > 1]),
            (20.0, 0.0, [p for p in head if p.ndim == 1]),
        ]
        return torch.optim.SGD(
            [
                {"params": parameters, "rate": rate, "weight_decay": decay}
                for rate, decay, parameters in groups
                if parameters
            ],
            lr=learning_rate,
            momentum=0.9,
        )

    def weights(self) -> dict[str, Tensor]:
        """Everything a checkpoint has to hold, frozen statistics included."""
        return self.state_dict()

    def _logits(self, normalised: Tensor) -> Tensor:
        features = self.body(normalised)
        logits: Tensor = sum(branch(features) for branch in self.head)
        return logits


def deeplabv2(num_classes: int, *, pretrained: bool, caffe: bool = False) -> DeepLabV2:
    """ResNet-101 under the head, as in the literature; about 44 million weights.

    `caffe`: the network that weights of `caffe_layout` belong to.
    """
    body = bottleneck_body((3, 4, 23, 3), pretrained=pretrained, caffe=caffe)
    if not caffe:
        return DeepLabV2(body, channels=2048, num_classes=num_classes)
    return DeepLabV2(body, channels=2048, num_classes=num_classes, mean=CAFFE_MEAN, std=CAFFE_STD)


def bottleneck_body(
    blocks: Sequence[int], *, pretrained: bool, caffe: bool = False
) -> nn.Sequential:
    """Return a residual network of four stages at output stride 8, without its classifier."""
    body = resnet.ResNet(
        resnet.Bottleneck,
        list(blocks),
        replace_stride_with_dilation=[False, True, True],
        norm_layer=_norm(pretrained),
    )
    if caffe:
        body.maxpool.ceil_mode = True
        first = body.layer2[0]
        first.conv1.stride, first.conv2.stride = (2, 2), (1, 1)
        for stage, dilation in ((body.layer3, 2), (body.layer4, 4)):
            stage[0].conv2.padding = stage[0].conv2.dilation = (dilation, dilation)
    return _headless(body, [body.layer1, body.layer2, body.layer3, body.layer4])


def deeplabv2_small(num_classes: int, *, pretrained: bool) -> DeepLabV2:
    """The first three stages of ResNet-18 under the same head, one scale: for CPUs."""
    body = resnet.resnet18(norm_layer=_norm(pretrained))
    # The basic block knows no dilation, so stage 3 gives up its stride for dilation 2 here.
    for module in body.layer3.modules():
        if isinstance(module, nn.Conv2d):
            module.stride = (1, 1)
            if module.kernel_size == (3, 3):
                module.padding = module.dilation = (2, 2)
    stages = [body.layer1, body.layer2, body.layer3]
    return DeepLabV2(_headless(body, stages), channels=256, num_classes=num_classes, scales=(1.0,))


def _headless(body: resnet.ResNet, stages: list[nn.Module]) -> nn.Sequential:
    # torchvision's names, so that its weights fit
    parts = {name: getattr(body, name) for name in ("conv1", "bn1", "relu", "maxpool")}
    parts.update({f"layer{i}": stage for i, stage in enumerate(stages, start=1)})
    trunk = nn.Sequential()
    for name, part in parts.items():
        trunk.add_module(name, part)
    return trunk


def _norm(pretrained: bool) -> type[nn.Module] | object:
    return FrozenBatchNorm2d if pretrained else _group_norm


def _group_norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(32, channels)


def _resize(maps: Tensor, size: list[int] | torch.Size) -> Tensor:
    if list(maps.shape[-2:]) == list(size):
        return maps
    return functional.interpolate(maps, list(size), mode="bilinear", align_corners=False)
