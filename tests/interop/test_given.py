"""Masks from elsewhere and the pictures they belong to."""

from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from gleclip_cli.datasets.integrity import Drawing, Picture
from gleclip_cli.datasets.source import Source
from gleclip_cli.datasets.vocabulary import Vocabulary
from gleclip_cli.errors import BadInput
from gleclip_cli.interop.given import with_given_masks
from gleclip_cli.interop.labelme import write_labelme
from gleclip_cli.interop.masked import Masked
from gleclip_cli.progress import Progress


def source(vocabulary: Vocabulary, *ids: str, val: bool = False) -> Source:
    splits = {"train": sorted(ids), **({"val": sorted(ids)} if val else {})}
    own = dict.fromkeys(splits, Path("own.png"))
    pictures = [Picture(name, Path(f"{name}.jpg"), own) for name in ids]
    return Source(Path("data"), vocabulary, splits, {}, pictures, notes={"odd": 1})


def pngs(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (2, 2)).save(path)
    return folder


def masks_of(given: Source, split: str = "train") -> dict[str, str]:
    return {p.image_id: getattr(p.masks.get(split), "name", "") for p in given.pictures}


def test_names_are_paths_or_files_of_a_run_or_bare(vocabulary: Vocabulary, tmp_path: Path) -> None:
    folder = pngs(tmp_path / "m", "farm/1", "farm%2F2", "c", "x/d", "stranger", "two")
    ids = ("farm/1", "farm/2", "deep/c", "d", "rest", "p/two", "q/two")
    progress = Mock(Progress)
    given = with_given_masks(source(vocabulary, *ids), str(folder), progress=progress)
    assert masks_of(given) == {
        "farm/1": "1.png",
        "farm/2": "farm%2F2.png",
        "deep/c": "c.png",
        "d": "d.png",
        "rest": "own.png",
        "p/two": "own.png",
        "q/two": "own.png",
    }
    assert given.notes == {"odd": 1, f"in {folder}, but not in the data set": 2}
    progress.say.assert_called_once_with(f"4 images got a mask of {folder}.")


def test_without_val_the_masked_pictures_are_val(vocabulary: Vocabulary, tmp_path: Path) -> None:
    folder = pngs(tmp_path / "m", "b")
    given = with_given_masks(source(vocabulary, "a", "b"), str(folder))
    assert given.splits == {"train": ["a", "b"], "val": ["b"]}
    assert masks_of(given, "val") == {"a": "", "b": "b.png"}
    kept = with_given_masks(source(vocabulary, "a", "b", val=True), str(folder))
    assert kept.splits["val"] == ["a", "b"]
    assert masks_of(kept, "val") == {"a": "own.png", "b": "b.png"}


def test_another_content_is_kept_in_another_file(vocabulary: Vocabulary, tmp_path: Path) -> None:
    kept = []
    for value in (1, 2):
        picture = Masked("a", Path("a.jpg"), (4, 4), np.full((4, 4), value, np.uint8))
        write_labelme(tmp_path / "m", tmp_path / "m", [picture], vocabulary, simplify=0.0)
        (given,) = with_given_masks(source(vocabulary, "a"), str(tmp_path / "m")).pictures
        mask = given.masks["train"]
        assert isinstance(mask, Drawing)
        assert (mask.draw() == value).all()
        kept.append(mask.file)
    assert kept[0] != kept[1]


def test_what_holds_no_masks_is_refused(vocabulary: Vocabulary, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("nothing")
    with pytest.raises(BadInput, match="does not exist"):
        with_given_masks(source(vocabulary, "a"), str(tmp_path / "b"))
    with pytest.raises(BadInput, match="in no form"):
        with_given_masks(source(vocabulary, "a"), str(tmp_path / "a.txt"))
    with pytest.raises(BadInput, match="no mask of a picture of data, but for example z"):
        with_given_masks(source(vocabulary, "a"), str(pngs(tmp_path / "m", "z")))
