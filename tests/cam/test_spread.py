"""CAA after the fact equals CAA while the attention is at hand; the walk, done by hand."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from gleclip_cli.artifacts.manifest import Manifest
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.cam import spread as module
from gleclip_cli.cam import texts
from gleclip_cli.cam.grounded import Grounded
from gleclip_cli.cam.spread import MapSource, Spreader, source_of_maps
from gleclip_cli.cam.texts import texts_hash, wording_of
from gleclip_cli.config import RefineConfig
from gleclip_cli.datasets.vocabulary import load_vocabulary
from gleclip_cli.errors import OtherSettings, UsageError
from gleclip_cli.model.clip import load_clip
from gleclip_cli.model.gleclip import GLECLIP, features_of
from gleclip_cli.model.weights import find_clip
from gleclip_cli.refine.affinity import caa, doubly_stochastic, min_max
from gleclip_cli.refine.walk import pairs_of, random_walk

CPU = torch.device("cpu")
RUN = RunDir("unused")
Build = Callable[..., GLECLIP]


@pytest.mark.parametrize("parity", [False, True])
def test_maps_are_spread_by_the_attention_of_the_upright_image(
    tiny_clip_json: str, parity: bool
) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (32, 48, 3)).astype(np.uint8)  # whole patches of 8
    maps = rng.random((2, 4, 6)).astype(np.float32)
    source = MapSource(find_clip(tiny_clip_json, "random"), parity=parity)
    spread = Spreader(source, RefineConfig(steps=("caa",), caa_threshold=0.5), CPU)
    clip = load_clip(tiny_clip_json, "random")
    pixels = clip.normalise(torch.from_numpy(image).permute(2, 0, 1)[None])
    attention = clip(pixels, parity=parity).attention.mean(dim=1)[0]
    by_hand = caa(attention, torch.from_numpy(maps), threshold=0.5, parity=parity)
    expected = min_max(by_hand, parity=parity).numpy()
    np.testing.assert_allclose(spread(maps, image), expected, atol=1e-6)


@pytest.fixture
def spreader(
    build: Build, tiny_clip_json: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Spreader]:
    """Steps and settings -> what spreads maps of a trained model; `attention` knows no model."""
    model = build(opened=True)
    monkeypatch.setattr(module, "load_gleclip", lambda run, device: model)
    monkeypatch.setattr(module, "build_clip", lambda source: model.clip)

    def make(*steps: str, **settings: Any) -> Spreader:
        config = RefineConfig(steps=steps, **settings)
        run = RUN if config.follows_training else None
        clip = find_clip(tiny_clip_json, "random")
        return Spreader(MapSource(clip, run, on_patches=False), config, CPU)

    return make


def numpy_image(images: Tensor) -> np.ndarray:
    found: np.ndarray = images[0].permute(1, 2, 0).numpy()
    return found


def test_caa_by_both_is_what_gen_cam_does(
    build: Build, spreader: Callable[..., Spreader], images: Tensor
) -> None:
    model = build(opened=True)
    with torch.no_grad():
        fine, made_with = (
            Grounded(model, spread=spread, threshold=0.5)(images[:1], [[1, 3]])[0]
            for spread in ("none", "caa")
        )
    later = spreader("caa", affinity="both", caa_threshold=0.5)(fine.numpy(), numpy_image(images))
    np.testing.assert_allclose(later, made_with, atol=1e-5)


@pytest.mark.parametrize("affinity", ["attention", "learned", "both"])
@pytest.mark.parametrize("stride", ["grid", "4"])
def test_the_walk_follows_its_affinity(
    build: Build, spreader: Callable[..., Spreader], images: Tensor, affinity: str, stride: str
) -> None:
    model, cells = build(opened=True), (3, 5) if stride == "grid" else (6, 10)
    with torch.no_grad():
        seen = model.clip(model.clip.normalise(images[:1]), blocks=model.blocks)
        grounding = model.ground(*features_of(seen), images[:1])
    alike = doubly_stochastic(seen.attention[0].mean(dim=0)).reshape(15, 3, 5)
    tokens = grounding.pixels if stride == "4" else grounding.joined
    assert tokens is not None
    by_attention = pairs_of(alike, cells)
    by_training = pairs_of(tokens[0].permute(2, 0, 1), cells)
    pairs = {
        "attention": by_attention,
        "learned": by_training,
        "both": by_attention * by_training,
    }[affinity]
    maps = torch.rand(2, 6, 10, generator=torch.Generator().manual_seed(0))
    settings = {"affinity": affinity, "walk_stride": stride, "walk_exponent": 2.0, "walk_steps": 5}
    walked = spreader("walk", **settings)(maps.numpy(), numpy_image(images))
    start = maps if stride == "4" else interpolate(maps[None], cells, mode="area")[0]
    by_hand = random_walk(start, pairs, exponent=2.0, steps=5)
    by_hand *= start.amax(dim=(1, 2), keepdim=True) / by_hand.amax(dim=(1, 2), keepdim=True)
    np.testing.assert_allclose(walked, by_hand, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (1, 19), (13, 9)])
def test_odd_sizes_stay_in_range(spreader: Callable[..., Spreader], size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    maps = np.random.default_rng(1).random((2, *size)).astype(np.float32)
    walked = spreader("caa", "walk", affinity="both")(maps, image)
    assert walked.shape == (2, -(-size[0] // 4), -(-size[1] // 4))
    assert np.isfinite(walked).all()
    assert 0 <= walked.min() <= walked.max() <= 1


def test_an_empty_map_stays_empty(spreader: Callable[..., Spreader], images: Tensor) -> None:
    maps = np.zeros((1, 6, 10), np.float32)
    assert not spreader("walk")(maps, numpy_image(images)).any()


def manifest(clip: str, sha256: str, **config: object) -> Manifest:
    known = {"clip_model": clip, "clip_weights": "random", "caa": False, "parity": True, **config}
    data = {"config": known, "weights": {"clip": sha256}}
    return Manifest("gen_cam", "", {}, True, Path(), data)


def test_the_model_is_the_one_that_the_manifest_names(
    tiny_clip_json: str,
) -> None:
    source = find_clip(tiny_clip_json, "random")
    config = RefineConfig(steps=("caa",))
    similarity = manifest(tiny_clip_json, source.sha256, method="similarity")
    assert source_of_maps(RUN, config, similarity, None) == MapSource(source, parity=True)
    other = manifest(tiny_clip_json, "0" * 64, method="similarity")
    with pytest.raises(OtherSettings, match="other weights"):
        source_of_maps(RUN, config, other, None)
    made_with = manifest(tiny_clip_json, source.sha256, method="similarity", caa=True)
    with pytest.raises(UsageError, match="twice"):
        source_of_maps(RUN, config, made_with, None)
    own = manifest(tiny_clip_json, source.sha256, method="gle-clip", labels="none", parity=False)
    expected = MapSource(source, on_patches=False, labelled=False)
    assert source_of_maps(RUN, config, own, None) == expected


def test_what_was_learned_comes_with_its_own_clip(tiny_clip_json: str) -> None:
    source = find_clip(tiny_clip_json, "random")
    training = manifest(tiny_clip_json, source.sha256)
    other = manifest("ViT-L-14", "1" * 64, method="clip-es")
    config = RefineConfig(steps=("walk",), affinity="learned")
    expected = MapSource(source, RUN, parity=True, on_patches=False)
    assert source_of_maps(RUN, config, other, training) == expected
    assert source_of_maps(RUN, config, None, training) == MapSource(source, RUN, on_patches=False)


def test_regions_are_named_by_the_texts_that_made_the_maps(
    tiny_clip_json: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = SimpleNamespace(vocabulary="scenes")
    monkeypatch.setattr(texts, "load_prepared", lambda run: prepared)
    source, config = find_clip(tiny_clip_json, "random"), RefineConfig(steps=("regions",))
    wording = wording_of(load_vocabulary("scenes"), "plain", background_texts=True)
    made_with = manifest(
        tiny_clip_json, source.sha256, method="similarity", texts="plain", background_texts=True
    )
    made_with.data["weights"]["texts"] = texts_hash(wording)
    run = RunDir(tmp_path)
    found = source_of_maps(run, config, made_with, None)
    assert found.names == (run, wording)
    maps, image = np.ones((2, 3, 4), np.float32), np.zeros((24, 32, 3), np.uint8)
    spreader = Spreader(found, config, CPU)
    assert spreader(maps, image) is maps  # nothing is spread
    assert spreader.namer() is not None
    made_with.data["config"]["texts"] = "synonyms"
    with pytest.raises(OtherSettings, match="texts"):
        source_of_maps(run, config, made_with, None)
