"""From a configuration to a trainer: every option reaches what it is for."""

from dataclasses import replace

import pytest
import torch
from torch._dynamo.exc import TorchDynamoException

from gleclip_cli.config import TrainSegConfig
from gleclip_cli.errors import EnvironmentFault
from gleclip_cli.parallel.processes import ALONE
from gleclip_cli.seg.deeplabv2 import DeepLabV2, deeplabv2_small
from gleclip_cli.seg.learner import make_trainer
from gleclip_cli.training.batches import Batch

CONFIG = TrainSegConfig(arch="deeplabv2-small", batch_size=2, accumulate=3, epochs=4.0)


def made(config: TrainSegConfig, network: DeepLabV2 | None = None):
    warnings: list[str] = []
    trainer, kept = make_trainer(
        network or deeplabv2_small(3, pretrained=False), config, {"a": [1]}, 30,
        device=torch.device("cpu"), processes=ALONE, warn=warnings.append,
    )  # fmt: skip
    return trainer, kept, warnings


def test_numbers_reach_the_recipe():
    config = replace(
        CONFIG, schedule="cosine", optimiser="adamw", clip_norm=2.0, precision="bf16", seed=5
    )
    trainer, _, warnings = made(config)
    plan = trainer.recipe
    assert (plan.steps, plan.accumulate, plan.schedule, plan.clip) == (20, 3, "cosine", 2.0)
    assert (plan.optimiser, plan.precision, plan.seed) == ("adamw", "bf16", 5)
    assert isinstance(trainer._optimiser, torch.optim.AdamW)
    assert warnings == ["--precision bf16 makes a CPU slower, not faster."]


def test_nothing_is_on_that_was_not_asked_for():
    trainer, kept, warnings = made(CONFIG)
    criterion = trainer._criterion
    assert kept is trainer.network
    assert trainer.recipe.clip is None
    assert (criterion.correction, criterion.forward, criterion.channels_last) == (None, None, False)
    assert criterion.pairs == 0
    assert warnings == []


def test_the_mean_of_weights_teaches_and_is_kept():
    trainer, kept, _ = made(replace(CONFIG, ema=0.9, correction=0.8))
    correction = trainer._criterion.correction
    assert correction.teacher.network is kept is not trainer.network
    assert (correction.first, correction.threshold) == (10, 0.8)


def test_the_layout_of_memory():
    trainer, _, _ = made(replace(CONFIG, channels_last=True))
    weight = trainer.network.body.layer1[0].conv1.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert trainer._criterion.channels_last


def test_norms_of_a_pretrained_encoder_are_frozen():
    pytest.importorskip("segmentation_models_pytorch")
    from gleclip_cli.seg.smp import smp_network

    name = "smp:unet:mobilenet_v2"
    network = smp_network(name, 3, pretrained=True)
    made(replace(CONFIG, arch=name, pretrained="imagenet", freeze_norms=True), network)
    assert network.frozen_norms
    assert not network.body.features[0][1].training


def batch() -> Batch:
    images = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    return Batch(("a",), images, torch.zeros(1, 32, 32, dtype=torch.uint8))


def test_the_forward_is_compiled_when_asked_for(monkeypatch):
    seen = []
    monkeypatch.setattr(torch, "compile", lambda forward: seen.append(forward) or forward)
    trainer, _, _ = made(replace(CONFIG, compile=True))
    assert seen == [trainer.network.training_logits]
    assert torch.isfinite(trainer.loss(batch())[0])


def test_a_compiler_that_fails_is_a_fault_of_the_environment(monkeypatch):
    def fails(images):
        raise TorchDynamoException("no C++ compiler")

    monkeypatch.setattr(torch, "compile", lambda forward: fails)
    trainer, _, _ = made(replace(CONFIG, compile=True))
    with pytest.raises(EnvironmentFault, match=r"no C\+\+ compiler\n.*--compile"):
        trainer.loss(batch())


@pytest.mark.slow
@pytest.mark.timeout(600)  # the first time
@pytest.mark.filterwarnings("ignore")  # torch's own, while it compiles
def test_a_compiled_forward_gives_the_same_loss():
    network, same = deeplabv2_small(3, pretrained=False), batch()
    plain = made(CONFIG, network)[0].loss(same)[0]
    try:
        compiled = made(replace(CONFIG, compile=True), network)[0].loss(same)[0]
    except EnvironmentFault as fault:
        pytest.skip(str(fault))
    assert compiled.item() == pytest.approx(plain.item(), rel=1e-4)
