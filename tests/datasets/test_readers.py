"""A data set that is read once says the same as one that is read again."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gleclip_cli.config import PrepareDataConfig
from gleclip_cli.datasets import readers
from gleclip_cli.datasets.readers import read_source, reading_once
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
