"""One export from start to end, on small masks."""

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gleclip_cli.artifacts.maps import load_label_image
from gleclip_cli.artifacts.pickled import read_pickled_npy
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.tables import load_prepared
from gleclip_cli.config import EvaluateConfig, Execution, ExportConfig, PrepareDataConfig
from gleclip_cli.config.export import MASK_FORMATS
from gleclip_cli.datasets.class_table import class_table
from gleclip_cli.datasets.vocabulary import load_vocabulary
from gleclip_cli.errors import BadInput, MissingInput, UsageError
from gleclip_cli.refine.decide import Decision
from gleclip_cli.stages.prepare_data import prepare_data
from gleclip_cli.tools.export.run import Exported, export

IDS = ("b", "farm/1", "kuh ü")


def done(
    run: RunDir, out: Path, execution: Execution = Execution(device="cpu"), **values: Any
) -> Exported:
    config = ExportConfig(**values)
    evaluate = EvaluateConfig(what=config.what, split=config.split)
    return export(run, config, out, evaluate=evaluate, execution=execution)


def read(folder: Path) -> dict[str, np.ndarray]:
    return {i: np.array(Image.open(folder / f"{i}.png")) for i in IDS}


def pseudo(run: RunDir) -> dict[str, np.ndarray]:
    return {i: np.array(Image.open(run.pseudo_mask("train", i))) for i in IDS}


@pytest.mark.parametrize("kind", [k for k in MASK_FORMATS if k != "voc-test"])
def test_corrected_masks_come_back_by_prepare_data(kind: str, run: RunDir, tmp_path: Path) -> None:
    """Every format of masks: exported, and given for the same pictures as an own folder."""
    root, out = tmp_path / "photos", tmp_path / "out.zip"
    made = done(run, out, format=kind, simplify=0.0, polygons=kind == "coco")
    assert made.counts["images"] == 3
    (root / "labels.csv").write_text("".join(f"{i}.png,cat;person\n" for i in IDS))
    table = tmp_path / "classes.toml"
    table.write_text(class_table(load_vocabulary("voc").classes))
    again = RunDir(tmp_path / "again")
    config = PrepareDataConfig(dataset="folder", data=str(root), classes=str(table), masks=str(out))
    counts = prepare_data(again, config).counts
    assert (counts["train_masks"], counts["val_masks"]) == (3, 3)
    data = load_prepared(again)
    for image_id, labels in pseudo(run).items():
        mask = data.record("val", image_id).mask
        assert mask is not None
        given = np.array(Image.open(mask)) if kind != "png-rgb" else load_label_image(mask)
        np.testing.assert_array_equal(given, labels)


def test_maps_as_peers_read_them(run: RunDir, tmp_path: Path) -> None:
    for kind in ("clip-es", "irn", "psa"):
        assert done(run, tmp_path / kind, format=kind, what="cam").counts == {"images": 3}
        content = read_pickled_npy(tmp_path / kind / "farm%2F1.npy")
        assert list(content if kind == "psa" else content["keys"]) == [7]


def test_the_archive_for_vocs_server(run: RunDir, tmp_path: Path) -> None:
    done(run, tmp_path / "r.tgz", format="voc-test", what="seg", split="val")
    with tarfile.open(tmp_path / "r.tgz") as archive:
        assert len(archive.getnames()) == 3


def test_predictions_that_evaluate_has_kept(run: RunDir, tmp_path: Path) -> None:
    done(run, tmp_path / "out", format="png", what="seg")
    for image_id, labels in read(tmp_path / "out").items():
        kept = np.array(Image.open(run.pred_mask("seg", "val", image_id)))
        np.testing.assert_array_equal(labels, kept)


@pytest.mark.parametrize("split", ["train", "val"])
def test_other_predictions_are_made(
    split: str, run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a split that was not evaluated, or with other views."""
    from gleclip_cli.seg import labeller

    def fake(path: Path, device: object, **how: Any) -> Any:
        assert path == run.checkpoint("seg")
        assert how["views"].flip == (split == "train")
        return lambda image: Decision(np.full(image.shape[:2], 9, np.uint8), np.ones((1, 1)))

    monkeypatch.setattr(labeller, "load_labeller", fake)
    config = ExportConfig(format="png", what="seg", split=split)
    evaluate = EvaluateConfig(what="seg", split=split, flip=split == "train")
    out = tmp_path / "out"
    export(run, config, out, evaluate=evaluate, execution=Execution(device="cpu"))
    assert all((labels == 9).all() for labels in read(out).values())


def test_missing_masks_are_named(run: RunDir, tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="refine"):
        done(run, tmp_path / "out", format="png", split="val")
    index = next(run.output("refine", "train").glob("index*.jsonl"))
    lines = index.read_text().splitlines()
    index.write_text("".join(f"{line}\n" for line in lines if "farm" not in line))
    with pytest.raises(MissingInput, match="1 of 3 images of train lack what is exported: farm/1"):
        done(run, tmp_path / "out", format="coco")
    made = done(run, tmp_path / "out", format="coco", allow_missing=True)
    assert (made.missing, made.counts["images"]) == (("farm/1",), 2)
    names = [row["file_name"] for row in json.loads((tmp_path / "out").read_text())["images"]]
    assert names == ["b.png", "kuh ü.png"]


def test_a_mask_of_another_size_leaves_nothing_behind(run: RunDir, tmp_path: Path) -> None:
    Image.new("L", (3, 3)).save(run.pseudo_mask("train", "farm/1"))
    with pytest.raises(BadInput, match=r"farm/1: mask and picture differ in size, 3 x 3 and 17 x"):
        done(run, tmp_path / "out", format="png")
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]


def test_nothing_is_replaced_unasked_and_a_dry_run_writes_nothing(
    run: RunDir, tmp_path: Path
) -> None:
    out = tmp_path / "out.zip"
    made = done(run, out, Execution(dry_run=True), format="cvat")
    assert made.counts == {"images": 3}
    assert not out.exists()
    done(run, out, format="cvat", limit=1)
    before = out.read_bytes()
    with pytest.raises(UsageError, match="exists"):
        done(run, out, format="cvat")
    assert out.read_bytes() == before
    done(run, out, Execution(overwrite=True, workers=2), format="cvat")
    assert out.read_bytes() != before


def test_the_labelling_interface_lies_beside_the_tasks(run: RunDir, tmp_path: Path) -> None:
    done(run, tmp_path / "tasks.json", format="labelstudio", images="https://here/")
    (first, *_) = json.loads((tmp_path / "tasks.json").read_text())
    assert first["data"]["image"] == "https://here/b.png"
    assert 'value="tvmonitor"' in (tmp_path / "tasks.xml").read_text()
    (tmp_path / "tasks.json").unlink()
    with pytest.raises(UsageError, match=r"tasks\.xml exists"):
        done(run, tmp_path / "tasks.json", format="labelstudio")
