"""refine on a handful of small pictures: the contract of a stage, and what the masks hold."""

import hashlib
import io
import pickle
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from gleclip_cli.artifacts.arrays import load_arrays, save_arrays
from gleclip_cli.artifacts.json_files import read_json
from gleclip_cli.artifacts.maps import Cam, load_cam, load_confidence, load_label_image, save_cam
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.stage import open_stage
from gleclip_cli.artifacts.tables import ImageRecord, save_prepared
from gleclip_cli.config import CRF_BACKENDS, Execution, GenCamConfig, RefineConfig
from gleclip_cli.errors import BadInput, EnvironmentFault, MissingInput, OtherSettings, UsageError
from gleclip_cli.interop.cam_dicts import write_cam_dict
from gleclip_cli.model.clip import load_clip
from gleclip_cli.parallel.workers import Build, over_images
from gleclip_cli.refine.crf import PRESETS, dense_crf
from gleclip_cli.refine.par import par
from gleclip_cli.stages.gen_cam import gen_cam
from gleclip_cli.stages.refine import refine

# "two squares" shows class 3 on the left and 15 on the right, up to these columns of 48.
BORDERS = (13, 36)
IMAGES = {"two squares": [3, 15], "no class": [], "Zwölf": [8], "tiny": [1]}
SIZES = {"two squares": (32, 48), "no class": (16, 24), "Zwölf": (40, 24), "tiny": (3, 5)}
CPU = Execution(device="cpu")
STOP = Execution(device="cpu", on_bad="stop")


