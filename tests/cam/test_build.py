"""Every ablation switch: the model it builds, and that its fallback is the form it claims."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gleclip_cli.artifacts.manifest import Manifest
from gleclip_cli.cam.build import build_gleclip, fitting, spec_of, warnings_about
from gleclip_cli.config import TrainCamConfig
from gleclip_cli.datasets.vocabulary import load_vocabulary
from gleclip_cli.errors import OtherSettings, UsageError
from gleclip_cli.model.clip import FrozenClip
from gleclip_cli.model.gleclip import GLECLIP, text_cosines
from gleclip_cli.resources import clip_files

Build = Callable[..., GLECLIP]
OFF: dict[str, Any] = {"gd": False, "bca": "off", "daf": "local"}


def scores(model: GLECLIP, images: Tensor) -> Tensor:
    with torch.no_grad():
        return model(images)


def cosines(model: GLECLIP, images: Tensor) -> Tensor:
    """Calibrated similarity by CLIP alone."""
    dense = model.clip(model.clip.normalise(images), calibration=model.calibration).dense
    return text_cosines(dense.permute(0, 2, 3, 1), model.texts.expand(len(images), -1, -1))


def test_micro_clip_is_warned_of_where_nothing_is_drawn(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, voc = build().clip, load_vocabulary("voc")
    assert warnings_about(clip, voc) == clip.warnings
    _, micro = clip_files("micro-clip", "micro-clip")
    monkeypatch.setattr(clip, "weights_sha256", sha256(Path(micro).read_bytes()).hexdigest())
    assert warnings_about(clip, load_vocabulary("scenes")) == clip.warnings
    *_, told = warnings_about(clip, voc)
    assert told.startswith("micro-CLIP knows the drawn world of scenes only")
    assert told.endswith("--clip-model ViT-B-16-quickgelu --clip-weights openai.")


def test_all_off_is_calibrated_similarity(build: Build, images: Tensor) -> None:
    for calibration in ("none", "maskclip", "svc"):
        model = build(calibration=calibration, **OFF)
        expected = model.clip.logit_scale * cosines(model, images)
        torch.testing.assert_close(scores(model, images), expected, atol=1e-4, rtol=0)
    assert [name for name, p in model.named_parameters() if p.requires_grad] == ["log_stretch"]


def test_the_whole_model_starts_there(build: Build, images: Tensor) -> None:
    model = build(gd_levels=1, bca="both")
    expected = model.clip.logit_scale * cosines(model, images)
    torch.testing.assert_close(scores(model, images), expected, atol=1e-4, rtol=0)
    parts = (model.decoder, model.projection, model.fusion)
    assert all(part is not None for part in parts)
    assert len(model.exchange) == TrainCamConfig().bca_layers


@pytest.mark.parametrize(("gd", "levels", "factor"), [(False, 2, 1), (True, 1, 1), (True, 2, 2)])
def test_gd_and_its_levels(
    build: Build, images: Tensor, gd: bool, levels: int, factor: int
) -> None:
    model = build(gd=gd, gd_levels=levels, opened=True)
    assert (model.decoder is not None) == gd
    assert model.blocks == ((1, 2, 3, 4) if gd else ())
    assert scores(model, images).shape[2:] == (3 * factor, 5 * factor)
    assert (model.ground(*model.features(images), images).joined is not None) == gd


@pytest.mark.parametrize("bca", ["both", "t2p", "p2t", "off"])
def test_bca(build: Build, images: Tensor, bca: str) -> None:
    model = build(**{**OFF, "bca": bca}, opened=True)
    assert len(model.exchange) == (0 if bca == "off" else 1)
    for layer in model.exchange:
        assert (layer.text_from_pixels is not None) == (bca in ("both", "t2p"))
        assert (layer.pixels_from_text is not None) == (bca in ("both", "p2t"))
    if bca == "off":
        expected = model.scale * cosines(model, images)
        torch.testing.assert_close(scores(model, images), expected, atol=1e-4, rtol=1e-4)
    assert len(build(bca="both", bca_layers=3).exchange) == 3


def test_bca_keeps_to_its_side(build: Build, images: Tensor) -> None:
    """Texts that read change for all pixels; pixels that read change with their own texts."""
    for bca, changed in (("t2p", 0), ("p2t", 1)):
        model = build(**{**OFF, "bca": bca}, opened=True)
        pair = model.texts[None], torch.randn(1, 6, 24)
        after = model.exchange[0](*pair)
        assert not torch.allclose(after[changed], pair[changed], atol=1e-3)
        assert torch.equal(after[1 - changed], pair[1 - changed])


def test_daf_local_and_a_closed_gate_agree(build: Build, images: Tensor) -> None:
    local, closed = (build(daf=daf, opened=True) for daf in ("local", "dynamic"))
    assert local.fusion is None
    assert local.projection is None
    assert closed.fusion is not None
    nn.init.zeros_(closed.fusion.gate)
    shared = {n: p for n, p in closed.weights().items() if n in local.weights()}
    local.load_state_dict(shared, strict=False)
    torch.testing.assert_close(scores(closed, images), scores(local, images), atol=1e-4, rtol=1e-4)


def test_daf_fixed_is_the_mean_of_local_and_global(build: Build, images: Tensor) -> None:
    made = {daf: scores(build(**{**OFF, "daf": daf}), images) for daf in ("fixed", "global")}
    local = scores(build(**OFF), images)
    torch.testing.assert_close(made["fixed"], (local + made["global"]) / 2, atol=1e-4, rtol=1e-4)
    spread = made["global"].amax(dim=(2, 3)) - made["global"].amin(dim=(2, 3))
    assert spread.max() < 1e-4  # the control without contrast
    clip = build(**OFF).clip
    whole = clip(clip.normalise(images)).global_embed @ build().texts.T * clip.logit_scale
    torch.testing.assert_close(made["global"][:, :, 0, 0], whole, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("projection", "weights"), [("dynamic", 2), ("static", 1), ("off", 0)])
def test_daf_projection(build: Build, projection: str, weights: int) -> None:
    model = build(daf_projection=projection)
    found = [name for name in model.weights() if name.startswith("projection.")]
    assert len(found) == weights
    assert (model.projection is None) == (projection == "off")


def test_daf_fusion(build: Build, images: Tensor) -> None:
    made = [scores(build(opened=True, daf_fusion=way), images) for way in ("score", "embed")]
    assert not torch.allclose(*made, atol=0.01)
    for way in ("score", "embed"):
        fusion = build(daf_fusion=way).fusion
        assert fusion is not None
        assert fusion.embeddings == (way == "embed")


def test_without_background_texts_only_classes_are_scored(build: Build, images: Tensor) -> None:
    with_words, without = (build(words=words, **OFF) for words in (True, False))
    assert torch.equal(scores(without, images), scores(with_words, images)[:, :3])


def test_new_weights_follow_the_seed_and_leave_the_generator_alone(
    lively_clip: FrozenClip, texts: Tensor
) -> None:
    state = torch.random.get_rng_state()
    models = [
        build_gleclip(spec_of(TrainCamConfig()), lively_clip, texts, 3, seed=seed)
        for seed in (0, 0, 1)
    ]
    assert torch.equal(torch.random.get_rng_state(), state)
    one, same, other = (model.weights()["decoder.join.weight"] for model in models)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


class LargeClip(FrozenClip):
    """The sizes of ViT-B/16, without its weights."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.width, self.embed_dim, self.num_layers, self.patch_size = 768, 512, 12, 16
        self.register_buffer("mean", torch.zeros(3, 1, 1))


