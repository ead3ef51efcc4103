"""Maps, label images and confidence: what is written is what is read, or nothing is."""

import io
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from gleclip_cli.artifacts.arrays import save_arrays
from gleclip_cli.artifacts.maps import (
    Cam,
    load_cam,
    load_confidence,
    load_label_image,
    save_cam,
    save_confidence,
    save_jpeg,
    save_label_image,
)
from gleclip_cli.errors import BadInput

PALETTE = np.random.default_rng(1).integers(0, 256, (256, 3)).astype(np.uint8)


def cam(classes: int = 2, seed: int = 0) -> Cam:
    scores = np.random.default_rng(seed).random((classes, 3, 4)).astype(np.float32)
    return Cam(scores, np.arange(1, classes + 1) * 3, (48, 60))


@pytest.mark.parametrize("classes", [0, 1, 5])
def test_a_cam_comes_back_but_for_float16(tmp_path: Path, classes: int) -> None:
    save_cam(tmp_path / "a.npz", before := cam(classes))
    after = load_cam(tmp_path / "a.npz")
    assert after.scores.dtype == np.float32
    # float16 keeps 11 bits: half a unit in the last place of numbers below 1.
    np.testing.assert_allclose(after.scores, before.scores, atol=2**-12, rtol=0)
    np.testing.assert_array_equal(after.class_ids, before.class_ids)
    assert (after.class_ids.dtype, after.size) == (np.int64, (48, 60))


def test_numpy_reads_the_file_as_documented(tmp_path: Path) -> None:
    save_cam(tmp_path / "a.npz", cam())
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        kinds = {name: (file[name].dtype, file[name].shape) for name in file.files}
        assert file["size"].tolist() == [48, 60]
    assert kinds == {
        "scores": (np.float16, (2, 3, 4)),
        "class_ids": (np.int64, (2,)),
        "size": (np.int64, (2,)),
    }


def test_the_same_maps_give_the_same_bytes_at_any_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_cam(tmp_path / "a.npz", cam())
    monkeypatch.setattr(time, "time", lambda: 2e9)
    monkeypatch.setattr(time, "localtime", lambda *_: time.gmtime(2e9))
    transposed = Cam(np.asfortranarray(cam().scores), cam().class_ids[:], (48, 60))
    save_cam(tmp_path / "b.npz", transposed)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_background_comes_first() -> None:
    background = np.full((3, 4), 0.25, np.float32)
    scores = cam().with_background(background)
    assert scores.shape == (3, 3, 4)
    np.testing.assert_array_equal(scores[0], background)
    np.testing.assert_array_equal(scores[1:], cam().scores)


def test_enlarging_is_bilinear_between_the_centres_of_cells() -> None:
    scores = np.array([[[0.0, 1.0]]], np.float32)
    wide = Cam(scores, np.array([1]), (2, 4)).enlarged()
    # Centres at 1/2 and 3/2 of 2 cells; pixels at 1/4, 3/4, 5/4, 7/4: clamped outside.
    np.testing.assert_allclose(wide[0], [[0, 0.25, 0.75, 1]] * 2, atol=1e-6)
    assert Cam(np.zeros((0, 1, 2), np.float32), np.zeros(0, np.int64), (2, 4)).enlarged().shape == (
        0,
        2,
        4,
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.1, 1.1])
def test_fault_64_what_is_no_score_is_refused(tmp_path: Path, value: float) -> None:
    bad = cam()
    bad.scores[1, 2, 3] = value
    with pytest.raises(BadInput, match=r"a\.npz"):
        save_cam(tmp_path / "a.npz", bad)
    with pytest.raises(BadInput, match=r"a\.png"):
        save_confidence(tmp_path / "a.png", bad.scores[1])
    assert not list(tmp_path.iterdir())


