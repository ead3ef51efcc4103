"""`gleclip picture` on four small pictures whose maps and masks are made by hand."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from gleclip_cli.artifacts.maps import Cam, save_cam, save_label_image
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.stage import open_stage, require
from gleclip_cli.artifacts.tables import ImageRecord, save_prepared
from gleclip_cli.cli.main import app
from gleclip_cli.config import REFINE_STEPS, Execution, GenCamConfig, RefineConfig
from gleclip_cli.datasets.vocabulary import voc_palette
from gleclip_cli.errors import BadInput, MissingInput, UsageError
from gleclip_cli.stages.refine import refine
from gleclip_cli.tools.picture import _TITLES, picture

CPU = Execution(device="cpu")
IMAGES = ("a", "b", "c", "d")
BORDER = 12
CELL = 48


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., RunDir]:
    """A run of four pictures of a cat on the left; `shift`: by how many pixels maps are wrong."""

    def make(name: str, *, shift: int = 0, steps: tuple[str, ...] = ("par", "crf")) -> RunDir:
        run, root = RunDir(tmp_path / name), tmp_path / "photos"
        root.mkdir(exist_ok=True)
        records = {image_id: record_of(root, image_id) for image_id in IMAGES}
        labels = {image_id: [8] for image_id in IMAGES}
        with open_stage(run, "prepare_data", {}, execution=CPU) as stage:
            tables = save_prepared(
                run,
                dataset="voc",
                vocabulary="voc",
                root=root,
                records={"train": records},
                labels={"train": labels},
            )
            stage.finish(*tables)
        write_maps(run, shift)
        refine(run, RefineConfig(steps=steps, par_iterations=2), execution=CPU)
        return run

    return make


def record_of(root: Path, image_id: str) -> ImageRecord:
    image, mask = np.full((20, 32, 3), 120, np.uint8), np.zeros((20, 32), np.uint8)
    image[:, :BORDER], mask[:, :BORDER] = (200, 30, 30), 8
    path = root / f"{image_id}.png"
    Image.fromarray(image).save(path)
    true = None if image_id == "d" else root / f"{image_id}-mask.png"
    if true:
        save_label_image(true, mask, voc_palette())
    return ImageRecord(path, true, (20, 32), hashlib.sha256(path.read_bytes()).hexdigest())


def write_maps(run: RunDir, shift: int) -> None:
    config = asdict(GenCamConfig(method="clip-es"))
    prepared = [require(run, "prepare_data", allow_partial=False)]
    with open_stage(
        run, "gen_cam", config, name="train", inputs=prepared, item_ids=IMAGES, execution=CPU
    ) as stage:
        for image_id in stage.todo():
            scores = np.full((1, 20, 32), 0.1, np.float32)
            scores[:, :, : BORDER + shift] = 0.9
            save_cam(run.cam("train", image_id), Cam(scores, np.array([8]), (20, 32)))
            stage.done(image_id, run.cam("train", image_id))
        stage.finish()


def cells(path: Path, row: int, columns: int) -> list[np.ndarray]:
    """The cells of a row; all pictures have one size."""
    sheet, height = np.asarray(Image.open(path)), CELL * 20 // 32
    top = 34 + row * (height + 8)
    lefts = (8 + place * (CELL + 8) for place in range(columns))
    return [sheet[top : top + height, left : left + CELL] for left in lefts]


def gleclip(*words: object) -> Result:
    return CliRunner().invoke(app, [str(w) for w in words], prog_name="gleclip")


def test_a_run_is_shown_step_by_step(make_run: Callable[..., RunDir], tmp_path: Path) -> None:
    run, path = make_run("run", shift=4), tmp_path / "out" / "grid.png"
    assert picture([run], path, width=CELL, device="cpu") == ["a", "b", "c"]  # d has no truth
    image, seed, par, crf, truth = cells(path, 1, 5)
    assert image[5, 2, 0] > 150 > image[5, 2, 1]
    edges = [int((cell[10, :-1] == 30).all(axis=1).argmax()) for cell in (seed, par, crf, truth)]
    assert edges[0] > edges[3]
    assert edges[2] == edges[3]
    assert par.shape == truth.shape
    assert picture([run], path, image_ids=["d"], columns=["image", "pseudo"]) == ["d"]


def test_runs_stand_beside_each_other(make_run: Callable[..., RunDir], tmp_path: Path) -> None:
    runs = [make_run("far", shift=6, steps=()), make_run("near", steps=())]
    path = tmp_path / "grid.png"
    picture(runs, path, width=CELL, device="cpu", titles=["far", "near"], images=2)
    _, far, near, truth = cells(path, 0, 4)
    assert np.array_equal(near, truth)
    assert not np.array_equal(far, truth)


def test_maps_that_were_not_kept_are_no_column(
    make_run: Callable[..., RunDir], tmp_path: Path
) -> None:
    run, path = make_run("run", steps=()), tmp_path / "grid.png"
    manifest = run.output("gen_cam", "train") / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "kept": False}))
    picture([run], path, width=CELL, device="cpu")
    assert np.asarray(Image.open(path)).shape[1] == 3 * (CELL + 8) + 8  # image, masks, truth


def test_what_cannot_be_drawn(make_run: Callable[..., RunDir], tmp_path: Path) -> None:
    run, path = make_run("run", steps=()), tmp_path / "grid.png"
    with pytest.raises(UsageError, match="1 titles, 2 runs"):
        picture([run, run], path, titles=["one"])
    with pytest.raises(MissingInput, match="No image has all of: net"):
        picture([run], path, columns=["net"], device="cpu")
    with pytest.raises(BadInput, match="no image e"):
        picture([run], path, image_ids=["e"], device="cpu")
    with pytest.raises(MissingInput, match="d has no true mask"):
        picture([run], path, image_ids=["d"], columns=["truth"], device="cpu")
    assert not path.exists()


def test_the_command_takes_lists_and_tells_what_it_drew(
    make_run: Callable[..., RunDir], tmp_path: Path
) -> None:
    run, path = make_run("run", steps=()), tmp_path / "grid.png"
    words = ("--columns", "image,seed,pseudo,truth", "--images", 2, "--out", path, "--json")
    result = gleclip("picture", "--run", run.root, *words, "--device", "cpu")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["picture"], told["images"]) == (str(path), ["a", "c"])
    assert np.asarray(Image.open(path)).shape[1] == 4 * 208 + 8
    assert gleclip("picture", "--run", tmp_path / "none", "--quiet").exit_code == 3


def test_every_step_has_a_title() -> None:
    assert set(_TITLES) == set(REFINE_STEPS)
