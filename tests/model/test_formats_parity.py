"""Every format of weights gives the embeddings of open_clip's own model, small and full size."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch

from gleclip_cli.model.clip import load_clip

Save = Callable[[Any, Path], str]
FORMATS = (
    "safetensors",
    "pt",
    "checkpoint",
    "torchscript",
    "hf safetensors",
    "hf bin",
    "hf folder",
    "hf parts",
)


def reference(config: dict[str, Any]) -> Any:
    """A random model of open_clip alone, in numbers that half precision holds exactly."""
    with torch.random.fork_rng():
        torch.manual_seed(4)
        clip = open_clip.CLIP(**config)
    return clip.half().float().eval().requires_grad_(False)


def assert_same_embeddings(model: str, weights: str, expected: Any) -> None:
    clip = load_clip(model, weights)
    size = clip.image_size
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    texts = clip.tokenizer(["a photo of a cat.", "boat", "a clean origami diningtable."])
    with torch.no_grad():
        of_images = expected.encode_image(images, normalize=True)
        of_texts = expected.encode_text(texts, normalize=True)
    torch.testing.assert_close(clip(images).global_embed, of_images, atol=1e-5, rtol=0)
    torch.testing.assert_close(clip.encode_texts(texts), of_texts, atol=1e-5, rtol=0)
    assert clip.logit_scale == pytest.approx(float(expected.logit_scale.exp()))
    assert clip.warnings == ()


@pytest.mark.parametrize("layout", FORMATS)
def test_every_format_gives_open_clips_embeddings(
    tiny_clip_json: str, tmp_path: Path, savers: dict[str, Save], layout: str
) -> None:
    expected = reference(json.loads(Path(tiny_clip_json).read_text()))
    assert_same_embeddings(tiny_clip_json, savers[layout](expected, tmp_path), expected)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("model", ["ViT-B-32", "ViT-B-16-quickgelu", "ViT-L-14-quickgelu"])
def test_every_format_of_full_size_gives_open_clips_embeddings(
    tmp_path: Path, savers: dict[str, Save], model: str, layout: str
) -> None:
    expected = reference(open_clip.get_model_config(model))
    weights = savers[layout](expected, tmp_path)
    try:
        assert_same_embeddings(model, weights, expected)
    finally:  # pytest keeps the folders of three runs: gigabytes
        for file in tmp_path.iterdir():
            file.unlink()
