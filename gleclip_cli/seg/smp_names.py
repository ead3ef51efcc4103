"""Names of segmentation-models-pytorch: decoders, encoders and their weights.

The package is an extra: it is imported only when one of its names is used.
"""

import json
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import huggingface_hub
from safetensors.torch import load_file
from torch import Tensor

from gleclip_cli.datasets.transforms import IMAGENET_MEAN, IMAGENET_STD
from gleclip_cli.errors import EnvironmentFault, UsageError
from gleclip_cli.model.hub import reach_hub

PREFIX = "smp:"
_RESTRICTED = {"mit_b": "NVIDIA, not for commercial use", "mobileone": "Apple"}
"""Encoders whose weights have a licence of their own."""


def check_name(arch: str) -> None:
    """See that a name can be built.

    Raises:
        EnvironmentFault: the package is not installed.
        UsageError: it has no such decoder or encoder; names close to it are told.
    """
    smp = package()
    words = arch.removeprefix(PREFIX).split(":")
    if len(words) != 2:
        raise UsageError(
            f"--arch {arch!r} is not smp:<decoder>:<encoder>.",
            "For instance smp:unet:resnet34 or smp:deeplabv3plus:mobilenet_v2.",
        )
    decoder, encoder = words
    _require_known("decoder", decoder, list(smp.MODEL_ARCHITECTURES_MAPPING))
    _require_known("encoder", encoder, _encoders(smp, encoder))
    if decoder == "dpt" and not encoder.startswith("tu-"):
        raise UsageError(
            f"The decoder dpt cannot read {encoder}.", "Use smp:dpt:tu-vit_base_patch16_224."
        )


def restriction(arch: str) -> str:
    """Return what to know about the licence of an encoder, or nothing."""
    encoder = arch.rpartition(":")[2]
    for start, terms in _RESTRICTED.items():
        if encoder.startswith(start):
            return f"The encoder {encoder} has a licence of its own: {terms}."
    return ""


def hub_names(arch: str) -> tuple[str, ...]:
    """Return the names of weights that can be fetched for the encoder of an architecture.

    Raises:
        EnvironmentFault, UsageError: as `check_name`.
    """
    check_name(arch)
    encoder = arch.rpartition(":")[2]
    if encoder.startswith("tu-"):
        return ("imagenet",)  # timm's own choice, or the tag in the name
    return tuple(package().encoders.encoders[encoder]["pretrained_settings"])


def colours_of(arch: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and deviation of the colours that an encoder is usually trained on."""
    encoder = arch.rpartition(":")[2]
    if encoder.startswith("tu-"):
        import timm

        config = timm.get_pretrained_cfg(encoder.removeprefix("tu-"), allow_unregistered=True)
        return (tuple(config.mean), tuple(config.std)) if config else (IMAGENET_MEAN, IMAGENET_STD)
    if encoder.startswith(("xception", "inception")):
        return (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    if encoder.startswith("dpn"):
        scale = 1 / (0.0167 * 255)
        return (124 / 255, 117 / 255, 104 / 255), (scale, scale, scale)
    return IMAGENET_MEAN, IMAGENET_STD


def hub_encoder(
    arch: str, weights: str
) -> tuple[dict[str, Tensor], tuple[float, ...], tuple[float, ...]]:
    """Fetch tensors of an encoder, and mean and deviation of its colours.

    Raises:
        Exception: they cannot be had; each client has its own.
    """
    encoder = arch.rpartition(":")[2]
    if encoder.startswith("tu-"):
        import timm

        model: Any = timm.create_model(encoder.removeprefix("tu-"), pretrained=True)
        config = model.pretrained_cfg
        return model.state_dict(), tuple(config["mean"]), tuple(config["std"])
    source = package().encoders.encoders[encoder]["pretrained_settings"][weights]
    place = source["repo_id"], source["revision"]
    settings = json.loads(_hub_file(*place, "config.json").read_text())
    tensors = load_file(_hub_file(*place, "model.safetensors"))
    return tensors, tuple(settings["mean"]), tuple(settings["std"])


def _hub_file(repository: str, revision: str, name: str) -> Path:
    cached = huggingface_hub.try_to_load_from_cache(repository, name, revision=revision)
    if isinstance(cached, str):
        return Path(cached)
    reach_hub()
    return Path(huggingface_hub.hf_hub_download(repository, name, revision=revision))


def package() -> Any:
    try:
        import segmentation_models_pytorch
    except ImportError as error:
        raise EnvironmentFault(
            "segmentation-models-pytorch is not installed.", "Run: pip install 'gleclip[smp]'"
        ) from error
    return segmentation_models_pytorch


def _encoders(smp: Any, like: str) -> list[str]:
    import timm

    names = list(smp.encoders.encoders)
    if not like.startswith("tu-"):
        return names
    # weights tags are part of timm's names
    return names + [f"tu-{name}" for name in timm.list_models(pretrained="." in like)]


def any_size(encoder: str) -> Mapping[str, bool]:
    """Return what makes a timm model take pictures of any size, where it does not by itself."""
    if not encoder.startswith("tu-"):
        return {}
    import timm

    name = encoder.removeprefix("tu-")
    if "swin" in name:
        return {"strict_img_size": False}
    config = timm.get_pretrained_cfg(name.partition(".")[0], allow_unregistered=True)
    return {"dynamic_img_size": True} if config and config.fixed_input_size else {}


def _require_known(kind: str, name: str, known: list[str]) -> None:
    if name in known:
        return
    close = get_close_matches(name, known, n=3)
    told = f"Did you mean {' or '.join(close)}?" if close else f"Some: {', '.join(known[:12])}."
    raise UsageError(f"segmentation-models-pytorch has no {kind} {name!r}.", told)
