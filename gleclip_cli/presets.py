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

_SCENES: dict[str, dict[str, Any]] = {
    "prepare-data": {"dataset": "scenes"},
    # half of the images, so that the run takes minutes
    "train-cam": {
        **_MICRO_CLIP,
        "crop": 160,
        "batch_size": 8,
        "learning_rate": 2e-3,
        "epochs": 10.0,
        "limit": 300,
    },
    "gen-cam": _MICRO_CLIP,
    # chosen on 150 images of train: 47.0 mIoU; par at power 1: 45.3
    "refine": {"steps": ("crf",), "bg_power": 2.0},
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
        "train-seg": {"split": TRAINAUG, "scales": (0.5, 1.5)},
    },
    "coco": {
        "prepare-data": {"dataset": "coco"},
        "gen-cam": {"caa_threshold": 0.7},
        "refine": {"caa_threshold": 0.7},
        "train-seg": {"scales": (0.5, 1.5)},
    },
    "folder": {
        "prepare-data": {"dataset": "folder"},
        "train-seg": {**_DECODER, "epochs": 20.0, "crop": 320},
    },
}
"""Preset -> command -> field -> value, applied above the defaults."""
