"""What train-seg refuses before anything is read."""

import pytest

from gleclip_cli.config import TrainSegConfig
from gleclip_cli.errors import UsageError

STARTED = {"pretrained": "imagenet", "arch": "smp:unet:resnet18"}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"arch": "deeplab"}, "smp:<decoder>:<encoder>"),
        ({"optimiser": "adam"}, "--optimiser is 'adam'"),
        ({"schedule": "step"}, "--schedule is 'step'"),
        ({"precision": "int8"}, "--precision is 'int8'"),
        ({"accumulate": 0}, "--accumulate is 0"),
        ({"crop": 31}, "--crop is 31.\nUse 32 pixels"),
        ({"batch_size": 0}, "--batch-size is 0"),
        ({"clip_norm": -1.0}, "--clip-norm is -1.0"),
        ({"ema": 1.5}, "--ema is 1.5"),
        ({"jitter": -0.1}, "--jitter is -0.1"),
        ({"correction": 0.9}, "no teacher without --ema"),
        ({"correction": 0.9, "ema": 0.9, "targets": "gt"}, "are for pseudo masks"),
        ({"confidence_weights": True, "targets": "gt"}, "are for pseudo masks"),
        ({"refresh": -1, "arch": "clip-decoder"}, "--refresh is -1"),
        ({"refresh": 1}, "use --arch clip-decoder --targets pseudo"),
        ({"refresh": 1, "arch": "clip-decoder", "targets": "gt"}, "--targets pseudo"),
        ({"refresh": 1, "arch": "clip-decoder", "compile": True}, "--compile hides"),
        ({"freeze_norms": True}, "has seen nothing"),
        ({"arch": "clip-decoder", "pretrained": "x.pth"}, "not for clip-decoder"),
    ],
)
def test_what_makes_no_sense_is_refused(values, told):
    with pytest.raises(UsageError) as caught:
        TrainSegConfig(**values)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [
        {**STARTED, "freeze_norms": True},
        {"ema": 0.999, "correction": 0.9, "confidence_weights": True},
        {"arch": "clip-decoder", "refresh": 2, "ema": 0.9, "correction": 0.9},
        {"optimiser": "sgd", "schedule": "cosine", "precision": "bf16", "accumulate": 2},
    ],
)
def test_what_makes_sense_is_taken(values):
    config = TrainSegConfig(**values)
    assert {name: getattr(config, name) for name in values} == values
