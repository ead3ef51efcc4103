"""The archive for VOC's test server."""

import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gleclip_cli.datasets.vocabulary import Vocabulary, load_vocabulary
from gleclip_cli.errors import BadInput, UsageError
from gleclip_cli.interop.masked import Masked
from gleclip_cli.interop.voc_server import write_voc_server


def test_the_archive_is_as_the_server_wants_it(
    masks: list[Masked], vocabulary: Vocabulary, tmp_path: Path
) -> None:
    out = tmp_path / "results.tgz"
    assert write_voc_server(out, iter(masks[1:]), vocabulary) == 2
    with tarfile.open(out, "r:gz") as archive:
        folder = "results/VOC2012/Segmentation/comp6_test_cls"
        assert archive.getnames() == [f"{folder}/b.png", f"{folder}/ünused.png"]
        stream = archive.extractfile(f"{folder}/b.png")
        assert stream is not None
        picture = Image.open(stream)
        assert picture.mode == "P"
        assert picture.getpalette()[:6] == [0, 0, 0, 128, 0, 0]
        np.testing.assert_array_equal(np.array(picture), masks[1].labels)


@pytest.mark.parametrize(
    ("size", "value", "cause"), [((4, 4), 0, "its picture"), ((2, 2), 255, "holds 255")]
)
def test_what_the_server_would_refuse_is_refused(
    size: tuple[int, int], value: int, cause: str, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    bad = Masked("a", Path("a.jpg"), size, np.full((2, 2), value, np.uint8))
    with pytest.raises(BadInput, match=cause):
        write_voc_server(tmp_path / "out.tgz", [bad], vocabulary)


def test_only_vocs_classes(vocabulary: Vocabulary, tmp_path: Path) -> None:
    shuffled = replace(vocabulary, palette=vocabulary.palette[::-1])
    for other in (load_vocabulary("coco"), shuffled):
        with pytest.raises(UsageError, match="VOC's 20 classes"):
            write_voc_server(tmp_path / "out.tgz", [], other)
