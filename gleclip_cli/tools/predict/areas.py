"""How much of a picture each class covers, and of all pictures together."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gleclip_cli.artifacts.json_files import read_json, write_json
from gleclip_cli.artifacts.run_dir import OutDir
from gleclip_cli.datasets.vocabulary import Vocabulary
from gleclip_cli.errors import BadInput
from gleclip_cli.refine.decide import Decision

_ROWS = 256
_DIGITS = 6


def areas_of(decision: Decision, class_names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return pixels, share of the picture and mean confidence of every class that is there."""
    pixels = np.zeros(len(class_names), np.int64)
    sure = np.zeros(len(class_names))
    for top in range(0, len(decision.labels), _ROWS):  # counting widens every label to 8 bytes
        labels = decision.labels[top : top + _ROWS].ravel()
        confidence = decision.confidence[top : top + _ROWS].ravel()
        pixels += np.bincount(labels, minlength=len(class_names))
        sure += np.bincount(labels, confidence, minlength=len(class_names))
    return {
        class_names[label]: {
            "pixels": int(pixels[label]),
            "share": round(float(pixels[label] / pixels.sum()), _DIGITS),
            "confidence": round(float(sure[label] / pixels[label]), _DIGITS),
        }
        for label in np.flatnonzero(pixels).tolist()
    }


def save_areas(out: OutDir, image_id: str, facts: Mapping[str, Any]) -> Path:
    """Write what is known of one picture."""
    path = out.areas(image_id)
    write_json(path, facts)
    return path


def hold_all(out: OutDir, image_ids: Collection[str]) -> bool:
    """Whether areas.json holds these pictures and no others."""
    try:
        return set(read_json(out.areas())["pictures"]) == set(image_ids)
    except (BadInput, KeyError):
        return False


def save_all_areas(out: OutDir, image_ids: Iterable[str], vocabulary: Vocabulary) -> Path:
    """Write areas.json: every picture; by class its label in masks, its colour, and all pixels."""
    pictures = {image_id: read_json(out.areas(image_id)) for image_id in image_ids}
    total = sum(height * width for height, width in (p["size"] for p in pictures.values()))
    classes: dict[str, dict[str, Any]] = {}
    for label, name in enumerate(vocabulary.class_names):
        shown = [p["classes"][name] for p in pictures.values() if name in p["classes"]]
        pixels = sum(area["pixels"] for area in shown)
        if shown:
            sure = sum(area["pixels"] * area["confidence"] for area in shown)
            classes[name] = {
                "label": label,
                "colour": "#{:02x}{:02x}{:02x}".format(*vocabulary.palette[label % 256]),
                "images": len(shown),
                "pixels": pixels,
                "share": round(pixels / total, _DIGITS),
                "confidence": round(sure / pixels, _DIGITS),
            }
    write_json(out.areas(), {"classes": classes, "pictures": pictures})
    return out.areas()