@pytest.mark.parametrize(("classes", "words"), [(20, 25), (80, 23)])
def test_at_most_ten_million_weights_are_trained_at_the_size_of_vit_b_16(
    classes: int, words: int
) -> None:
    texts = torch.zeros(classes + words, 512)
    model = build_gleclip(spec_of(TrainCamConfig()), LargeClip(), texts, classes)
    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    print(f"{count / 1e6:.2f} M trainable weights")
    assert 1e6 < count <= 10e6
    assert model.blocks == (3, 6, 9, 12)
    assert model.decoder is not None
    assert len(model.decoder.gates) == 3


@pytest.mark.parametrize(
    "switch",
    [
        {"bca": "on"},
        {"daf": "off"},
        {"daf_projection": "linear"},
        {"daf_fusion": "both"},
        {"teacher_steps": ("caa",)},
        {"rounds": 0},
        {"gd_levels": 0},
        {"loss_area": -0.1},
        {"loss_seg": 0.0, "loss_pairs": 0.0},
    ],
)
def test_what_no_switch_allows(switch: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        TrainCamConfig(**switch)


def test_other_clip_or_texts_do_not_fit() -> None:
    named = {"clip_model": "ViT", "clip_weights": "mine.pt", "calibration": "svc"}
    data = {"weights": {"clip": "a", "texts": "b"}, "config": named}
    training = Manifest("train_cam", "", {}, True, Path("manifest.json"), data)
    fitting(training, {"clip": "a", "texts": "b"}, "svc")
    with pytest.raises(OtherSettings, match="another CLIP") as caught:
        fitting(training, {"clip": "x", "texts": "b"}, "svc")
    assert "--clip-model ViT --clip-weights mine.pt" in caught.value.remedy
    with pytest.raises(OtherSettings, match="texts of classes") as caught:
        fitting(training, {"clip": "a", "texts": "y"}, "svc")
    assert "gleclip train-cam --overwrite" in caught.value.remedy
    with pytest.raises(OtherSettings, match="calibrated by svc") as caught:
        fitting(training, {"clip": "a", "texts": "b"}, "none")
    assert "--calibration svc" in caught.value.remedy
