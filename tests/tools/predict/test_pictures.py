"""Which pictures words mean, and that no two of them share an id."""

from pathlib import Path

import pytest

from gleclip_cli.artifacts.json_files import write_json
from gleclip_cli.artifacts.run_dir import OutDir
from gleclip_cli.errors import UsageError
from gleclip_cli.tools.predict.pictures import Pictures, find_pictures

FILES = ("a/1.jpg", "a/deep/1.JPG", "a/notes.txt", "b/1.jpg", "b/x [1].png", "b/.hidden.jpg")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in FILES:
        file = tmp_path / "here" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def find(*words: str, out: str = "out") -> Pictures:
    return find_pictures(words, OutDir(out))


def test_folders_files_and_patterns_each_picture_once(here: Path) -> None:
    assert list(find("a", "b").files) == ["a/1", "a/deep/1", "b/1", "b/x [1]"]
    assert list(find("b/x [1].png", "./b/../b/1.jpg", str(here / "b")).files) == ["b/1", "b/x [1]"]
    assert list(find("*/1.jpg").files) == ["a/1", "b/1"]
    assert list(find("**/*").files) == ["a/1", "a/deep/1", "b/1", "b/x [1]"]
    assert list(find("a/notes.txt").files) == ["a/notes"]  # whoever opens it says what it is
    assert all(path.is_absolute() for path in find("a").files.values())


def test_what_lies_outside_has_its_whole_path(here: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "1.jpg"
    other.parent.mkdir()
    other.write_text("1")
    (image_id,) = find("../other").files
    assert image_id == other.with_suffix("").as_posix().lstrip("/")


def test_22_two_endings_of_one_name_stay_apart(here: Path) -> None:
    (here / "a" / "1.png").write_text("other")
    assert list(find("a/1.jpg").files) == ["a/1"]
    assert list(find("a").files) == ["a/1.jpg", "a/1.png", "a/deep/1"]


def test_an_id_of_another_picture_in_the_output_is_not_taken(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = OutDir(here / "out")
    (file,) = find("a/1.jpg").files.values()
    write_json(out.areas("1"), {"image": str(file), "sha256": "of a/1"})
    monkeypatch.chdir(here / "a")
    assert list(find_pictures(["1.jpg"], out).files) == ["1"]
    monkeypatch.chdir(here / "b")
    assert list(find_pictures(["1.jpg"], out).files) == ["1.jpg"]


def test_what_is_not_there_is_a_problem_and_nothing_at_all_an_error(here: Path) -> None:
    found = find("a", "c.jpg", "d*.jpg")
    assert len(found.files) == 2
    assert [problem.cause for problem in found.problems] == [
        "c.jpg means no file and no folder.",
        "d*.jpg means no file and no folder.",
    ]
    (here / "empty").mkdir()
    with pytest.raises(UsageError, match="No picture in empty"):
        find("empty")
    with pytest.raises(UsageError, match=r"c\.jpg means no file"):
        find("empty", "c.jpg")


def test_fault_29_a_link_to_nowhere_is_listed(here: Path) -> None:
    (here / "a" / "loop").symlink_to(here / "a")
    (here / "a" / "gone").symlink_to("nowhere")
    found = find("a")
    assert len(found.files) == 2
    assert len(found.problems) == 2


def test_fault_31_the_output_around_its_input_is_refused_and_never_read(here: Path) -> None:
    for words in (["a"], ["a/1.jpg"]):
        with pytest.raises(UsageError, match="lies in the folder of the output"):
            find(*words, out="a")
    (here / "a" / "out" / "masks").mkdir(parents=True)
    (here / "a" / "out" / "masks" / "1.png").write_text("a mask")
    assert list(find("a", "a/**/*.png", out="a/out").files) == ["a/1", "a/deep/1"]
