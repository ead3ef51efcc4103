"""Architecture name -> network; checkpoint of a run -> network."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from gleclip_cli.artifacts.checkpoint import checkpoint_files, load_checkpoint
from gleclip_cli.artifacts.run_dir import RunDir, printable
from gleclip_cli.datasets.transforms import IMAGENET_MEAN, IMAGENET_STD
from gleclip_cli.errors import BadInput, EnvironmentFault, MissingInput, UsageError
from gleclip_cli.model.clip import load_clip
from gleclip_cli.model.weights import fit_weights
from gleclip_cli.resources import clip_files
from gleclip_cli.seg.clip_decoder import ClipDecoder
from gleclip_cli.seg.deeplabv2 import DeepLabV2, deeplabv2, deeplabv2_small
from gleclip_cli.seg.initial import fill, find_initial
from gleclip_cli.seg.smp import SmpNetwork, smp_network
from gleclip_cli.seg.smp_names import PREFIX, check_name, restriction

SegmentationNetwork: TypeAlias = DeepLabV2 | ClipDecoder | SmpNetwork
"""Pictures (b, 3, H, W), RGB in [0, 1] -> logits (b, c, H, W), background first."""

_REFIT = "Use weights of this architecture, or train the network again."


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """All that is needed to build a network again before its weights are loaded.

    `clip_model`, `clip_weights`: as on the command line, for clip-decoder. `pretrained`: whether
    the body started from weights of elsewhere, which decides a DeepLab's kind of normalisation;
    `caffe`: they were of that layout. `mean`, `std`: of the colours that the body knows, RGB in
    [0, 1].
    """

    arch: str
    num_classes: int
    clip_model: str = ""
    clip_weights: str = ""
    pretrained: bool = False
    caffe: bool = False
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD


@dataclass(frozen=True)
class Started:
    """A new network, how to build it again, and what to tell of its weights."""

    network: SegmentationNetwork
    spec: NetworkSpec
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def check_arch(arch: str) -> None:
    """See that an architecture can be built, before anything is read or written.

    Raises:
        UsageError: there is no such network.
        EnvironmentFault: a package that it needs is not installed.
    """
    if arch.startswith(PREFIX):
        check_name(arch)


def start_network(spec: NetworkSpec, pretrained: str, *, seed: int = 0) -> Started:
    """Build a network for training; its body starts from `pretrained`, or from `none`.

    Raises:
        UsageError: an unknown architecture, CLIP, or name of weights.
        BadInput: a weights file that does not fit.
        EnvironmentFault: weights cannot be fetched, or a package is not installed.
    """
    initial = None if spec.arch == "clip-decoder" else find_initial(spec.arch, pretrained)
    if initial is not None:
        spec = replace(
            spec,
            pretrained=not initial.group_norm,
            caffe=initial.caffe,
            mean=initial.mean,
            std=initial.std,
        )
    network = build_network(spec, seed=seed)
    if isinstance(network, ClipDecoder):
        return Started(network, spec)
    terms = restriction(spec.arch)
    warnings = [terms] if terms else []
    notes: tuple[str, ...] = ()
    if initial is None:
        warnings.append(f"The body of {spec.arch} starts from random weights: see --pretrained.")
    else:
        notes = fill(network.body, getattr(network, "head", None), initial)
    return Started(network, spec, notes, tuple(warnings))


def build_network(spec: NetworkSpec, *, seed: int = 0) -> SegmentationNetwork:
    """Build a network; new weights are drawn from `seed`, CLIP's are loaded.

    Raises:
        UsageError: an unknown architecture or CLIP.
        BadInput: CLIP's weights do not fit.
        EnvironmentFault: CLIP's weights cannot be fetched, or a package is not installed.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if spec.arch == "clip-decoder":
            clip = load_clip(*clip_files(spec.clip_model, spec.clip_weights))
            return ClipDecoder(clip, spec.num_classes)
        if spec.arch == "deeplabv2":
            return deeplabv2(spec.num_classes, pretrained=spec.pretrained, caffe=spec.caffe)
        if spec.arch == "deeplabv2-small":
            return deeplabv2_small(spec.num_classes, pretrained=spec.pretrained)
        if spec.arch.startswith(PREFIX):
            colours = {"mean": tuple(spec.mean), "std": tuple(spec.std)}
            return smp_network(spec.arch, spec.num_classes, pretrained=spec.pretrained, **colours)
    raise UsageError(f"There is no architecture {spec.arch!r}.", "See --arch.")


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
    """Load the trained network `name` of a run, ready to predict; errors as `network_at`."""
    return network_at(run.checkpoint(name), device)


def network_at(path: Path, device: torch.device | str = "cpu") -> SegmentationNetwork:
    """Load the network of a checkpoint, ready to predict.

    Files of its CLIP are looked for in the folder `clip` beside it, then where they once were.

    Raises:
        MissingInput: there is no such file, or none of its CLIP.
        EnvironmentFault: its CLIP cannot be fetched.
        BadInput: the checkpoint is damaged, or its CLIP is not the one it was trained on.
    """
    tensors, meta = load_checkpoint(path)
    try:
        told: dict[str, Any] = dict(meta["network"])
        told |= {name: tuple(value) for name, value in told.items() if isinstance(value, list)}
        spec, clip_sha256 = NetworkSpec(**told), str(meta["clip_sha256"])
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(
            f"{printable(path)} does not say which network it holds: {error}.", "Train it again."
        ) from error
    network = _on_its_clip(spec, clip_sha256, path)
    if isinstance(network, ClipDecoder) and network.clip.weights_sha256 != clip_sha256:
        raise BadInput(
            f"{printable(path)} was trained on {spec.clip_model} with other weights "
            f"({clip_sha256[:12]}, not {network.clip.weights_sha256[:12]}).",
            "Bring back those weights, or train the network again.",
        )
    load_weights(network, tensors, origin=printable(path))
    return network.eval().to(device)


def _on_its_clip(spec: NetworkSpec, clip_sha256: str, checkpoint: Path) -> SegmentationNetwork:
    """Build the network of a checkpoint, or tell which CLIP it needs and where that is awaited."""
    if spec.arch != "clip-decoder":
        return build_network(spec)
    folder = checkpoint_files(checkpoint)[0].parent / "clip"
    model, weights = (
        str(place) if (place := folder / Path(name).name).exists() else name
        for name in (spec.clip_model, spec.clip_weights)
    )
    try:
        return build_network(replace(spec, clip_model=model, clip_weights=weights))
    except (UsageError, EnvironmentFault) as error:
        needs = (
            f"{printable(checkpoint)} needs the CLIP {spec.clip_model} with the weights "
            f"{spec.clip_weights} (SHA-256 {clip_sha256[:12]}), which may lie in "
            f"{printable(folder)}: {error.cause}"
        )
        if isinstance(error, EnvironmentFault):
            what = f"Connect once, or put their folder of the hub there as {spec.clip_weights}."
            raise EnvironmentFault(needs, what) from error
        raise MissingInput(needs, "Put its files there, under the names that they had.") from error
