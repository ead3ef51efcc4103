"""Which images are picked: worst, best and random of every class, and never twice."""

from gleclip_cli.tools.report.picks import Candidate, pick, share_out


def candidate(number: int, *class_ids: int, score: float | None) -> Candidate:
    iou = {} if score is None else dict.fromkeys(class_ids, score)
    return Candidate(("val",), f"image {number:03d}", class_ids, iou)


def test_few_images_are_all_picked_in_order() -> None:
    few = [candidate(i, 1, score=None) for i in range(5)]
    assert pick(few, most=5) == few


def test_every_class_gives_its_worst_and_its_best() -> None:
    many = [candidate(i, 1 + i % 3, score=i / 100) for i in range(100)]
    picked = pick(many, most=9)
    assert len(picked) == len(set(picked)) == 9
    for class_id in (1, 2, 3):
        of_class = [c for c in many if c.class_ids == (class_id,)]
        assert {of_class[0], of_class[-1]} <= set(picked)
        assert sum(c.class_ids == (class_id,) for c in picked) == 3
    assert picked == sorted(picked, key=lambda c: c.image_id)
    assert pick(list(reversed(many)), most=9) == picked[::-1]


def test_images_without_class_or_score_come_too() -> None:
    many = [candidate(i, score=None) for i in range(50)]
    assert len(pick(many, most=7)) == 7
    one_class = [candidate(i, 1, score=None) for i in range(49)] + [candidate(99, 2, score=0.5)]
    assert one_class[-1] in pick(one_class, most=2)
    assert pick(many, most=0) == []


def test_splits_share_what_there_is() -> None:
    assert share_out({"train": 1000, "val": 1000}, 300) == {"train": 150, "val": 150}
    assert share_out({"train": 1000, "val": 40}, 300) == {"train": 260, "val": 40}
    assert share_out({"train": 10, "val": 40}, 300) == {"train": 10, "val": 40}
    assert share_out({}, 300) == {}
