"""`open_stage`: resume, failures and manifest of one output folder.

A stage with items (images) asks `Stage.todo` what is left and records each with `Stage.done`.
A stage without items (a training) asks `Stage.finished`. Both hand the files of the output as a
whole to `Stage.finish`.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

from gleclip_cli.artifacts.atomic import atomic_write
from gleclip_cli.artifacts.faults import Faults
from gleclip_cli.artifacts.folder import check_inodes, entered_folder
from gleclip_cli.artifacts.index import WHOLE, Index
from gleclip_cli.artifacts.journal import Journal
from gleclip_cli.artifacts.lines import Entry, whole_numbers
from gleclip_cli.artifacts.lock import FolderLock
from gleclip_cli.artifacts.manifest import (
    MANIFEST_FILE,
    Manifest,
    build_manifest,
    load_manifest,
    require,
    store_manifest,
    wait_for,
)
from gleclip_cli.artifacts.run_dir import RunDir, printable
from gleclip_cli.artifacts.settings import check_folder, joint_digest, stage_settings
from gleclip_cli.config import Execution
from gleclip_cli.errors import EnvironmentFault
from gleclip_cli.progress import SILENT, Progress, counted

__all__ = ["Manifest", "Stage", "atomic_write", "load_manifest", "open_stage", "require"]


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
            entry = entered_folder(folder, settings, execution, by_items=bool(item_ids))
            warnings = stack.enter_context(entry)
            run.opened = True
            opened.start(warnings, keep=execution.resume, keep_others=keep_others)
        stack.enter_context(opened.closing)
        yield opened


class Stage:
    """An open stage output; made by `open_stage`.

    `finished`: there is nothing left to do (with items, ask after `todo`); `dry_run`: nothing
    may be written; `listeners` are told what is logged; `closing`: ends with `open_stage`.
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
        self.closing = ExitStack()
        self.index = Index(folder, execution.shard, item_ids)
        self._journal = Journal(folder, execution, arguments, progress)
        self.listeners = self._journal.listeners
        self._faults = Faults(self.index, execution, progress)
        self._settings = settings
        self._execution = execution
        self._input_digest = joint_digest(settings["digests"])
        self._fingerprints: Mapping[str, str] = {}
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

    def item(self, image_id: str, path: Path | None = None) -> AbstractContextManager[None]:
        """Work on one item; a fault of the item is recorded, or raised under `--on-bad stop`.

        Raises:
            BadInput: the item is bad and `on_bad` is stop, or `max_failures` is reached.
            EnvironmentFault: the disk is full; no other item would fare better.
        """
        return self._faults.item(image_id, path)

    def begun(self) -> Manifest:
        """Describe an output while it is made, for a stage that works on it at the same time."""
        settings = dict(self._settings)
        stage, key = settings["stage"], settings["key"]
        return Manifest(stage, key, {}, False, self.folder / MANIFEST_FILE, settings)

    def done(self, image_id: str, *paths: Path, **facts: int) -> None:
        """Record a finished item and its files; `facts` are summed into the manifest's counts."""
        if not self.dry_run:
            fingerprint = self._fingerprints.get(image_id, "")
            self.index.append(Entry.of(self.folder, image_id, paths, fingerprint, facts))

    def note(self, **facts: Any) -> None:
        """Add facts to the manifest, such as the device or a chosen threshold."""
        self._journal.note(**facts)

    def warn(self, message: str) -> None:
        """Say and record something the user should know."""
        self._journal.warn(message)

    def log(self, event: Mapping[str, Any]) -> None:
        """Append one event to log.jsonl."""
        self._journal.log(event)

    def finish(self, *paths: Path, **counts: int) -> Manifest:
        """Close the output: `paths` are files of the output as a whole, `counts` for people.

        Only the last shard writes the manifest; an output that was whole already keeps its own.
        Shards that run together return when it is there.
        """
        if not self.dry_run and (paths or not (self.index.item_ids or self.finished)):
            self.index.append(Entry.of(self.folder, WHOLE, paths, self._input_digest, {}))
        numbers = whole_numbers(counts)
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
            about = self._journal.about()
            manifest = build_manifest(self.folder, self._settings, contents, numbers, about)
            if contents.ended and not self.dry_run:
                manifest = store_manifest(manifest)
                self.log({"event": "finish", "counts": manifest.counts})
            elif last and not self.dry_run:
                self._take_back_manifest()
        if self._execution.together and not contents.ended and not self.dry_run:
            return wait_for(manifest)
        return manifest

    def _take_back_manifest(self) -> None:
        (self.folder / MANIFEST_FILE).unlink(missing_ok=True)
