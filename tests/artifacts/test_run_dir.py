"""Paths of a run: safe names, printable names, the run used last."""

import os
from pathlib import Path
from urllib.parse import unquote

import pytest

from gleclip_cli.artifacts.atomic import write_text
from gleclip_cli.artifacts.run_dir import (
    RunDir,
    last_run,
    printable,
    remember_run,
    run_of,
    safe_name,
)
from gleclip_cli.errors import BadInput

NAMES = [
    "2007_000032",
    "a b",
    "Fahrräder am Café",
    "日本\n語 🚲",
    "a/b\\c",
    "..",
    ".hidden",
    "50%",
    "%2F",
    "\x1b[31mred",
    "end.",
    "C:*?",
    "\udcff\udcfe",
]


@pytest.mark.parametrize("image_id", NAMES)
def test_fault_19_21_names_are_safe_and_reversible(tmp_path: Path, image_id: str) -> None:
    name = safe_name(image_id)
    assert unquote(name, "utf-8", "surrogateescape") == image_id
    path = RunDir(tmp_path).pseudo_mask("train", image_id)
    assert path.parent == tmp_path / "refine" / "train" / "pseudo_masks"
    write_text(path, "content")
    assert os.listdir(path.parent) == [path.name] == [f"{name}.png"]  # noqa: PTH208


def test_names_never_meet() -> None:
    assert len({safe_name(image_id) for image_id in NAMES}) == len(NAMES)


def test_fault_28_an_id_never_leaves_its_folder(tmp_path: Path) -> None:
    for image_id in ("../../etc/passwd", "/etc/passwd", "..", "."):
        path = RunDir(tmp_path).cam("train", image_id)
        assert path.resolve().is_relative_to(tmp_path / "gen_cam" / "train" / "cams")


def test_a_split_never_leaves_the_run(tmp_path: Path) -> None:
    assert RunDir(tmp_path).output("gen_cam", "../../x").parent == tmp_path / "gen_cam"


def test_fault_20_the_longest_name_works_and_a_longer_one_is_refused(tmp_path: Path) -> None:
    longest = "ä" * 125 + "x"
    write_text(RunDir(tmp_path).cam("train", longest), "content")
    with pytest.raises(BadInput, match="256 bytes"):
        safe_name(longest + "x")
    with pytest.raises(BadInput, match="empty"):
        safe_name("")


def test_paths_of_a_run() -> None:
    run = RunDir("runs/voc")
    assert run.output("prepare_data") == Path("runs/voc/prepare_data")
    # printf 2007_000032 | sha256sum
    assert run.cam("train", "2007_000032") == Path("runs/voc/gen_cam/train/cams/68/2007_000032.npz")
    assert run.confidence("val", "a") == Path("runs/voc/refine/val/confidence/a.png")
    assert run.checkpoint("seg") == Path("runs/voc/train_seg/seg/checkpoint.safetensors")
    assert run_of(run.checkpoint("seg")).root == Path("runs/voc").resolve()
    assert run.training_state("seg") == Path("runs/voc/train_seg/seg/state")
    assert run.evaluation("seg", "val") == Path("runs/voc/evaluate/seg-val")
    assert run.pred_mask("seg", "val", "a") == Path("runs/voc/evaluate/seg-val/pred_masks/a.png")


def test_fault_79_nothing_printable_drives_a_terminal() -> None:
    shown = printable("a\x1b[2Jb\x07\u202egpj\x9b\udcff\nä 🚲")
    assert shown == r"a\x1b[2Jb\x07\u202egpj\x9b\udcff\nä 🚲"


def test_the_run_used_last_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert last_run() is None
    for root in ("runs/voc", "runs/scenes", str(tmp_path / "elsewhere")):
        Path(root).mkdir(parents=True)
        remember_run(RunDir(root))
        found = last_run()
        assert found is not None
        assert found.resolve() == Path(root).resolve()
    assert [path.name for path in Path("runs").iterdir() if path.is_file()] == [".last"]
    Path("elsewhere").rmdir()
    assert last_run() is None


def test_a_base_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    remember_run(RunDir(tmp_path / "x"), tmp_path / "runs")
    assert last_run(tmp_path / "runs") is None
