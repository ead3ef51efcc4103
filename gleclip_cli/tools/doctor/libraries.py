"""Libraries, devices and weights, as another process has found them."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gleclip_cli.errors import EnvironmentFault
from gleclip_cli.resources import MICRO_CLIP, clip_files
from gleclip_cli.tools.doctor.finding import FAULT, NOTE, OK, Finding
from gleclip_cli.tools.doctor.probe import MODEL, STEPS, TAG

_PATIENCE = 300
_OPTIONAL = {
    "CRF pydensecrf": "Only for --crf-backend pydensecrf: pip install '.[crf]' (Python below 3.13, "
    "C++ compiler).",
}
_CRASHED = "ended this process"

Facts = Mapping[str, Any]


def tried() -> dict[str, Facts]:
    """Try every library in a process of its own; return facts, or an `error`, by step."""
    command = [sys.executable, "-m", "gleclip_cli.tools.doctor.probe"]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "HF_HUB_OFFLINE": "1"}
    try:
        told = subprocess.run(
            command, capture_output=True, text=True, timeout=_PATIENCE, env=environment
        ).stdout
    except subprocess.TimeoutExpired as error:
        told = error.stdout.decode() if isinstance(error.stdout, bytes) else error.stdout or ""
    found: dict[str, Facts] = {}
    for line in told.splitlines():
        told_of = json.loads(line)
        # a first line without facts, then a second with them, unless it crashed in between
        found[told_of["step"]] = told_of.get("facts", {"error": _CRASHED})
    return found


def check_libraries(found: Mapping[str, Facts]) -> list[Finding]:
    """Tell which libraries work, what torch computes on, and where weights are."""
    rows = [
        _library(name, found.get(name, {"error": "was not tried"}))
        for name in STEPS
        if name != "CLIP weights"
    ]
    if "error" not in found.get("torch", {"error": ""}):
        rows.append(_devices(found["torch"]))
    return [*rows, *_weights(found.get("CLIP weights", {"error": "was not tried"}))]


def _library(name: str, facts: Facts) -> Finding:
    if "error" not in facts:
        return Finding(name, OK, facts.get("version") or "works")
    if name in _OPTIONAL:
        return Finding(name, NOTE, "not installed or broken", _OPTIONAL[name])
    remedy = "Install it again: pip install --force-reinstall, with the version gleclip asks for."
    if name == "torchvision":
        remedy = "Install torch and torchvision again, both from one package index."
    if name.startswith("CRF"):
        remedy = "Mend numba first; see its line."
    return Finding(name, FAULT, str(facts["error"]), remedy)


def _devices(torch: Facts) -> Finding:
    devices = torch["devices"]
    if devices:
        told = ", ".join(
            f"{d['name']} ({d['free'] / 2**30:.0f} of {d['total'] / 2**30:.0f} GiB free)"
            for d in devices
        )
        return Finding("devices", OK, f"CUDA {torch['cuda']}: {told}")
    if torch.get("mps"):
        return Finding("devices", OK, "mps; name it with --device mps")
    cpu = f"CPU with {torch['threads']} threads"
    if not torch["cuda"]:
        return Finding("devices", OK, f"{cpu}; this torch is built without CUDA")
    return Finding(
        "devices",
        NOTE,
        f"{cpu}; this torch is built for CUDA {torch['cuda']}, which finds no device",
        "With a GPU: see whether nvidia-smi shows it, and update its driver.",
    )


def _weights(facts: Facts) -> list[Finding]:
    try:
        clip_files(MICRO_CLIP, MICRO_CLIP)
        micro = Finding("micro-CLIP", OK, "in the package; scenes work offline")
    except EnvironmentFault as error:
        micro = Finding("micro-CLIP", FAULT, error.cause, error.remedy)
    file = facts.get("file")
    if file:
        return [micro, Finding("CLIP weights", OK, f"{MODEL} {TAG}: {file}")]
    own = Path("~/.cache/clip/ViT-B-16.pt").expanduser()
    remedy = "They are fetched when they are first needed; without a network, name a file of them."
    if own.is_file():
        remedy = f"OpenAI's own file is here: use --clip-weights {own}."
    reason = facts.get("error", "not on this machine")
    return [micro, Finding("CLIP weights", NOTE, f"{MODEL} {TAG}: {reason}", remedy)]
