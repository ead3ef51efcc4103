"""CVAT's archive of painted masks, and back."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gleclip_cli.datasets.vocabulary import Vocabulary
from gleclip_cli.errors import BadInput, UsageError
from gleclip_cli.interop.cvat import read_cvat, write_cvat
from gleclip_cli.interop.masked import Masked

Back = Callable[..., dict[str, np.ndarray]]


def changed(path: Path, contents: dict[str, bytes], prefix: str = "") -> Path:
    """A copy of an archive with other contents of some members."""
    copy = path.with_name("changed.zip")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(copy, "w") as new:
        for name in old.namelist():
            new.writestr(prefix + name, contents.get(name, old.read(name)))
    return copy


def test_the_archive_comes_back_identical(
    masks: list[Masked], vocabulary: Vocabulary, tmp_path: Path, back: Back
) -> None:
    out = tmp_path / "out.zip"
    assert write_cvat(out, iter(masks), vocabulary, band=False) == 4
    found = back(masks, out)
    for masked in masks:
        np.testing.assert_array_equal(found[masked.image_id], masked.labels)
    with zipfile.ZipFile(out) as archive:
        table = archive.read("labelmap.txt").decode().splitlines()
        assert table[:2] == ["background:0,0,0::", "aeroplane:128,0,0::"]
        listed = archive.read("ImageSets/Segmentation/default.txt").decode()
        assert listed.splitlines() == ["farm/kuh 1", "b", "ünused"]
        picture = Image.open(io.BytesIO(archive.read("SegmentationClass/b.png")))
    assert picture.mode == "RGB"
    (y, x), *_ = np.argwhere(masks[1].labels == 20)
    assert picture.getpixel((int(x), int(y))) == (0, 64, 128)  # VOC's tvmonitor


def test_cvats_own_colours_count_and_a_folder_around_all(
    masks: list[Masked], vocabulary: Vocabulary, tmp_path: Path, back: Back
) -> None:
    write_cvat(tmp_path / "out.zip", masks, vocabulary, band=False)
    table = b"# label:color_rgb:parts:actions\nbackground:0,0,0::\ncow:10,20,30::\n"
    picture = io.BytesIO()
    Image.new("RGB", (12, 16), (10, 20, 30)).save(picture, "PNG")
    contents = {"labelmap.txt": table, "SegmentationClass/b.png": picture.getvalue()}
    copy = changed(tmp_path / "out.zip", contents, "task_1/")
    stored = read_cvat(copy, vocabulary)
    assert (stored["b"].draw() == 10).all()
    with pytest.raises(BadInput, match="colour of no class"):
        stored["farm/kuh 1"].draw()


def test_an_ignored_band_comes_back(vocabulary: Vocabulary, tmp_path: Path, back: Back) -> None:
    labels = np.full((5, 6), 255, np.uint8)
    labels[1:3] = 4
    picture = Masked("a", Path("a.jpg"), (5, 6), labels)
    write_cvat(tmp_path / "out.zip", [picture], vocabulary, band=True)
    np.testing.assert_array_equal(back([picture], tmp_path / "out.zip")["a"], labels)


def test_what_is_no_archive_of_masks_is_refused(
    masks: list[Masked], vocabulary: Vocabulary, tmp_path: Path
) -> None:
    out = tmp_path / "out.zip"
    write_cvat(out, masks, vocabulary, band=False)
    (tmp_path / "cut.zip").write_bytes(out.read_bytes()[:-40])
    with pytest.raises(BadInput, match="damaged"):
        read_cvat(tmp_path / "cut.zip", vocabulary)
    unknown = changed(out, {"labelmap.txt": b"background:0,0,0::\naeroplan:128,0,0::\n"})
    with pytest.raises(BadInput, match=r"'aeroplan' \(aeroplane\?\)"):
        read_cvat(unknown, vocabulary)["b"].draw()
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr("readme.txt", "")
    with pytest.raises(BadInput, match="holds no SegmentationClass"):
        read_cvat(tmp_path / "empty.zip", vocabulary)


def test_fault_75_a_member_that_unpacks_to_too_much_is_refused(
    masks: list[Masked], vocabulary: Vocabulary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cvat(tmp_path / "out.zip", masks, vocabulary, band=False)
    stored = read_cvat(tmp_path / "out.zip", vocabulary)
    monkeypatch.setattr("gleclip_cli.interop.cvat._LARGEST", 50)
    with pytest.raises(BadInput, match="unpacks to"):
        stored["b"].draw()


def test_fault_74_names_that_lead_out_are_not_written(
    vocabulary: Vocabulary, tmp_path: Path
) -> None:
    picture = Masked("../a", Path("a.jpg"), (1, 1), np.zeros((1, 1), np.uint8))
    with pytest.raises(BadInput, match="no path"):
        write_cvat(tmp_path / "out.zip", [picture], vocabulary, band=False)


def test_a_class_without_a_colour_of_its_own_is_refused(vocabulary: Vocabulary) -> None:
    from dataclasses import replace

    palette = vocabulary.palette.copy()
    palette[2] = palette[1]
    with pytest.raises(UsageError, match="no colour of its own"):
        write_cvat(Path("out.zip"), [], replace(vocabulary, palette=palette), band=False)
