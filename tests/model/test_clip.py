"""FrozenClip against open_clip's own forward and against the formulas written out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from torch import Tensor

from gleclip_cli.model.clip import FrozenClip, load_clip

SEED = 3


@pytest.fixture(scope="module")
def clip(tiny_clip_json: str) -> FrozenClip:
    return lively(load_clip(tiny_clip_json, "random", seed=SEED))


def lively(clip: FrozenClip) -> FrozenClip:
    """Scale the weights up: fresh ones give attention so even that no fault would show."""
    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for block in clip.blocks:
            block.attn.in_proj_weight.mul_(3)
            for vector in (block.attn.in_proj_bias, block.attn.out_proj.bias, block.ln_1.bias):
                vector.copy_(torch.randn(vector.shape, generator=generator) * 0.3)
    return clip


def pictures(height: int, width: int, count: int = 2) -> Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(1))


def variant(tiny_clip_json: str, tmp_path: Path, change: Callable[[dict[str, Any]], Any]) -> str:
    config = json.loads(Path(tiny_clip_json).read_text())
    change(config)
    path = tmp_path / "variant.json"
    path.write_text(json.dumps(config))
    return str(path)


def layer_scale(config: dict[str, Any]) -> None:
    config["vision_cfg"]["ls_init_value"] = 0.3


def gelu(config: dict[str, Any]) -> None:
    config["quick_gelu"] = False


@pytest.mark.parametrize("change", [lambda config: None, gelu, layer_scale])
def test_the_forward_is_open_clips_at_its_native_size(
    tiny_clip_json: str, tmp_path: Path, change: Callable[[dict[str, Any]], Any]
) -> None:
    clip = lively(load_clip(variant(tiny_clip_json, tmp_path, change), "random", seed=SEED))
    images = pictures(32, 32)
    expected = clip.clip.encode_image(images, normalize=True)
    torch.testing.assert_close(clip(images).global_embed, expected, atol=1e-5, rtol=0)


def test_uncalibrated_patches_are_open_clips_tokens(clip: FrozenClip) -> None:
    images = pictures(32, 32)
    clip.visual.output_tokens = True
    try:
        _, tokens = clip.visual(images)
    finally:
        clip.visual.output_tokens = False
    expected = (tokens @ clip.visual.proj).transpose(1, 2).reshape(2, 24, 4, 4)
    dense = clip(images, calibration="none").dense
    torch.testing.assert_close(dense, expected, atol=1e-5, rtol=1e-5)


def test_block_outputs_are_open_clips_intermediates(clip: FrozenClip) -> None:
    images = pictures(32, 32)
    expected = clip.visual.forward_intermediates(images, indices=[1, 3])["image_intermediates"]
    (late, early), whole = clip.block_outputs(images, [4, 2])
    torch.testing.assert_close(early, expected[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(late, expected[1], atol=1e-5, rtol=1e-5)
    encoded = clip.clip.encode_image(images, normalize=True)
    torch.testing.assert_close(whole, encoded, atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="layers"):
        clip.block_outputs(images, [0])


def test_the_attention_is_that_of_torchs_multi_head_attention(clip: FrozenClip) -> None:
    images = pictures(24, 40)
    tokens = clip._embed(images)
    expected = []
    for block in clip.blocks:
        normed = block.ln_1(tokens)
        expected.append(block.attn(normed, normed, normed, need_weights=True)[1][:, 1:, 1:])
        tokens = block(tokens)
    # Two thirds of four blocks, rounded: the last three.
    torch.testing.assert_close(clip(images).attention, torch.stack(expected[1:], dim=1))


def test_any_grid_goes_in_and_positions_are_bilinear_with_half_pixel_centres(
    clip: FrozenClip,
) -> None:
    features = clip(pictures(16, 64))
    assert features.dense.shape == (2, 24, 2, 8)
    assert features.attention.shape == (2, 3, 16, 16)
    positions = clip._position_embedding((2, 8), parity=False)
    learned = clip.visual.positional_embedding
    torch.testing.assert_close(positions[0], learned[0])
    # Cell (0, 1) of 2 x 8 lies at y = 0.5, x = 0.25 of the 4 x 4 grid.
    native = learned[1:].reshape(4, 4, -1)
    column = 0.75 * native[:, 0] + 0.25 * native[:, 1]
    torch.testing.assert_close(positions[2], (column[0] + column[1]) / 2)


def test_parity_rounds_positions_to_half(clip: FrozenClip) -> None:
    positions = clip._position_embedding((4, 4), parity=True)
    assert torch.equal(positions, clip.visual.positional_embedding.half().float())


def test_a_size_that_is_no_multiple_of_the_patch_is_refused(clip: FrozenClip) -> None:
    with pytest.raises(ValueError, match="20 x 32"):
        clip(pictures(20, 32))


def heads(clip: FrozenClip, block: Any, tokens: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Queries, keys and values per head, by slices of the stacked projection."""
    normed = block.ln_1(tokens)
    weight, bias = block.attn.in_proj_weight, block.attn.in_proj_bias
    width = clip.width
    parts = []
    for head in range(clip.num_heads):
        rows = slice(head * 16, head * 16 + 16)
        q, k, v = (
            normed @ weight[part * width : (part + 1) * width][rows].T
            + bias[part * width : (part + 1) * width][rows]
            for part in range(3)
        )
        parts.append((q, k, v))
    return parts


