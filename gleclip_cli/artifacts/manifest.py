"""`Manifest`: what a stage made, from what, with what; written last."""

import json
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from gleclip_cli.artifacts.index import Contents, index_files
from gleclip_cli.artifacts.json_files import json_line, read_json, write_json
from gleclip_cli.artifacts.lines import digest_of, read_entries
from gleclip_cli.artifacts.provenance import environment
from gleclip_cli.artifacts.run_dir import RunDir, printable
from gleclip_cli.errors import BadInput, MissingInput
from gleclip_cli.progress import counted

_FAILURES_SHOWN = 20
_LOOK_AGAIN = 0.2
MANIFEST_FILE = "manifest.json"
SETTINGS_FILE = "settings.json"
_OF_ITEMS = ("gen_cam", "refine")
_NAME_OPTIONS = {"gen_cam": "--split", "refine": "--split", "train_seg": "--name"}


@dataclass(frozen=True)
class Manifest:
    """A finished stage output: `key` names its settings, `data` is the whole manifest.

    `complete`: every item of its list is done, none failed. `path`: of manifest.json.
    """

    stage: str
    key: str
    counts: dict[str, int]
    complete: bool
    path: Path
    data: dict[str, Any]

    @property
    def name(self) -> str:
        """Stage and output, such as gen_cam/train."""
        return "/".join(part for part in (self.stage, str(self.data.get("name", ""))) if part)

    @property
    def digest(self) -> str:
        """Hash of the settings and of every byte the stage made."""
        return str(self.data.get("digest", ""))

    def fingerprints(self) -> dict[str, str]:
        """Finished image ids -> hash of their files, for `Stage.todo` of the next stage."""
        entries = read_entries(index_files(self.path.parent))
        return {image_id: entry.content for image_id, entry in sorted(entries.items()) if image_id}


def load_manifest(run: RunDir, stage: str, name: str = "") -> Manifest:
    """Read what a stage left, complete or not.

    Raises:
        MissingInput: the stage has not run or not finished; names the command.
    """
    path = run.output(stage, name) / MANIFEST_FILE
    if not path.exists():
        started = (path.parent / SETTINGS_FILE).exists()
        state = "is not finished" if started else "is missing"
        raise MissingInput(f"{printable(path.parent)} {state}.", _remedy(run, stage, name))
    return _wrap(path, read_json(path))


def require(run: RunDir, stage: str, name: str = "", *, allow_partial: bool) -> Manifest:
    """The manifest of a stage that another one reads.

    Raises:
        MissingInput: the stage has not finished, or some of its items failed and
            `allow_partial` is off, or what maps or masks were made from has changed since.
    """
    manifest = load_manifest(run, stage, name)
    if not manifest.complete and not allow_partial:
        failed = manifest.counts.get("failed", 0)
        raise MissingInput(
            f"{printable(manifest.path.parent)} is incomplete: {counted(failed, 'item')} failed.",
            f"{_remedy(run, stage, name)[:-1]} again, or accept that with --allow-partial.",
        )
    if stage in _OF_ITEMS:
        _refuse_outdated(run, manifest, _remedy(run, stage, name))
    return manifest


def not_kept(maps: Manifest) -> MissingInput:
    """Return the error of who needs maps that were removed once they were refined."""
    return MissingInput(
        f"The maps of {printable(maps.path.parent)} were refined as they were made, and not kept.",
        "Run `gleclip gen-cam` to make them again.",
    )


def _refuse_outdated(run: RunDir, manifest: Manifest, remedy: str) -> None:
    """Masks of yesterday's tags would be wrong without a sign."""
    for source, digest in manifest.data.get("digests", {}).items():
        try:
            current = load_manifest(run, *source.split("/", 1)).digest
        except MissingInput:  # removed since, which changes nothing
            continue
        if current != digest:
            raise MissingInput(
                f"{printable(manifest.path.parent)} was made before {source} changed.",
                f"{remedy[:-1]} again: what is still true is kept.",
            )


def build_manifest(
    folder: Path,
    settings: Mapping[str, Any],
    contents: Contents,
    counts: Mapping[str, int],
    about: Mapping[str, Any],
) -> Manifest:
    """Describe a stage output; nothing is written."""
    done = [entry for entry in contents.entries if entry.image_id]
    facts = Counter[str]()
    for entry in done:
        facts.update(entry.facts)
    failed = len(contents.failures)
    data = {
        **settings,
        "digest": digest_of(settings["key"], contents.entries),
        "complete": contents.ended and not failed,
        "counts": {"items": contents.items, "done": len(done), "failed": failed, **facts, **counts},
        "failures": list(contents.failures[:_FAILURES_SHOWN]),
        **about,
        **environment(),
    }
    # As it will be read again: lists for tuples, null for NaN.
    return _wrap(folder / MANIFEST_FILE, json.loads(json_line(data)))


def store_manifest(manifest: Manifest) -> Manifest:
    """Write a manifest, unless the one on disk describes the same content already."""
    with suppress(BadInput, KeyError):  # none yet, or damaged
        old = _wrap(manifest.path, read_json(manifest.path))
        same = ("config", "digest", "digests", "complete", "failures")
        if all(old.data[name] == manifest.data[name] for name in same):
            return old
    write_json(manifest.path, manifest.data)
    return manifest


def wait_for(manifest: Manifest) -> Manifest:
    """Return the manifest once another shard has written it.

    A launcher ends this process if one of them dies.
    """
    while not manifest.path.exists():
        time.sleep(_LOOK_AGAIN)
    return _wrap(manifest.path, read_json(manifest.path))


def _wrap(path: Path, data: dict[str, Any]) -> Manifest:
    return Manifest(data["stage"], data["key"], data["counts"], data["complete"], path, data)


def _remedy(run: RunDir, stage: str, name: str) -> str:
    option = f" {_NAME_OPTIONS[stage]} {name}" if name and stage in _NAME_OPTIONS else ""
    if stage == "evaluate":
        what, _, split = name.rpartition("-")
        option = f" --what {what} --split {split}"
    command = stage.replace("_", "-")
    return (
        f"Run `gleclip {command} --run {printable(run.root)}{option}{_chosen(run, stage, name)}`."
    )


def _chosen(run: RunDir, stage: str, name: str) -> str:
    """Options that a folder was begun with, where the default would be refused there."""
    try:
        config = read_json(run.output(stage, name) / SETTINGS_FILE)["config"]
    except (BadInput, KeyError, OSError):
        return " --dataset NAME" if stage == "prepare_data" else ""
    options = {"prepare_data": ("dataset", "data"), "gen_cam": ("method",)}.get(stage, ())
    chosen = [(option, str(config.get(option, ""))) for option in options]
    return "".join(f" --{option} {quote(printable(value))}" for option, value in chosen if value)
