"""DeepLab weights converted from Caffe, such as those trained on COCO, under torchvision's names.

Such files name a stage `layer2` to `layer5`, a block `block1` ..., its convolutions `reduce`,
`conv3x3`, `increase` and `shortcut`, the classifiers `aspp.c0` to `aspp.c3`, all below `base.` or
not (the layout of deeplab-pytorch). Their network differs from torchvision's: colours are BGR in
bytes less a mean, the stem pools with rounding up, the first convolution of a block carries its
stride, and all blocks of a stage are dilated alike. `DeepLabV2` with `caffe` is that network; the
order of the colours is turned here.
"""

import re
from collections.abc import Mapping

from torch import Tensor

CAFFE_MEAN = (122.675 / 255, 116.669 / 255, 104.008 / 255)
CAFFE_STD = (1 / 255, 1 / 255, 1 / 255)

_PARTS = {
    "reduce.conv": "conv1",
    "reduce.bn": "bn1",
    "conv3x3.conv": "conv2",
    "conv3x3.bn": "bn2",
    "increase.conv": "conv3",
    "increase.bn": "bn3",
    "shortcut.conv": "downsample.0",
    "shortcut.bn": "downsample.1",
}
_BLOCK = re.compile(r"layer([2-5])\.block(\d+)\.(\w+\.\w+)\.(\w+)")
_STEM = re.compile(r"layer1\.conv1\.(conv|bn)\.(\w+)")
_HEAD = re.compile(r"aspp\.c(\d)\.(\w+)")


def is_caffe(tensors: Mapping[str, Tensor]) -> bool:
    """Tell whether the names are those of this layout."""
    return any(_BLOCK.fullmatch(name.removeprefix("base.")) for name in tensors)


def as_torchvision(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under the names of `DeepLabV2`'s body, classifiers below `head.`."""
    found = {_named(name.removeprefix("base.")): value for name, value in tensors.items()}
    stem = found.get("conv1.weight")
    if stem is not None and stem.ndim == 4:
        found["conv1.weight"] = stem.flip(1)  # BGR to RGB
    return found


def _named(name: str) -> str:
    if match := _BLOCK.fullmatch(name):
        stage, block, part, kind = match.groups()
        return f"layer{int(stage) - 1}.{int(block) - 1}.{_PARTS.get(part, part)}.{kind}"
    if match := _STEM.fullmatch(name):
        return f"{match[1]}1.{match[2]}"
    if match := _HEAD.fullmatch(name):
        return f"head.{match[1]}.{match[2]}"
    return name
