"""Processors, memory and disk of this machine, as far as this process may use them."""

import os
import shutil
import tempfile
from pathlib import Path

from gleclip_cli.tools.doctor.finding import FAULT, NOTE, OK, Finding

_LITTLE_MEMORY, _LITTLE_DISK = 4 * 2**30, 5 * 2**30
_CGROUP = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def check_machine(place: Path) -> list[Finding]:
    """Look at processors, memory and the disks of runs, caches and temporary files."""
    home = os.environ.get("HF_HOME") or "~/.cache"
    places = {"runs": place, "cache": Path(home).expanduser(), "temporary": _temporary()}
    return [
        _processors(),
        _memory(),
        *(_disk(name, folder) for name, folder in places.items()),
        _writable(place),
    ]


def _temporary() -> Path:
    return Path(tempfile.gettempdir())


def _processors() -> Finding:
    affinity = getattr(os, "sched_getaffinity", None)  # not everywhere
    usable = len(affinity(0)) if affinity else os.cpu_count() or 1
    return Finding("processors", OK, f"{usable} usable of {os.cpu_count()}")


def _memory() -> Finding:
    try:
        import psutil

        memory = psutil.virtual_memory()
        total, free = int(memory.total), int(memory.available)
    except ImportError:
        return Finding("memory", NOTE, "not known: psutil is missing", "pip install psutil")
    limit = _limit()
    if limit is not None and limit < total:
        total, free = limit, min(free, limit)
    found = f"{_gib(free)} free of {_gib(total)}"
    if total < _LITTLE_MEMORY:
        return Finding("memory", NOTE, found, "CLIP ViT-B/16 wants about 2 GiB: use few --workers.")
    return Finding("memory", OK, found)


def _limit() -> int | None:
    """Return what the container may use, if it is told."""
    for name in _CGROUP:
        try:
            text = Path(name).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            return int(text)
    return None


def _disk(name: str, folder: Path) -> Finding:
    there = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
    usage = shutil.disk_usage(there)
    found = f"{_gib(usage.free)} free at {folder.absolute()}"
    if usage.free < _LITTLE_DISK:
        remedy = "Free some, or use another place; `gleclip run ... --dry-run` foretells the need."
        return Finding(f"disk, {name}", NOTE, found, remedy)
    return Finding(f"disk, {name}", OK, found)


def _writable(place: Path) -> Finding:
    try:
        with tempfile.TemporaryFile(dir=place):
            return Finding("writing here", OK, str(place.absolute()))
    except OSError as error:
        found = f"{place.absolute()}: {error.strerror}"
        return Finding("writing here", FAULT, found, "Work in a folder of yours, or name --run.")


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
