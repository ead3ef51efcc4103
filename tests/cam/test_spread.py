"""CAA after the fact equals CAA while the attention is at hand."""

import numpy as np
import pytest
import torch

from gleclip_cli.cam.fuse import min_max
from gleclip_cli.cam.spread import MapSource, Spreader, source_of_maps
from gleclip_cli.errors import OtherSettings, UsageError
from gleclip_cli.model.clip import load_clip
from gleclip_cli.model.weights import find_clip
from gleclip_cli.refine.affinity import caa

CPU = torch.device("cpu")


@pytest.mark.parametrize("parity", [False, True])
def test_maps_are_spread_by_the_attention_of_the_upright_image(
    tiny_clip_json: str, parity: bool
) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (32, 48, 3)).astype(np.uint8)  # whole patches of 8
    maps = rng.random((2, 4, 6)).astype(np.float32)
    spread = Spreader(MapSource(find_clip(tiny_clip_json, "random"), parity), CPU, threshold=0.5)
    clip = load_clip(tiny_clip_json, "random")
    pixels = clip.normalise(torch.from_numpy(image).permute(2, 0, 1)[None])
    attention = clip(pixels, parity=parity).attention.mean(dim=1)[0]
    by_hand = caa(attention, torch.from_numpy(maps), threshold=0.5, parity=parity)
    expected = min_max(by_hand, parity=parity).numpy()
    np.testing.assert_allclose(spread(maps, image), expected, atol=1e-6)


def test_the_model_is_the_one_that_the_manifest_names(tiny_clip_json: str) -> None:
    source = find_clip(tiny_clip_json, "random")
    config = {
        "clip_model": tiny_clip_json,
        "clip_weights": "random",
        "method": "similarity",
        "caa": False,
        "parity": True,
    }
    manifest = {"config": config, "weights": {"clip": source.sha256}}
    assert source_of_maps(manifest) == MapSource(source, True)
    with pytest.raises(OtherSettings, match="other weights"):
        source_of_maps({**manifest, "weights": {"clip": "0" * 64}})
    with pytest.raises(UsageError, match="twice"):
        source_of_maps({**manifest, "config": {**config, "caa": True}})
    with pytest.raises(UsageError, match="finer"):
        source_of_maps({**manifest, "config": {**config, "method": "gle-clip"}})
