"""Any decoder on any encoder of segmentation-models-pytorch: `smp:<decoder>:<encoder>`.

Encoders are those of the package, and those of timm with `tu-` before their names.
"""

import warnings
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from gleclip_cli.datasets.transforms import IMAGENET_MEAN, IMAGENET_STD, Normalise
from gleclip_cli.errors import UsageError
from gleclip_cli.seg.smp_names import PREFIX, any_size, check_name, package

_LEAST = {"pan": 128}
"""Sides below which a decoder pools its coarsest maps to nothing."""


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
                package().create_model(
                    decoder,
                    encoder,
                    encoder_weights=None,
                    classes=num_classes,
                    **any_size(encoder),
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


def _norms(module: nn.Module) -> list[nn.Module]:
    return [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
