import math

import pytest
import torch

from gleclip_cli.cam.similarity import similarity_maps
from gleclip_cli.model.clip import FrozenClip, load_clip


@pytest.fixture(scope="module")
def clip(tiny_clip_json: str) -> FrozenClip:
    return load_clip(tiny_clip_json, "random")


def test_it_is_the_softmax_of_scaled_cosines(clip: FrozenClip) -> None:
    dense = torch.zeros(1, 24, 1, 2)
    dense[0, 0, 0, 0] = 5.0  # along text 0, any length
    dense[0, :2, 0, 1] = 2.0  # between texts 0 and 1
    texts = torch.eye(24)[:3]
    maps = similarity_maps(clip, dense, texts, torch.ones(1, 3, dtype=torch.bool))
    scale = clip.logit_scale
    assert scale == pytest.approx(1 / 0.07, rel=1e-4)
    first = math.exp(scale) / (math.exp(scale) + 2)
    between = math.exp(scale / math.sqrt(2))
    second = between / (2 * between + 1)
    torch.testing.assert_close(maps[0, :, 0, 0], torch.tensor([first, *[(1 - first) / 2] * 2]))
    torch.testing.assert_close(maps[0, :2, 0, 1], torch.tensor([second, second]))


def test_texts_that_do_not_compete_have_nothing(clip: FrozenClip) -> None:
    generator = torch.Generator().manual_seed(0)
    dense = torch.randn(2, 24, 3, 4, generator=generator)
    texts = torch.nn.functional.normalize(torch.randn(5, 24, generator=generator), dim=-1)
    competing = torch.tensor([[True, False, True, True, True], [False, True, False, True, True]])
    maps = similarity_maps(clip, dense, texts, competing)
    assert (maps[~competing] == 0).all()
    torch.testing.assert_close(maps.sum(dim=1), torch.ones(2, 3, 4))
    chosen = competing[1].nonzero()[:, 0]
    alone = similarity_maps(clip, dense[1:], texts[chosen], torch.ones(1, 3, dtype=torch.bool))
    torch.testing.assert_close(maps[1, chosen], alone[0])
