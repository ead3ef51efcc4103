"""What instances say: labels, order, places, and everything that is wrong with them."""

from typing import Any

import numpy as np
import pytest

from gleclip_cli.datasets.coco.instances import Instances, read_instances
from gleclip_cli.datasets.vocabulary import load_vocabulary
from gleclip_cli.errors import BadInput

COCO = load_vocabulary("coco")
NAMES = [f"COCO_train2014_{number:012d}" for number in (1, 2, 3)]


def read(tiny: Any) -> Instances:
    tiny.save()
    return read_instances(tiny.path("train"), COCO)


def told(tiny: Any) -> list[str]:
    return [problem.cause for problem in read(tiny).problems]


def test_labels_and_places_of_every_image(tiny_coco: Any) -> None:
    found = read(tiny_coco)
    assert found.problems == []
    assert found.listed == NAMES
    assert {name: image.class_ids for name, image in found.images.items()} == {
        NAMES[0]: (16, 17),
        NAMES[1]: (1,),
    }
    content = tiny_coco.path("train").read_bytes()
    starts, lengths = found.images[NAMES[0]].spans.T
    texts = [content[a : a + n] for a, n in zip(starts, lengths, strict=True)]
    assert [b'"category_id": 17' in text for text in texts] == [True, False]
    assert [text[:1] + text[-1:] for text in texts] == [b"{}", b"{}"]
    assert [found.images[name].crowded for name in NAMES[:2]] == [False, True]


def test_a_crowd_alone_is_a_label_and_arrays_may_stand_in_any_order(tiny_coco: Any) -> None:
    said = tiny_coco.said["train"]
    said["annotations"].pop(2)
    tiny_coco.said["train"] = dict(sorted(said.items()))
    first = read(tiny_coco)
    assert first.images[NAMES[1]].class_ids == (1,)
    tiny_coco.said["train"] = dict(sorted(said.items(), reverse=True))
    assert read(tiny_coco).images[NAMES[1]].class_ids == (1,)


def test_outlines_may_be_missing(tiny_coco: Any) -> None:
    tiny_coco.said["train"]["annotations"][0]["segmentation"] = []
    del tiny_coco.said["train"]["annotations"][1]["segmentation"]
    found = read(tiny_coco)
    assert found.problems == []
    assert [found.images[name].outlined for name in NAMES[:2]] == [False, False]


def test_fault_33_an_unknown_class_is_named_with_near_matches(tiny_coco: Any) -> None:
    categories = tiny_coco.said["train"]["categories"]
    categories[1]["name"] = "Hotdog"
    categories.append({"id": 5, "name": "never used"})
    (problem,) = read(tiny_coco).problems
    assert problem.structural
    assert "unknown class 'Hotdog' (hot dog" in problem.cause
    assert "--classes" in problem.remedy


def test_an_unknown_category_is_named_once(tiny_coco: Any) -> None:
    for annotation in tiny_coco.said["train"]["annotations"][:2]:
        annotation["category_id"] = 12
    (problem,) = read(tiny_coco).problems
    assert problem.structural
    assert "2 annotations have the unknown category 12" in problem.cause


def test_annotations_of_images_that_are_not_listed(tiny_coco: Any) -> None:
    for number in (7, 7, 8):
        tiny_coco.annotate("train", number, 17, [])
    (problem,) = read(tiny_coco).problems
    assert not problem.structural
    assert "3 annotations belong to no image (7, 8 ...)" in problem.cause


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("images", {"id": "1"}),
        ("images", {"id": 2}),
        ("images", {"file_name": ""}),
        ("images", {"file_name": 5}),
        ("images", {"width": 0}),
        ("images", {"height": None}),
        ("images", {"height": 10**6, "width": 10**6}),
        ("annotations", {"image_id": None}),
        ("annotations", {"image_id": 2**70}),
        ("annotations", {"category_id": "cat"}),
        ("categories", {"id": None}),
        ("categories", {"name": 3}),
        ("categories", {"id": 17}),
    ],
)
def test_malformed_entries_are_counted(tiny_coco: Any, kind: str, change: dict[str, Any]) -> None:
    tiny_coco.said["train"][kind][0].update(change)
    causes = told(tiny_coco)
    assert f"1 {kind} lack" in causes[0]
    assert "the first at byte" in causes[0]


@pytest.mark.parametrize("strange", [None, 5, "text", [], {}])
def test_entries_that_are_none_at_all(tiny_coco: Any, strange: Any) -> None:
    for kind in ("images", "annotations", "categories"):
        tiny_coco.said["train"][kind].append(strange)
    assert len(told(tiny_coco)) == 3


def test_all_faults_of_a_file_are_told_together(tiny_coco: Any) -> None:
    said = tiny_coco.said["train"]
    said["images"].append({"id": 9})
    said["categories"][1]["name"] = "unicorn"
    tiny_coco.annotate("train", 1, 55, [])
    tiny_coco.annotate("train", 77, 1, [])
    causes = told(tiny_coco)
    assert len(causes) == 4
    for word in ("images lack", "unicorn", "category 55", "no image (77"):
        assert any(word in cause for cause in causes)


@pytest.mark.parametrize("kind", ["images", "annotations", "categories"])
def test_another_kind_of_file_is_refused(tiny_coco: Any, kind: str) -> None:
    del tiny_coco.said["train"][kind]
    with pytest.raises(BadInput, match=f"lacks {kind}") as caught:
        read(tiny_coco)
    assert "captions" in caught.value.remedy


def test_no_annotation_at_all(tiny_coco: Any) -> None:
    tiny_coco.said["train"]["annotations"] = []
    found = read(tiny_coco)
    assert found.listed == NAMES
    assert found.images == {}
    assert found.problems == []


def test_spans_are_views_of_one_table(tiny_coco: Any) -> None:
    images = read(tiny_coco).images.values()
    assert len({id(image.spans.base) for image in images}) == 1
    assert all(image.spans.dtype == np.int64 for image in images)
