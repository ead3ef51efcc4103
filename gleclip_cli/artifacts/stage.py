"""`open_stage`: resume, failures and manifest of one output folder.

A stage with items (images) asks `Stage.todo` what is left and records each with `Stage.done`.
A stage without items (a training) asks `Stage.finished`. Both hand the files of the output as a
whole to `Stage.finish`.
"""

import operator
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gleclip_cli.artifacts.atomic import append_line, as_item_fault, atomic_write
from gleclip_cli.artifacts.folder import check_inodes, enter_folder
from gleclip_cli.artifacts.index import FAILED_FILE, WHOLE, Index
from gleclip_cli.artifacts.json_files import json_line, read_json
from gleclip_cli.artifacts.lines import Entry, sha256_of
from gleclip_cli.artifacts.lock import FolderLock
from gleclip_cli.artifacts.manifest import (
    MANIFEST_FILE,
    Manifest,
    build_manifest,
    load_manifest,
    require,
    store_manifest,
)
from gleclip_cli.artifacts.run_dir import RunDir, printable
from gleclip_cli.artifacts.settings import check_folder, joint_digest, stage_settings
from gleclip_cli.config import Execution
from gleclip_cli.errors import BadInput, EnvironmentFault
from gleclip_cli.progress import SILENT, Progress, counted

__all__ = ["Manifest", "Stage", "atomic_write", "load_manifest", "open_stage", "require"]

LOG_FILE = "log.jsonl"
_LOOK_AGAIN = 0.2


@contextmanager
def open_stage(
    run: RunDir,
    stage: str,
    config: Any,
    *,
    name: str = "",
    inputs: Sequence[Manifest | None] = (),
    weights: Mapping[str, str] | None = None,
    item_ids: Sequence[str] = (),
    execution: Execution,
    arguments: Mapping[str, Any] | None = None,
    progress: Progress = SILENT,
    keep_others: bool = False,
) -> Iterator["Stage"]:
    """Open the output folder of a stage for writing.

    `weights`: name -> SHA-256; `item_ids`: every item of the stage, not only of this shard;
    `arguments`: what the manifest should tell about the call; `keep_others`: items that are done
    stay in the output though `item_ids` does not name them.

    Raises:
        OtherSettings: the folder holds output of other settings and `overwrite` is off.
        EnvironmentFault: somebody else is writing there, or it cannot be written.
    """
    folder = run.output(stage, name)
    sources = {manifest.name: manifest for manifest in inputs if manifest is not None}
    settings = stage_settings(stage, name, config, weights or {}, sources)
    opened = Stage(folder, settings, item_ids, execution, arguments or {}, progress)
    with ExitStack() as stack:
        if execution.dry_run:
            keep = check_folder(
                folder, settings, execution, by_items=bool(item_ids), progress=progress
            )
            opened.look(keep=keep)
        else:
            warnings = enter_folder(folder, settings, execution, stack, by_items=bool(item_ids))
            run.opened = True
            opened.start(warnings, keep=execution.resume, keep_others=keep_others)
        stack.enter_context(opened.closing)
        yield opened


