"""A data set that is read once says the same as one that is read again."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gleclip_cli.config import PrepareDataConfig
from gleclip_cli.datasets import readers
from gleclip_cli.datasets.readers import layout_of, read_source, reading_once
from gleclip_cli.datasets.source import Source


def told(source: Source) -> tuple[Any, ...]:
    pictures = [(picture.image_id, picture.image) for picture in source.pictures]
    return source.splits, source.labels, pictures, source.problems


def test_limits_cut_what_was_read_once(
    tiny_coco: Any, tiny_voc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_coco.annotate("train", 99, 1, [])  # belongs to no image
    (tiny_voc / "JPEGImages" / "a.jpg").unlink()
    (tiny_voc / "JPEGImages" / "c.jpg").unlink()
    for dataset, data in (("coco", tiny_coco.save()), ("voc", tiny_voc)):
        whole = PrepareDataConfig(dataset=dataset, data=str(data))
        configs = [replace(whole, limit=limit) for limit in (None, 1, 2)]
        again = [told(read_source(config)) for config in configs]
        assert len({len(pictures) for _, _, pictures, _ in again}) > 1
        with reading_once():
            once = [told(read_source(configs[0]))]
            with monkeypatch.context() as patch:
                patch.setitem(readers.READERS, dataset, None)
                once += [told(read_source(config)) for config in configs[1:]]
        assert once == again


def test_a_folder_tells_its_layout(tiny_coco: Any, tiny_voc: Path, tmp_path: Path) -> None:
    assert layout_of(tiny_coco.save()) == "coco"
    assert [layout_of(folder) for folder in (tiny_voc, tiny_voc.parent)] == ["voc", "voc"]
    (tiny_voc / "ImageSets/Segmentation/train.txt").write_text("")  # a fault, not another layout
    assert layout_of(tiny_voc) == "voc"
    own = tmp_path / "own" / "JPEGImages"
    own.mkdir(parents=True)
    (tiny_voc / "JPEGImages/a.jpg").rename(own / "a.jpg")
    (own.parent / "labels.csv").write_text("image,labels\na.jpg,cow\n")
    assert [layout_of(folder) for folder in (own.parent, tmp_path / "none")] == ["folder", "folder"]


def test_coco_in_the_shape_of_voc_is_coco(tiny_voc: Path) -> None:
    for file in (tiny_voc / "Annotations").iterdir():
        file.unlink()
    (tiny_voc / "Annotations").rmdir()
    assert layout_of(tiny_voc) == "voc"  # its labels may be in cls_labels.npy
    (tiny_voc / "train_labels.txt").write_text("a 7\nb 11 14\n")
    assert layout_of(tiny_voc) == "coco"
