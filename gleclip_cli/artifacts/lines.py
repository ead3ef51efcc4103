"""JSON lines: one object per line, sorted, plain ASCII; cut lines are passed over."""

import hashlib
import json
import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gleclip_cli.artifacts.atomic import write_text
from gleclip_cli.artifacts.json_files import json_line


@dataclass(frozen=True)
class Entry:
    """One finished item: its files (relative path -> SHA-256), what it was made from, counts."""

    image_id: str
    files: dict[str, str]
    fingerprint: str = ""
    facts: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        folder: Path,
        image_id: str,
        paths: Iterable[Path],
        fingerprint: str,
        facts: Mapping[str, int],
    ) -> "Entry":
        """Describe files in `folder`, as they are now."""
        files = {path.relative_to(folder).as_posix(): sha256_of(path) for path in paths}
        return cls(image_id, files, fingerprint, whole_numbers(facts))

    @property
    def content(self) -> str:
        """Hashes of its files, by their names: what the next stage makes something from."""
        return ",".join(self.files[name] for name in sorted(self.files))

    def line(self) -> str:
        """The entry as one line of JSON."""
        content: dict[str, Any] = {"id": self.image_id, "files": self.files}
        if self.fingerprint:
            content["input"] = self.fingerprint
        if self.facts:
            content["facts"] = self.facts
        return json_line(content)

    def intact(self, folder: Path) -> bool:
        """Whether every file is there with the bytes that were written."""
        try:
            return all(sha256_of(folder / name) == digest for name, digest in self.files.items())
        except OSError:
            return False


def whole_numbers(counts: Mapping[str, int]) -> dict[str, int]:
    """Plain integers, for JSON: numpy's and booleans become them, floats are refused."""
    return {name: operator.index(count) for name, count in counts.items()}


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_lines(path: Path) -> list[dict[str, Any]]:
    """JSON objects of a file; a line that a kill cut short is passed over."""
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return []
    contents = []
    for line in text.split("\n"):
        try:
            content = json.loads(line)
        except ValueError:
            continue
        if isinstance(content, dict):
            contents.append(content)
    return contents


def read_entries(paths: Iterable[Path]) -> dict[str, Entry]:
    """Entries by image id, the last one counting; a damaged line only costs a repetition."""
    entries = {}
    for path in paths:
        for content in read_lines(path):
            try:
                entry = Entry(
                    str(content["id"]),
                    dict(content["files"]),
                    str(content.get("input", "")),
                    dict(content.get("facts", {})),
                )
            except (KeyError, TypeError, ValueError):
                continue
            entries[entry.image_id] = entry
    return entries


def write_entries(path: Path, entries: Iterable[Entry]) -> None:
    """Replace an index by these entries, sorted by id; no entries, no file."""
    _write_sorted(path, [(entry.image_id, entry.line()) for entry in entries])


def write_failures(path: Path, failures: Iterable[Mapping[str, Any]]) -> None:
    """Replace failed.jsonl by these failures, sorted by id; no failures, no file."""
    _write_sorted(path, [(str(failure["id"]), json_line(failure)) for failure in failures])


def digest_of(key: str, entries: Iterable[Entry]) -> str:
    """Hash of a stage's settings and of every byte it made."""
    lines = [entry.line() for entry in sorted(entries, key=lambda entry: entry.image_id)]
    return hashlib.sha256((key + "\n" + "".join(lines)).encode()).hexdigest()


def _write_sorted(path: Path, lines: list[tuple[str, str]]) -> None:
    text = "".join(line for _, line in sorted(lines))
    if not text:
        path.unlink(missing_ok=True)
    elif not path.exists() or path.read_bytes() != text.encode():
        write_text(path, text)
