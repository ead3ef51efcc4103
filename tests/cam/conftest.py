"""A small GLE-CLIP, untrained or as if trained."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gleclip_cli.cam.build import build_gleclip, spec_of
from gleclip_cli.config import TrainCamConfig
from gleclip_cli.model.clip import FrozenClip, load_clip
from gleclip_cli.model.gleclip import GLECLIP

CLASSES, WORDS = 3, 2
Build = Callable[..., GLECLIP]


@pytest.fixture(scope="session")
def lively_clip(tiny_clip_json: str) -> FrozenClip:
    """Attention that is not even, unlike that of fresh weights."""
    clip = load_clip(tiny_clip_json, "random", seed=3)
    with torch.no_grad():
        for block in clip.blocks:
            block.attn.in_proj_weight.mul_(3)
    return clip


@pytest.fixture(scope="session")
def texts() -> Tensor:
    """Three classes, two background words."""
    drawn = torch.randn(CLASSES + WORDS, 24, generator=torch.Generator().manual_seed(5))
    return nn.functional.normalize(drawn, dim=-1)


@pytest.fixture(scope="session")
def images() -> Tensor:
    """Two pictures of 3 x 5 patches."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (2, 3, 24, 40), dtype=torch.uint8, generator=generator)


@pytest.fixture(scope="session")
def build(lively_clip: FrozenClip, texts: Tensor) -> Build:
    """Switches of TrainCamConfig -> model; `opened`: no weight is where it started."""

    def make(*, opened: bool = False, words: bool = True, **switches: Any) -> GLECLIP:
        known = texts if words else texts[:CLASSES]
        model = build_gleclip(spec_of(TrainCamConfig(**switches)), lively_clip, known, CLASSES)
        if opened:
            generator = torch.Generator().manual_seed(9)
            with torch.no_grad():
                for parameter in model.parameters():
                    if parameter.requires_grad:
                        parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
        return model

    return make
