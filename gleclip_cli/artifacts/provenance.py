"""Versions and hardware for the manifest; asks for them without importing anything heavy."""

import functools
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from gleclip_cli import __version__

_PACKAGES = (
    "accelerate",
    "torch",
    "torchvision",
    "numba",
    "numpy",
    "open_clip_torch",
    "opencv-python-headless",
    "pillow",
    "safetensors",
    "pydensecrf2",
    "segmentation-models-pytorch",
    "timm",
)


def environment() -> dict[str, Any]:
    """Versions and hardware; no user name, no environment dump."""
    return {
        "versions": dict(_versions()),
        "commit": _commit(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        **_torch_facts(),
    }


@functools.cache
def _versions() -> Mapping[str, str]:
    versions = {"python": platform.python_version(), "gleclip": __version__}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _torch_facts() -> dict[str, Any]:
    """Devices and determinism, if the stage has used torch at all; never imports it."""
    torch = sys.modules.get("torch")
    if torch is None:
        return {}
    devices = []
    if torch.cuda.is_initialized():
        devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "devices": devices,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "threads": torch.get_num_threads(),
    }


@functools.cache
def _commit() -> str | None:
    """Commit of the checkout this package runs from, if it is one."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        answer = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
