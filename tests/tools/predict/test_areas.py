"""Areas against counts by hand."""

from pathlib import Path

import numpy as np

from gleclip_cli.artifacts.json_files import read_json
from gleclip_cli.artifacts.run_dir import OutDir
from gleclip_cli.refine.decide import Decision
from gleclip_cli.tools.predict import areas
from gleclip_cli.tools.predict.areas import areas_of, save_all_areas, save_areas

NAMES = ("background", "cat", "dog")
LABELS = np.array([[0, 0, 2], [0, 2, 2], [0, 0, 0], [0, 0, 0]], np.uint8)
CONFIDENCE = np.array([[1, 1, 0.5], [1, 0.6, 0.7], [1, 1, 1], [1, 1, 1]], np.float32)
EXPECTED = {
    "background": {"pixels": 9, "share": 0.75, "confidence": 1.0},
    "dog": {"pixels": 3, "share": 0.25, "confidence": 0.6},
}


def test_only_classes_that_are_there_and_their_mean_confidence(monkeypatch) -> None:
    assert areas_of(Decision(LABELS, CONFIDENCE), NAMES) == EXPECTED
    monkeypatch.setattr(areas, "_ROWS", 3)
    assert areas_of(Decision(LABELS, CONFIDENCE), NAMES) == EXPECTED


def test_all_together(tmp_path: Path) -> None:
    out = OutDir(tmp_path)
    cat = {"cat": {"pixels": 4, "share": 1.0, "confidence": 0.9}}
    save_areas(out, "a/b", {"size": (3, 4), "classes": EXPECTED})
    save_areas(out, "c", {"size": (2, 2), "classes": cat})
    written = read_json(save_all_areas(out, ["a/b", "c"], NAMES))
    assert written["classes"] == {
        "background": {"images": 1, "pixels": 9, "share": 0.5625, "confidence": 1.0},
        "cat": {"images": 1, "pixels": 4, "share": 0.25, "confidence": 0.9},
        "dog": {"images": 1, "pixels": 3, "share": 0.1875, "confidence": 0.6},
    }
    assert written["pictures"]["a/b"]["classes"] == EXPECTED
