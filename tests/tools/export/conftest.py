"""A run of four pictures with pseudo masks, maps, and a network that was evaluated."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gleclip_cli.artifacts.checkpoint import save_checkpoint
from gleclip_cli.artifacts.maps import Cam, save_cam, save_label_image
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.stage import load_manifest, open_stage
from gleclip_cli.artifacts.tables import ImageRecord, Scores, save_prepared, save_scores
from gleclip_cli.config import (
    EvaluateConfig,
    Execution,
    GenCamConfig,
    RefineConfig,
    TrainSegConfig,
)
from gleclip_cli.datasets.vocabulary import load_vocabulary

CPU = Execution(device="cpu")
IDS = ("b", "farm/1", "kuh ü")
SIZE = (12, 17)


def mask_of(image_id: str, seed: int = 0) -> np.ndarray:
    """Blocks of two classes and background."""
    rng = np.random.default_rng([seed, *image_id.encode()])
    coarse = rng.choice(np.array([0, 8, 15], np.uint8), (4, 6))
    return coarse.repeat(3, axis=0).repeat(3, axis=1)[: SIZE[0], : SIZE[1]]


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """Splits train and val of the same pictures."""
    run, root = RunDir(tmp_path / "run"), tmp_path / "photos"
    palette = load_vocabulary("voc").palette
    records = {}
    for image_id in IDS:
        image = root / f"{image_id}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((*SIZE, 3), len(image_id), np.uint8)).save(image)
        digest = hashlib.sha256(image.read_bytes()).hexdigest()
        records[image_id] = ImageRecord(image, None, SIZE, digest)
    labels = {image_id: [8, 15] for image_id in IDS}
    with open_stage(run, "prepare_data", {"data": str(root)}, execution=CPU) as stage:
        tables = save_prepared(
            run,
            dataset="voc",
            vocabulary="voc",
            root=root,
            records={"train": records, "val": records},
            labels={"train": labels, "val": labels},
        )
        stage.finish(*tables)
    prepared = load_manifest(run, "prepare_data")
    for stage_name, config in (("gen_cam", GenCamConfig()), ("refine", RefineConfig())):
        with open_stage(
            run, stage_name, config, name="train", item_ids=IDS, inputs=[prepared], execution=CPU
        ) as stage:
            for image_id in stage.todo():
                if stage_name == "gen_cam":
                    path, scores = run.cam("train", image_id), np.full((1, 3, 4), 0.5, np.float32)
                    save_cam(path, Cam(scores, np.array([8]), SIZE))
                else:
                    path = run.pseudo_mask("train", image_id)
                    save_label_image(path, mask_of(image_id), palette)
                stage.done(image_id, path)
            stage.finish()
    _add_network(run, palette)
    return run


def _add_network(run: RunDir, palette: np.ndarray) -> None:
    made = load_manifest(run, "refine", "train")
    with open_stage(
        run, "train_seg", TrainSegConfig(), name="seg", inputs=[made], execution=CPU
    ) as stage:
        names = load_vocabulary("voc").class_names
        network = {"arch": "deeplabv2-small", "num_classes": len(names)}
        meta = {"network": network, "clip_sha256": "", "classes": list(names), "monitor": {}}
        path = run.checkpoint("seg")
        save_checkpoint(path, {"head.weight": torch.ones(2, 3)}, meta)
        stage.finish(path, path.with_suffix(".json"), steps=7, images=3)
    trained = load_manifest(run, "train_seg", "seg")
    config = EvaluateConfig(what="seg", split="val")
    with open_stage(
        run, "evaluate", config, name="seg-val", inputs=[trained], item_ids=IDS, execution=CPU
    ) as stage:
        for image_id in stage.todo():
            path = run.pred_mask("seg", "val", image_id)
            save_label_image(path, mask_of(image_id, 1), palette)
            stage.done(image_id, path)
        scores = Scores(0.25, {"cat": 0.25, "dog": None}, 3)
        stage.finish(*save_scores(stage.folder, scores, np.zeros((2, 2), np.int64)))