class Stage:
    """An open stage output; made by `open_stage`.

    `finished`: there is nothing left to do (with items, ask after `todo`); `dry_run`: nothing
    may be written; `warnings`: what `warn` was told; `closing`: ends with `open_stage`.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any],
        item_ids: Sequence[str],
        execution: Execution,
        arguments: Mapping[str, Any],
        progress: Progress,
    ) -> None:
        self.folder = folder
        self.dry_run = execution.dry_run
        self.finished = False
        self.warnings: list[str] = []
        self.listeners: list[Callable[[Mapping[str, Any]], None]] = []  # are told what is logged
        self.closing = ExitStack()
        self.index = Index(folder, execution.shard, item_ids)
        self._settings = settings
        self._execution = execution
        self._about: dict[str, Any] = {"arguments": dict(arguments)}
        self._progress = progress
        self._started = time.monotonic()
        self._input_digest = joint_digest(settings["digests"])
        self._fingerprints: Mapping[str, str] = {}
        self._failures = 0
        self._left = 0

    def start(self, warnings: Sequence[str], *, keep: bool, keep_others: bool = False) -> None:
        """Take over what is in the folder; `open_stage` calls this once it has the lock."""
        self.finished = keep and (self.folder / MANIFEST_FILE).exists()
        self.index.adopt(keep=keep, retry=bool(self.index.item_ids) or not self.finished)
        if keep_others:
            self.index.keep_others()
        for warning in warnings:
            self.warn(warning)
        whole = self.index.entry(WHOLE)
        if whole is not None and not whole.intact(self.folder):
            self.warn(f"Files of {printable(self.folder)} are damaged and made again.")
            self.finished = False
            self._take_back_manifest()
            self.index.drop({WHOLE})
        self.log({"event": "open", "shard": list(self._execution.shard)})

    def look(self, *, keep: bool) -> None:
        """Learn what is in the folder without touching it (dry run)."""
        self.finished = keep and (self.folder / MANIFEST_FILE).exists()
        self.index.read(keep=keep)

    def todo(
        self, fingerprints: Mapping[str, str] | None = None, *, spent: Collection[str] = ()
    ) -> list[str]:
        """Items of this shard that are not done, in the order of `item_ids`.

        `fingerprints`: item -> hash of what it is made from; an item whose hash has changed is
        done again. Without them, any change in an input of the stage repeats every item. `spent`:
        items whose files may be gone, because nobody needs them any more.

        Raises:
            EnvironmentFault: the file system has no room for that many files.
        """
        own = self.index.own_ids()
        if fingerprints is None:
            fingerprints = dict.fromkeys(own, self._input_digest)
        self._fingerprints = fingerprints
        changed, damaged, missing = self.index.sort_out(fingerprints, spent=spent)
        for image_ids, why in ((changed, "their input has changed"), (damaged, "of damage")):
            if image_ids:
                self.warn(f"Made again, because {why}: {counted(len(image_ids), 'item')}.")
        left = changed | damaged | missing
        self._left = len(left)
        if left:
            self.finished = False
            self.index.drop(left, write=not self.dry_run)
        if left and not self.dry_run:
            self._take_back_manifest()
            check_inodes(self.folder, len(left))
        return [image_id for image_id in own if image_id in left]

    @contextmanager
    def item(self, image_id: str, path: Path | None = None) -> Iterator[None]:
        """Work on one item; a fault of the item is recorded, or raised under `--on-bad stop`.

        Raises:
            BadInput: the item is bad and `on_bad` is stop, or `max_failures` is reached.
            EnvironmentFault: the disk is full; no other item would fare better.
        """
        try:
            yield
        except (BadInput, OSError) as error:
            fault = as_item_fault(error)
            if self._execution.on_bad == "stop" or not isinstance(fault, BadInput):
                raise fault from error
            self._fail(image_id, path, fault)
        else:
            self.index.mend(image_id)

    def begun(self) -> Manifest:
        """Describe an output while it is made, for a stage that works on it at the same time."""
        settings = dict(self._settings)
        stage, key = settings["stage"], settings["key"]
        return Manifest(stage, key, {}, False, self.folder / MANIFEST_FILE, settings)

    def done(self, image_id: str, *paths: Path, **facts: int) -> None:
        """Record a finished item and its files; `facts` are summed into the manifest's counts."""
        if not self.dry_run:
            fingerprint = self._fingerprints.get(image_id, "")
            self.index.append(self._entry(image_id, paths, fingerprint, facts))

    def note(self, **facts: Any) -> None:
        """Add facts to the manifest, such as the device or a chosen threshold."""
        self._about.update(facts)

    def warn(self, message: str) -> None:
        """Say and record something the user should know."""
        self.warnings.append(message)
        self._progress.warn(message)
        self.log({"event": "warning", "message": message})

    def log(self, event: Mapping[str, Any]) -> None:
        """Append one event to log.jsonl."""
        if not self.dry_run:
            moment = datetime.now(UTC).isoformat(timespec="milliseconds")
            append_line(self.folder / LOG_FILE, json_line({"time": moment, **event}))
            for listen in self.listeners:
                listen(event)

    def finish(self, *paths: Path, **counts: int) -> Manifest:
        """Close the output: `paths` are files of the output as a whole, `counts` for people.

        Only the last shard writes the manifest; an output that was whole already keeps its own.
        Shards that run together return when it is there.
        """
        if not self.dry_run and (paths or not (self.index.item_ids or self.finished)):
            self.index.append(self._entry(WHOLE, paths, self._input_digest, {}))
        numbers = _whole_numbers(counts)
        if self.dry_run:
            numbers["to_do"] = self._left if self.index.item_ids else int(not self.finished)
        return self._close(numbers)

    def ended(self) -> bool:
        """Whether this shard is to make the whole: every item of all is done or failed."""
        with self.index.guard():
            if not self.index.ended():
                self._take_back_manifest()
                return False
            if self._execution.shard[1] > 1:
                try:  # the last two may end in the same moment
                    self.closing.callback(FolderLock(self.folder / ".lock.whole").release)
                except EnvironmentFault:
                    return False
        return True

    def leave(self) -> Manifest:
        """Close this shard's part of an output that has not `ended`: another one makes the whole.

        Shards that run together return when it is there.
        """
        return self._close({}, last=False)

    def _close(self, numbers: Mapping[str, int], *, last: bool = True) -> Manifest:
        with self.index.guard(active=not self.dry_run):
            contents = self.index.state() if self.dry_run else self.index.close(last=last)
            about = {
                **self._about,
                "execution": asdict(self._execution),
                "warnings": self.warnings,
                "seconds": round(time.monotonic() - self._started, 3),
            }
            manifest = build_manifest(self.folder, self._settings, contents, numbers, about)
            if contents.ended and not self.dry_run:
                manifest = store_manifest(manifest)
                self.log({"event": "finish", "counts": manifest.counts})
            elif last and not self.dry_run:
                self._take_back_manifest()
        if self._execution.together and not contents.ended and not self.dry_run:
            return self._wait(manifest)
        return manifest

    def _wait(self, manifest: Manifest) -> Manifest:
        """Return the manifest of all shards; a launcher ends this process if one of them dies."""
        while not manifest.path.exists():
            time.sleep(_LOOK_AGAIN)
        data = read_json(manifest.path)
        return replace(manifest, data=data, counts=data["counts"], complete=data["complete"])

    def _entry(
        self, image_id: str, paths: Sequence[Path], fingerprint: str, facts: Mapping[str, int]
    ) -> Entry:
        files = {path.relative_to(self.folder).as_posix(): sha256_of(path) for path in paths}
        return Entry(image_id, files, fingerprint, _whole_numbers(facts))

    def _take_back_manifest(self) -> None:
        (self.folder / MANIFEST_FILE).unlink(missing_ok=True)

    def _fail(self, image_id: str, path: Path | None, fault: BadInput) -> None:
        failure = {"id": image_id, "reason": fault.cause, "remedy": fault.remedy}
        if path is not None:
            failure["path"] = printable(path)
        self.index.fail(failure)
        self._progress.warn(printable(f"{image_id}: {fault.cause}"))
        self._failures += 1
        most = self._execution.max_failures
        if most is not None and self._failures >= most:
            raise BadInput(
                f"Stopped after {self._failures} failed items (--max-failures).",
                f"Read {printable(self.folder / FAILED_FILE)}.",
            ) from fault


def _whole_numbers(counts: Mapping[str, int]) -> dict[str, int]:
    """Plain integers, for JSON: numpy's and booleans become them, floats are refused."""
    return {name: operator.index(count) for name, count in counts.items()}