def project(clip: FrozenClip, tokens: Tensor, height: int, width: int) -> Tensor:
    embedded = clip.visual.ln_post(tokens[:, 1:]) @ clip.visual.proj
    return embedded.transpose(1, 2).reshape(len(tokens), -1, height, width)


def test_maskclip_lets_every_token_read_itself_alone(clip: FrozenClip) -> None:
    images = pictures(24, 32)
    tokens = clip._embed(images)
    for block in clip.blocks[:-1]:
        tokens = block(tokens)
    last = clip.blocks[-1]
    values = torch.cat([v for _, _, v in heads(clip, last, tokens)], dim=-1)
    tokens = tokens + last.attn.out_proj(values)
    tokens = tokens + last.mlp(last.ln_2(tokens))
    dense = clip(images, calibration="maskclip").dense
    torch.testing.assert_close(dense, project(clip, tokens, 3, 4), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("parity", [False, True])
def test_svc_runs_a_second_path_beside_the_last_blocks(clip: FrozenClip, parity: bool) -> None:
    images = pictures(32, 32)
    tokens = clip._embed(images, parity=parity)
    dense = None
    for index, block in enumerate(clip.blocks):
        if index >= 2:  # 5/12 of four blocks is two
            parts = heads(clip, block, tokens)
            relation = sum(
                torch.softmax(z @ z.transpose(1, 2) / 16**0.5, dim=-1) / 3
                for part in parts
                for z in part
            )
            relation = relation if parity else relation / clip.num_heads
            values = torch.cat([v for _, _, v in parts], dim=-1)
            dense = tokens if dense is None else dense
            dense = dense + block.attn.out_proj(relation @ values)
        tokens = block(tokens)
    assert dense is not None
    actual = clip(images, calibration="svc", parity=parity).dense
    torch.testing.assert_close(actual, project(clip, dense, 4, 4), atol=1e-5, rtol=1e-4)


def test_the_depths_of_published_backbones() -> None:
    from gleclip_cli.model.clip import _share

    assert [_share(12, 5 / 12), _share(24, 5 / 12), _share(6, 5 / 12)] == [5, 10, 3]
    assert [_share(12, 2 / 3), _share(24, 2 / 3), _share(6, 2 / 3)] == [8, 16, 4]


def test_it_stays_frozen_inside_a_network_that_trains(clip: FrozenClip) -> None:
    network = torch.nn.Sequential(clip).train()
    assert not any(module.training for module in clip.modules())
    assert not any(p.requires_grad for p in network.parameters())
    images = pictures(32, 32)
    assert torch.equal(clip(images).dense, clip(images).dense)  # patch dropout is off


@pytest.mark.parametrize("calibration", ["none", "maskclip", "svc"])
def test_half_precision_stays_near(clip: FrozenClip, calibration: str) -> None:
    """Autocast works the same way on a GPU; only there it is used."""
    images = pictures(32, 48)
    exact = clip(images, calibration=calibration)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = clip(images, calibration=calibration)
    for name in ("dense", "global_embed", "attention"):
        expected, actual = getattr(exact, name), getattr(rough, name)
        assert actual.dtype == torch.float32
        assert (actual - expected).norm() < 0.05 * expected.norm()
    assert rough.last.output.dtype == rough.last.query.dtype == torch.float32


def test_normalise_takes_bytes_and_fractions(clip: FrozenClip) -> None:
    images = torch.randint(0, 256, (1, 3, 8, 8), dtype=torch.uint8)
    mean = torch.tensor(open_clip.OPENAI_DATASET_MEAN).view(3, 1, 1)
    std = torch.tensor(open_clip.OPENAI_DATASET_STD).view(3, 1, 1)
    expected = (images / 255 - mean) / std
    torch.testing.assert_close(clip.normalise(images), expected)
    torch.testing.assert_close(clip.normalise(images / 255), expected)


def test_random_weights_follow_the_seed_and_leave_the_generator_alone(tiny_clip_json: str) -> None:
    state = torch.get_rng_state()
    first, again = (load_clip(tiny_clip_json, "random", seed=1) for _ in range(2))
    other = load_clip(tiny_clip_json, "random", seed=2)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(first.visual.proj, again.visual.proj)
    assert first.weights_sha256 == again.weights_sha256 != other.weights_sha256