def pixels_of(image_id: str) -> np.ndarray:
    height, width = SIZES[image_id]
    image = np.full((height, width, 3), 120, dtype=np.uint8)
    image[:, : BORDERS[0] * width // 48] = (200, 30, 30)
    image[:, BORDERS[1] * width // 48 :] = (30, 30, 200)
    return image


def cam_of(image_id: str) -> Cam:
    """Maps of the left and the right third on a grid of 8-pixel cells: three pixels too far."""
    height, width = SIZES[image_id]
    grid = (-(-height // 8), -(-width // 8))
    scores = np.zeros((len(IMAGES[image_id]), *grid), dtype=np.float32)
    for place, score in enumerate(scores):
        score[:, : -(-grid[1] // 3)] = 0.9
        if place:
            score[:] = score[:, ::-1].copy()
    return Cam(scores, np.array(IMAGES[image_id], dtype=np.int64), (height, width))


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A run with prepared data and no maps."""
    run, root = RunDir(tmp_path / "run"), tmp_path / "photos"
    root.mkdir()
    records = {}
    for image_id, size in SIZES.items():
        path = root / f"{image_id}.png"
        Image.fromarray(pixels_of(image_id)).save(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        records[image_id] = ImageRecord(path, None, size, digest)
    with open_stage(run, "prepare_data", {}, execution=CPU) as stage:
        tables = save_prepared(
            run,
            dataset="voc",
            vocabulary="voc",
            root=root,
            records={"train": records},
            labels={"train": IMAGES},
        )
        stage.finish(*tables)
    return run


@pytest.fixture
def run_with_maps(run: RunDir) -> RunDir:
    write_maps(run, list(IMAGES))
    return run


def write_maps(run: RunDir, image_ids: list[str], *, caa: bool = True) -> None:
    config = GenCamConfig(method="clip-es", caa=caa)
    weights = {"clip": "0" * 64}
    with open_stage(
        run,
        "gen_cam",
        config,
        name="train",
        weights=weights,
        item_ids=list(IMAGES),
        execution=CPU,
    ) as stage:
        stage.todo()
        for image_id in IMAGES:
            with stage.item(image_id):
                if image_id not in image_ids:
                    raise BadInput("left out by the test")
                path = run.cam("train", image_id)
                save_cam(path, cam_of(image_id))
                stage.done(image_id, path)
        stage.finish()


def results(run: RunDir) -> dict[str, bytes]:
    return {
        f"{kind}/{image_id}": path.read_bytes()
        for image_id in IMAGES
        for kind, path in {
            "mask": run.pseudo_mask("train", image_id),
            "confidence": run.confidence("train", image_id),
        }.items()
        if path.exists()
    }


def test_masks_are_those_of_the_steps_done_by_hand(run_with_maps: RunDir) -> None:
    manifest = refine(run_with_maps, RefineConfig(), execution=CPU)
    assert manifest.complete
    cam = load_cam(run_with_maps.cam("train", "two squares"))
    full = cam.enlarged()
    scores = np.concatenate([1 - full.max(axis=0, keepdims=True), full])
    image = torch.from_numpy(pixels_of("two squares")).permute(2, 0, 1)[None]
    refined = par(image.float(), torch.from_numpy(scores)[None], iterations=20)[0].numpy()
    mask = load_label_image(run_with_maps.pseudo_mask("train", "two squares"))
    assert np.array_equal(mask, np.array([0, 3, 15], np.uint8)[refined.argmax(axis=0)])
    share = refined.max(axis=0) / refined.sum(axis=0)
    confidence = load_confidence(run_with_maps.confidence("train", "two squares"))
    np.testing.assert_allclose(confidence, share, atol=0.5 / 255 + 1e-6)


def test_crf_follows_the_steps_before_it(run_with_maps: RunDir) -> None:
    settings = {"crf_preset": "afa", "crf_iterations": 3, "par_iterations": 4}
    refine(run_with_maps, RefineConfig(steps=("par", "crf"), **settings), execution=STOP)
    full = load_cam(run_with_maps.cam("train", "two squares")).enlarged()
    scores = np.concatenate([1 - full.max(axis=0, keepdims=True), full])
    image = pixels_of("two squares")
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    after_par = par(pixels, torch.from_numpy(scores)[None], iterations=4)[0].numpy()
    refined = dense_crf(image, after_par / after_par.max(), PRESETS["afa"], iterations=3)
    mask = load_label_image(run_with_maps.pseudo_mask("train", "two squares"))
    assert np.array_equal(mask, np.array([0, 3, 15], np.uint8)[refined.argmax(axis=0)])
    confidence = load_confidence(run_with_maps.confidence("train", "two squares"))
    np.testing.assert_allclose(confidence, refined.max(axis=0), atol=0.5 / 255 + 1e-6)


@pytest.mark.parametrize("backend", CRF_BACKENDS)
def test_crf_moves_the_borders_to_the_colours(run_with_maps: RunDir, backend: str) -> None:
    if backend == "pydensecrf":
        pytest.importorskip("pydensecrf", reason="the extra crf is not installed")
    config = RefineConfig(steps=("crf",), crf_backend=backend)
    manifest = refine(run_with_maps, config, execution=STOP)
    assert manifest.data["config"]["crf_backend"] == backend
    mask = load_label_image(run_with_maps.pseudo_mask("train", "two squares"))
    expected = np.zeros((32, 48), dtype=np.uint8)
    expected[:, : BORDERS[0]], expected[:, BORDERS[1] :] = 3, 15
    assert (mask == expected).mean() > 0.98


def test_a_missing_crf_backend_stops_before_any_work(
    run_with_maps: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", None)
    with pytest.raises(EnvironmentFault, match="pydensecrf is not installed"):
        refine(run_with_maps, RefineConfig(steps=("crf",), crf_backend="pydensecrf"), execution=CPU)
    assert not results(run_with_maps)


def test_par_moves_the_borders_to_the_colours(run_with_maps: RunDir) -> None:
    refine(run_with_maps, RefineConfig(), execution=CPU)
    mask = load_label_image(run_with_maps.pseudo_mask("train", "two squares"))
    expected = np.zeros((32, 48), dtype=np.uint8)
    expected[:, : BORDERS[0]], expected[:, BORDERS[1] :] = 3, 15
    assert (mask == expected).mean() > 0.98
    refine(run_with_maps, RefineConfig(steps=()), execution=Execution(overwrite=True))
    plain = load_label_image(run_with_maps.pseudo_mask("train", "two squares"))
    assert (plain == expected).mean() < 0.9


def test_no_absent_class_appears(run_with_maps: RunDir) -> None:
    refine(run_with_maps, RefineConfig(), execution=CPU)
    for image_id, class_ids in IMAGES.items():
        mask = load_label_image(run_with_maps.pseudo_mask("train", image_id))
        assert mask.shape == SIZES[image_id]
        assert set(np.unique(mask)) <= {0, *class_ids}


def test_fault_32_an_image_without_classes_is_background_and_counted(
    run_with_maps: RunDir,
) -> None:
    manifest = refine(run_with_maps, RefineConfig(), execution=CPU)
    assert manifest.counts["without_classes"] == 1
    assert not load_label_image(run_with_maps.pseudo_mask("train", "no class")).any()
    assert (load_confidence(run_with_maps.confidence("train", "no class")) == 1).all()


def test_a_constant_background_takes_what_is_below_it(run_with_maps: RunDir) -> None:
    refine(run_with_maps, RefineConfig(steps=(), bg_threshold=0.95), execution=CPU)
    assert not load_label_image(run_with_maps.pseudo_mask("train", "two squares")).any()


def test_a_rerun_does_nothing_and_other_settings_stop(run_with_maps: RunDir) -> None:
    first = refine(run_with_maps, RefineConfig(), execution=CPU)
    times = {path: path.stat().st_mtime_ns for path in first.path.parent.rglob("*.png")}
    again = refine(run_with_maps, RefineConfig(), execution=CPU)
    assert (again.digest, again.counts) == (first.digest, first.counts)
    assert times == {path: path.stat().st_mtime_ns for path in times}
    with pytest.raises(OtherSettings, match="bg_power"):
        refine(run_with_maps, RefineConfig(bg_power=2.0), execution=CPU)


def test_an_interrupted_run_ends_with_the_same_bytes(
    run_with_maps: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    refine(run_with_maps, RefineConfig(), execution=CPU)
    whole = results(run_with_maps)
    calls = []

    def interrupted(*arguments: object, **options: object) -> object:
        if len(calls) == 1:
            raise KeyboardInterrupt
        calls.append(arguments)
        return par(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("gleclip_cli.refine.steps.par", interrupted)
    with pytest.raises(KeyboardInterrupt):
        refine(run_with_maps, RefineConfig(), execution=Execution(device="cpu", resume=False))
    assert len(results(run_with_maps)) < len(whole)
    monkeypatch.undo()
    assert refine(run_with_maps, RefineConfig(), execution=CPU).complete
    assert results(run_with_maps) == whole


def travelled(
    build: Build, arguments: tuple[Any, ...], image_ids: Iterable[str], *, workers: int
) -> Iterator[tuple[str, Callable[[], Any]]]:
    """The work as a spawned process gets it, by pickle, but in this process."""
    assert workers == 1
    build, arguments = pickle.loads(pickle.dumps((build, arguments)))
    return over_images(build, arguments, image_ids, workers=0)


@pytest.mark.parametrize("pool", [travelled, pytest.param(over_images, marks=pytest.mark.slow)])
def test_spawned_workers_write_the_same_bytes(
    run_with_maps: RunDir, pool: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    refine(run_with_maps, RefineConfig(), execution=CPU)
    inline = results(run_with_maps)
    monkeypatch.setattr("gleclip_cli.stages.refine.over_images", pool)
    spawned = Execution(device="cpu", workers=1, resume=False)
    assert refine(run_with_maps, RefineConfig(), execution=spawned).complete
    assert results(run_with_maps) == inline


def test_a_damaged_map_fails_alone_and_is_named(run_with_maps: RunDir) -> None:
    path = run_with_maps.cam("train", "Zwölf")
    path.write_bytes(path.read_bytes()[:-20])
    manifest = refine(run_with_maps, RefineConfig(), execution=CPU)
    assert not manifest.complete
    assert (manifest.counts["done"], manifest.counts["failed"]) == (len(IMAGES) - 1, 1)
    assert manifest.data["failures"][0]["id"] == "Zwölf"
    with pytest.raises(BadInput, match="Zwölf"):
        refine(run_with_maps, RefineConfig(), execution=STOP)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_fault_64_a_map_that_is_no_number_fails_alone_and_is_named(
    run_with_maps: RunDir, bad: float
) -> None:
    path = run_with_maps.cam("train", "two squares")
    arrays = load_arrays(path)
    arrays["scores"][1, 2, 3] = bad
    save_arrays(path, arrays)
    manifest = refine(run_with_maps, RefineConfig(steps=("crf",)), execution=CPU)
    (failure,) = manifest.data["failures"]
    assert failure["id"] == "two squares"
    assert "NaN" in failure["reason"]


def test_a_changed_picture_fails_instead_of_being_used(run_with_maps: RunDir) -> None:
    picture = run_with_maps.root.parent / "photos" / "tiny.png"
    Image.fromarray(255 - pixels_of("tiny")).save(picture)
    with pytest.raises(BadInput, match="changed since"):
        refine(run_with_maps, RefineConfig(), execution=STOP)


def test_images_whose_maps_failed_need_allow_partial_and_are_counted(run: RunDir) -> None:
    write_maps(run, ["two squares", "tiny"])
    with pytest.raises(MissingInput, match="2 items failed"):
        refine(run, RefineConfig(), execution=CPU)
    manifest = refine(run, RefineConfig(), execution=replace(CPU, allow_partial=True))
    assert (manifest.counts["items"], manifest.counts["without_maps"]) == (2, 2)


def test_without_maps_the_command_that_makes_them_is_named(run: RunDir) -> None:
    with pytest.raises(MissingInput) as caught:
        refine(run, RefineConfig(), execution=CPU)
    assert "gleclip gen-cam" in caught.value.remedy


def test_limit_takes_the_first_images(run_with_maps: RunDir) -> None:
    manifest = refine(run_with_maps, RefineConfig(limit=2), execution=CPU)
    assert manifest.complete
    assert manifest.counts["items"] == 2


def test_a_dry_run_writes_nothing(run_with_maps: RunDir) -> None:
    manifest = refine(run_with_maps, RefineConfig(), execution=replace(CPU, dry_run=True))
    assert manifest.counts["items"] == len(IMAGES)
    assert not run_with_maps.output("refine", "train").exists()


def test_caa_gives_the_masks_of_maps_that_were_made_with_it(
    run: RunDir, tiny_clip_json: str
) -> None:
    overwrite = replace(CPU, overwrite=True)
    made_with = GenCamConfig(method="clip-es", clip_model=tiny_clip_json, clip_weights="random")
    gen_cam(run, made_with, execution=CPU)
    with pytest.raises(UsageError, match="twice"):
        refine(run, RefineConfig(steps=("caa",)), execution=CPU)
    expected = masks_of(run, RefineConfig(steps=()))
    gen_cam(run, replace(made_with, caa=False), execution=overwrite)
    assert agreement(masks_of(run, RefineConfig(steps=())), expected) < 0.95
    # Not all: these maps were rounded to half precision before CAA, the others after it.
    assert agreement(masks_of(run, RefineConfig(steps=("caa",))), expected) > 0.995


def masks_of(run: RunDir, config: RefineConfig) -> list[np.ndarray]:
    assert refine(run, config, execution=replace(CPU, overwrite=True)).complete
    return [load_label_image(run.pseudo_mask("train", image_id)) for image_id in IMAGES]


def agreement(masks: list[np.ndarray], others: list[np.ndarray]) -> float:
    equal = np.concatenate([(a == b).ravel() for a, b in zip(masks, others, strict=True)])
    return float(equal.mean())


def test_caa_refuses_weights_other_than_those_of_the_maps(
    run: RunDir, tiny_clip_json: str, tmp_path: Path
) -> None:
    weights = tmp_path / "weights.safetensors"
    clip = load_clip(tiny_clip_json, "random", seed=1)
    save_file(clip.clip.state_dict(), weights)
    made_with = GenCamConfig(method="clip-es", clip_model=tiny_clip_json, clip_weights="random")
    config = replace(made_with, clip_weights=str(weights), caa=False)
    gen_cam(run, config, execution=CPU)
    save_file(load_clip(tiny_clip_json, "random", seed=2).clip.state_dict(), weights)
    with pytest.raises(OtherSettings, match="other weights"):
        refine(run, RefineConfig(steps=("caa",)), execution=CPU)


def test_what_masks_hold_is_written_once(run_with_maps: RunDir) -> None:
    first = refine(run_with_maps, RefineConfig(steps=()), execution=CPU)
    path = run_with_maps.mask_statistics("train")
    table = read_json(path)
    assert table["masks"] == first.digest
    assert list(table["images"]) == sorted(IMAGES)
    assert table["images"]["no class"]["background"] == 1
    for image_id in IMAGES:
        mask = load_label_image(run_with_maps.pseudo_mask("train", image_id))
        assert table["images"][image_id]["background"] == pytest.approx(
            (mask == 0).mean(), abs=1e-4
        )
    written = path.stat().st_mtime_ns
    refine(run_with_maps, RefineConfig(steps=()), execution=CPU)
    assert path.stat().st_mtime_ns == written
    over = Execution(device="cpu", overwrite=True)
    refine(run_with_maps, RefineConfig(steps=(), bg_threshold=0.95), execution=over)
    assert read_json(path)["classes"]["background"]["share"] == 1


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """The same maps as a peer would keep them; none of the image without classes."""
    folder = tmp_path / "peer"
    for image_id, class_ids in IMAGES.items():
        if class_ids:
            write_cam_dict(folder / f"{image_id}.npy", "irn", cam_of(image_id))
    return folder


def test_maps_from_elsewhere_give_the_masks_of_our_own(run: RunDir, foreign: Path) -> None:
    config = RefineConfig(cams=str(foreign), cams_format="irn", par_iterations=3)
    manifest = refine(run, config, execution=STOP)
    assert manifest.counts["without_classes"] == 1
    assert manifest.counts["without_maps"] == 0
    found = results(run)
    write_maps(run, list(IMAGES))
    own = RefineConfig(par_iterations=3)
    with pytest.raises(OtherSettings, match="cams"):
        refine(run, own, execution=CPU)
    refine(run, own, execution=replace(STOP, overwrite=True))
    masks = {name: data for name, data in results(run).items() if name.startswith("mask")}
    for name in masks:
        image_id = name.removeprefix("mask/")
        ours = load_label_image(run.pseudo_mask("train", image_id))
        theirs = np.asarray(Image.open(io.BytesIO(found[name])))
        assert (ours == theirs).mean() > 0.995  # ours are kept in half precision


def test_maps_from_elsewhere_that_are_missing_or_changed_are_told(
    run: RunDir, foreign: Path
) -> None:
    (foreign / "tiny.npy").unlink()
    config = RefineConfig(steps=(), cams=str(foreign), cams_format="irn")
    manifest = refine(run, config, execution=CPU)
    assert manifest.counts["without_maps"] == 1
    assert "1 image without maps: tiny" in manifest.data["warnings"][0]
    first = results(run)
    cam = cam_of("two squares")
    write_cam_dict(foreign / "two squares.npy", "irn", replace(cam, scores=cam.scores * 0))
    refine(run, config, execution=CPU)
    changed = {name for name, data in results(run).items() if data != first[name]}
    assert changed == {"mask/two squares", "confidence/two squares"}


def test_fault_64_maps_from_elsewhere_with_nan_name_their_image(run: RunDir, foreign: Path) -> None:
    scores = np.full(SIZES["Zwölf"], np.nan, np.float32)
    np.save(foreign / "Zwölf.npy", {7: scores})  # type: ignore[arg-type]
    for image_id in ("two squares", "tiny"):
        write_cam_dict(foreign / f"{image_id}.npy", "psa", cam_of(image_id))
    config = RefineConfig(steps=(), cams=str(foreign), cams_format="psa")
    manifest = refine(run, config, execution=CPU)
    (failure,) = manifest.data["failures"]
    assert failure["id"] == "Zwölf"
    assert "NaN" in failure["reason"]


@pytest.mark.parametrize("way", [{}, {"on_bad": "stop"}])
def test_maps_in_another_format_replace_nothing(
    run_with_maps: RunDir, foreign: Path, way: dict[str, str]
) -> None:
    refine(run_with_maps, RefineConfig(steps=()), execution=CPU)
    before = {path: path.read_bytes() for path in run_with_maps.root.rglob("*") if path.is_file()}
    config = RefineConfig(steps=(), cams=str(foreign), cams_format="psa")
    over = Execution(device="cpu", overwrite=True, **way)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="holds no maps in the format psa"):
        refine(run_with_maps, config, execution=over)
    assert all(path.read_bytes() == content for path, content in before.items())


def test_caa_on_maps_from_elsewhere_needs_a_model(run: RunDir, foreign: Path) -> None:
    config = RefineConfig(steps=("caa",), cams=str(foreign), cams_format="irn")
    with pytest.raises(MissingInput, match="train_cam is missing"):
        refine(run, config, execution=CPU)


def test_folder_and_format_come_together() -> None:
    with pytest.raises(UsageError, match="--cams-format is None"):
        RefineConfig(cams="maps")
    with pytest.raises(UsageError, match="cams-format"):
        RefineConfig(cams="maps", cams_format="tiff")


@pytest.mark.parametrize("steps", [("walk", "caa"), ("par", "walk"), ("caa", "caa")])
def test_steps_on_maps_come_first(steps: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="--steps is") as caught:
        RefineConfig(steps=steps)
    assert "Put caa and walk first" in caught.value.remedy
