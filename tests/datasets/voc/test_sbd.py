"""SBD beside VOC2012: its masks serve trainaug, VOC's own come first, damage is told."""

from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image

from gleclip_cli.artifacts.maps import load_label_image
from gleclip_cli.datasets.source import verify
from gleclip_cli.datasets.voc.reader import read_voc
from gleclip_cli.datasets.voc.sbd import read_sbd_mask
from gleclip_cli.errors import BadInput

MASK = np.zeros((32, 48), np.uint8)
MASK[4:20, 6:30] = 8


def save_mat(path: Path, mask: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # as MATLAB nests it: a struct array of one, its fields again arrays
    scipy.io.savemat(path, {"GTcls": {"Segmentation": mask, "CategoriesPresent": [8]}})


@pytest.mark.parametrize("place", ["VOCaug/dataset", "benchmark_RELEASE/dataset", "SBD"])
def test_trainaug_is_train_and_sbd_without_val(tiny_voc: Path, tmp_path: Path, place: str) -> None:
    cls = tiny_voc.parent / place / "cls"
    for name in ("a", "d", "e"):
        save_mat(cls / f"{name}.mat", MASK)
    Image.new("RGB", (48, 32)).save(tiny_voc / "JPEGImages" / "e.jpg")
    (tiny_voc / "Annotations" / "e.xml").write_text(
        "<annotation><object><name>cat</name></object></annotation>"
    )
    source = read_voc(tiny_voc)
    assert source.splits["trainaug"] == ["a", "b", "c", "e"]
    index = verify(source, masks=tmp_path / "drawn", workers=1)
    assert index.problems == ()
    own, drawn = (index.records["trainaug"][name].mask for name in ("a", "e"))
    assert own == tiny_voc / "SegmentationClass" / "a.png"
    assert drawn is not None
    assert drawn.is_relative_to(tmp_path / "drawn")
    assert np.array_equal(load_label_image(drawn), MASK)


def test_fault_35_41_a_drawn_mask_is_checked_like_any_other(tiny_voc: Path) -> None:
    (tiny_voc / "ImageSets/Segmentation/trainaug.txt").write_text("a\n")
    (tiny_voc / "SegmentationClass" / "a.png").unlink()
    wrong = MASK[:30] + 30
    save_mat(tiny_voc.parent / "SBD" / "cls" / "a.mat", wrong)
    causes = [problem.cause for problem in verify(read_voc(tiny_voc), workers=1).problems]
    assert any("a.mat, a, is 48 x 30, its picture 48 x 32" in cause for cause in causes)
    assert any("a.mat, a, holds 30, 38: not in 0..20 or 255" in cause for cause in causes)


@pytest.mark.parametrize(
    "content", [b"", b"MATLAB 5.0 MAT-file" + bytes(300), b"\x80\x04cos\nsystem\n(S'true'\ntR."]
)
def test_damaged_matlab_files_are_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mat"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"a\.mat holds no mask of SBD"):
        read_sbd_mask(path)


def test_a_matlab_file_of_something_else(tmp_path: Path) -> None:
    save_mat(tmp_path / "a.mat", np.zeros((2, 3, 4), np.uint8))
    with pytest.raises(BadInput, match="no label image"):
        read_sbd_mask(tmp_path / "a.mat")
