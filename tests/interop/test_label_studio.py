"""Label Studio's tasks and its run lengths."""

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from gleclip_cli.datasets.vocabulary import Vocabulary
from gleclip_cli.errors import BadInput
from gleclip_cli.interop.label_studio import (
    labelling_config,
    packed,
    read_label_studio,
    unpacked,
    write_label_studio,
)
from gleclip_cli.interop.masked import Masked

Back = Callable[..., dict[str, np.ndarray]]


def slowly_unpacked(rle: list[int]) -> list[int]:
    """The values of run lengths, bit by bit, as the format is described."""
    bits = [byte >> (7 - place) & 1 for byte in rle for place in range(8)]

    def take(count: int) -> int:
        word, bits[:count] = bits[:count], []
        return sum(bit << place for place, bit in enumerate(reversed(word)))

    number, width, sizes = take(32), take(5) + 1, [take(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < number:
        run, length = take(1), take(sizes[take(2)]) + 1
        values += [take(width)] * length if run else [take(width) for _ in range(length)]
    return values


def test_run_lengths_are_those_of_the_format() -> None:
    inside = np.random.default_rng(0).random((7, 9)) > 0.6
    expected = np.repeat(inside.ravel() * 255, 4).tolist()
    assert slowly_unpacked(packed(inside)) == expected
    np.testing.assert_array_equal(unpacked(packed(inside), (7, 9)), inside)


def test_long_runs_are_divided() -> None:
    inside = np.zeros((200, 300), bool)
    inside[150:] = True
    np.testing.assert_array_equal(unpacked(packed(inside), (200, 300)), inside)


def test_values_without_runs_are_read() -> None:
    # 4 values of 8 bits in one block of length 4: 0, 0, 0, 200
    bits = f"{4:032b}{7:05b}" + "".join(f"{n:04b}" for n in (2, 3, 7, 15))
    bits += "0" + "00" + "011" + "".join(f"{n:08b}" for n in (0, 0, 0, 200))
    bits += "0" * (-len(bits) % 8)
    rle = [int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)]
    assert unpacked(rle, (1, 1)).tolist() == [[True]]


@pytest.mark.parametrize("cut", [0, 5, 12])
def test_damaged_run_lengths_are_refused(cut: int) -> None:
    with pytest.raises(ValueError, match="break off"):
        unpacked(packed(np.eye(6, dtype=bool))[:cut], (6, 6))
    with pytest.raises(ValueError, match="do not make"):
        unpacked(packed(np.eye(6, dtype=bool)), (6, 7))


def test_tasks_come_back_identical(
    masks: list[Masked], vocabulary: Vocabulary, tmp_path: Path, back: Back
) -> None:
    out = tmp_path / "out.json"
    assert write_label_studio(out, iter(masks), vocabulary) == 4
    found = back(masks, out)
    for masked in masks:
        np.testing.assert_array_equal(found[masked.image_id], masked.labels)
    task = json.loads(out.read_text())[0]
    assert task["data"]["image"] == "/data/local-files/?d=farm/kuh%201.jpg"
    assert task["predictions"][0]["result"][0]["value"]["brushlabels"] == ["cat"]


def test_what_was_annotated_last_counts(
    masks: list[Masked], vocabulary: Vocabulary, tmp_path: Path, back: Back
) -> None:
    """As the tool exports: annotations, one of them cancelled, beside predictions."""
    out = tmp_path / "out.json"
    write_label_studio(out, masks, vocabulary)
    first, second, third = json.loads(out.read_text())
    drawn = {**first["predictions"][0]["result"][0]}
    drawn["value"] = {**drawn["value"], "brushlabels": ["dog"]}
    first["annotations"] = [
        {"result": [], "updated_at": "2026-01-01T00:00:00Z"},
        {"result": [drawn], "updated_at": "2026-01-02T00:00:00Z"},
        {"result": [], "updated_at": "2026-01-03T00:00:00Z", "was_cancelled": True},
    ]
    second["data"] = {"image": "/data/upload/3/0a1b2c3d-b.jpg"}
    out.write_text(json.dumps([first, second, third]))
    found = back(masks, out)
    assert set(np.unique(found["farm/kuh 1"])) == {0, 12}
    assert found.keys() == {"farm/kuh 1"}  # nobody has looked at the others
    del first["annotations"]
    out.write_text(json.dumps([first, second, third]))
    np.testing.assert_array_equal(back(masks, out)["b"], masks[1].labels)


def test_other_regions_and_other_files_are_refused(
    masks: list[Masked], vocabulary: Vocabulary, tmp_path: Path
) -> None:
    out = tmp_path / "out.json"
    write_label_studio(out, masks[:1], vocabulary)
    (task,) = json.loads(out.read_text())
    result = task["predictions"][0]["result"][0]
    result["type"], result["value"] = "polygonlabels", {"points": []}
    out.write_text(json.dumps([task]))
    with pytest.raises(BadInput, match="kind polygonlabels"):
        read_label_studio(out, vocabulary)["farm/kuh 1"].draw()
    out.write_text('[{"image": 1}, 2]')
    with pytest.raises(BadInput, match="no task"):
        read_label_studio(out, vocabulary)


def test_the_labelling_interface_lists_all_classes(vocabulary: Vocabulary) -> None:
    root = ElementTree.fromstring(labelling_config(vocabulary))
    labels = root.findall("BrushLabels/Label")
    assert [label.get("value") for label in labels] == list(vocabulary.classes)
    assert labels[0].get("background") == "#800000"
