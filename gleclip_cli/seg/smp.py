"""Any decoder on any encoder of segmentation-models-pytorch: `smp:<decoder>:<encoder>`.

Encoders are those of the package, and those of timm with `tu-` before their names. The package is
an extra: nothing else of gleclip needs it.
"""

import json
import warnings
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from gleclip_cli.datasets.transforms import IMAGENET_MEAN, IMAGENET_STD, Normalise
from gleclip_cli.errors import EnvironmentFault, UsageError

PREFIX = "smp:"
_LEAST = {"pan": 128}
"""Sides below which a decoder pools its coarsest maps to nothing."""

_RESTRICTED = {"mit_b": "NVIDIA, not for commercial use", "mobileone": "Apple"}
"""Encoders whose weights have a licence of their own."""


class SmpNetwork(nn.Module):
    """A network of the package; pictures of any size, padded to whole cells by the mean colour.

    `frozen_norms`: batch norm of the encoder stays as it is in training.
    """

    window = 1024
    patch_size = 32

    def __init__(
        self,
        network: nn.Module,
        num_classes: int,
        *,
        least: int = 1,
        pretrained: bool = False,
        mean: tuple[float, ...] = IMAGENET_MEAN,
        std: tuple[float, ...] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.frozen_norms = False
        self.network = network
        self.normalise = Normalise(mean, std)
        red, green, blue = (round(255 * value) for value in mean)
        self.fill = red, green, blue
        self._least, self._pretrained = least, pretrained

    @property
    def body(self) -> nn.Module:
        """The encoder: what pretrained weights are for."""
        return cast(nn.Module, self.network.encoder)

    def forward(self, images: Float[Tensor, "b 3 H W"]) -> Float[Tensor, "b c H W"]:
        """Return logits at the size of the pictures, which are RGB in [0, 1]."""
        height, width = images.shape[-2:]
        right, below = (
            # not -(-a // b): ONNX divides towards zero
            (max(side, self._least) + self.patch_size - 1) // self.patch_size * self.patch_size
            - side
            for side in (width, height)
        )
        # zero is the mean colour
        padded = functional.pad(self.normalise(images), (0, right, 0, below))
        logits: Tensor = self.network(padded)
        return logits[..., :height, :width]

    def training_logits(self, images: Float[Tensor, "b 3 H W"]) -> list[Float[Tensor, "b c h w"]]:
        """Return the logits as the one output that is judged."""
        return [self(images)]

    def train(self, mode: bool = True) -> "SmpNetwork":
        """Switch between training and evaluation; frozen norms stay in evaluation."""
        super().train(mode)
        if self.frozen_norms:
            for norm in _norms(self.body):
                norm.eval()
        return self

    def freeze_norms(self) -> None:
        """Keep statistics, weights and biases of the encoder's batch norms from now on."""
        self.frozen_norms = True
        for norm in _norms(self.body):
            norm.requires_grad_(False)
        self.train(self.training)

    def optimiser(self, *, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
        """AdamW without decay of vectors; new layers learn 10 times as fast as pretrained ones."""
        body = list(self.body.parameters())
        known = set(map(id, body))
        new = [p for p in self.parameters() if id(p) not in known]
        groups = [
            (rate, decay, [p for p in part if p.requires_grad and (p.ndim > 1) is matrices])
            for rate, part in ((1.0, body), (10.0 if self._pretrained else 1.0, new))
            for matrices, decay in ((True, weight_decay), (False, 0.0))
        ]
        return torch.optim.AdamW(
            [{"params": part, "rate": rate, "weight_decay": decay} for rate, decay, part in groups],
            lr=learning_rate,
        )

    def weights(self) -> dict[str, Tensor]:
        """Everything a checkpoint has to hold, statistics included."""
        return self.state_dict()


def check_name(arch: str) -> None:
    """See that a name can be built.

    Raises:
        EnvironmentFault: the package is not installed.
        UsageError: it has no such decoder or encoder; names close to it are told.
    """
    smp = _package()
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


def smp_network(
    arch: str,
    num_classes: int,
    *,
    pretrained: bool,
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
) -> SmpNetwork:
    """Build a network with new weights; `pretrained`: its encoder will be given others.

    Raises:
        EnvironmentFault: the package is not installed.
        UsageError: no such decoder or encoder, or two that do not go together.
    """
    check_name(arch)
    decoder, encoder = arch.removeprefix(PREFIX).split(":")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old names of encoders, and advice for other uses
            network = SmpNetwork(
                _package().create_model(
                    decoder,
                    encoder,
                    encoder_weights=None,
                    classes=num_classes,
                    **_any_size(encoder),
                ),
                num_classes,
                least=_LEAST.get(decoder, 1),
                pretrained=pretrained,
                mean=mean,
                std=std,
            ).eval()
            with torch.no_grad():
                network(torch.zeros(1, 3, 1, 1))
    except Exception as error:  # whatever a decoder makes of an encoder it was not written for
        reason = " ".join(str(error).split())[:200]
        raise UsageError(
            f"The decoder {decoder} and the encoder {encoder} do not go together: {reason}",
            "Choose another of both; unet takes most encoders.",
        ) from error
    return network.train()


def hub_names(arch: str) -> tuple[str, ...]:
    """Return the names of weights that can be fetched for the encoder of an architecture.

    Raises:
        EnvironmentFault, UsageError: as `check_name`.
    """
    check_name(arch)
    encoder = arch.rpartition(":")[2]
    if encoder.startswith("tu-"):
        return ("imagenet",)  # timm's own choice, or the tag in the name
    return tuple(_package().encoders.encoders[encoder]["pretrained_settings"])


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
        OSError, RuntimeError, ValueError: they cannot be had.
    """
    encoder = arch.rpartition(":")[2]
    if encoder.startswith("tu-"):
        import timm

        model: Any = timm.create_model(encoder.removeprefix("tu-"), pretrained=True)
        config = model.pretrained_cfg
        return model.state_dict(), tuple(config["mean"]), tuple(config["std"])
    from huggingface_hub import hf_hub_download

    source = _package().encoders.encoders[encoder]["pretrained_settings"][weights]
    place = {"repo_id": source["repo_id"], "revision": source["revision"]}
    settings = json.loads(Path(hf_hub_download(filename="config.json", **place)).read_text())
    tensors = load_file(hf_hub_download(filename="model.safetensors", **place))
    return tensors, tuple(settings["mean"]), tuple(settings["std"])


def _package() -> Any:
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


def _any_size(encoder: str) -> Mapping[str, bool]:
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


def _norms(module: nn.Module) -> list[nn.Module]:
    return [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
