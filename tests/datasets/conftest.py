"""A COCO of four small pictures, whose annotations a test may change before they are read."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

HEIGHT, WIDTH = 24, 32
CATEGORIES = {1: "person", 17: "cat", 18: "dog", 90: "toothbrush"}


def box(left: float, top: float, right: float, bottom: float) -> list[list[float]]:
    """A polygon of four corners."""
    return [[left, top, right, top, right, bottom, left, bottom]]


class TinyCoco:
    """train: 1 cat under dog, 2 person in a crowd, 3 nothing; val: 4 toothbrush."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.said: dict[str, dict[str, Any]] = {
            split: {
                "info": {"description": "tiny", "year": 2014},
                "images": [self.image(split, number) for number in numbers],
                "annotations": [],
                "categories": [
                    {"id": key, "name": name, "supercategory": "thing"}
                    for key, name in CATEGORIES.items()
                ],
            }
            for split, numbers in {"train": (1, 2, 3), "val": (4,)}.items()
        }
        crowd = {"size": [HEIGHT, WIDTH], "counts": [0, 12 * HEIGHT, 20 * HEIGHT]}
        self.annotate("train", 1, 17, box(2, 2, 20, 20))
        self.annotate("train", 2, 1, crowd, iscrowd=1)
        self.annotate("train", 2, 1, box(8, 4, 16, 12))
        self.annotate("train", 1, 18, box(12.5, 6, 30, 16))
        self.annotate("val", 4, 90, box(1, 1, 9, 9))

    def image(self, split: str, number: int) -> dict[str, Any]:
        """Draw a picture and return its entry."""
        name = f"COCO_{split}2014_{number:012d}.jpg"
        folder = self.root / f"{split}2014"
        folder.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 256, (3, 4, 3), np.uint8)
        Image.fromarray(noise).resize((WIDTH, HEIGHT)).save(folder / name)
        return {"id": number, "file_name": name, "height": HEIGHT, "width": WIDTH}

    def annotate(
        self, split: str, image: int, category: int, segmentation: Any, iscrowd: int = 0
    ) -> None:
        """Add an annotation."""
        entries = self.said[split]["annotations"]
        entries.append(
            {
                "id": 100 + len(entries),
                "image_id": image,
                "category_id": category,
                "segmentation": segmentation,
                "iscrowd": iscrowd,
                "area": 1.0,
            }
        )

    def path(self, split: str) -> Path:
        """Where the annotations of a split are."""
        return self.root / "annotations" / f"instances_{split}2014.json"

    def save(self) -> Path:
        """Write the annotations; return the folder to name with --data."""
        for split, content in self.said.items():
            self.path(split).parent.mkdir(exist_ok=True)
            self.path(split).write_text(json.dumps(content))
        return self.root


@pytest.fixture
def tiny_coco(tmp_path: Path) -> TinyCoco:
    return TinyCoco(tmp_path / "coco")
