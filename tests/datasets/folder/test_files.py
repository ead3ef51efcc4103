"""Which files of a folder count, and which of them a written name means."""

from pathlib import Path

import pytest

from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.datasets.folder.files import Files, Names, find_files, leads_out
from gleclip_cli.errors import BadInput


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def found(root: Path, *names: str) -> Files:
    touch(root, *names)
    return find_files(root)


def test_hidden_files_runs_and_other_files_are_left_out(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "runs" / "folder")
    touch(run.output("prepare_data"), "settings.json")
    touch(run.root, "refine/train/pseudo_masks/a.png")
    touch(tmp_path, "labels.csv", ".thumbs/a.jpg", "._a.jpg", "notes.txt", "phone.HEIC")
    files = found(tmp_path, "a.JPEG", "b/c.d.tif", "runs/marathon/1.webp")
    assert sorted(files.pictures) == ["a", "b/c.d", "runs/marathon/1"]
    assert files.notes == {".heic, a format that is not read": 1}
    assert files.problems == ()


def test_masks_lie_under_the_path_of_their_picture(tmp_path: Path) -> None:
    files = found(tmp_path, "JPEGImages/x/a.jpg", "SegmentationClass/x/a.png", "JPEGImages/a.jpg")
    assert files.base == "JPEGImages/"
    assert files.mask("x/a") == tmp_path / "SegmentationClass" / "x" / "a.png"
    assert files.mask("a") is None
    touch(tmp_path, "SegmentationClass/x/a.bmp")
    (problem,) = find_files(tmp_path).problems
    assert problem.structural
    assert "share one id" in problem.cause


@pytest.mark.parametrize("folders", [("masks", "SegmentationClass"), ("images", "JPEGImages")])
def test_two_folders_for_one_purpose(tmp_path: Path, folders: tuple[str, str]) -> None:
    with pytest.raises(BadInput, match="holds both"):
        found(tmp_path, "a.jpg", *(f"{folder}/a.png" for folder in folders))


def test_names_may_leave_out_folder_and_ending(tmp_path: Path) -> None:
    names = Names(found(tmp_path, "images/a.jpg", "images/x/a.png", "images/x/b.jpg", "images/y/c"))
    meant = {
        "images/x/b.jpg": ["x/b"],
        "x/b.jpg": ["x/b"],
        "x/b": ["x/b"],
        "b.jpg": ["x/b"],
        "b": ["x/b"],
        "./x/b.jpg": ["x/b"],
        "x\\b.jpg": ["x/b"],
        "a.jpg": ["a"],
        "a.png": ["x/a"],
        "a": ["a"],  # a whole path goes before a mere name
        "images/a": ["a"],
        "b.png": [],
        "c": [],
        "": [],
    }
    assert {name: names.find(name) for name in meant} == meant


def test_a_name_that_several_pictures_have(tmp_path: Path) -> None:
    names = Names(found(tmp_path, "x/a.jpg", "y/a.jpg", "y/a.png"))
    assert names.find("a.jpg") == ["x/a", "y/a"]
    assert names.find("a.png") == ["y/a"]


def test_fault_28_which_names_lead_out() -> None:
    for name in ("../a", "a/../../b", "/a", "\\\\host\\a", "c:/a", "D:\\a", "a\\..\\b"):
        assert leads_out(name), name
    for name in ("a..b", "...", "a/b..", "c:a", ".a"):
        assert not leads_out(name), name
