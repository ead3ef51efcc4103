"""The closed form against automatic differentiation through open_clip's own modules."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gleclip_cli.cam import gradcam
from gleclip_cli.cam.gradcam import activation_slope, gradcams, layer_norm_vjp
from gleclip_cli.model.clip import FrozenClip, load_clip

Pairs = list[tuple[int, int]]


def make_clip(tiny_clip_json: str, tmp_path: Path, **vision: Any) -> FrozenClip:
    config = json.loads(Path(tiny_clip_json).read_text())
    config["quick_gelu"] = vision.pop("quick_gelu", True)
    config["vision_cfg"].update(vision)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    clip = load_clip(str(path), "random", seed=7)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in clip.visual.named_parameters():
            if parameter.ndim == 1 and "class_embedding" not in name:
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
        for block in clip.blocks:
            block.attn.in_proj_weight.mul_(3)
    return clip


def pictures(dtype: torch.dtype) -> Tensor:
    return torch.randn(3, 3, 24, 40, generator=torch.Generator().manual_seed(2)).to(dtype)


def some_texts(dtype: torch.dtype) -> Tensor:
    texts = torch.randn(9, 24, generator=torch.Generator().manual_seed(4)).to(dtype)
    return nn.functional.normalize(texts, dim=-1)


# Texts 0 to 4 are classes, 5 to 8 backgrounds; the second image has two classes.
PRESENT = [[1], [0, 4], [2]]
PAIRS = [(0, 1), (1, 0), (1, 4), (2, 2)]


def competing() -> Tensor:
    mask = torch.zeros(3, 9, dtype=torch.bool)
    mask[:, 5:] = True
    for image, classes in enumerate(PRESENT):
        mask[image, classes] = True
    return mask


def by_autograd(clip: FrozenClip, images: Tensor, texts: Tensor, pairs: Pairs) -> Tensor:
    """CLIP-ES as published: one forward and one backward per class, alpha from the gradient."""
    maps = []
    for image, text in pairs:
        with torch.no_grad():
            tokens = clip._embed(images[image : image + 1])
            for block in clip.blocks[:-1]:
                tokens = block(tokens)
            last = clip.blocks[-1]
            hidden = last.ln_1(tokens)
        hidden.requires_grad_()
        attended = tokens + last.ls_1(last.attn(hidden, hidden, hidden, need_weights=False)[0])
        output = attended + last.ls_2(last.mlp(last.ln_2(attended)))
        embedding = clip.visual.ln_post(output)[0, 1:].mean(dim=0) @ clip.visual.proj
        chosen = [text for text in range(len(texts)) if competing()[image, text]]
        logits = clip.logit_scale * (embedding / embedding.norm()) @ texts[chosen].T
        (gradient,) = torch.autograd.grad(logits.softmax(-1)[chosen.index(text)], hidden)
        alpha = gradient[0, 1:].mean(dim=0)
        maps.append((hidden[0, 1:] * alpha).sum(dim=-1).relu().detach())
    return torch.stack(maps)


def closed_form(clip: FrozenClip, images: Tensor, texts: Tensor, pairs: Pairs) -> Tensor:
    last = clip(images, calibration="none").last
    index = torch.tensor(pairs)
    return gradcams(clip, last, texts, competing()[: len(images)], index[:, 0], index[:, 1])


@pytest.mark.parametrize("vision", [{}, {"quick_gelu": False}, {"ls_init_value": 0.4}])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_the_closed_form_is_the_gradient(
    tiny_clip_json: str,
    tmp_path: Path,
    vision: dict[str, Any],
    dtype: torch.dtype,
    tolerance: float,
) -> None:
    clip = make_clip(tiny_clip_json, tmp_path, **vision).to(dtype)
    images, texts = pictures(dtype), some_texts(dtype)
    actual = closed_form(clip, images, texts, PAIRS)
    expected = by_autograd(clip, images, texts, PAIRS)
    assert actual.dtype == dtype
    assert (expected.amax(dim=1) > 0).all()
    error = (actual - expected).norm(dim=1) / expected.norm(dim=1)
    assert error.max() < tolerance


def test_pairs_taken_in_parts_give_the_same(
    tiny_clip_json: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make_clip(tiny_clip_json, tmp_path)
    images, texts = pictures(torch.float32), some_texts(torch.float32)
    whole = closed_form(clip, images, texts, PAIRS)
    monkeypatch.setattr(gradcam, "_FLOATS_AT_ONCE", 1)
    torch.testing.assert_close(closed_form(clip, images, texts, PAIRS), whole)


def test_one_image_alone_equals_itself_in_a_batch(tiny_clip_json: str, tmp_path: Path) -> None:
    clip = make_clip(tiny_clip_json, tmp_path)
    images, texts = pictures(torch.float32), some_texts(torch.float32)
    whole = closed_form(clip, images, texts, PAIRS)
    alone = closed_form(clip, images[:1], texts, PAIRS[:1])
    torch.testing.assert_close(alone[0], whole[0], rtol=1e-4, atol=1e-8)


def test_a_saturated_softmax_keeps_its_map(tiny_clip_json: str, tmp_path: Path) -> None:
    """With p_c = 1 - 1e-9 the difference of probabilities is nothing in float32."""
    clip = make_clip(tiny_clip_json, tmp_path)
    images, texts = pictures(torch.float32)[:1], some_texts(torch.float32)
    embedding = clip.visual.ln_post(clip(images, calibration="none").last.output)[0, 1:].mean(0)
    texts[1] = nn.functional.normalize(embedding @ clip.visual.proj, dim=-1)
    with torch.no_grad():
        clip.clip.logit_scale.fill_(3.4)
    single = closed_form(clip, images, texts, PAIRS[:1])
    double = clip.double()
    exact = by_autograd(double, images.double(), texts.double(), PAIRS[:1]).float()
    assert 0 < exact.max() < 1e-6
    torch.testing.assert_close(single / single.max(), exact / exact.max(), atol=1e-3, rtol=0)


def test_half_precision_features_give_nearly_the_same_map(
    tiny_clip_json: str, tmp_path: Path
) -> None:
    clip = make_clip(tiny_clip_json, tmp_path)
    images, texts = pictures(torch.float32), some_texts(torch.float32)
    exact = closed_form(clip, images, texts, PAIRS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        last = clip(images, calibration="none").last
    index = torch.tensor(PAIRS)
    rough = gradcams(clip, last, texts, competing(), index[:, 0], index[:, 1])
    assert rough.dtype == torch.float32
    assert ((rough - exact).norm(dim=1) < 0.1 * exact.norm(dim=1)).all()


def test_no_pairs_give_no_maps(tiny_clip_json: str, tmp_path: Path) -> None:
    clip = make_clip(tiny_clip_json, tmp_path)
    none = torch.zeros(0, dtype=torch.long)
    last = clip(pictures(torch.float32), calibration="none").last
    assert gradcams(clip, last, some_texts(torch.float32), competing(), none, none).shape == (0, 15)


@pytest.mark.parametrize("activation", ["quick", "none", "tanh"])
def test_slopes_are_derivatives(activation: str) -> None:
    from open_clip.transformer import QuickGELU

    module = QuickGELU() if activation == "quick" else nn.GELU(approximate=activation)
    inputs = torch.linspace(-4, 4, 33, dtype=torch.float64)[None]
    step = 1e-6
    expected = (module(inputs + step) - module(inputs - step)) / (2 * step)
    torch.testing.assert_close(activation_slope(module, inputs), expected, atol=1e-8, rtol=0)


def test_layer_norm_vjp_is_torchs() -> None:
    generator = torch.Generator().manual_seed(0)
    norm = nn.LayerNorm(8).double()
    nn.init.normal_(norm.weight, generator=generator)
    inputs = torch.randn(2, 3, 8, dtype=torch.float64, generator=generator).requires_grad_()
    gradient = torch.randn(2, 1, 8, dtype=torch.float64, generator=generator)
    (norm(inputs) * gradient).sum().backward()
    with torch.no_grad():
        actual = layer_norm_vjp(norm, inputs, gradient)
    torch.testing.assert_close(actual, inputs.grad)
