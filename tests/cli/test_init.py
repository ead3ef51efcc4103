"""`gleclip init`: the class table it writes, what it leaves alone, what it says to do next."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import Result

from gleclip_cli.datasets.folder.reader import read_folder
from gleclip_cli.datasets.vocabulary import read_vocabulary

Run = Callable[..., Result]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Three pictures of cats and dogs, one of them unlabelled."""
    root = tmp_path / "my photos"
    root.mkdir()
    for name in "abc":
        Image.new("RGB", (8, 6)).save(root / f"{name}.jpg")
    (root / "labels.csv").write_text("a.jpg,dog\nb.jpg,cat;dog\n")
    return root


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*")}


def test_it_writes_a_table_that_can_be_edited_and_nothing_else(own: Path, gleclip: Run) -> None:
    before = contents(own)
    result = gleclip("init", own)
    assert result.exit_code == 0, result.output
    after = contents(own)
    text = after.pop("gleclip.toml").decode()
    assert after == before
    assert '"cat",  # 1 image\n    "dog",  # 2 images' in text
    assert "2 classes in 3 images: cat (1), dog (2)" in result.stderr
    assert f"1 problem; `gleclip check --dataset folder --data '{own}'` lists them" in result.stderr
    assert f"gleclip prepare-data --dataset folder --data '{own}'" in result.stderr
    (own / "gleclip.toml").write_text(text.replace('# "cat" = "cat"', '"cat" = "tabby cat"'))
    assert read_folder(own).vocabulary.prompts == ("tabby cat", "dog")


def test_an_existing_table_is_kept_without_overwrite(own: Path, gleclip: Run) -> None:
    (own / "gleclip.toml").write_text("mine")
    result = gleclip("init", own)
    assert result.exit_code == 2
    assert "--overwrite" in result.stderr
    assert (own / "gleclip.toml").read_text() == "mine"
    assert gleclip("init", own, "--overwrite").exit_code == 0
    assert read_vocabulary(own / "gleclip.toml").classes == ("cat", "dog")


def test_the_list_of_classes_gives_the_order(own: Path, gleclip: Run) -> None:
    (own / "classes.txt").write_text("horse\ndog\n")
    result = gleclip("init", own, "--json")
    document = json.loads(result.stdout)
    assert document["classes"] == {"horse": 0, "dog": 2}
    assert document["images"] == 3
    assert document["output"] == str(own / "gleclip.toml")
    assert read_vocabulary(own / "gleclip.toml").classes == ("horse", "dog")
    (own / "gleclip.toml").unlink()
    assert "Not in classes.txt: cat." in gleclip("init", own).stderr


@pytest.mark.parametrize(("labels", "code"), [("a,background\n", 2), ("x,cat\n", 3), ("a\n", 3)])
def test_what_makes_no_table_writes_none(own: Path, gleclip: Run, labels: str, code: int) -> None:
    (own / "labels.csv").write_text(labels)
    result = gleclip("init", own)
    assert result.exit_code == code, result.output
    assert not (own / "gleclip.toml").exists()


def test_rows_stay_rows_in_the_help(gleclip: Run) -> None:
    assert "      farm/1.jpg,cow;horse\n" in gleclip("init", "--help").stdout
