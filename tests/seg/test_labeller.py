"""Labels of a network for whole pictures: few classes, large pictures, CRF."""

import numpy as np
import pytest
import torch
from torch import nn

from gleclip_cli.errors import EnvironmentFault, UsageError
from gleclip_cli.model.clip import load_clip
from gleclip_cli.model.texts import Wording
from gleclip_cli.refine import bands
from gleclip_cli.refine.crf import dense_crf
from gleclip_cli.refine.naming import named_by
from gleclip_cli.seg.clip_decoder import ClipDecoder
from gleclip_cli.seg.deeplabv2 import DeepLabV2
from gleclip_cli.seg.labeller import Labeller, Naming
from gleclip_cli.seg.predict import Views, predict_logits


class Blurry(DeepLabV2):
    """Looks around, and to the left more than to the right."""

    window = 24

    def __init__(self) -> None:
        super().__init__(nn.Identity(), channels=3, num_classes=4)
        torch.manual_seed(1)
        self.classify = nn.Conv2d(3, 4, 3, padding=1)
        with torch.no_grad():
            self.classify.weight *= 20

    def forward(self, images):
        return self.classify(images)


IMAGE = np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)


def test_labels_and_confidence_are_those_of_the_logits():
    network = Blurry()
    shares = predict_logits(network, IMAGE, scales=(1.0, 0.5)).softmax(0).numpy()
    decision = Labeller(network, Views(scales=(1.0, 0.5)))(IMAGE)
    assert np.array_equal(decision.labels, shares.argmax(0))
    np.testing.assert_allclose(decision.confidence, shares.max(0), rtol=1e-5)


def test_only_given_classes_and_background_appear():
    network = Blurry()
    assert set(np.unique(Labeller(network, Views())(IMAGE).labels)) == {0, 1, 2, 3}
    shares = predict_logits(network, IMAGE)[[0, 2]].softmax(0).numpy()
    decision = Labeller(network, Views())(IMAGE, [2])
    assert np.array_equal(decision.labels, 2 * shares.argmax(0))
    np.testing.assert_allclose(decision.confidence, shares.max(0), rtol=1e-5)
    assert (Labeller(network, Views())(IMAGE, []).labels == 0).all()


def left_half(scores, image, class_ids):
    """Name all in the left half of a picture after its last class."""
    named = scores.copy()
    named[-1, :, : image.shape[1] // 2] += 1
    return named


@pytest.mark.parametrize("crf", [False, True])
@pytest.mark.parametrize("namer", [None, left_half])
@pytest.mark.parametrize("image", [IMAGE, IMAGE.transpose(1, 0, 2)])
def test_63_a_large_picture_in_bands_has_the_same_labels(image, namer, crf, monkeypatch):
    label = Labeller(Blurry(), Views(), crf, namer)
    whole = label(image)
    monkeypatch.setattr(bands, "_VALUES_AT_ONCE", 4 * 50 * 6)
    again = label(image)
    assert np.array_equal(again.labels, whole.labels)
    np.testing.assert_allclose(again.confidence, whole.confidence, atol=1e-5)


def test_regions_are_named_among_the_tags():
    network, asked = Blurry(), []

    def namer(scores, image, class_ids):
        asked.append((len(scores), list(class_ids)))
        return scores

    Labeller(network, Views(), namer=namer)(IMAGE)
    tagged = Labeller(network, Views(), namer=namer)(IMAGE, [3, 1])
    assert asked == [(4, [1, 2, 3]), (3, [1, 3])]
    assert np.array_equal(tagged.labels, Labeller(network, Views())(IMAGE, [1, 3]).labels)


def test_regions_are_named_by_the_networks_clip_or_else_another(tiny_clip_json):
    wording = Wording(("cat", "dog", "sofa"), ("ground",), ("a {}.",))
    naming = Naming(wording, tiny_clip_json, "random")
    own = ClipDecoder(load_clip(tiny_clip_json, "random", seed=7), 4)
    scores = np.random.default_rng(2).random((4, 30, 50)).astype(np.float32)
    scores[1, :, :25] += 1
    named = [naming.by(network)(scores, IMAGE, [1, 2, 3]) for network in (own, Blurry())]
    for found, clip in zip(named, (own.clip, load_clip(tiny_clip_json, "random")), strict=True):
        np.testing.assert_allclose(found, named_by(clip, wording)(scores, IMAGE, [1, 2, 3]))
    assert abs(named[0] - named[1]).max() > 1e-3
    with pytest.raises(UsageError, match="without a CLIP"):
        Naming(wording, "", "").by(Blurry())


def test_the_crf_works_on_probabilities():
    network = Blurry()
    shares = predict_logits(network, IMAGE).softmax(0).numpy()
    expected = dense_crf(IMAGE, shares).argmax(0)
    assert np.array_equal(Labeller(network, Views(), crf=True)(IMAGE).labels, expected)


def test_fault_61_a_window_that_does_not_fit_names_the_option(monkeypatch):
    network = Blurry()
    monkeypatch.setattr(network, "forward", _out_of_memory)
    with pytest.raises(EnvironmentFault, match="30 x 50") as caught:
        Labeller(network, Views())(IMAGE)
    assert "--window" in caught.value.remedy


def _out_of_memory(images):
    raise torch.OutOfMemoryError("out of memory")
