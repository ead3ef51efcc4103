"""`Index`: which items of a stage output are done or failed, for one shard of a writer.

Every shard appends to its own `index.<i>-of-<n>.jsonl`; the last one merges them all into
`index.0-of-1.jsonl`, so the bytes do not tell how many processes worked.
"""

import hashlib
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gleclip_cli.artifacts.atomic import append_line, remove_temporaries
from gleclip_cli.artifacts.json_files import json_line
from gleclip_cli.artifacts.lines import (
    Entry,
    read_entries,
    read_lines,
    write_entries,
    write_failures,
)
from gleclip_cli.artifacts.lock import FolderLock

FAILED_FILE = "failed.jsonl"
WHOLE = ""
"""Id of the entry for files of the output as a whole."""


@dataclass(frozen=True)
class Contents:
    """What a stage output holds; `ended`: each of its `items` is done or failed."""

    items: int
    ended: bool
    entries: tuple[Entry, ...]
    failures: tuple[dict[str, Any], ...]


class Index:
    """The items of one stage output, and how far this shard is with its own."""

    def __init__(self, folder: Path, shard: tuple[int, int], item_ids: Sequence[str]) -> None:
        self.folder = folder
        self.item_ids = tuple(item_ids)
        self._shard = shard
        self._path = folder / f"index.{shard[0]}-of-{shard[1]}.jsonl"
        self._entries: dict[str, Entry] = {}
        self._others: set[str] = set()
        self._failed: set[str] = set()

    def read(self, *, keep: bool) -> None:
        """Learn what is done and leave everything as it is (dry run)."""
        if keep:
            self._entries = self._own(read_entries(index_files(self.folder)))

    def adopt(self, *, keep: bool, retry: bool) -> None:
        """Gather this shard's entries in its own file, whoever made them.

        `retry`: forget which items failed, because they will be tried again.
        """
        with self.guard():
            if keep:
                self._entries = self._own(read_entries(index_files(self.folder)))
            for path in index_files(self.folder):
                if path != self._path and not path.name.endswith(f"-of-{self._shard[1]}.jsonl"):
                    entries = read_entries([path]).values()
                    write_entries(path, [e for e in entries if not self._owns(e.image_id)])
            write_entries(self._path, self._entries.values())
            if retry:
                others = [f for i, f in self.failures().items() if not self._owns(i)]
                write_failures(self.folder / FAILED_FILE, others)
            self._failed = set(self.failures())

    def keep_others(self) -> None:
        """Add finished items of earlier lists to this one, as they are, unless files are gone."""
        known = read_entries(index_files(self.folder))
        self._others = {
            image_id
            for image_id, entry in known.items()
            if image_id and all((self.folder / name).is_file() for name in entry.files)
        }.difference(self.item_ids)
        self.item_ids += tuple(sorted(self._others))

    def own_ids(self) -> list[str]:
        """Items of this shard, in the order of the list."""
        return [i for i in self.item_ids if i not in self._others and self._owns(i)]

    def ended(self) -> bool:
        """Whether every item of every shard is done or failed; call inside `guard`."""
        known = {*read_entries(index_files(self.folder)), *self.failures()}
        return known.issuperset(self.item_ids)

    def sort_out(
        self, fingerprints: Mapping[str, str], *, spent: Collection[str] = ()
    ) -> tuple[set[str], set[str], set[str]]:
        """Own items whose input has changed, whose files are damaged, and that are not done.

        `spent`: items whose files may be gone.
        """
        changed, damaged, missing = set(), set(), set()
        for image_id in self.own_ids():
            entry = self._entries.get(image_id)
            if entry is None:
                missing.add(image_id)
            elif entry.fingerprint != fingerprints.get(image_id, ""):
                changed.add(image_id)
            elif image_id not in spent and not entry.intact(self.folder):
                damaged.add(image_id)
        return changed, damaged, missing

    def entry(self, image_id: str) -> Entry | None:
        """What this shard knows of an item, or of `WHOLE`."""
        return self._entries.get(image_id)

    def drop(self, image_ids: set[str], *, write: bool = True) -> None:
        """Forget entries, before their items are made again."""
        self._entries = {k: e for k, e in self._entries.items() if k not in image_ids}
        if write:
            with self.guard():
                write_entries(self._path, self._entries.values())

    def append(self, entry: Entry) -> None:
        """Record a finished item; it survives a kill from here on."""
        if self._entries.get(entry.image_id) == entry:
            return
        self._entries[entry.image_id] = entry
        with self.guard():
            append_line(self._path, entry.line())

    def mend(self, image_id: str) -> None:
        """Take back an earlier failure of an item that has now gone well."""
        if image_id in self._failed:
            self._failed.discard(image_id)
            with self.guard():
                others = [f for i, f in self.failures().items() if i != image_id]
                write_failures(self.folder / FAILED_FILE, others)

    def fail(self, failure: Mapping[str, Any]) -> None:
        """Record a failed item."""
        self._failed.add(str(failure["id"]))
        with self.guard():
            append_line(self.folder / FAILED_FILE, json_line(failure))

    def close(self, *, last: bool = True) -> "Contents":
        """Sort and, after the last shard, merge; call inside `guard`.

        Not `last`: another shard will merge, though all items may be done.
        """
        entries = read_entries(index_files(self.folder))
        failures = self.failures()
        listed = {*self.item_ids, WHOLE} if self.item_ids else set(entries)
        if not last or any(i not in entries and i not in failures for i in self.item_ids):
            write_entries(self._path, self._entries.values())
            return self._contents(False, entries.values(), failures.values())
        kept = [e for image_id, e in sorted(entries.items()) if image_id in listed]
        self._remove_orphans(kept, [e for i, e in entries.items() if i not in listed])
        write_entries(self.folder / "index.0-of-1.jsonl", kept)
        for path in index_files(self.folder):
            if path.name != "index.0-of-1.jsonl":
                path.unlink()
        write_failures(self.folder / FAILED_FILE, failures.values())
        remove_temporaries(self.folder)
        return self._contents(True, kept, failures.values())

    def state(self) -> "Contents":
        """What `close` would return, without writing (dry run)."""
        failures = self.failures()
        ended = all(i in self._entries or i in failures for i in self.item_ids)
        return self._contents(ended, self._entries.values(), failures.values())

    def _contents(
        self, ended: bool, entries: Iterable[Entry], failures: Iterable[dict[str, Any]]
    ) -> "Contents":
        return Contents(len(self.item_ids), ended, tuple(entries), tuple(failures))

    def failures(self) -> dict[str, dict[str, Any]]:
        """Failed items of all shards."""
        lines = read_lines(self.folder / FAILED_FILE)
        return {str(line.get("id", "")): line for line in lines}

    @contextmanager
    def guard(self, *, active: bool = True) -> Iterator[None]:
        """Keep the other shards from the index files for a moment."""
        if self._shard[1] == 1 or not active:
            yield
            return
        lock = FolderLock(self.folder / ".lock.index", wait=True)
        try:
            yield
        finally:
            lock.release()

    def _own(self, entries: Mapping[str, Entry]) -> dict[str, Entry]:
        return {image_id: e for image_id, e in entries.items() if self._owns(image_id)}

    def _owns(self, image_id: str) -> bool:
        index, count = self._shard
        if image_id == WHOLE:
            return index == 0
        number = int(hashlib.sha256(os.fsencode(image_id)).hexdigest()[:15], 16)
        return number % count == index

    def _remove_orphans(self, kept: Iterable[Entry], orphans: Iterable[Entry]) -> None:
        """Remove files of items that left the list, so old and new runs hold the same."""
        needed = {name for entry in kept for name in entry.files}
        for name in {name for entry in orphans for name in entry.files} - needed:
            path = self.folder / name
            if path.resolve().is_relative_to(self.folder.resolve()):
                path.unlink(missing_ok=True)


def index_files(folder: Path) -> list[Path]:
    """Every shard's index in a stage output."""
    return sorted(folder.glob("index.*-of-*.jsonl"))
