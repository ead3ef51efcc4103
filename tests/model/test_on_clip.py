"""What networks on a frozen CLIP share."""

import pytest
import torch
from torch import nn

from gleclip_cli.model.clip import load_clip
from gleclip_cli.model.on_clip import (
    adamw,
    fill_colour,
    learned_weights,
    quarter_blocks,
    standardised,
)


class Headed(nn.Module):
    """A frozen CLIP with a layer and a gate of its own."""

    def __init__(self, config: str) -> None:
        super().__init__()
        self.clip = load_clip(config, "random")
        self.layer = nn.Linear(2, 3)
        self.gate = nn.Parameter(torch.zeros(()))


@pytest.fixture(scope="module")
def network(tiny_clip_json: str) -> Headed:
    return Headed(tiny_clip_json)


@pytest.mark.parametrize(
    ("count", "blocks"),
    [
        (12, (3, 6, 9, 12)),
        (24, (6, 12, 18, 24)),
        (6, (2, 3, 5, 6)),
        (5, (2, 3, 4, 5)),
        (2, (1, 2)),
        (1, (1,)),
    ],
)
def test_quarters_of_the_depth(count: int, blocks: tuple[int, ...]) -> None:
    assert quarter_blocks(count) == blocks


def test_tokens_have_mean_0_and_deviation_1() -> None:
    outputs = [5 + 3 * torch.randn(2, 8, 3, 4), 100 * torch.randn(2, 8, 3, 4)]
    tokens = standardised(outputs)
    assert tokens.shape == (2, 2, 3, 4, 8)
    torch.testing.assert_close(tokens.mean(-1), torch.zeros(2, 2, 3, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        tokens.std(-1, correction=0), torch.ones(2, 2, 3, 4), atol=1e-3, rtol=0
    )


def test_only_matrices_of_what_is_trained_decay(network: Headed) -> None:
    decaying, others = adamw(network, learning_rate=0.1, weight_decay=0.5).param_groups
    assert (decaying["weight_decay"], others["weight_decay"]) == (0.5, 0.0)
    assert [p.shape for p in decaying["params"]] == [(3, 2)]
    assert sorted(tuple(p.shape) for p in others["params"]) == [(), (3,)]


def test_a_checkpoint_leaves_clip_out(network: Headed) -> None:
    assert set(learned_weights(network)) == {"layer.weight", "layer.bias", "gate"}


def test_padding_has_the_mean_colour(network: Headed) -> None:
    expected = (255 * network.clip.mean.flatten()).round().int().tolist()
    assert list(fill_colour(network.clip)) == expected
