"""Maps alone label pictures as gen-cam and refine do together."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from gleclip_cli.artifacts.maps import Cam
from gleclip_cli.cam.labeller import MapLabeller
from gleclip_cli.cam.method import CamMethod, trained
from gleclip_cli.config import GenCamConfig, PredictConfig
from gleclip_cli.errors import BadInput, EnvironmentFault
from gleclip_cli.model.gleclip import GLECLIP
from gleclip_cli.refine import bands
from gleclip_cli.refine.crf import dense_crf
from gleclip_cli.refine.pseudo_mask import pseudo_mask, with_background

Build = Callable[..., GLECLIP]
IMAGE = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8).repeat(6, 0).repeat(6, 1)
SIZE = IMAGE.shape[:2]


@pytest.fixture
def tagged(build: Build) -> CamMethod:
    return trained(GenCamConfig(flip=True), build(opened=True))


@pytest.fixture
def untagged(build: Build) -> CamMethod:
    return trained(GenCamConfig(flip=True, labels="none"), build(opened=True))


def cam_of(method: CamMethod, class_ids: list[int]) -> Cam:
    (scores,) = method([method.prepare(IMAGE)], [class_ids])
    return Cam(scores, np.array(class_ids), SIZE)


def test_tags_choose_the_maps_and_the_background_follows(tagged, untagged) -> None:
    label = MapLabeller(PredictConfig(bg_power=2.0), 4, tagged, untagged)
    cam = cam_of(tagged, [1, 3])
    places, share = pseudo_mask(with_background(cam, power=2.0))
    decision = label(IMAGE, [1, 3])
    assert np.array_equal(decision.labels, cam.labels(places, 4))
    assert np.array_equal(decision.confidence, share)
    assert (label(IMAGE, []).labels == 0).all()


def test_without_tags_all_classes_are_looked_for(tagged, untagged) -> None:
    label = MapLabeller(PredictConfig(bg_threshold=0.3), 4, tagged, untagged)
    cam = cam_of(untagged, [1, 2, 3]).seen()
    places, _ = pseudo_mask(with_background(cam, constant=0.3))
    assert np.array_equal(label(IMAGE).labels, cam.labels(places, 4))


def test_the_crf_refines_what_the_maps_say(tagged, untagged) -> None:
    label = MapLabeller(PredictConfig(crf=True, bg_threshold=0.3), 4, tagged, untagged)
    cam = cam_of(tagged, [1, 3])
    refined = dense_crf(IMAGE, with_background(cam, constant=0.3))
    agreed = label(IMAGE, [1, 3]).labels == cam.labels(refined.argmax(0), 4)
    assert agreed.mean() > 0.99  # classes that win nowhere are left out


def test_a_namer_has_the_last_word(tagged, untagged) -> None:
    config = PredictConfig(bg_threshold=0.3)
    swapped = MapLabeller(config, 4, tagged, untagged, lambda scores, *_: scores[[0, 2, 1]])
    plain = MapLabeller(config, 4, tagged, untagged)(IMAGE, [1, 3]).labels
    expected = np.array([0, 3, 0, 1])[plain]
    assert np.array_equal(swapped(IMAGE, [1, 3]).labels, expected)


def test_63_a_large_picture_is_enlarged_by_bands(tagged, untagged, monkeypatch) -> None:
    label = MapLabeller(PredictConfig(), 4, tagged, untagged)
    whole = label(IMAGE, [1, 3])
    monkeypatch.setattr(bands, "_VALUES_AT_ONCE", 3 * 42 * 4)
    assert np.array_equal(label(IMAGE, [1, 3]).labels, whole.labels)
    large = IMAGE.repeat(2, 0).repeat(2, 1)
    monkeypatch.setattr("gleclip_cli.cam.labeller.bounded", lambda height, width: (30, 42))
    assert label(large, [1, 3]).labels.shape == (60, 84)


def test_what_cannot_be_labelled_is_told(tagged, untagged, monkeypatch) -> None:
    label = MapLabeller(PredictConfig(method="similarity"), 4, tagged, None)
    with pytest.raises(BadInput, match="no tags, and similarity"):
        label(IMAGE)
    with monkeypatch.context() as patch:
        patch.setattr(CamMethod, "__call__", lambda *_: [np.full((1, 2, 2), np.nan, np.float32)])
        with pytest.raises(BadInput, match="not finite"):
            label(IMAGE, [1])

    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(CamMethod, "__call__", fail)
    with pytest.raises(EnvironmentFault, match="30 x 42"):
        label(IMAGE, [1])
