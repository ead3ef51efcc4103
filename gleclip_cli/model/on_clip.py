"""What networks on a frozen CLIP have in common: what they read of it, what of them is trained."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gleclip_cli.model.clip import FrozenClip


def quarter_blocks(count: int) -> tuple[int, ...]:
    """Blocks at 1/4, 1/2, 3/4 and 1 of the depth, 1-based, rounded up, each once."""
    return tuple(sorted({math.ceil(count * quarter / 4) for quarter in (1, 2, 3, 4)}))


def standardised(outputs: Sequence[Float[Tensor, "b d h w"]]) -> Float[Tensor, "b l h w d"]:
    """Join the outputs of blocks, each token standardised over its channels.

    So half precision holds them, however large some channels grow.
    """
    stacked = torch.stack(tuple(outputs), dim=1).permute(0, 1, 3, 4, 2)
    return nn.functional.layer_norm(stacked, stacked.shape[-1:])


def fill_colour(clip: FrozenClip) -> tuple[int, int, int]:
    """The mean colour (0 to 255) of what CLIP has seen: padding that says nothing."""
    red, green, blue = (round(255 * float(value)) for value in clip.mean.flatten())
    return red, green, blue


def adamw(
    network: nn.Module, *, learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """AdamW on everything but CLIP; vectors, biases and gates do not decay."""
    trained = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([{**g, "rate": 1.0} for g in groups], lr=learning_rate)


def learned_weights(network: nn.Module) -> dict[str, Tensor]:
    """Everything a checkpoint has to hold: not CLIP, which its name and hash stand for."""
    return {
        name: value for name, value in network.state_dict().items() if not name.startswith("clip.")
    }
