"""Areas against counts by hand."""

from pathlib import Path

import numpy as np

from gleclip_cli.artifacts.json_files import read_json
from gleclip_cli.artifacts.run_dir import OutDir
from gleclip_cli.datasets.class_table import class_table
from gleclip_cli.datasets.vocabulary import parse_vocabulary
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
    vocabulary = parse_vocabulary(class_table(NAMES[1:]), "of the test")
    written = read_json(save_all_areas(out, ["a/b", "c"], vocabulary))
    numbers = {
        name: [area[key] for key in ("label", "images", "pixels", "share", "confidence")]
        for name, area in written["classes"].items()
    }
    assert numbers == {
        "background": [0, 1, 9, 0.5625, 1.0],
        "cat": [1, 1, 4, 0.25, 0.9],
        "dog": [2, 1, 3, 0.1875, 0.6],
    }
    assert [area["colour"] for area in written["classes"].values()] == [
        "#000000",
        "#800000",
        "#008000",
    ]
    assert written["pictures"]["a/b"]["classes"] == EXPECTED