def test_rounding_beyond_one_is_no_mistake(tmp_path: Path) -> None:
    bad = cam()
    bad.scores[0, 0, :2] = 1.0001, -0.0001
    save_cam(tmp_path / "a.npz", bad)
    assert load_cam(tmp_path / "a.npz").scores[0, 0, :2].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("ids", "size"), [([3, 3], (48, 60)), ([0, 1], (48, 60)), ([1], (48, 60)), ([1, 2], (0, 60))]
)
def test_a_cam_that_makes_no_sense_is_refused(
    tmp_path: Path, ids: list[int], size: tuple[int, int]
) -> None:
    with pytest.raises(BadInput):
        save_cam(tmp_path / "a.npz", Cam(cam().scores, np.array(ids), size))


def test_fault_52_every_flipped_bit_of_a_cam_is_seen_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    save_cam(path, cam())
    data, whole = path.read_bytes(), load_cam(path)
    refused = 0
    for position in range(0, len(data), 3):
        path.write_bytes(data[:position] + bytes([data[position] ^ 16]) + data[position + 1 :])
        try:
            after = load_cam(path)
        except BadInput:
            refused += 1
        else:  # dates and attributes of the archive
            np.testing.assert_array_equal(after.scores, whole.scores)
            np.testing.assert_array_equal(after.class_ids, whole.class_ids)
            assert after.size == whole.size
    assert refused > 0.2 * len(data)
    for length in range(0, len(data), 31):
        path.write_bytes(data[:length])
        with pytest.raises(BadInput):
            load_cam(path)


class Bomb:
    def __reduce__(self) -> tuple[object, ...]:
        return (open, ("executed", "w"))


def test_fault_71_a_pickle_in_an_npz_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.array([Bomb()], object), allow_pickle=True)
    with zipfile.ZipFile("a.npz", "w") as archive:
        archive.writestr("scores.npy", buffer.getvalue())
    with pytest.raises(BadInput, match="damaged"):
        load_cam(Path("a.npz"))
    assert not Path("executed").exists()


def test_an_npz_of_something_else(tmp_path: Path) -> None:
    save_arrays(tmp_path / "a.npz", {"confusion": np.eye(3, dtype=np.int64)})
    with pytest.raises(BadInput, match="holds no CAM"):
        load_cam(tmp_path / "a.npz")


@pytest.mark.parametrize("as_bytes", [True, False])
def test_labels_come_back_and_wear_the_palette(tmp_path: Path, as_bytes: bool) -> None:
    labels = np.array([[0, 15, 255], [1, 2, 254]], np.uint8)
    save_label_image(tmp_path / "a.png", labels, PALETTE.tobytes() if as_bytes else PALETTE)
    np.testing.assert_array_equal(load_label_image(tmp_path / "a.png"), labels)
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), PALETTE[labels])


@pytest.mark.parametrize("values", [2, 4, 16])
def test_packed_palettes_keep_their_indices(tmp_path: Path, values: int) -> None:
    labels = np.arange(24, dtype=np.uint8).reshape(4, 6) % values
    image = Image.fromarray(labels)
    image.putpalette(PALETTE[:values].tobytes())
    image.save(tmp_path / "a.png", bits={2: 1, 4: 2, 16: 4}[values])
    np.testing.assert_array_equal(load_label_image(tmp_path / "a.png"), labels)


def test_fault_42_beyond_254_classes_label_images_have_16_bits(tmp_path: Path) -> None:
    labels = np.array([[0, 255, 256], [300, 65534, 65535]], np.uint16)
    save_label_image(tmp_path / "a.png", labels, PALETTE)
    with Image.open(tmp_path / "a.png") as picture:
        assert (picture.mode, picture.getpalette()) == ("I;16", None)
        assert np.asarray(picture).tolist() == labels.tolist()
    after = load_label_image(tmp_path / "a.png", 65535)
    assert (after.dtype, after.tolist()) == (np.uint16, labels.tolist())
    save_label_image(tmp_path / "b.png", np.array([[0, 254, 255]], np.uint8), PALETTE)
    assert load_label_image(tmp_path / "b.png", 301).tolist() == [[0, 254, 65535]]


