"""The teacher of train-cam: maps of tagged pictures become labels of their pixels."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from gleclip_cli.artifacts.labels import Labels
from gleclip_cli.artifacts.maps import Cam
from gleclip_cli.cam.grounded import Grounded, Spread
from gleclip_cli.cam.method import CamMethod
from gleclip_cli.cam.refiner import Refiner
from gleclip_cli.cam.training_free import TrainingFree
from gleclip_cli.config import PIXEL_STEPS, GenCamConfig, RefineConfig, TrainCamConfig
from gleclip_cli.model.gleclip import GLECLIP
from gleclip_cli.refine.naming import RegionNamer
from gleclip_cli.refine.pseudo_mask import pseudo_mask


class Teacher:
    """Labels one picture at a time: CAA on its maps, background, the steps of `refine`, argmax.

    In the first round the maps are calibrated similarity, untrained; later those of the model, and
    if `walk` is a step, they walk along what it has learned instead of CAA.
    """

    def __init__(self, model: GLECLIP, config: TrainCamConfig, *, first: bool) -> None:
        view = _untrained(model, config) if first else _trained(model, config)
        self._method = CamMethod(view, scales=(1.0,), flip=False)
        steps = tuple(step for step in config.teacher_steps if step in PIXEL_STEPS)
        refining = RefineConfig(split=config.split, steps=steps)
        namer = RegionNamer(model.clip, model.texts, model.num_classes)
        self._refiner = Refiner(refining, self._method.device, namer=namer)
        self._num_labels = model.num_classes + 1

    def __call__(self, image: UInt8[ndarray, "H W 3"], class_ids: Sequence[int]) -> Labels:
        """Return the label of every pixel: 0 or one of `class_ids`."""
        (maps,) = self._method([self._method.prepare(image)], [class_ids])
        cam = Cam(maps, np.array(class_ids, np.int64), (image.shape[0], image.shape[1]))
        places, _ = pseudo_mask(self._refiner(cam, image))
        return cam.labels(places, self._num_labels)


def _untrained(model: GLECLIP, config: TrainCamConfig) -> TrainingFree:
    similarity = GenCamConfig(
        method="similarity",
        calibration=config.calibration,
        background_texts=config.background_texts,
        caa=config.caa,
    )
    return TrainingFree(similarity, model.clip, model.texts, model.num_classes)


def _trained(model: GLECLIP, config: TrainCamConfig) -> Grounded:
    spread: Spread = "caa" if config.caa else "none"
    if "walk" in config.teacher_steps:
        spread = "walk"
    return Grounded(model, spread=spread, threshold=config.caa_threshold)
