"""The training-free ladder on scenes: every rung scored by the best background on the same images.

    pytest -m benchmark tests/benchmarks/test_ladder.py -s

`GLECLIP_BENCH_IMAGES` (default 600) scenes of train; `GLECLIP_BENCH_CLIP` a folder with another
config.json and weights.safetensors. Yardstick: what tags and OpenCV's GrabCut give without CLIP.
"""

import os
from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest
import torch

from gleclip_cli.artifacts.maps import Cam
from gleclip_cli.cam.method import training_free
from gleclip_cli.config import GenCamConfig
from gleclip_cli.datasets.scenes import CLASSES, Scene, draw_scene
from gleclip_cli.datasets.vocabulary import load_vocabulary
from gleclip_cli.metrics.confusion import confusion_of, summarise
from gleclip_cli.metrics.sweep import BackgroundSweep, levels_of, peaks_of
from gleclip_cli.model.clip import FrozenClip, load_clip
from gleclip_cli.model.texts import class_text_embeddings
from gleclip_cli.resources import clip_files

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(7200)]

IMAGES = int(os.environ.get("GLECLIP_BENCH_IMAGES", "600"))
PLAIN = GenCamConfig(method="clip-es", caa=False)
SIMILARITY = replace(PLAIN, method="similarity", caa_threshold=0.79)
RUNGS = {
    "raw last block": replace(SIMILARITY, calibration="none"),
    "value path": replace(SIMILARITY, calibration="maskclip"),
    "calibrated": SIMILARITY,
    "calibrated + CAA": replace(SIMILARITY, caa=True),
    "best of them": replace(SIMILARITY, caa=True, caa_threshold=0.88, scales=(0.5, 1.0), flip=True),
    "Grad-CAM": PLAIN,
    "Grad-CAM + CAA": replace(PLAIN, caa=True),
}


@cache
def scenes() -> list[Scene]:
    return [draw_scene("train", index) for index in range(IMAGES)]


@cache
def micro_clip() -> FrozenClip:
    if folder := os.environ.get("GLECLIP_BENCH_CLIP"):
        return load_clip(f"{folder}/config.json", f"{folder}/weights.safetensors")
    return load_clip(*clip_files("micro-clip", "micro-clip"))


def seed_miou(config: GenCamConfig) -> tuple[float, float]:
    """Return the mIoU of the best background and that background."""
    method = training_free(config, micro_clip(), load_vocabulary("scenes"))
    sweep = BackgroundSweep(len(CLASSES) + 1)
    for scene in scenes():
        ids = list(scene.class_ids)
        maps = method([method.prepare(scene.image)], [ids])[0]
        cam = Cam(maps, np.array(ids, np.int64), scene.mask.shape)
        peaks = peaks_of(cam.each_enlarged(), cam.class_ids, cam.size)
        sweep.add(peaks.class_ids, levels_of(scene.mask, peaks, len(CLASSES) + 1))
    result = sweep.result()
    return float(result.miou[result.best]), result.threshold


@cache
def ladder() -> dict[str, float]:
    scores = {}
    for name, config in RUNGS.items():
        scores[name], threshold = seed_miou(config)
        print(f"{name:20} {100 * scores[name]:5.1f} mIoU at background {threshold:.2f}", flush=True)
    return scores


def test_the_ladder_has_the_order_of_real_clip() -> None:
    score = ladder()
    assert score["raw last block"] < score["value path"] < score["calibrated"]
    assert score["Grad-CAM"] < score["Grad-CAM + CAA"]


def test_the_best_rung_is_worth_refining() -> None:
    assert max(ladder().values()) >= 0.35


@torch.no_grad()
def zero_shot(side: int | None) -> float:
    """Accuracy on single-class val scenes, resized to a square of `side` or as they are."""
    clip, vocabulary = micro_clip(), load_vocabulary("scenes")
    texts = class_text_embeddings(clip, vocabulary.prompts, vocabulary.templates)
    right = []
    for index in range(IMAGES):
        scene = draw_scene("val", index)
        if len(scene.class_ids) > 1:
            continue
        image: np.ndarray = scene.image
        if side is not None:
            image = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
        pixels = clip.normalise(torch.from_numpy(image).permute(2, 0, 1)[None])
        embed = clip(pixels, calibration="none").global_embed[0]
        right.append(int((texts @ embed).argmax()) + 1 == scene.class_ids[0])
    return float(np.mean(right))


def test_zero_shot_accuracy() -> None:
    half, full = zero_shot(112), zero_shot(None)
    print(
        f"zero-shot, one class per scene: {100 * half:.1f} % at half size, "
        f"{100 * full:.1f} % at full size"
    )
    assert max(half, full) >= 0.95


def test_tags_and_grabcut_yardstick() -> None:
    """GrabCut from the central three quarters of the picture; its figure gets the first tag."""
    matrix = np.zeros((len(CLASSES) + 1, len(CLASSES) + 2), np.int64)
    for scene in scenes():
        height, width = scene.mask.shape
        box = (width // 8, height // 8, width * 3 // 4, height * 3 // 4)
        labels = np.zeros(scene.mask.shape, np.uint8)
        models = np.zeros((2, 1, 65))
        cv2.setRNGSeed(0)
        cv2.grabCut(scene.image, labels, box, models[0], models[1], 5, cv2.GC_INIT_WITH_RECT)
        figure = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
        predicted = (figure * scene.class_ids[0]).astype(np.uint8)
        matrix += confusion_of(scene.mask, predicted, len(CLASSES) + 1)
    score = summarise(matrix).miou
    print(f"tags + GrabCut       {100 * score:5.1f} mIoU")
    assert 0 < score < 1
