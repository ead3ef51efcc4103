"""Writes the class table of a folder of one's own, at its owner's request."""

from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from gleclip_cli.artifacts.atomic import write_text
from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.datasets.class_table import class_table
from gleclip_cli.datasets.folder.files import find_files
from gleclip_cli.datasets.folder.match import tag_pictures
from gleclip_cli.datasets.folder.reader import CLASS_LIST, CLASS_TABLE, class_names
from gleclip_cli.datasets.vocabulary import parse_vocabulary
from gleclip_cli.errors import UsageError
from gleclip_cli.progress import SILENT, Progress, counted


@dataclass(frozen=True)
class Initialised:
    """The class table that was written, and pictures by class."""

    table: Path
    counts: dict[str, int]
    pictures: int


def init(data: Path, *, overwrite: bool = False, progress: Progress = SILENT) -> Initialised:
    """Write `gleclip.toml` into a folder of pictures; nothing else there is touched.

    Raises:
        BadInput: no pictures or no tags.
        UsageError: the table exists and `overwrite` is off, or the classes make no table.
    """
    table = data / CLASS_TABLE
    if (table.exists() or table.is_symlink()) and not overwrite:
        raise UsageError(
            f"{printable(table)} exists.", "Edit it, or write it anew with --overwrite."
        )
    tagged = tag_pictures(find_files(data.absolute()))
    classes = class_names(tagged)
    text = class_table(classes, counts=tagged.counts)
    parse_vocabulary(text, f"of {printable(data)}")
    write_text(table, text)
    counts = {name: tagged.counts.get(name, 0) for name in classes}
    if unknown := [tag for tag in tagged.counts if tag not in counts]:
        progress.warn(f"Not in {CLASS_LIST}: {', '.join(unknown)}.")
    if tagged.problems:
        command = f"gleclip check --dataset folder --data {quote(str(data))}"
        progress.warn(f"{counted(len(tagged.problems), 'problem')}; `{command}` lists them.")
    for note, pictures in sorted(tagged.notes.items()):
        progress.warn(f"{counted(pictures, 'image')}: {note}.")
    return Initialised(table, counts, len(tagged.files.pictures))
