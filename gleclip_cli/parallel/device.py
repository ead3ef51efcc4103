"""Which device a stage computes on, and in which precision."""

import os
from contextlib import AbstractContextManager, nullcontext

import torch

from gleclip_cli.config import Execution
from gleclip_cli.errors import EnvironmentFault, UsageError
from gleclip_cli.progress import SILENT, Progress

_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


def pick_device(name: str, progress: Progress = SILENT) -> torch.device:
    """Return the device called `auto`, `cpu`, `cuda`, `cuda:<i>` or `mps`.

    `auto` is CUDA where it works, else the CPU, which is told in one line.

    Raises:
        UsageError: no such name.
        EnvironmentFault: the named device is not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        progress.say("No CUDA device: computing on the CPU.")
        return torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    present = {
        "cpu": 1,
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
    }
    if device.type not in present:
        raise UsageError(
            f"--device is {name!r}.", "Choose one of: auto, cpu, cuda, cuda:<number>, mps."
        )
    if (device.index or 0) >= present[device.type]:
        raise EnvironmentFault(
            f"This machine has no device {name} that torch {torch.__version__} can use.",
            "Use --device auto, or install the build of torch for your driver.",
        )
    return device


def device_of(execution: Execution, progress: Progress = SILENT) -> torch.device:
    """Return the device of this process; errors as `pick_device` and `own_device`."""
    count = execution.shard[1] if execution.together else 1
    return pick_device(own_device(execution.device, count), progress)


def own_device(name: str, count: int) -> str:
    """Return the device of this one of `count` processes of a launcher: GPUs are not shared.

    Raises:
        UsageError: the name is that of one device.
    """
    if count == 1 or name == "cpu":
        return name
    if name == "auto" and not torch.cuda.is_available():
        return "cpu"
    if name in ("auto", "cuda"):
        return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    raise UsageError(
        f"--device {name} is one device for {count} processes.", "Use --device cuda, or cpu."
    )


def arithmetic(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Return a context that computes in `fp32`, `bf16` or `fp16`; the last two on CUDA alone.

    Half precision on a CPU is slower, not faster.
    """
    return half_precision(precision if device.type == "cuda" else "fp32", device)


def half_precision(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Return a context that computes in `fp32`, `bf16` or `fp16` on any device, fast or not."""
    if precision not in _HALF:
        return nullcontext()
    return torch.autocast(device.type, dtype=_HALF[precision])
