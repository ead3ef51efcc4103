"""GLE-CLIP on a ViT-B/16 with random weights: seconds of a step, memory, trained parameters.

    pytest -m benchmark tests/benchmarks/test_full_size.py -s

`GLECLIP_BENCH_STEPS` (default 50) steps of the default recipe, 4 crops of 320 pixels of noise; on a
GPU where there is one.
"""

import json
import os
import resource
import time

import pytest
import torch

from gleclip_cli.artifacts.provenance import environment
from gleclip_cli.cam.build import build_gleclip, spec_of
from gleclip_cli.cam.criterion import GroundingCriterion
from gleclip_cli.cam.texts import wording_of
from gleclip_cli.config import TrainCamConfig
from gleclip_cli.datasets.vocabulary import load_vocabulary
from gleclip_cli.model.clip import load_clip
from gleclip_cli.model.texts import text_embeddings
from gleclip_cli.parallel.device import pick_device
from gleclip_cli.training.batches import Batch
from gleclip_cli.training.recipe import Recipe
from gleclip_cli.training.trainer import Trainer

STEPS = int(os.environ.get("GLECLIP_BENCH_STEPS", "50"))
SETTLED = 5  # steps after which nothing new should be needed
CONFIG = TrainCamConfig(bca="both")  # the whole model

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(7200)]


def batch(step: int, num_classes: int) -> Batch:
    """Noise with the labels of two classes, of the sizes of the default recipe."""
    random = torch.Generator().manual_seed(step)
    shape = (CONFIG.batch_size, CONFIG.crop, CONFIG.crop)
    images = torch.randint(0, 256, (shape[0], 3, *shape[1:]), generator=random, dtype=torch.uint8)
    masks = torch.randint(0, 2, shape, generator=random) * (1 + step % num_classes)
    return Batch(tuple(map(str, range(shape[0]))), images, masks)


def peak_mib() -> float:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def test_a_full_size_step_fits_and_stays_as_it_is() -> None:
    device = pick_device("auto")
    vocabulary = load_vocabulary("voc")
    clip = load_clip("ViT-B-16-quickgelu", "random").to(device)
    wording = wording_of(vocabulary, CONFIG.texts, background_texts=True)
    classes = len(wording.prompts)
    model = build_gleclip(spec_of(CONFIG), clip, text_embeddings(clip, wording), classes)
    tags = {str(i): [1 + i] for i in range(CONFIG.batch_size)}
    recipe = Recipe.of(CONFIG, STEPS * CONFIG.batch_size)
    trainer = Trainer(model, GroundingCriterion(model, CONFIG, tags), recipe, device=device)
    seconds, peaks = [], []
    for step in range(STEPS):
        made = batch(step, classes)
        started = time.perf_counter()
        trainer.begin()
        loss, _ = trainer.loss(made)
        trainer.learn(loss)
        trainer.update()
        trainer.step += 1
        seconds.append(time.perf_counter() - started)
        peaks.append(peak_mib())
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    settled = sorted(seconds[SETTLED:]) or seconds
    told = {
        "seconds_per_step": round(settled[len(settled) // 2], 2),
        "peak_mib": round(peaks[-1]),
        "growth_mib": round(peaks[-1] - peaks[min(SETTLED, STEPS - 1)], 1),
        "trained_parameters": trained,
        **environment(),
    }
    print(json.dumps(told))
    assert trained <= 10e6
    assert told["growth_mib"] < 64
