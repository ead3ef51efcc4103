"""Full-size DeepLabV2 at its published size: seconds per step and peak memory.

    pytest -m benchmark tests/benchmarks/test_deeplab.py -s

ResNet-101 at three scales, crops of 321, 5 x 2 images per step; `GLECLIP_BENCH_BATCH` and
`GLECLIP_BENCH_ACCUMULATE` change the two, `GLECLIP_BENCH_PRECISION` and `GLECLIP_BENCH_COMPILE=1`
are for GPUs, where images per second and the share of their peak (`GLECLIP_BENCH_PEAK`, TFLOP/s)
are told, too. Weights are random: norms are scaled down, so that frozen statistics do no harm.
"""

import json
import os
import resource
import time

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from torchvision.ops import FrozenBatchNorm2d

from gleclip_cli.config import TrainSegConfig
from gleclip_cli.parallel.device import pick_device
from gleclip_cli.parallel.processes import ALONE
from gleclip_cli.seg.learner import make_trainer
from gleclip_cli.seg.network import NetworkSpec, build_network
from gleclip_cli.training.batches import Batch

STEPS = int(os.environ.get("GLECLIP_BENCH_STEPS", "1"))
COMPILE = os.environ.get("GLECLIP_BENCH_COMPILE") == "1"
CONFIG = TrainSegConfig(
    batch_size=int(os.environ.get("GLECLIP_BENCH_BATCH", "5")),
    accumulate=int(os.environ.get("GLECLIP_BENCH_ACCUMULATE", "2")),
    crop=321,
    precision=os.environ.get("GLECLIP_BENCH_PRECISION", "fp32"),
    channels_last=COMPILE,
    compile=COMPILE,
)

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(7200)]


def batch(seed: int, size: int) -> Batch:
    random = torch.Generator().manual_seed(seed)
    shape = (size, CONFIG.crop, CONFIG.crop)
    images = torch.randint(0, 256, (size, 3, *shape[1:]), generator=random, dtype=torch.uint8)
    masks = torch.randint(0, 21, shape, generator=random, dtype=torch.uint8)
    return Batch(tuple(map(str, range(size))), images, masks)


def peak_gib(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def test_a_published_step_fits_into_24_gib() -> None:
    device = pick_device("auto")
    network = build_network(NetworkSpec(arch="deeplabv2", num_classes=21, pretrained=True))
    for norm in network.modules():
        if isinstance(norm, FrozenBatchNorm2d):
            norm.weight.fill_(0.5)
    trainer, _ = make_trainer(network, CONFIG, {}, 1000, device=device, processes=ALONE, warn=print)
    seconds = []
    for step in range(STEPS):
        clock = time.perf_counter()
        trainer.begin()
        for part in range(CONFIG.accumulate):
            trainer.learn(
                trainer.loss(batch(step * CONFIG.accumulate + part, CONFIG.batch_size))[0]
            )
        trainer.update()
        trainer.step += 1
        seconds.append(time.perf_counter() - clock)
    images = CONFIG.batch_size * CONFIG.accumulate
    told = {
        "device": str(device),
        "precision": CONFIG.precision,
        "images_per_step": images,
        "seconds_per_step": round(min(seconds), 2),
        "seconds_of_cpu": round(time.process_time()),
        "images_per_second": round(images / min(seconds), 3),
        "peak_gib": round(peak_gib(device), 2),
    }
    print(json.dumps(told))
    assert peak_gib(device) < 24
    if peak := os.environ.get("GLECLIP_BENCH_PEAK"):
        with FlopCounterMode(display=False) as counter:
            trainer.learn(trainer.loss(batch(0, 1))[0])
        share = counter.get_total_flops() * told["images_per_second"] / (float(peak) * 1e12)
        print(json.dumps({"share_of_peak": round(share, 4)}))