def test_places_among_the_classes_of_an_image_become_labels() -> None:
    own, places = Cam(np.zeros((2, 1, 1), np.float32), np.array([7, 300]), (1, 3)), [[2, 0, 1]]
    labels = own.labels(np.array(places), 301)
    assert (labels.dtype, labels.tolist()) == (np.uint16, [[300, 0, 7]])
    assert own.labels(np.array(places)[:, 1:], 255).dtype == np.uint8


def test_fault_42_labels_are_never_cast(tmp_path: Path) -> None:
    for labels in (np.full((2, 2), 256), np.zeros((2, 2, 1), np.uint8)):
        wrong: Any = labels
        with pytest.raises((ValueError, TypeError)):  # TypeError: the shape checks of the tests
            save_label_image(tmp_path / "a.png", wrong, PALETTE)
    assert not list(tmp_path.iterdir())
    Image.fromarray(np.full((2, 2), 300, np.uint16)).save(tmp_path / "b.png")
    with pytest.raises(BadInput, match="mode I;16"):
        load_label_image(tmp_path / "b.png")


def test_fault_36_43_masks_that_hold_no_indices(tmp_path: Path) -> None:
    Image.fromarray(PALETTE[:4].reshape(2, 2, 3)).save(tmp_path / "rgb.png")
    with pytest.raises(BadInput, match="mode RGB"):
        load_label_image(tmp_path / "rgb.png")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "a.jpg")
    with pytest.raises(BadInput, match="is a JPEG"):
        load_label_image(tmp_path / "a.jpg")
    (tmp_path / "b.png").write_bytes(b"hello")
    with pytest.raises(BadInput, match="not an image"):
        load_label_image(tmp_path / "b.png")


def test_confidence_is_kept_in_steps_of_a_byte(tmp_path: Path) -> None:
    probability = np.linspace(0, 1, 30).reshape(5, 6)
    save_confidence(tmp_path / "a.png", probability)
    after = load_confidence(tmp_path / "a.png")
    assert after.dtype == np.float32
    np.testing.assert_array_equal(np.rint(after * 255), np.rint(probability * 255))
    assert np.abs(after - probability).max() <= 0.5 / 255 + 1e-6


def test_a_picture_survives_as_jpeg(tmp_path: Path) -> None:
    y, x = np.mgrid[0:32, 0:48]
    image: NDArray[np.uint8] = np.stack([y * 8, x * 5, y + x], axis=-1).astype(np.uint8)
    save_jpeg(tmp_path / "a.jpg", image)
    with Image.open(tmp_path / "a.jpg") as read:
        assert np.abs(np.asarray(read).astype(int) - image).max() <= 10


def test_maps_of_all_classes_keep_those_that_are_seen_somewhere() -> None:
    scores = np.zeros((4, 2, 3), np.float32)
    scores[1, 0, 2] = 0.05
    scores[2] = 0.049
    cam = Cam(scores, np.array([3, 5, 6, 9]), (16, 24))
    assert cam.seen().class_ids.tolist() == [5]
    assert cam.seen().scores.shape == (1, 2, 3)
    nothing = Cam(scores[:0], np.array([], np.int64), (16, 24)).seen()
    assert nothing.scores.shape == (0, 2, 3)


def test_fault_64_a_map_that_is_not_finite_is_not_taken_for_an_absent_class(tmp_path: Path) -> None:
    scores = np.zeros((2, 2, 3), np.float32)
    scores[1, 0, 0] = np.nan
    seen = Cam(scores, np.array([3, 5]), (16, 24)).seen()
    assert seen.class_ids.tolist() == [5]
    with pytest.raises(BadInput, match="finite"):
        save_cam(tmp_path / "cam.npz", seen)
