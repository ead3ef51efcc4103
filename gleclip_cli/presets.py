"""Presets of data sets: what is applied above the defaults of every stage."""

from typing import Any

from gleclip_cli.config import TRAINAUG

_MICRO_CLIP = {"clip_model": "micro-clip", "clip_weights": "micro-clip"}

# A small decoder on CLIP's own features: enough for few pictures.
_DECODER: dict[str, Any] = {
    "arch": "clip-decoder",
    "batch_size": 8,
    "learning_rate": 3e-3,
    "weight_decay": 0.01,
    "warmup": 0.05,
}

# DeepLabV2 as trained on pseudo masks in the literature: ImageNet weights, SGD, poly .9, crops of
# 321, 5 x 2 images per step, balanced loss (the defaults), scales .5 to 2, rate of CLIP-ES.
_DEEPLAB: dict[str, Any] = {
    "pretrained": "imagenet",
    "batch_size": 5,
    "accumulate": 2,
    "learning_rate": 2e-4,
    "scales": (0.5, 2.0),
}

_SCENES: dict[str, dict[str, Any]] = {
    "prepare-data": {"dataset": "scenes"},
    # two fifths of the images, so that the run takes minutes; 300 teach no more
    "train-cam": {
        **_MICRO_CLIP,
        "crop": 160,
        "batch_size": 8,
        "learning_rate": 2e-3,
        "epochs": 8.0,
        "limit": 240,
    },
    "gen-cam": _MICRO_CLIP,
    "predict": _MICRO_CLIP,
    "refine": {"steps": ("par", "regions", "crf"), "bg_power": 2.0},
    "train-seg": {**_MICRO_CLIP, **_DECODER, "epochs": 8.0, "crop": 224},
}

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "scenes": _SCENES,
    "scenes-quick": {
        **_SCENES,
        "prepare-data": {"dataset": "scenes", "train_images": 120, "val_images": 60},
        "train-cam": {**_SCENES["train-cam"], "rounds": 1, "epochs": 5.0},
        "train-seg": {**_SCENES["train-seg"], "epochs": 10.0},
    },
    # trainaug as published; without SBD, train takes its place (`cli.settings`)
    "voc": {
        "prepare-data": {"dataset": "voc"},
        "train-cam": {"split": TRAINAUG},
        "gen-cam": {"split": TRAINAUG},
        "refine": {"split": TRAINAUG},
        # 30,000 steps of 10 images in 10,582
        "train-seg": {**_DEEPLAB, "split": TRAINAUG, "epochs": 28.35},
    },
    "coco": {
        "prepare-data": {"dataset": "coco"},
        "gen-cam": {"caa_threshold": 0.7},
        "refine": {"caa_threshold": 0.7},
        # 100,000 steps of 10 images in 82,081
        "train-seg": {**_DEEPLAB, "epochs": 12.2},
    },
    "folder": {
        "prepare-data": {"dataset": "folder"},
        "train-seg": {**_DECODER, "epochs": 20.0, "crop": 320},
    },
}
"""Preset -> command -> field -> value, applied above the defaults."""
