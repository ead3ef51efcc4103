"""Maps from elsewhere: which file is whose, and what does not fit the photograph."""

from pathlib import Path

import numpy as np
import pytest

from gleclip_cli.artifacts.maps import Cam, save_cam
from gleclip_cli.config.refine import CAMS_FORMATS
from gleclip_cli.errors import BadInput, MissingInput
from gleclip_cli.interop.cam_dicts import CAM_FORMATS, write_cam_dict
from gleclip_cli.interop.map_folder import MapFolder, find_maps

SIZE = (4, 6)
CAM = Cam(np.full((1, *SIZE), 0.5, np.float32), np.array([3]), SIZE)


def load(maps: MapFolder, image_id: str, **changed: object) -> Cam:
    known = {"size": SIZE, "num_classes": 21, "tags": [3, 5], **changed}
    return maps.load(image_id, **known)  # type: ignore[arg-type]


def test_every_format_can_be_asked_for() -> None:
    assert set(CAMS_FORMATS) == {*CAM_FORMATS, "npz"}


@pytest.mark.parametrize("form", CAMS_FORMATS)
def test_a_file_is_found_by_the_id_of_its_image(tmp_path: Path, form: str) -> None:
    for name in ("2007_000032", "a%2Fb"):
        if form == "npz":
            save_cam(tmp_path / "3f" / f"{name}.npz", CAM)
        else:
            write_cam_dict(tmp_path / f"{name}.npy", form, CAM)
    (tmp_path / "readme.txt").write_text("no map")
    maps = find_maps(tmp_path, form)
    for image_id in ("2007_000032", "a/b"):
        assert load(maps, image_id).class_ids.tolist() == [3]
    assert maps.path("2007_000033") is None
    assert maps.fingerprint("2007_000033") == ""
    assert load(maps, "2007_000033", tags=[]).scores.shape == (0, 1, 1)
    assert len(maps.fingerprint("a/b")) == 64


def test_the_listing_tells_of_added_and_grown_files(tmp_path: Path) -> None:
    write_cam_dict(tmp_path / "a.npy", "psa", CAM)
    first = find_maps(tmp_path, "psa").listing()
    assert find_maps(tmp_path, "psa").listing() == first
    write_cam_dict(tmp_path / "b.npy", "psa", CAM)
    assert find_maps(tmp_path, "psa").listing() != first


@pytest.mark.parametrize("form", ["npz", "irn"])
def test_another_size_is_refused(tmp_path: Path, form: str) -> None:
    if form == "npz":
        save_cam(tmp_path / "a.npz", CAM)
    else:
        write_cam_dict(tmp_path / "a.npy", form, CAM)
    with pytest.raises(BadInput, match=r"a\.np.*\(6, 4\)"):
        load(find_maps(tmp_path, form), "a", size=(6, 4))


def test_a_class_that_the_image_is_not_tagged_with_is_refused(tmp_path: Path) -> None:
    write_cam_dict(tmp_path / "a.npy", "clip-es", CAM)
    with pytest.raises(BadInput, match=r"class ids \[3\], and a is tagged with \[2\]"):
        load(find_maps(tmp_path, "clip-es"), "a", tags=[2])


def test_folders_without_maps_and_with_two_of_one_image_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match=r"holds no \.npy"):
        find_maps(tmp_path / "nothing", "irn")
    write_cam_dict(tmp_path / "a.npy", "irn", CAM)
    write_cam_dict(tmp_path / "old" / "a.npy", "irn", CAM)
    with pytest.raises(BadInput, match="of one image"):
        find_maps(tmp_path, "irn")
