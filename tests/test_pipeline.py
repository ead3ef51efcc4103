"""The whole road on four pictures with a tiny random CLIP: CPU, offline, seconds."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from gleclip_cli import pipeline
from gleclip_cli.artifacts.manifest import load_manifest
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.tables import load_prepared
from gleclip_cli.cli.main import app
from gleclip_cli.config import (
    EvaluateConfig,
    Execution,
    GenCamConfig,
    PrepareDataConfig,
    RefineConfig,
    TrainCamConfig,
    TrainSegConfig,
)
from gleclip_cli.errors import MissingInput
from gleclip_cli.progress import Silent
from gleclip_cli.stages.evaluate import evaluate
from gleclip_cli.stages.gen_cam import gen_cam as make_cams
from gleclip_cli.stages.refine import refine

pytestmark = pytest.mark.usefixtures("short_walks")

STAGES = ("prepare_data", "train_cam", "gen_cam/train", "refine/train", "train_seg/seg")
SCORED = ("evaluate/cam-train", "evaluate/pseudo-train", "evaluate/seg-val")


def settings(data: Path, clip: str) -> dict[str, Any]:
    """Configurations that end within seconds."""
    model = {"clip_model": clip, "clip_weights": "random"}
    return {
        "prepare-data": PrepareDataConfig(dataset="voc", data=str(data)),
        "train-cam": TrainCamConfig(**model, epochs=2, batch_size=2, crop=32),
        "gen-cam": GenCamConfig(**model),
        "refine": RefineConfig(par_iterations=2),
        "train-seg": TrainSegConfig(
            **model, arch="clip-decoder", epochs=1, batch_size=2, crop=32, learning_rate=1e-3
        ),
        "evaluate": EvaluateConfig(),
    }


@pytest.fixture
def toml(tmp_path: Path, tiny_voc: Path, tiny_clip_json: str) -> Path:
    """The same as a file."""
    return write_toml(tmp_path, tiny_voc, tiny_clip_json)


def write_toml(folder: Path, data: Path, clip: str) -> Path:
    text = f"""
    [all]
    dataset = "voc"
    data = {json.dumps(str(data))}
    run = {json.dumps(str(folder / "run"))}
    clip-model = {json.dumps(clip)}
    clip-weights = "random"
    device = "cpu"
    [train-cam]
    epochs = 2
    batch-size = 2
    crop = 32
    [refine]
    par-iterations = 2
    [train-seg]
    arch = "clip-decoder"
    epochs = 1
    batch-size = 2
    crop = 32
    learning-rate = 1e-3
    """
    file = folder / "my.toml"
    file.write_text(text)
    return file


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory,
    make_tiny_voc: Callable[[Path], Path],
    tiny_clip_json: str,
) -> tuple[Path, Path, str]:
    """The folder of a run of all stages, its settings and what it printed: to be read only."""
    folder = tmp_path_factory.mktemp("whole")
    file = write_toml(folder, make_tiny_voc(folder), tiny_clip_json)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        result = gleclip("run", file)
    assert result.exit_code == 0, result.output
    return folder / "run", file, result.stdout


def gleclip(*words: object) -> Result:
    return CliRunner().invoke(app, [str(w) for w in words], prog_name="gleclip")


def scores(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "scores.json").read_text())
    return content


def bytes_of(run: Path) -> dict[str, bytes]:
    """Every file that a rerun must give again; logs and manifests hold times."""
    told = ("log.jsonl", "manifest.json", "verified.json")
    files = [f for f in run.rglob("*") if f.is_file() and f.name not in told]
    return {f.relative_to(run).as_posix(): f.read_bytes() for f in files}


def test_a_file_of_settings_goes_from_tags_to_scores(
    whole: tuple[Path, Path, str], tmp_path: Path
) -> None:
    run, toml, printed = whole
    for output in (*STAGES, *SCORED):
        assert (run / output / "manifest.json").exists(), output
        assert json.loads((run / output / "manifest.json").read_text())["complete"], output
    for output in SCORED:
        found = scores(run / output)
        assert f"{100 * found['miou']:.1f}" in printed
        assert found["images"] == (1 if output.endswith("val") else 3)
        assert set(found) >= {"miou", "per_class_iou", "images"}
    before = bytes_of(run)
    again = gleclip("run", toml)
    assert again.exit_code == 0, again.output
    assert bytes_of(run) == before


def test_the_printed_score_is_the_one_an_independent_count_finds(
    whole: tuple[Path, Path, str],
) -> None:
    run = whole[0]
    voc = run.parent / "VOCdevkit" / "VOC2012"
    truth, mask = [], []
    for name in "abc":
        truth.append(np.array(Image.open(voc / "SegmentationClass" / f"{name}.png")).ravel())
        made = run / "refine" / "train" / "pseudo_masks" / f"{name}.png"
        mask.append(np.array(Image.open(made)).ravel())
    true, made_ = np.concatenate(truth), np.concatenate(mask)
    ious = []
    for label in range(21):
        union = ((true == label) | (made_ == label)).sum()
        if union:
            ious.append(((true == label) & (made_ == label)).sum() / union)
    found = scores(run / "evaluate" / "pseudo-train")["miou"]
    assert found == pytest.approx(float(np.mean(ious)), abs=1e-9)


def test_each_stage_alone_does_the_same(whole: tuple[Path, Path, str], tmp_path: Path) -> None:
    run, toml, _ = whole
    commands = [
        ["prepare-data"],
        ["train-cam"],
        ["gen-cam"],
        ["evaluate", "--what", "cam", "--split", "train"],
        ["refine"],
        ["evaluate", "--what", "pseudo", "--split", "train"],
        ["train-seg"],
        ["evaluate"],
    ]
    for words in commands:
        result = gleclip(*words, "--config", toml, "--run", "parts")
        assert result.exit_code == 0, result.output
    assert bytes_of(tmp_path / "parts") == bytes_of(run)


def test_a_dry_run_writes_nothing(
    toml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gleclip_cli.plan._probe", lambda *_: {})  # a real one: test_plan
    result = gleclip("run", toml, "--dry-run")
    assert result.exit_code == 0, result.output
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "runs").exists()
    assert "Plan" in result.stdout


def test_a_dry_run_of_a_stage_fetches_no_weights(
    tiny_voc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub, "get_session", None)
    here = ("--run", tmp_path / "run")
    assert gleclip("prepare-data", "--dataset", "voc", "--data", tiny_voc, *here).exit_code == 0
    for words in (
        ("train-cam",),
        ("gen-cam", "--method", "similarity"),
        ("train-seg", "--arch", "clip-decoder", "--targets", "gt"),
    ):
        result = gleclip(*words, *here, "--dry-run")
        assert result.exit_code == 0, result.output
        assert "The weights of CLIP are not on this machine" in result.stderr
        assert gleclip(*words, *here).exit_code == 6


def test_a_limited_stage_is_told_to_the_next_and_extended(tiny_voc: Path, tmp_path: Path) -> None:
    micro = ("--clip-model", "micro-clip", "--clip-weights", "micro-clip")
    here = ("--run", tmp_path / "run", "--device", "cpu")
    road = (("gen-cam", "--method", "similarity", *micro), ("refine", "--steps", "none"))
    prepare = ("prepare-data", "--dataset", "voc", "--data", tiny_voc, *here[:2])
    assert gleclip(*prepare, "--limit", 2).exit_code == 0
    first = [gleclip(*road[0], *here, "--limit", 1), gleclip(*road[1], *here)]
    assert "1 item, --limit 1;" in first[0].stderr
    assert first[0].stderr.count("maps of photographs mean nothing") == 1
    assert "Left out: 1 image without maps (gen-cam --limit 1)." in first[1].stderr
    refined = tmp_path / "run" / "refine" / "train" / "manifest.json"
    assert json.loads(refined.read_text())["warnings"] == [
        "Left out: 1 image without maps (gen-cam --limit 1)."
    ]
    assert gleclip(*prepare).exit_code == 0
    for words, made in zip(road, ("cams/*/*.npz", "pseudo_masks/*.png"), strict=True):
        result = gleclip(*words, *here)
        assert result.exit_code == 0, result.output
        assert "Left out" not in result.stderr
        assert len(list((tmp_path / "run").glob(f"*/train/{made}"))) == 3
        assert gleclip(*words, *here, "--limit", 1).exit_code == 5


def test_without_masks_everything_but_scoring_works(tiny_voc: Path, tiny_clip_json: str) -> None:
    for mask in (tiny_voc / "SegmentationClass").iterdir():
        mask.unlink()
    run = RunDir(tiny_voc.parents[1] / "run")
    summary = pipeline.run(run, settings(tiny_voc, tiny_clip_json), _on_cpu())
    assert summary.unscored == ["evaluate cam train", "evaluate pseudo train", "evaluate seg val"]
    assert not summary.waiting
    assert run.pseudo_mask("train", "a").exists()
    assert run.checkpoint("seg").exists()


def test_fused_gives_the_same_but_for_the_maps(tiny_voc: Path, tiny_clip_json: str) -> None:
    configs = settings(tiny_voc, tiny_clip_json)
    configs["gen-cam"] = replace(configs["gen-cam"], method="similarity")
    plain, fused = RunDir(tiny_voc.parents[1] / "plain"), RunDir(tiny_voc.parents[1] / "fused")
    pipeline.run(plain, configs, _on_cpu())
    summary = pipeline.run(fused, configs, _on_cpu(), fused=True)
    assert [result.label for result in summary.results][1:3] == ["gen-cam", "refine"]
    assert all(result.manifest.complete for result in summary.results)
    lasting = {
        name: content
        for name, content in bytes_of(plain.root).items()
        if not name.startswith(("gen_cam/train/cams/", "evaluate/cam-train/"))
    }
    assert bytes_of(fused.root) == lasting
    with pytest.raises(MissingInput, match="not kept"):
        evaluate(fused, EvaluateConfig(what="cam", split="train"))
    others = Execution(device="cpu", overwrite=True)
    with pytest.raises(MissingInput, match="not kept"):
        refine(fused, replace(configs["refine"], bg_power=3.0), execution=others)
    fused.pseudo_mask("train", "b").unlink()
    kept = fused.pseudo_mask("train", "a").stat().st_mtime_ns
    again = pipeline.run(fused, configs, _on_cpu(), fused=True)
    assert not again.waiting
    assert fused.pseudo_mask("train", "a").stat().st_mtime_ns == kept
    assert bytes_of(fused.root) == lasting
    assert make_cams(fused, configs["gen-cam"], execution=Execution(device="cpu")).complete
    assert fused.cam("train", "a").read_bytes() == plain.cam("train", "a").read_bytes()


def test_gen_cam_fills_the_gaps_before_it(
    tiny_voc: Path, tiny_clip_json: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = settings(tiny_voc, tiny_clip_json)
    run = RunDir(tiny_voc.parents[1] / "run")
    with pytest.raises(MissingInput):
        pipeline.gen_cam(run, configs["gen-cam"], execution=Execution(device="cpu"))
    said: list[str] = []
    progress = Silent()
    monkeypatch.setattr(progress, "say", said.append)
    words: dict[str, Any] = {
        "prepare": lambda: configs["prepare-data"],
        # the CLIP and the texts of the maps win over those of the training
        "train": lambda: replace(configs["train-cam"], clip_weights="x", texts="enriched"),
        "execution": Execution(device="cpu"),
        "progress": progress,
    }
    manifest = pipeline.gen_cam(run, replace(configs["gen-cam"], texts="plain"), **words)
    assert manifest.complete
    assert load_prepared(run).image_ids("train") == ["a", "b", "c"]
    trained = load_manifest(run, "train_cam")
    assert trained.data["config"]["texts"] == "plain"
    assert trained.data["weights"] == manifest.data["weights"]
    assert [line.removeprefix(str(run.root)) for line in said] == [
        " has no image lists: preparing them first.",
        "Images by class: cat 2, dog 1, person 1.",
        " has no trained GLE-CLIP: training it first.",
    ]
    assert pipeline.gen_cam(run, replace(configs["gen-cam"], texts="plain"), **words).complete
    assert len(said) == 3


def test_a_bad_picture_ends_the_run_with_exit_3_or_is_left_out_with_exit_4(
    toml: Path, tmp_path: Path, tiny_voc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tiny_voc / "JPEGImages" / "b.jpg").write_bytes(b"<html>")
    stopped = gleclip("run", toml)
    assert stopped.exit_code == 3, stopped.output
    assert "b.jpg" in stopped.stderr
    words = ("--on-bad", "skip", "--allow-partial")
    skipped = gleclip("run", toml, *words)
    assert skipped.exit_code == 4, skipped.output
    assert (tmp_path / "run" / "evaluate" / "seg-val" / "scores.json").exists()


def _on_cpu() -> dict[str, Execution]:
    commands = ("prepare-data", "train-cam", "gen-cam", "refine", "train-seg", "evaluate")
    return dict.fromkeys(commands, Execution(device="cpu"))
