"""What is installed, by the records of the installer; nothing is imported."""

import os
import platform
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from typing import TYPE_CHECKING

from gleclip_cli import __version__
from gleclip_cli.tools.doctor.finding import FAULT, NOTE, OK, Finding

if TYPE_CHECKING:  # the doctor works without it
    from packaging.requirements import Requirement

_OLDEST_PYTHON = (3, 11)
_FOR = {
    "crf": "--crf-backend pydensecrf",
    "smp": "--arch smp:<decoder>:<encoder>",
    "onnx": "export --format onnx",
    "tensorboard": "--log-to tensorboard",
    "dev": "work on gleclip itself",
}
"""What every extra is for."""
_OPENCV = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)
_ONE_OPENCV = (
    "pip uninstall -y {}, then pip install opencv-python-headless: they overwrite each other."
)
_PAIR = (
    "Install torch and torchvision again, both from one package index, as the PyTorch site says."
)
_VARIABLES = (
    "GLECLIP_DATA",
    "HF_HOME",
    "HF_HUB_OFFLINE",
    "OMP_NUM_THREADS",
    "CUDA_VISIBLE_DEVICES",
)


def check_installed() -> list[Finding]:
    """Look at versions, requirements, OpenCV's wheels, torch's partner, and the environment."""
    return [_python(), *_requirements(), _opencv(), *_pair(), _environment()]


def _python() -> Finding:
    found = f"gleclip {__version__}, Python {platform.python_version()}, {platform.platform()}"
    if sys.version_info < _OLDEST_PYTHON:
        return Finding("versions", FAULT, found, "Use Python 3.11 or newer.")
    return Finding("versions", OK, found)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _requirements() -> Iterator[Finding]:
    """Compare what gleclip asks for with what is there; extras that are not there are a note."""
    try:
        from packaging.requirements import InvalidRequirement, Requirement

        asked = [Requirement(line) for line in metadata.requires("gleclip") or ()]
    except (ImportError, metadata.PackageNotFoundError):
        found = "not known: gleclip itself is not installed"
        yield Finding("requirements", NOTE, found, "pip install . in gleclip's folder.")
        return
    except InvalidRequirement as error:
        yield Finding("requirements", NOTE, f"not readable: {error}")
        return
    base = [one for one in asked if _holds(one, "")]
    faults = _lacking(base)
    found = faults or f"all {len(base)} packages"
    state, remedy = (FAULT, "pip install . in gleclip's folder again.") if faults else (OK, "")
    yield Finding("requirements", state, found, remedy)
    recorded = metadata.metadata("gleclip").get_all("Provides-Extra") or ()
    for extra in _FOR:
        own = [one for one in asked if _holds(one, extra) and not _holds(one, "")]
        yield _extra(extra, own, recorded=extra in recorded)


def _lacking(asked: Sequence["Requirement"]) -> str:
    """Tell what is missing or of another version; empty if nothing is."""
    faults = []
    for one in asked:
        version = _version(one.name)
        if version is None:
            faults.append(f"{one.name} is missing")
        elif not one.specifier.contains(version, prereleases=True):
            faults.append(f"{one.name} is {version}, not {one.specifier}")
    return "; ".join(faults)


def _extra(name: str, asked: Sequence["Requirement"], *, recorded: bool) -> Finding:
    """Tell whether an extra is complete; one that is not is no fault, and its use is told.

    `recorded`: whether the records know it, which an installation in place may have outgrown.
    """
    title = f"extra {name}"
    if recorded and not asked:
        return Finding(title, NOTE, "has no package for this Python", "Use an older Python for it.")
    lacking = _lacking(asked) if recorded else "not known: the records are older than gleclip"
    if not lacking:
        return Finding(title, OK, "installed")
    remedy = f"pip install '.[{name}]' in gleclip's folder, for {_FOR[name]}."
    return Finding(title, NOTE, lacking, remedy)


def _holds(requirement: "Requirement", extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _opencv() -> Finding:
    wheels = {name: version for name in _OPENCV if (version := _version(name))}
    found = ", ".join(f"{name} {version}" for name, version in wheels.items()) or "none"
    if len(wheels) == 1:
        return Finding("OpenCV wheels", OK, found)
    names = " ".join(wheels)
    remedy = _ONE_OPENCV.format(names) if wheels else "pip install opencv-python-headless"
    return Finding("OpenCV wheels", FAULT, found, remedy)


def _pair() -> Iterator[Finding]:
    """Compare builds of torch and torchvision, and what the latter asks for."""
    torch, vision = _version("torch"), _version("torchvision")
    if torch is None or vision is None:
        missing = "torch" if torch is None else "torchvision"
        yield Finding("torch and torchvision", FAULT, f"{missing} is not installed", _PAIR)
        return
    found = f"torch {torch}, torchvision {vision}"
    builds = [version.partition("+")[2] for version in (torch, vision)]
    if all(builds) and builds[0] != builds[1]:
        yield Finding("torch and torchvision", FAULT, f"{found}: different builds", _PAIR)
        return
    if wanted := _unmet(torch):
        found = f"{found}, which wants torch {wanted}"
        yield Finding("torch and torchvision", FAULT, found, _PAIR)
        return
    yield Finding("torch and torchvision", OK, found)


def _unmet(torch: str) -> str:
    """Return what torchvision asks of torch, if that version is not it."""
    try:
        from packaging.requirements import Requirement
        from packaging.version import Version
    except ImportError:
        return ""
    asked = [Requirement(line) for line in metadata.requires("torchvision") or ()]
    public = Version(torch).public
    unmet = [
        str(one.specifier)
        for one in asked
        if one.name == "torch" and not one.specifier.contains(public, prereleases=True)
    ]
    return ", ".join(unmet)


def _environment() -> Finding:
    known = [f"{name}={os.environ[name]}" for name in _VARIABLES if name in os.environ]
    return Finding("environment", OK, ", ".join(known) or "no variable that matters is set")
