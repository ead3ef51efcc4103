"""Optimisers by name, with the groups of the network's own."""

import torch

from gleclip_cli.seg.deeplabv2 import deeplabv2_small
from gleclip_cli.training.trainable import optimiser_of


def test_another_optimiser_has_the_same_groups():
    network = deeplabv2_small(2, pretrained=True)
    made = {
        kind: optimiser_of(network, kind, learning_rate=0.1, weight_decay=0.2)
        for kind in ("auto", "sgd", "adamw")
    }
    assert {kind: type(o) for kind, o in made.items()} == {
        "auto": torch.optim.SGD,
        "sgd": torch.optim.SGD,
        "adamw": torch.optim.AdamW,
    }
    assert all(group["momentum"] == 0.9 for group in made["sgd"].param_groups)
    for optimiser in made.values():
        assert [(g["rate"], g["weight_decay"]) for g in optimiser.param_groups] == [
            (1.0, 0.2), (10.0, 0.2), (20.0, 0.0),
        ]  # fmt: skip
