"""The whole of CLIP-ES, step by step and the slow way, against `parity` on the same weights.

Reference: method.md 3.1; automatic differentiation, dense matrices, numpy and OpenCV.
"""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from gleclip_cli.cam.method import training_free
from gleclip_cli.config import GenCamConfig
from gleclip_cli.datasets.vocabulary import Vocabulary, voc_palette
from gleclip_cli.model.clip import FrozenClip, load_clip

# The gate of the design is 2e-3 after float16; before it, only rounding of float32 is left.
PARITY = 5e-5
VOCABULARY = Vocabulary(
    name="toy",
    classes=("cat", "dog", "boat"),
    prompts=("cat", "dog", "boat"),
    templates=("a clean origami {}.",),
    background_texts=("ground", "sky", "water"),
    palette=voc_palette(),
)


@pytest.fixture(scope="module")
def clip(tiny_clip_json: str) -> FrozenClip:
    clip = load_clip(tiny_clip_json, "random", seed=11)
    with torch.no_grad():
        for block in clip.blocks:
            block.attn.in_proj_weight.mul_(3)
    return clip


def reference(
    clip: FrozenClip, image: NDArray[np.uint8], present: list[int]
) -> NDArray[np.float64]:
    """CAMs of `present` (indices of classes) as CLIP-ES computes them, one class at a time."""
    height, width = (-(-side // 8) for side in image.shape[:2])
    resized = Image.fromarray(image).resize((width * 8, height * 8), Image.Resampling.BICUBIC)
    pixels = (torch.from_numpy(np.array(resized)) / 255 - clip.mean.flatten()) / clip.std.flatten()
    visual = clip.visual
    # 1. Positions: OpenCV's resize has half-pixel centres; then half precision.
    native = visual.positional_embedding[1:].reshape(4, 4, -1).detach().numpy()
    grid = np.stack(
        [
            cv2.resize(native[:, :, c], (width, height), interpolation=cv2.INTER_LINEAR)
            for c in range(clip.width)
        ],
        axis=-1,
    ).reshape(height * width, -1)
    positions = torch.cat([visual.positional_embedding[:1], torch.from_numpy(grid)]).half().float()
    # 2. All blocks; every block's mean attention.
    patches = visual.conv1(pixels.permute(2, 0, 1)[None]).flatten(2).transpose(1, 2)
    tokens = torch.cat([visual.class_embedding.expand(1, 1, -1), patches], dim=1) + positions
    tokens = visual.ln_pre(tokens)
    attentions = []
    for block in clip.blocks:
        hidden = block.ln_1(tokens).detach().requires_grad_()
        attended, weights = block.attn(hidden, hidden, hidden, need_weights=True)
        attentions.append(weights[0, 1:, 1:].detach().double().numpy())
        middle = tokens.detach() + attended
        tokens = middle + block.mlp(block.ln_2(middle))
    # 3. Probability among present and background texts; its gradient gives the weights.
    texts = [f"a clean origami {VOCABULARY.classes[c]}." for c in present]
    texts += [f"a clean origami {b}." for b in VOCABULARY.background_texts]
    text = torch.nn.functional.normalize(clip.clip.encode_text(clip.tokenizer(texts)), dim=-1)
    embedding = visual.ln_post(tokens)[0, 1:].mean(dim=0) @ visual.proj
    probability = (clip.logit_scale * (embedding / embedding.norm()) @ text.T).softmax(-1)
    maps = []
    for index in range(len(present)):
        (gradient,) = torch.autograd.grad(probability[index], hidden, retain_graph=True)
        alpha = gradient[0, 1:].mean(dim=0)
        cam = (hidden[0, 1:] * alpha).sum(-1).relu().detach().double().numpy()
        for _ in range(2):
            cam = cam - cam.min()
            cam = cam / (1e-7 + cam.max())
        maps.append(spread(cam.reshape(height, width), np.mean(attentions[-3:], axis=0)))
    return np.stack(maps)


def spread(cam: NDArray[np.float64], attention: NDArray[np.float64]) -> NDArray[np.float64]:
    """Class-aware affinity with its matrices written out; four blocks: the last three."""
    for _ in range(3):
        attention = attention / attention.sum(axis=0, keepdims=True)
        attention = attention / attention.sum(axis=1, keepdims=True)
    transition = (attention + attention.T) / 2
    transition = transition @ transition
    level = (cam * 255).astype(np.uint8)
    _, above = cv2.threshold(level, int(0.4 * level.max()), 255, cv2.THRESH_BINARY)
    contours, _ = cv2.findContours(above, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    mask = np.zeros(cam.shape)
    for contour in contours:
        x, y, w, h = cv2.boundingRect(contour)
        mask[y : min(y + h, cam.shape[0] - 1), x : min(x + w, cam.shape[1] - 1)] = 1
    refined = (transition @ (mask * cam).reshape(-1)).reshape(cam.shape)
    refined = refined - refined.min()
    return refined / (1e-7 + refined.max())


@pytest.mark.parametrize("size", [(32, 32), (50, 75), (90, 41)])
@pytest.mark.parametrize("present", [[0], [1, 2]])
def test_parity_with_clip_es(clip: FrozenClip, size: tuple[int, int], present: list[int]) -> None:
    image = np.random.default_rng(sum(size)).integers(0, 256, (*size, 3)).astype(np.uint8)
    method = training_free(GenCamConfig(method="clip-es", parity=True), clip, VOCABULARY)
    (maps,) = method([method.prepare(image)], [[c + 1 for c in present]])
    expected = reference(clip, image, present)
    assert expected.max() > 0.9
    assert np.abs(maps - expected).max() < PARITY


def test_parity_on_a_photograph(clip: FrozenClip) -> None:
    import os

    root = Path(os.environ.get("GLECLIP_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
    photos = sorted(root.glob("voc-photos/VOCdevkit/VOC2012/JPEGImages/*.jpg"))
    if not photos:
        pytest.skip("no shared photographs")
    image = np.asarray(Image.open(photos[0]).convert("RGB").reduce(2))
    method = training_free(GenCamConfig(method="clip-es", parity=True), clip, VOCABULARY)
    (maps,) = method([method.prepare(image)], [[1, 3]])
    expected = reference(clip, image, [0, 2])
    assert np.abs(maps - expected).max() < PARITY
