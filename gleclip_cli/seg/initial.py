"""The weights that a body starts from: a file, or a name that torchvision, smp or timm knows.

A network that gleclip trained tells beside its file how it was built, and so it is built again.

Files name the same tensors in several ways: below the name of a part, with stages numbered by
dots or by underscores. Tensors are matched by name without regard to these; all that the body
needs has to be there, in its shape. What it does not need, such as a classifier of other classes,
is told.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torchvision import models

from gleclip_cli.artifacts.checkpoint import checkpoint_files, load_checkpoint, weights_file
from gleclip_cli.artifacts.json_files import read_json
from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.datasets.transforms import IMAGENET_MEAN, IMAGENET_STD
from gleclip_cli.errors import BadInput, EnvironmentFault, UsageError
from gleclip_cli.model.weights import fit_weights, read_weights
from gleclip_cli.seg.caffe_layout import as_torchvision, is_caffe
from gleclip_cli.seg.smp_names import PREFIX, colours_of, hub_encoder, hub_names

NONE = "none"
_TORCHVISION: Mapping[str, Any] = {
    "deeplabv2": models.ResNet101_Weights,
    "deeplabv2-small": models.ResNet18_Weights,
}
_IMAGENET = {"imagenet": "IMAGENET1K_V1"}
_FILE_SUFFIXES = {".safetensors", ".pt", ".pth", ".bin"}
_PARTS = ("", "encoder.", "network.encoder.", "backbone.", "base.", "body.")
_COUNTER = "num_batches_tracked"
_REMEDY = "Use weights of this architecture, or --pretrained none."


@dataclass(frozen=True)
class Initial:
    """Tensors under the names of their origin; `mean` and `std` of RGB in [0, 1].

    `group_norm`: they belong to a DeepLab that was trained from nothing.
    """

    origin: str
    tensors: Mapping[str, Tensor]
    caffe: bool = False
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    group_norm: bool = False


def find_initial(arch: str, pretrained: str) -> Initial | None:
    """Return the weights called `pretrained` for an architecture; None for `none`.

    Raises:
        UsageError: neither a file, nor the folder of a network that gleclip trained, nor a name
            that is known for this architecture.
        BadInput: a file that cannot be read.
        EnvironmentFault: the weights cannot be fetched.
    """
    if pretrained == NONE:
        return None
    path, smp = Path(pretrained).expanduser(), arch.startswith(PREFIX)
    if (file := weights_file(pretrained)) is not None:
        path = file
        if (own := _of_gleclip(arch, path)) is not None:
            return own
        tensors = read_weights(path)
        if arch == "deeplabv2" and is_caffe(tensors):
            return Initial(printable(path), as_torchvision(tensors), caffe=True)
        mean, std = colours_of(arch) if smp else (IMAGENET_MEAN, IMAGENET_STD)
        return Initial(printable(path), tensors, mean=mean, std=std)
    if path.suffix in _FILE_SUFFIXES:
        raise UsageError(f"There is no weights file {printable(path)}.", "Name an existing file.")
    known = hub_names(arch) if smp else (*_IMAGENET, *_TORCHVISION[arch].__members__)
    if pretrained not in known:
        raise UsageError(
            f"--pretrained {pretrained!r} is neither a file nor known for {arch}.",
            f"Name a file, the folder of a network, or one of: {', '.join(('none', *known))}.",
        )
    with _fetching(pretrained, arch):
        if smp:
            tensors, mean, std = hub_encoder(arch, pretrained)
            return Initial(pretrained, tensors, mean=mean, std=std)
        entry = _TORCHVISION[arch][_IMAGENET.get(pretrained, pretrained)]
        return Initial(pretrained, entry.get_state_dict(check_hash=True))


def _of_gleclip(arch: str, path: Path) -> Initial | None:
    """Return the network of a checkpoint of ours, which the JSON beside it tells about."""
    told: object = None
    with suppress(BadInput):  # there is no JSON
        told = read_json(checkpoint_files(path)[1]).get("network")
    if not (isinstance(told, dict) and "num_classes" in told):
        return None
    return Initial(
        printable(path),
        load_checkpoint(path)[0],
        caffe=arch == "deeplabv2" and bool(told.get("caffe")),
        mean=tuple(told.get("mean", IMAGENET_MEAN)),
        std=tuple(told.get("std", IMAGENET_STD)),
        group_norm=arch in _TORCHVISION and not told.get("pretrained"),
    )


def fill(body: nn.Module, head: nn.Module | None, initial: Initial) -> tuple[str, ...]:
    """Copy weights into a body, and into a head of as many classes; tell what is not used.

    Raises:
        BadInput: something that the body needs is missing or has another shape; all is listed.
    """
    wanted = body.state_dict()
    given, unused = _matched(wanted, initial.tensors)
    needed = {n: v for n, v in wanted.items() if n in given or not n.endswith(_COUNTER)}
    fit_weights(body, given, origin=initial.origin, remedy=_REMEDY, wanted=needed)
    if head is not None:
        classifiers = {n.removeprefix("head."): v for n, v in unused.items() if "head." in n}
        if _shapes(classifiers) == _shapes(head.state_dict()):
            head.load_state_dict(classifiers)
            unused = {n: v for n, v in unused.items() if "head." not in n}
    parts = sorted({n.split(".")[0] for n in unused if not n.endswith(_COUNTER)})
    return (f"Not used of the weights {initial.origin}: {', '.join(parts)}.",) if parts else ()


def _matched(
    wanted: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return tensors under the names of `wanted`, and those that are not wanted."""
    keys = {_key(name): name for name in wanted}

    def of(part: str) -> dict[str, str]:
        own = {n: _key(n.removeprefix(part)) for n in tensors if n.startswith(part)}
        return {name: keys[key] for name, key in own.items() if key in keys}

    names = max(map(of, _PARTS), key=len)
    given = {name: tensors[theirs] for theirs, name in names.items()}
    return given, {name: value for name, value in tensors.items() if name not in names}


def _key(name: str) -> str:
    return name.removeprefix("model.").replace(".", "_")


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in tensors.items()}


@contextmanager
def _fetching(name: str, arch: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # unreachable, refused, wrong checksum: each client has its own
        raise EnvironmentFault(
            f"The weights {name!r} of {arch} cannot be had: {' '.join(str(error).split())[:200]}",
            "Connect once, copy the file here and name it with --pretrained FILE, or use "
            "--pretrained none.",
        ) from error
