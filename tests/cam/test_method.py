"""The configured method: what it puts together, and that batches do not matter."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from gleclip_cli.cam.method import CamMethod, resize_to_patches, training_free
from gleclip_cli.config import GenCamConfig
from gleclip_cli.datasets.vocabulary import Vocabulary, voc_palette
from gleclip_cli.model.clip import FrozenClip, load_clip
from gleclip_cli.model.texts import class_text_embeddings
from gleclip_cli.refine.affinity import caa, min_max

VOCABULARY = Vocabulary(
    name="toy",
    classes=("cat", "dog", "boat"),
    prompts=("cat", "dog", "boat on water"),
    templates=("a photo of a {}.", "a {}."),
    background_texts=("grass", "sky"),
    palette=voc_palette(),
)
CLIP_ES = GenCamConfig(method="clip-es")
CLASS_IDS = [[1], [2, 3], [1, 2, 3]]


@pytest.fixture(scope="module")
def clip(tiny_clip_json: str) -> FrozenClip:
    clip = load_clip(tiny_clip_json, "random", seed=3)
    with torch.no_grad():
        for block in clip.blocks:
            block.attn.in_proj_weight.mul_(3)
    return clip


def photographs(height: int, width: int) -> list[NDArray[np.uint8]]:
    generator = np.random.default_rng(0)
    return [
        generator.integers(0, 256, (height, width, 3)).astype(np.uint8)
        for _ in range(len(CLASS_IDS))
    ]


def maps_of(
    method: CamMethod, images: list[NDArray[np.uint8]], class_ids: list[list[int]]
) -> list[NDArray[np.float32]]:
    return method([method.prepare(image) for image in images], class_ids)


@pytest.mark.parametrize("caa_on", [False, True])
@pytest.mark.parametrize(
    "config",
    [
        CLIP_ES,
        replace(CLIP_ES, scales=(0.5, 1.0), flip=True),
        GenCamConfig(method="similarity"),
        GenCamConfig(method="similarity", calibration="none", background_texts=False),
        replace(CLIP_ES, background_texts=False, parity=True),
    ],
)
def test_fault_69_images_of_a_batch_get_what_they_get_alone(
    clip: FrozenClip, config: GenCamConfig, caa_on: bool
) -> None:
    method = training_free(replace(config, caa=caa_on), clip, VOCABULARY)
    images = photographs(30, 44)
    together = maps_of(method, images, CLASS_IDS)
    for image, class_ids, maps in zip(images, CLASS_IDS, together, strict=True):
        assert maps.shape == (len(class_ids), 4, 6)
        assert maps.min() >= 0
        assert maps.max() <= 1
        tops = maps.max(axis=(1, 2))
        assert ((tops > 0.99) | (tops == 0)).all()
        (alone,) = maps_of(method, [image], [class_ids])
        # A box of CAA may open one cell more or less where rounding meets its threshold.
        tolerance = 0.02 if caa_on else 1e-4
        assert np.quantile(np.abs(maps - alone), 0.95) < tolerance


def test_similarity_is_calibrated_patches_against_own_classes_and_backgrounds(
    clip: FrozenClip,
) -> None:
    config = GenCamConfig(method="similarity", calibration="maskclip", caa=False)
    image = photographs(32, 40)[0]
    (maps,) = maps_of(training_free(config, clip, VOCABULARY), [image], [[1, 3]])
    pixels = clip.normalise(torch.from_numpy(image).permute(2, 0, 1)[None])
    dense = clip(pixels, calibration="maskclip").dense[0]
    names = ["cat", "boat on water", "grass", "sky"]
    texts = class_text_embeddings(clip, names, VOCABULARY.templates)
    cosine = torch.einsum("ke,ehw->khw", texts, dense / dense.norm(dim=0))
    expected = min_max((clip.logit_scale * cosine).softmax(dim=0)[:2])
    np.testing.assert_allclose(maps, expected.numpy(), atol=1e-4)


def test_caa_spreads_the_normalised_map_along_the_mean_attention(clip: FrozenClip) -> None:
    image = photographs(32, 40)[0]
    plain, spread = (
        maps_of(training_free(replace(CLIP_ES, caa=on), clip, VOCABULARY), [image], [[2]])[0]
        for on in (False, True)
    )
    pixels = clip.normalise(torch.from_numpy(image).permute(2, 0, 1)[None])
    attention = clip(pixels).attention[0].mean(dim=0)
    expected = min_max(caa(attention, torch.from_numpy(plain), threshold=0.4))
    np.testing.assert_allclose(spread, expected.numpy(), atol=1e-4)
    assert np.abs(plain - spread).max() > 0.05


@pytest.mark.parametrize("name", ["clip-es", "similarity"])
def test_flip_makes_the_maps_of_a_mirrored_image_mirrored(clip: FrozenClip, name: str) -> None:
    method = training_free(GenCamConfig(method=name, flip=True, caa=False), clip, VOCABULARY)
    image = photographs(32, 40)[0]
    (maps,) = maps_of(method, [image], [[1, 2]])
    (mirrored,) = maps_of(method, [image[:, ::-1].copy()], [[1, 2]])
    np.testing.assert_allclose(mirrored[:, :, ::-1], maps, atol=1e-4)
    once = training_free(GenCamConfig(method=name, caa=False), clip, VOCABULARY)
    assert np.abs(maps_of(once, [image], [[1, 2]])[0] - maps).max() > 0.01


def test_the_grid_is_that_of_the_finest_scale(clip: FrozenClip) -> None:
    method = training_free(replace(CLIP_ES, scales=(2.0, 0.5)), clip, VOCABULARY)
    assert method.grids((17, 40)) == ((5, 10), (2, 3))
    assert method.grid((17, 40)) == (5, 10)
    image = photographs(17, 40)[0]
    assert [view.shape for view in method.prepare(image)] == [(40, 80, 3), (16, 24, 3)]
    assert maps_of(method, [image], [[1]])[0].shape == (1, 5, 10)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (7, 7), (3, 9)])
def test_fault_13_an_image_smaller_than_a_patch_is_padded(
    clip: FrozenClip, size: tuple[int, int]
) -> None:
    method = training_free(CLIP_ES, clip, VOCABULARY)
    image = photographs(*size)[0]
    (view,) = method.prepare(image)
    assert view.shape[0] == 8
    assert (view[size[0] :] == view[size[0] - 1]).all()
    (maps,) = maps_of(method, [image], [[1]])
    assert maps.shape == (1, *method.grid(size))
    assert np.isfinite(maps).all()


def test_resizing_is_pillows_antialiased_bicubic() -> None:
    image = photographs(50, 70)[0]
    expected = np.asarray(Image.fromarray(image).resize((32, 24), Image.Resampling.BICUBIC))
    assert np.array_equal(resize_to_patches(image, (3, 4), 8), expected)
    assert resize_to_patches(image[:48, :64], (6, 8), 8).base is image
