"""Architecture name -> network; checkpoint of a run -> network."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torchvision import models

from gleclip_cli.artifacts.checkpoint import load_checkpoint
from gleclip_cli.artifacts.run_dir import RunDir, printable
from gleclip_cli.errors import BadInput, EnvironmentFault, UsageError
from gleclip_cli.model.clip import load_clip
from gleclip_cli.model.weights import fit_weights, read_weights
from gleclip_cli.resources import clip_files
from gleclip_cli.seg.clip_decoder import ClipDecoder
from gleclip_cli.seg.deeplabv2 import DeepLabV2, deeplabv2, deeplabv2_small

SegmentationNetwork: TypeAlias = DeepLabV2 | ClipDecoder
"""Pictures (b, 3, H, W), RGB in [0, 1] -> logits (b, c, H, W), background first."""

_DEEPLABS = {
    "deeplabv2": (deeplabv2, models.ResNet101_Weights),
    "deeplabv2-small": (deeplabv2_small, models.ResNet18_Weights),
}

_REFIT = "Use weights of this architecture, or train the network again."


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """All that is needed to build a network again before its weights are loaded.

    `clip_model`, `clip_weights`: as on the command line, for clip-decoder. `pretrained`: whether
    the body of a DeepLab started from weights, which decides its kind of normalisation.
    """

    arch: str
    num_classes: int
    clip_model: str = ""
    clip_weights: str = ""
    pretrained: bool = False


def build_network(spec: NetworkSpec, *, pretrained: str = "", seed: int = 0) -> SegmentationNetwork:
    """Build a network; new weights are drawn from `seed`, CLIP's are loaded.

    `pretrained`: a file, or a name torchvision has, for the body of a DeepLab (IMAGENET1K_V1).

    Raises:
        UsageError: an unknown architecture, CLIP, or name of weights.
        BadInput: a weights file that does not fit.
        EnvironmentFault: weights cannot be fetched.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if spec.arch == "clip-decoder":
            clip = load_clip(*clip_files(spec.clip_model, spec.clip_weights))
            return ClipDecoder(clip, spec.num_classes)
        if spec.arch not in _DEEPLABS:
            raise UsageError(
                f"There is no architecture {spec.arch!r}.",
                f"Choose one of: clip-decoder, {', '.join(_DEEPLABS)}.",
            )
        network = _DEEPLABS[spec.arch][0](spec.num_classes, pretrained=spec.pretrained)
    if pretrained:
        path = Path(pretrained).expanduser()
        tensors = read_weights(path) if path.is_file() else _of_torchvision(spec.arch, pretrained)
        wanted = network.body.state_dict()
        # The classifier, and stages a light body leaves out, are no fault; a missing weight is.
        given = {name: value for name, value in tensors.items() if name in wanted}
        fit_weights(network.body, given, origin=pretrained, remedy=_REFIT)
    return network


def warnings_of(network: SegmentationNetwork) -> tuple[str, ...]:
    """Return what had to be done to the weights of the CLIP inside, if there is one."""
    return network.clip.warnings if isinstance(network, ClipDecoder) else ()


def load_weights(
    network: SegmentationNetwork, tensors: Mapping[str, Tensor], *, origin: str
) -> None:
    """Copy a checkpoint into a network, all or nothing.

    Raises:
        BadInput: names or shapes differ; all differences are listed.
    """
    fit_weights(network, tensors, origin=origin, remedy=_REFIT, wanted=network.weights())


def load_network(run: RunDir, name: str, device: torch.device | str = "cpu") -> SegmentationNetwork:
    """Load the trained network `name` of a run, ready to predict.

    Raises:
        MissingInput: there is no such network.
        BadInput: the checkpoint is damaged, or its CLIP is not the one it was trained on.
    """
    path = run.checkpoint(name)
    tensors, meta = load_checkpoint(path)
    try:
        spec, clip_sha256 = NetworkSpec(**meta["network"]), str(meta["clip_sha256"])
    except (KeyError, TypeError) as error:
        raise BadInput(
            f"{printable(path)} does not say which network it holds: {error}.", "Train it again."
        ) from error
    network = build_network(spec)
    if isinstance(network, ClipDecoder) and network.clip.weights_sha256 != clip_sha256:
        raise BadInput(
            f"{printable(path)} was trained on {spec.clip_model} with other weights "
            f"({clip_sha256[:12]}, not {network.clip.weights_sha256[:12]}).",
            "Bring back those weights, or train the network again.",
        )
    load_weights(network, tensors, origin=printable(path))
    return network.eval().to(device)


def _of_torchvision(arch: str, name: str) -> Mapping[str, Any]:
    known = _DEEPLABS[arch][1].__members__
    if name not in known:
        raise UsageError(
            f"--pretrained {name!r} is neither a file nor weights torchvision has for {arch}.",
            f"Name a file, or one of: {', '.join(known)}.",
        )
    try:
        state: Mapping[str, Any] = known[name].get_state_dict(check_hash=True)
    except OSError as error:
        raise EnvironmentFault(
            f"The weights {name} of torchvision cannot be had: {error}.",
            "Connect once, or copy the file here and name it with --pretrained FILE.",
        ) from error
    return state
