"""`settings.json`: what decides the content of a stage output, and whether a folder fits it."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from gleclip_cli.artifacts.json_files import read_json, write_json
from gleclip_cli.artifacts.manifest import MANIFEST_FILE, SETTINGS_FILE, Manifest
from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.config import Execution
from gleclip_cli.errors import BadInput, EnvironmentFault, OtherSettings
from gleclip_cli.progress import Progress

FORMAT_VERSION = 1
_KEYED = ("format", "stage", "config", "weights", "inputs")
_LEARNING = ("train_cam", "train_seg")
"""Stages that a raised limit does not extend but start anew."""


def stage_settings(
    stage: str,
    name: str,
    config: Any,
    weights: Mapping[str, str],
    inputs: Mapping[str, Manifest],
) -> dict[str, Any]:
    """Settings of a stage output; `key` hashes everything in `_KEYED`, `digests` only informs.

    What a limit has cut short has the key of the whole: it can be extended, with all that follows.
    """
    settings: dict[str, Any] = {
        "format": FORMAT_VERSION,
        "stage": stage,
        "config": dict(config) if isinstance(config, Mapping) else asdict(config),
        "weights": dict(weights),
        "inputs": {source: manifest.key for source, manifest in inputs.items()},
    }
    settings = json.loads(json.dumps(settings, sort_keys=True, default=str))
    digests = {source: manifest.digest for source, manifest in inputs.items()}
    return {**settings, "name": name, "key": _key(settings), "digests": digests}


def _key(settings: Mapping[str, Any]) -> str:
    keyed = {field: settings[field] for field in _KEYED}
    if "limit" in settings["config"]:
        keyed["config"] = {**settings["config"], "limit": None}
    return hashlib.sha256(json.dumps(keyed, sort_keys=True).encode()).hexdigest()


def claim_folder(
    folder: Path,
    settings: Mapping[str, Any],
    execution: Execution,
    *,
    by_items: bool,
    alone: bool,
) -> str:
    """Make `folder` hold output of these settings or nothing; returns what to warn of.

    `by_items`: the stage can tell which items a change touches; `alone`: no other shard writes.

    Raises:
        OtherSettings: it holds output of other settings, or files of somebody else.
        EnvironmentFault: it would have to be emptied while others write there.
    """
    clear = partial(_clear, folder, alone=alone)
    warning = ""
    old = read_settings(folder)
    if old is None:
        _refuse_foreign_files(folder)
    elif not _fits(old, settings):
        if not execution.overwrite:
            raise _other_settings(folder, old, settings)
        clear()
    elif not execution.resume and execution.shard[1] == 1:
        clear()
    elif not by_items and _has_moved(old, settings):
        # Nobody can tell which part of a training a changed image touched.
        warning = f"The input of {printable(folder)} has changed: made again from the start."
        clear()
    if old != settings:
        write_json(folder / SETTINGS_FILE, settings)
    return warning


def check_folder(
    folder: Path,
    settings: Mapping[str, Any],
    execution: Execution,
    *,
    by_items: bool,
    progress: Progress,
) -> bool:
    """Whether finished items of `folder` would be kept; nothing is written (dry run).

    Weights that have not been fetched are taken for those that the folder was made with.

    Raises:
        OtherSettings: it holds output of other settings, or files of somebody else.
    """
    old = read_settings(folder)
    if not all(settings["weights"].values()):
        progress.say("The weights of CLIP are not on this machine: they would be fetched.")
    if old is None:
        _refuse_foreign_files(folder)
        return False
    known = old.get("weights", {})
    weights = {name: sha or known.get(name, "") for name, sha in settings["weights"].items()}
    settings = {**settings, "weights": weights}
    if _fits(old, {**settings, "key": _key(settings)}):
        return execution.resume and (by_items or not _has_moved(old, settings))
    other = _other_settings(folder, old, settings)
    if not execution.overwrite:
        raise other
    progress.say(f"Would be replaced: {other.cause}")
    return False


def _fits(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether output of the settings `old` can be kept, and extended if a limit has been raised.

    A lower limit does not fit: finished items would have to go. Nor does a higher one fit a
    training, unless that has to start anew in any case, because its input has changed.
    """
    before, after = _limit(old), _limit(new)
    raised = before is not None and (after is None or after > before)
    anew = new["stage"] not in _LEARNING or old.get("digests") != new["digests"]
    return old.get("key") == new["key"] and (before == after or (raised and anew))


def _has_moved(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return old.get("digests") != new["digests"] or _limit(old) != _limit(new)


def _limit(settings: Mapping[str, Any]) -> int | None:
    limit: int | None = settings.get("config", {}).get("limit")
    return limit


def joint_digest(digests: Mapping[str, str]) -> str:
    """One hash of all inputs; empty for a stage without inputs."""
    text = "".join(f"{name} {digest}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256(text.encode()).hexdigest() if text else ""


def read_settings(folder: Path) -> dict[str, Any] | None:
    """Settings of the output in `folder`, if there is one."""
    path = folder / SETTINGS_FILE
    if not path.exists():
        return None
    try:
        return read_json(path)
    except BadInput:
        return {}  # fits nothing, so only --overwrite helps


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Settings that differ, as "name old -> new"."""
    before, after = dict(_flat(old)), dict(_flat(new))
    return [
        f"{name} {before.get(name, 'unset')} -> {after.get(name, 'unset')}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]


def _flat(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Settings as (name, text): fields of the config bare, hashes shortened."""
    for field in _KEYED:
        value = settings.get(field)
        if not isinstance(value, dict):
            yield field, json.dumps(value)
            continue
        for name, entry in value.items():
            if field == "config":
                yield name, json.dumps(entry)
            else:
                yield f"{field.removesuffix('s')} {name}", str(entry)[:12]


def _other_settings(folder: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> OtherSettings:
    if "limit" in old.get("config", {}) and _fits({**old, "key": new["key"]}, new):
        old = {**old, "config": {**old["config"], "limit": _limit(new)}}  # is no cause
    listed = "; ".join(differences(old, new)) if old else f"{SETTINGS_FILE} is damaged"
    return OtherSettings(
        f"{printable(folder)} was made with other settings: {printable(listed)}.",
        "Replace it with --overwrite, or choose another folder.",
    )


def _refuse_foreign_files(folder: Path) -> None:
    if not folder.is_dir():
        return
    foreign = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    if foreign:
        raise OtherSettings(
            f"{printable(folder)} holds {printable(foreign[0])}, which is not gleclip's.",
            "Choose another folder, or move these files away.",
        )


def _clear(folder: Path, *, alone: bool) -> None:
    """Empty the folder; the manifest goes first, the settings stay until they are replaced."""
    if not alone:
        raise EnvironmentFault(
            f"{printable(folder)} is being written with other settings.",
            "Wait until that has finished, or stop it.",
        )
    (folder / MANIFEST_FILE).unlink(missing_ok=True)
    for path in folder.iterdir():
        if path.name == SETTINGS_FILE or path.name.startswith(".lock"):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
