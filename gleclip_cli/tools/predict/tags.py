"""What a user knows of the pictures: the same tags for all, or a table of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.datasets.folder.csv_tags import read_csv
from gleclip_cli.datasets.folder.files import Files, Names
from gleclip_cli.datasets.folder.tags import clean, read_json
from gleclip_cli.datasets.vocabulary import Vocabulary
from gleclip_cli.errors import UsageError

_TABLES = (".csv", ".json")


@dataclass(frozen=True)
class Tags:
    """Tags by picture, None where nothing is known; `names`: every tag once, in order."""

    of: Mapping[str, tuple[str, ...] | None]

    @property
    def names(self) -> tuple[str, ...]:
        """Every tag once, sorted."""
        return tuple(sorted({tag for tags in self.of.values() for tag in tags or ()}))

    def class_ids(self, vocabulary: Vocabulary) -> dict[str, list[int] | None]:
        """Return sorted class ids by picture.

        Raises:
            UsageError: a tag is no class.
        """
        numbers = {name: number for number, name in enumerate(vocabulary.classes, 1)}
        for name in self.names:
            if name not in numbers:
                near = " or ".join(vocabulary.near(name))
                raise UsageError(
                    f"There is no class {printable(name)!r}.",
                    f"Did you mean {near}?" if near else f"Known: {', '.join(numbers)}.",
                )
        return {
            image_id: None if tags is None else sorted(numbers[tag] for tag in tags)
            for image_id, tags in self.of.items()
        }


def find_tags(words: Sequence[str], pictures: Mapping[str, Path]) -> Tags:
    """Return the tags of pictures: `words` themselves, or what a table (.csv, .json) says.

    A table has a form of `labels.csv` or `labels.json` (`datasets.folder.tags`); its names are
    paths from its own folder, or mere file names. What it says of other pictures does not count.

    Raises:
        BadInput: the table cannot be read, or names none of the pictures.
        UsageError: it may mean several pictures by one name.
    """
    if not words:
        return Tags(dict.fromkeys(pictures))
    if len(words) == 1 and Path(words[0]).suffix.lower() in _TABLES:
        return Tags(_of_table(Path(words[0]).expanduser(), pictures))
    tags = tuple(dict.fromkeys(map(clean, words)))
    return Tags(dict.fromkeys(pictures, tags))


def _of_table(table: Path, pictures: Mapping[str, Path]) -> dict[str, tuple[str, ...] | None]:
    folder = table.absolute().parent
    base = "images/" if (folder / "images").is_dir() else ""
    below = {_from(folder / base, path): image_id for image_id, path in pictures.items()}
    files = Files(folder, base, {key: [pictures[i]] for key, i in below.items()}, {}, (), {})
    names = Names(files)
    if table.suffix.lower() == ".csv":
        rows = read_csv(table, lambda name: bool(names.find(name)))
    else:
        rows = read_json(table)
    found: dict[str, tuple[str, ...] | None] = dict.fromkeys(pictures)
    for row in rows.rows:
        meant = names.find(row.name)
        if len(meant) > 1:
            raise UsageError(
                f"{row.place}: {printable(row.name)} may be {printable(' or '.join(meant))}.",
                "Write the folder too.",
            )
        for key in meant:
            image_id = below[key]
            found[image_id] = tuple(dict.fromkeys((*(found[image_id] or ()), *row.tags)))
    return found


def _from(folder: Path, path: Path) -> str:
    """Return the path without its ending, from that folder if it lies below."""
    named = path.relative_to(folder) if path.is_relative_to(folder) else path
    return named.with_suffix("").as_posix()
