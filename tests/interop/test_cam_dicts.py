"""Maps in peers' dictionaries: as their tools write them, and as ours do."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gleclip_cli.artifacts.maps import Cam
from gleclip_cli.errors import BadInput
from gleclip_cli.interop.cam_dicts import CAM_FORMATS, read_cam_dict, write_cam_dict

SIZE = (10, 13)
MAPS = np.random.default_rng(0).random((2, *SIZE)).astype(np.float32)
KEYS = [14, 2]


def theirs(name: str, maps: np.ndarray = MAPS, keys: list[int] | None = None) -> dict[Any, Any]:
    """What the peer's own code hands to numpy.save."""
    keys = KEYS if keys is None else keys
    if name == "psa":
        return dict(zip(keys, maps, strict=True))
    if name == "irn":
        whole = torch.from_numpy(maps)
        return {"keys": torch.tensor(keys), "cam": whole[:, ::4, ::4].clone(), "high_res": maps}
    return {"keys": np.array(keys), "attn_highres": maps.astype(np.float16)}


def save(path: Path, content: object) -> Path:
    np.save(path, content)  # type: ignore[arg-type]
    return path


def read(path: Path, name: str) -> Cam:
    return read_cam_dict(path, name, size=SIZE, num_classes=21)


@pytest.mark.parametrize("name", CAM_FORMATS)
def test_peers_files_are_read_and_their_first_class_is_1(tmp_path: Path, name: str) -> None:
    cam = read(save(tmp_path / "a.npy", theirs(name)), name)
    assert cam.class_ids.tolist() == [15, 3]
    assert cam.size == SIZE
    np.testing.assert_allclose(cam.scores, MAPS, atol=5e-4 if name == "clip-es" else 0)


@pytest.mark.parametrize("name", CAM_FORMATS)
def test_what_is_written_comes_back(tmp_path: Path, name: str) -> None:
    cam = Cam(MAPS[:, :5, :7].copy(), np.array([20, 1]), SIZE)
    for number, case in enumerate((cam, Cam(MAPS[:0], np.empty(0, np.int64), SIZE))):
        path = tmp_path / f"{number}.npy"
        write_cam_dict(path, name, case)
        back = read(path, name)
        assert back.class_ids.tolist() == case.class_ids.tolist()
        np.testing.assert_allclose(back.scores, case.enlarged(), atol=5e-4)


def test_irns_own_code_finds_what_it_works_on(tmp_path: Path) -> None:
    cam = Cam(MAPS, np.array([15, 3]), SIZE)
    write_cam_dict(tmp_path / "a.npy", "irn", cam)
    found = np.load(tmp_path / "a.npy", allow_pickle=True).item()
    assert np.pad(found["keys"] + 1, (1, 0), mode="constant").tolist() == [0, 15, 3]
    assert isinstance(found["cam"], torch.Tensor)
    assert found["cam"].shape == (2, 3, 4)  # ceil(H / 4), ceil(W / 4)
    np.testing.assert_array_equal(found["high_res"], MAPS)


def test_fault_71_a_payload_in_maps_is_refused_and_not_run(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch '{tmp_path / 'ran'}'",)

    path = save(tmp_path / "a.npy", {"keys": np.array([1]), "attn_highres": Payload()})
    with pytest.raises(BadInput, match=r"a\.npy is refused: it names"):
        read(path, "clip-es")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (theirs("irn"), "attn_highres are missing"),
        ([1, 2], "no dictionary"),
        (theirs("clip-es", MAPS[:, :9]), r"maps are float16 \(2, 9, 13\)"),
        (theirs("clip-es", MAPS[:1], [14]) | {"keys": np.array([14, 2])}, "for 2 classes"),
        (theirs("clip-es", keys=[20, 2]), "0 to 19"),
        (theirs("clip-es", keys=[-1, 2]), "0 to 19"),
        (theirs("clip-es", keys=[2, 2]), "not different"),
        (theirs("clip-es", MAPS * 3), "outside 0 to 1"),
        (theirs("clip-es", np.where(MAPS > 0.9, np.nan, MAPS)), "NaN"),
        (theirs("clip-es") | {"keys": np.array([0.5, 1.0])}, "not a list of classes"),
    ],
)
def test_other_content_is_refused(tmp_path: Path, content: object, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        read(save(tmp_path / "2007_000032.npy", content), "clip-es")


def test_psa_wants_whole_numbers_as_keys(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="keys are"):
        read(save(tmp_path / "a.npy", theirs("irn")), "psa")


def test_float64_of_psa_is_read(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npy", theirs("psa", MAPS.astype(np.float64)))
    assert read(path, "psa").scores.dtype == np.float32
