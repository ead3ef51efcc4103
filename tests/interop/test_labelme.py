"""labelme's polygons, and back."""

import base64
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from gleclip_cli.datasets.vocabulary import Vocabulary
from gleclip_cli.errors import BadInput
from gleclip_cli.interop.labelme import read_labelme, write_labelme
from gleclip_cli.interop.masked import Masked
from gleclip_cli.interop.pngs import png_bytes

Back = Callable[..., dict[str, np.ndarray]]


def written(tmp_path: Path, masks: list[Masked], vocabulary: Vocabulary, simplify: float) -> Path:
    out = tmp_path / "out"
    write_labelme(out, out, iter(masks), vocabulary, simplify=simplify)
    return out


def test_polygons_that_are_not_simplified_come_back_identical(
    masks: list[Masked], vocabulary: Vocabulary, tmp_path: Path, back: Back
) -> None:
    out = written(tmp_path, masks, vocabulary, 0.0)
    found = back(masks, out)
    for masked in masks:
        np.testing.assert_array_equal(found[masked.image_id], masked.labels)
    content = json.loads((out / "farm/kuh 1.json").read_text())
    assert (out / "farm" / content["imagePath"]).resolve() == masks[0].image.resolve()
    assert content["imageData"] is None
    assert [shape["label"] for shape in content["shapes"]] == ["cat", "cat", "person"]


def test_simplified_polygons_come_back_within_two_pixels(
    vocabulary: Vocabulary, tmp_path: Path, back: Back
) -> None:
    yy, xx = np.mgrid[:80, :90]
    radius = np.hypot(yy - 40, xx - 45)
    labels = np.select([radius < 12, radius < 30], [0, 8], 15).astype(np.uint8)
    picture = Masked("a", Path("a.jpg"), labels.shape, labels)
    found = back([picture], written(tmp_path, [picture], vocabulary, 1.0))["a"]
    edge = ndimage.morphological_gradient(labels, size=3) > 0
    far = ndimage.distance_transform_edt(~edge) > 2
    np.testing.assert_array_equal(found[far], labels[far])
    assert (found == labels).mean() > 0.98


def test_what_people_draw_is_read(vocabulary: Vocabulary, tmp_path: Path) -> None:
    part = np.zeros((3, 4), np.uint8)
    part[1:, 2:] = 255
    mask = base64.b64encode(png_bytes(Image.fromarray(part))).decode()
    shapes = [
        {"label": "cow", "shape_type": "rectangle", "points": [[6.0, 5.0], [1.0, 2.0]]},
        {"label": "__ignore__", "points": [[0, 0], [2, 0], [2, 2], [0, 2]]},
        {"label": "dog", "shape_type": "mask", "points": [[5, 1], [8, 3]], "mask": mask},
    ]
    content = {"imageHeight": 6, "imageWidth": 8, "shapes": shapes}
    (tmp_path / "a.json").write_text(json.dumps(content))
    expected = np.zeros((6, 8), np.uint8)
    expected[2:5, 1:6] = 10
    expected[:2, :2] = 255
    expected[2:4, 7:8] = 12
    np.testing.assert_array_equal(read_labelme(tmp_path, vocabulary)["a"].draw(), expected)


@pytest.mark.parametrize(
    ("shape", "cause"),
    [
        ({"label": "cows", "points": [[0, 0], [1, 0], [1, 1]]}, r"'cows' \(cow\?\)"),
        ({"label": "cow", "shape_type": "circle", "points": [[0, 0], [1, 0]]}, "a circle"),
        ({"label": "cow", "points": [[0, 0], [float("nan"), 0], [1, 1]]}, "no numbers"),
        ({"label": "cow", "shape_type": "mask", "points": [[0, 0], [1, 1]], "mask": "%"}, "image"),
        ({}, "drawn"),
    ],
)
def test_other_shapes_are_refused(
    shape: dict[str, object], cause: str, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    content = {"imageHeight": 4, "imageWidth": 4, "shapes": [shape]}
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(BadInput, match=cause):
        read_labelme(tmp_path, vocabulary)["a"].draw()
