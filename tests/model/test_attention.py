"""Blocks run by hand against open_clip's own."""

import json
from pathlib import Path

import pytest
import torch

from gleclip_cli.model.attention import advance, run_block
from gleclip_cli.model.clip import load_clip


@pytest.mark.parametrize("quick_gelu", [True, False])
@pytest.mark.parametrize("layer_scale", [None, 0.3])
def test_both_ways_to_run_a_block_are_open_clips(
    tiny_clip_json: str, tmp_path: Path, quick_gelu: bool, layer_scale: float | None
) -> None:
    config = json.loads(Path(tiny_clip_json).read_text())
    config["quick_gelu"] = quick_gelu
    config["vision_cfg"]["ls_init_value"] = layer_scale
    (tmp_path / "config.json").write_text(json.dumps(config))
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(2, 30, 64, generator=generator)
    for block in load_clip(str(tmp_path / "config.json"), "random").blocks:
        with torch.no_grad():
            block.attn.in_proj_weight.mul_(4)  # so uneven that attention shows
            block.attn.in_proj_bias.normal_(generator=generator)
            expected = block(tokens)
            torch.testing.assert_close(advance(block, tokens), expected, atol=1e-5, rtol=0)
            torch.testing.assert_close(run_block(block, tokens).output, expected, atol=1e-5, rtol=0)
            assert (expected - tokens).abs().max() > 0.1
