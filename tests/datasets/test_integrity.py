"""Rules for ids, pictures and masks: each fault is named, all of them together."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gleclip_cli.datasets.integrity import (
    Picture,
    Problem,
    as_error,
    check_case,
    check_ids,
    check_picture,
    in_threads,
)
from gleclip_cli.progress import SILENT

CLASSES = 3


def picture(
    folder: Path, mask: np.ndarray | None = None, size: tuple[int, int] = (6, 8)
) -> Picture:
    pixels = np.zeros((*size, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "a.png")
    masks: dict[str, Path | None] = {"val": None}
    if mask is not None:
        Image.fromarray(mask).save(folder / "mask.png")
        masks["val"] = folder / "mask.png"
    return Picture("a", folder / "a.png", masks)


def test_fault_25_duplicate_ids_are_named_and_kept_once() -> None:
    ids, problems = check_ids("train", ["b", "a", "b"])
    assert ids == ["a", "b"]
    assert [problem.cause for problem in problems] == ["train: b is listed 2 times."]
    assert not problems[0].structural


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "a/../b", "..", ".", "a\\b"])
def test_fault_28_paths_are_no_ids(name: str) -> None:
    ids, problems = check_ids("train", ["a", name])
    assert ids == ["a"]
    assert len(problems) == 1
    assert problems[0].structural
    assert name in problems[0].cause


def test_fault_22_ids_that_differ_in_case_only() -> None:
    assert check_case(["a", "b", "ab"]) == []
    (problem,) = check_case(["a", "A", "b"])
    assert problem.structural
    assert problem.cause == "A and a differ in case only."


def test_a_good_picture_is_measured(tmp_path: Path) -> None:
    mask = np.array([[0, 3], [255, 1]], np.uint8).repeat(3, 0).repeat(4, 1)
    checked = check_picture(picture(tmp_path, mask), CLASSES)
    assert checked.problems == ()
    assert checked.size == (6, 8)
    assert len(checked.sha256) == 64


def test_fault_01_a_truncated_jpeg_is_named(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(content[: len(content) // 2])
    checked = check_picture(Picture("a", tmp_path / "a.jpg", {}), CLASSES)
    assert [problem.image_id for problem in checked.problems] == ["a"]
    assert "a.jpg" in checked.problems[0].cause


def test_fault_35_mask_of_another_size(tmp_path: Path) -> None:
    checked = check_picture(picture(tmp_path, np.zeros((8, 6), np.uint8)), CLASSES)
    (problem,) = checked.problems
    assert "mask.png is 6 x 8, its picture 8 x 6." in problem.cause
    assert "EXIF" not in problem.cause


def test_fault_11_mask_of_the_unrotated_size_is_explained(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 6)).save(tmp_path / "a.jpg", exif=exif)
    Image.fromarray(np.zeros((6, 8), np.uint8)).save(tmp_path / "stored.png")
    Image.fromarray(np.zeros((8, 6), np.uint8)).save(tmp_path / "turned.png")
    stored = Picture("a", tmp_path / "a.jpg", {"val": tmp_path / "stored.png"})
    (problem,) = check_picture(stored, CLASSES).problems
    assert "before its EXIF orientation" in problem.cause
    turned = check_picture(Picture("a", tmp_path / "a.jpg", {"val": tmp_path / "turned.png"}), 3)
    assert turned.problems == ()
    assert turned.size == (8, 6)
    assert len(turned.notes) == 1


def test_fault_38_41_values_outside_the_classes(tmp_path: Path) -> None:
    mask = np.zeros((6, 8), np.uint8)
    mask[0, :4] = (3, 4, 127, 255)
    (problem,) = check_picture(picture(tmp_path, mask), CLASSES).problems
    assert "mask.png holds 4, 127: not in 0..3 or 255." in problem.cause


def test_fault_41_values_up_to_90_among_80_classes_are_told_to_be_raw(tmp_path: Path) -> None:
    for value, hinted in ((81, True), (90, True), (91, False), (127, False)):
        mask = np.full((6, 8), 255, np.uint8)
        mask[0, 0] = value
        (problem,) = check_picture(picture(tmp_path, mask), 80).problems
        assert f"holds {value}: not in 0..80 or 255" in problem.cause
        assert ("COCO's own ids" in problem.remedy) == hinted


def test_fault_30_what_may_not_be_read_is_structural(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tests may run as root, whom permissions do not stop."""
    one, read_bytes = picture(tmp_path, np.zeros((6, 8), np.uint8)), Path.read_bytes

    def locked(path: Path) -> bytes:
        if path.name == name:
            raise PermissionError(13, "Permission denied")
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", locked)
    for name in ("a.png", "mask.png"):
        (problem,) = check_picture(one, CLASSES).problems
        assert problem.structural
        assert problem.cause == f"{tmp_path / name} cannot be read: Permission denied."
        assert problem.remedy == "Give yourself the permission to read it."


def test_all_faults_of_one_picture_are_collected(tmp_path: Path) -> None:
    good = picture(tmp_path, np.full((5, 5), 9, np.uint8))
    assert len(check_picture(good, CLASSES).problems) == 2
    good.image.write_text("no image")
    assert len(check_picture(good, CLASSES).problems) == 2


def test_one_message_tells_everything_with_its_remedy() -> None:
    problems = [
        Problem("a is bad.", "Mend it.", "a"),
        Problem("b is worse.", "Replace it.", "b"),
        Problem("c is bad.", "Mend it.", "c"),
    ]
    error = as_error(problems, Path("voc\x1b[2J"))
    assert error.exit_code == 3
    assert str(error).split("\n") == [
        "3 problems in voc\\x1b[2J:",
        "  a is bad.",
        "  c is bad.",
        "    Mend it.",
        "  b is worse.",
        "    Replace it.",
        "Or leave such images out with `--on-bad skip`.",
    ]
    fatal = as_error([Problem("../a", "Rename.", structural=True)], Path("voc"))
    assert "skip" not in str(fatal)


def test_threads_keep_the_order_and_do_not_need_work() -> None:
    def run(items: list[int]) -> list[int]:
        return in_threads(lambda n: -n, items, workers=4, progress=SILENT, label="")

    assert run([3, 1, 2]) == [-3, -1, -2]
    assert run([]) == []


def test_an_unforeseen_error_in_a_thread_surfaces() -> None:
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda n: 1 // n, [1, 0, 2], workers=2, progress=SILENT, label="")
