"""`refine` on VOC photographs by both backends of the dense CRF, side by side.

pytest -m slow tests/test_crf_backends.py -s

Maps are like those of CLIP: the true masks on a grid of 16 pixels, blurred.
"""

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pytest

from gleclip_cli.artifacts.maps import (
    Cam,
    load_confidence,
    load_label_image,
    save_cam,
)
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.stage import open_stage, require
from gleclip_cli.artifacts.tables import PreparedData, load_prepared
from gleclip_cli.config import (
    CRF_BACKENDS,
    Execution,
    GenCamConfig,
    PrepareDataConfig,
    RefineConfig,
)
from gleclip_cli.stages.prepare_data import prepare_data
from gleclip_cli.stages.refine import refine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

CPU = Execution(device="cpu", on_bad="stop")


@pytest.fixture
def run(tmp_path: Path, photographs: Callable[[str], Path]) -> RunDir:
    """The photographs of train with a mask, and their maps."""
    pytest.importorskip("pydensecrf", reason="the extra crf is not installed")
    run = RunDir(tmp_path / "run")
    prepare_data(run, PrepareDataConfig(dataset="voc", data=str(photographs("voc-photos"))))
    data = load_prepared(run)
    with open_stage(
        run,
        "gen_cam",
        asdict(GenCamConfig(method="clip-es")),
        name="train",
        inputs=[require(run, "prepare_data", allow_partial=False)],
        item_ids=data.image_ids("train"),
        execution=CPU,
    ) as stage:
        for image_id in stage.todo():
            save_cam(run.cam("train", image_id), coarse_cam(data, image_id))
            stage.done(image_id, run.cam("train", image_id))
        stage.finish()
    return run


def coarse_cam(data: PreparedData, image_id: str) -> Cam:
    record, class_ids = data.record("train", image_id), data.labels("train")[image_id]
    assert record.mask is not None
    gt_mask = load_label_image(record.mask)
    height, width = gt_mask.shape
    scores = np.zeros((len(class_ids), height // 16, width // 16), np.float32)
    for score, class_id in zip(scores, class_ids, strict=True):
        own = np.float32(gt_mask == class_id)
        small = cv2.resize(own, score.shape[::-1], interpolation=cv2.INTER_AREA)
        score[:] = cv2.GaussianBlur(small, (3, 3), 0)
        score /= max(float(score.max()), 1e-6)
    return Cam(scores, np.array(class_ids, np.int64), (height, width))


def test_both_backends_give_the_same_masks(run: RunDir) -> None:
    masks, confidences, seconds = {}, {}, {}
    image_ids = load_prepared(run).image_ids("train")
    refine(run, RefineConfig(steps=("crf",), limit=1), execution=CPU)  # compiled code is warm
    for backend in CRF_BACKENDS:
        started = time.process_time()
        config = RefineConfig(steps=("crf",), crf_backend=backend)
        manifest = refine(run, config, execution=Execution(device="cpu", overwrite=True))
        seconds[backend] = time.process_time() - started
        assert manifest.complete
        assert manifest.data["config"]["crf_backend"] == backend
        masks[backend] = [load_label_image(run.pseudo_mask("train", i)) for i in image_ids]
        confidences[backend] = [load_confidence(run.confidence("train", i)) for i in image_ids]
    pairs = zip(*masks.values(), strict=True)
    same = np.array([(ours == theirs).mean() for ours, theirs in pairs])
    apart = [np.abs(a - b).mean() for a, b in zip(*confidences.values(), strict=True)]
    ours, theirs = (len(image_ids) / seconds[backend] for backend in CRF_BACKENDS)
    print(
        f"\nrefine on {len(image_ids)} photographs, reading and writing included: lattice"
        f" {ours:.2f} images/s, pydensecrf {theirs:.2f}, ratio {ours / theirs:.2f}; same labels"
        f" {100 * same.mean():.3f} %, least {100 * same.min():.3f} %; confidence apart by"
        f" {np.mean(apart):.5f}"
    )
    assert same.mean() >= 0.995
    assert np.mean(apart) < 0.005
    assert ours > theirs
