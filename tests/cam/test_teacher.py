"""The teacher: its labels, and which settings change them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from gleclip_cli.cam import teacher as module
from gleclip_cli.cam.method import CamMethod
from gleclip_cli.cam.teacher import Teacher
from gleclip_cli.cam.training_free import TrainingFree
from gleclip_cli.config import GenCamConfig, TrainCamConfig
from gleclip_cli.errors import UsageError
from gleclip_cli.model.gleclip import GLECLIP
from gleclip_cli.refine.par import par

Build = Callable[..., GLECLIP]


@pytest.fixture
def picture(images: Tensor) -> NDArray[np.uint8]:
    """21 x 38 pixels: sides are no whole patches."""
    array: NDArray[np.uint8] = images[0].permute(1, 2, 0).numpy()[:21, :38].copy()
    return array


def taught(
    model: GLECLIP,
    picture: NDArray[np.uint8],
    *,
    first: bool,
    class_ids: tuple[int, ...] = (1, 3),
    **settings: Any,
) -> NDArray[np.uint8]:
    config = TrainCamConfig(**{"teacher_steps": ("par",), **settings})
    labels: NDArray[np.uint8] = Teacher(model.eval(), config, first=first)(picture, class_ids)
    return labels


@pytest.mark.parametrize("first", [True, False])
def test_every_pixel_is_background_or_a_tag(
    build: Build, picture: NDArray[np.uint8], first: bool
) -> None:
    labels = taught(build(opened=True), picture, first=first)
    assert labels.shape == (21, 38)
    assert labels.dtype == np.uint8
    assert set(np.unique(labels)) <= {0, 1, 3}
    assert len(np.unique(labels)) > 1


def test_the_first_labels_are_refined_similarity(build: Build, picture: NDArray[np.uint8]) -> None:
    model = build(opened=True)
    view = TrainingFree(GenCamConfig(method="similarity"), model.clip, model.texts, 3)
    method = CamMethod(view, scales=(1.0,), flip=False)
    (maps,) = method([method.prepare(picture)], [[1, 3]])
    size = (21, 38)
    large = torch.nn.functional.interpolate(torch.from_numpy(maps)[None], size, mode="bilinear")
    scores = torch.cat([1 - large.amax(dim=1, keepdim=True), large], dim=1)
    pixels = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
    refined = par(pixels, scores, iterations=20)[0]
    expected = np.array([0, 1, 3])[refined.argmax(dim=0).numpy()]
    found = taught(model, picture, first=True)
    assert (found == expected).mean() > 0.99
    assert (
        taught(build(), picture, first=True) == found
    ).all()  # untrained: nothing learned counts


def test_later_labels_are_the_models(build: Build, picture: NDArray[np.uint8]) -> None:
    one, other = (build(opened=opened) for opened in (True, False))
    later = [taught(model, picture, first=False) for model in (one, other)]
    assert (later[0] != later[1]).mean() > 0.02


@pytest.mark.parametrize(
    ("first", "switch"),
    [
        (True, {"caa": False}),
        (True, {"teacher_steps": ()}),
        (True, {"teacher_steps": ("crf",)}),
        (True, {"teacher_steps": ("regions",)}),
        (True, {"calibration": "none"}),
        (False, {"caa": False}),
        (False, {"teacher_steps": ()}),
        (False, {"teacher_steps": ("walk", "par")}),
    ],
)
def test_switches_change_the_labels(
    build: Build, picture: NDArray[np.uint8], first: bool, switch: dict[str, Any]
) -> None:
    model = build(opened=True)
    usual = taught(model, picture, first=first)
    assert (taught(model, picture, first=first, **switch) != usual).any()


def test_a_walk_waits_for_the_second_round(build: Build, picture: NDArray[np.uint8]) -> None:
    model, steps = build(opened=True), ("walk", "par")
    usual = taught(model, picture, first=True, teacher_steps=("par",))
    assert (taught(model, picture, first=True, teacher_steps=steps) == usual).all()
    with pytest.raises(UsageError, match="walk first"):
        TrainCamConfig(teacher_steps=("par", "walk"))


def test_without_the_gate_later_labels_are_others(build: Build, picture: NDArray[np.uint8]) -> None:
    one, other = (build(opened=True, gate=gate) for gate in (True, False))
    assert (taught(one, picture, first=False) != taught(other, picture, first=False)).any()


def test_background_texts_off_lets_all_classes_compete(
    build: Build, picture: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[GenCamConfig] = []

    def noted(config: GenCamConfig, *rest: Any) -> TrainingFree:
        seen.append(config)
        return TrainingFree(config, *rest)

    monkeypatch.setattr(module, "TrainingFree", noted)
    labels = taught(build(words=False), picture, first=True, background_texts=False)
    assert set(np.unique(labels)) <= {0, 1, 3}
    assert not seen[0].background_texts
