"""`labels.csv` of an own folder: a table of tags in any of the forms that `tags` names."""

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.datasets.folder.tags import Row, Rows, clean, read_text, split_name
from gleclip_cli.datasets.integrity import Problem
from gleclip_cli.errors import BadInput, UsageError

_SEPARATORS = (",", ";", "\t", " ")
_NAME_HEADERS = re.compile(
    r"|(image|picture|photo|img|file)s?|((image|img|file|picture|photo)[ _-]?)?(name|id|path)"
)
_TAG_HEADERS = re.compile(r"(labels?|tags?|class(es)?|category|categories)[ _-]?\d*")
_YES, _NO = {"1", "1.0", "true", "yes"}, {"", "0", "0.0", "false", "no"}
_FORMS = "Write one row per picture: its name, then its tags. `gleclip init --help` shows how."


def read_csv(path: Path, known: Callable[[str], bool]) -> Rows:
    """Read a table of tags; `known` tells whether a name means a picture.

    Raises:
        BadInput: it cannot be read, is not UTF-8, or names no picture that exists.
        UsageError: it has no rows.
    """
    lines = _split_cells(path, known)
    header: list[str] | None = None
    if lines and _is_header(lines[0][1], known):
        header = lines.pop(0)[1]
    if not lines:
        raise UsageError(f"{printable(path)} names no image.", _FORMS)
    if not any(known(cells[0]) for _, cells in lines):
        first = printable(lines[0][1][0])
        cause = f"{printable(path)} names no picture that is there; line {lines[0][0]} begins with"
        raise BadInput(f"{cause} {first!r}.", _FORMS)
    return _Table(path.name, header or [], lines).read()


class _Table:
    """Rows of cells with what their columns mean."""

    def __init__(
        self, origin: str, header: Sequence[str], lines: Sequence[tuple[int, list[str]]]
    ) -> None:
        self._origin, self._lines = origin, lines
        names = [cell.casefold() for cell in header]
        while names and not names[-1]:
            names.pop()  # spreadsheets leave empty columns behind
        self._width = len(names)
        self._split = names.index("split", 1) if "split" in names[1:] else 0
        others = [i for i in range(1, len(names)) if i != self._split]
        untagged = [i for i in others if names[i] and not _TAG_HEADERS.fullmatch(names[i])]
        one_hot = bool(others) and untagged == others
        self._classes = {i: clean(header[i]) for i in others} if one_hot else {}
        self._unused = {} if one_hot else {i: header[i] for i in untagged}
        self._problems: list[Problem] = []

    def read(self) -> Rows:
        rows = [self._row(number, cells) for number, cells in self._lines]
        notes = {
            f"column {printable(name)!r} of {self._origin} not used": len(rows)
            for name in self._unused.values()
        }
        return Rows(self._origin, rows, self._split > 0, tuple(self._problems), notes)

    def _row(self, number: int, cells: list[str]) -> Row:
        place = f"{self._origin} line {number}"
        read = self._one_hot if self._classes else self._free
        given = list(read(place, cells))
        tags = tuple(dict.fromkeys(given))
        if len(tags) < len(given) and set(tags) <= {"0", "1"}:
            cause = f"{place} holds a vector of zeros and ones."
            remedy = "Begin the table with a header: `image`, then the class of every column."
            self._problems.append(Problem(cause, remedy, structural=True))
        split = cells[self._split] if 0 < self._split < len(cells) else ""
        return Row(cells[0], tags, split_name(split), place)

    def _free(self, place: str, cells: list[str]) -> Iterator[str]:
        for column, cell in enumerate(cells[1:], 1):
            if column not in self._unused and column != self._split:
                yield from filter(None, map(clean, re.split(r"[|;,]", cell)))

    def _one_hot(self, place: str, cells: list[str]) -> Iterator[str]:
        if len(cells) < self._width or any(cells[self._width :]):
            cause = f"{place} has {len(cells)} cells, its header {self._width}."
            self._problems.append(Problem(cause, "Give every row one per class.", structural=True))
            return
        for column, tag in self._classes.items():
            value = cells[column].casefold()
            if value in _YES:
                yield tag
            elif value not in _NO:
                cause = f"{place}: column {printable(tag)!r} holds {printable(cells[column])!r}."
                remedy = "Write 0 or 1; or call a column that holds tags `labels`."
                self._problems.append(Problem(cause, remedy, structural=True))


def _split_cells(path: Path, known: Callable[[str], bool]) -> list[tuple[int, list[str]]]:
    """Line number and cells of every row that is not blank, with the best separator."""
    text, fault = read_text(path), ""
    best: list[tuple[int, list[str]]] = []
    most = 0
    for separator in _SEPARATORS:
        rows: list[tuple[int, list[str]]] = []
        try:
            for row in _cells(text, separator):
                rows.append(row)
        except csv.Error as error:
            after = f" after line {rows[-1][0]}" if rows else ""
            fault = fault or f"{error}{after}"
            continue
        hits = sum(known(cells[0]) for _, cells in rows)
        if hits > most or not best:
            best, most = rows, hits
        if rows and hits + _is_header(rows[0][1], known) == len(rows):
            break  # no other can do better
    if fault and not most:
        cause = f"{printable(path)} is no table: {fault}."
        raise BadInput(cause, 'Close every quote, and write " inside quotes as "".')
    return best


def _is_header(cells: list[str], known: Callable[[str], bool]) -> bool:
    return bool(_NAME_HEADERS.fullmatch(cells[0].casefold())) and not known(cells[0])


def _cells(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
    number = 1
    for row in reader:
        cells = [cell.strip() for cell in row]
        if any(cells):
            yield number, cells
        number = reader.line_num + 1
