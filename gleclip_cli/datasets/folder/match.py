"""An own folder: which tags and splits its files give to which pictures."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.datasets.folder.csv_tags import read_csv
from gleclip_cli.datasets.folder.files import Files, Names, leads_out
from gleclip_cli.datasets.folder.tags import SPLITS, Row, Rows, read_json, read_subfolders
from gleclip_cli.datasets.integrity import Problem
from gleclip_cli.datasets.voc.lists import read_list
from gleclip_cli.errors import BadInput

_CSV, _JSON = "labels.csv", "labels.json"
_FORM = "Write labels.csv: `image,labels`, then a row per picture such as `a.jpg,cat;dog`."


@dataclass(frozen=True)
class Tagged:
    """Pictures of a folder with their tags and splits, whatever the class table.

    `tags` and `splits` also hold the names of pictures that are not there, so that these count as
    failed when bad images are left out.
    """

    files: Files
    tags: Mapping[str, Sequence[str]]
    splits: Mapping[str, set[str]]
    problems: Sequence[Problem]
    notes: Mapping[str, int]

    @property
    def counts(self) -> dict[str, int]:
        """Pictures by tag, tags sorted."""
        return dict(sorted(Counter(tag for tags in self.tags.values() for tag in tags).items()))


def tag_pictures(files: Files) -> Tagged:
    """Read the tags of a folder and the lists of its splits.

    Raises:
        BadInput: no tags, or several places for them or for the splits.
        UsageError: a list names no image.
    """
    match = _Match(files)
    rows = _read_rows(files, match.names)
    splits = match.read(rows)
    lists = {split: path for split in SPLITS if _there(path := files.root / f"{split}.txt")}
    if rows.has_splits and lists:
        also = " and ".join(path.name for path in lists.values())
        cause = f"Splits are named by {rows.origin or 'sub-folders'}, and by {also}."
        raise BadInput(cause, "Keep one of the two.")
    splits |= {split: match.read_list(path) for split, path in lists.items()}
    splits = _completed(splits, files, match.tags)
    notes = Counter(files.notes) + Counter(rows.notes)
    notes["in no split, not used"] = len(files.pictures.keys() - set().union(*splits.values()))
    untagged = _untagged(files, rows, splits, match.tags)
    problems = (*files.problems, *rows.problems, *match.problems, *untagged)
    return Tagged(files, match.tags, splits, problems, +notes)


class _Match:
    """Pairs written names with pictures; keeps the tags, and what could not be paired."""

    def __init__(self, files: Files) -> None:
        self._files, self.names = files, Names(files)
        self.tags: dict[str, list[str]] = {}
        self.problems: list[Problem] = []

    def read(self, rows: Rows) -> dict[str, set[str]]:
        """Note the tags of every row; return the splits that rows name."""
        places: dict[str, list[str]] = defaultdict(list)
        splits: dict[str, set[str]] = defaultdict(set)
        for row in rows.rows:
            image_id = self._find(row.name, row.place)
            if image_id is None:
                continue
            places[image_id].append(row.place)
            known = self.tags.setdefault(image_id, [])
            known += [tag for tag in row.tags if tag not in known]
            if rows.has_splits:
                splits[self._split(row, image_id)].add(image_id)
        for image_id, named in places.items():
            if len(named) > 1:
                file = next(iter(self._files.pictures.get(image_id, ())), image_id)
                cause = f"{' and '.join(named)} name the same picture, {printable(file)}."
                remedy = "Put its tags into one row, or let `--on-bad skip` join the rows."
                self.problems.append(Problem(cause, remedy))
        return splits

    def read_list(self, path: Path) -> set[str]:
        """Ids that a list of a split names."""
        found = [self._find(name, path.name) for name in read_list(path)]
        counts = Counter(image_id for image_id in found if image_id is not None)
        for image_id, count in counts.items():
            if count > 1:
                cause = f"{path.name} names {printable(image_id)} {count} times."
                self.problems.append(Problem(cause, "List every image once."))
        return set(counts)

    def _find(self, written: str, place: str) -> str | None:
        """Id of the picture that is meant; a picture that is not there goes by its written name."""
        shown = printable(written)
        if leads_out(written):
            cause, remedy = f"{place}: {shown} leads out of the folder.", "Name a file inside it."
            self.problems.append(Problem(cause, remedy, structural=True))
            return None
        found = self.names.find(written)
        if len(found) > 1:
            meant = " or ".join(map(printable, found))
            cause, remedy = f"{place}: {shown} may be {meant}.", "Write the folder too."
            self.problems.append(Problem(cause, remedy, structural=True))
            return None
        if not found:
            cause = f"{place} names {shown or 'nothing'}, which is not there."
            self.problems.append(Problem(cause, "Add the image, or take its name out.", written))
            return written or None
        return found[0]

    def _split(self, row: Row, image_id: str) -> str:
        if row.split in SPLITS:
            return row.split
        cause = f"{row.place}: the split {printable(row.split)!r} is none of {', '.join(SPLITS)}."
        self.problems.append(Problem(cause, "Write one of these.", image_id))
        return SPLITS[0]


def _read_rows(files: Files, names: Names) -> Rows:
    present = [name for name in (_CSV, _JSON) if _there(files.root / name)]
    if len(present) > 1:
        cause = f"{printable(files.root)} holds both {_CSV} and {_JSON}."
        raise BadInput(cause, "Keep one of them.")
    if _CSV in present:
        return read_csv(files.root / _CSV, lambda name: bool(names.find(name)))
    if _JSON in present:
        return read_json(files.root / _JSON)
    rows = read_subfolders(files.pictures)
    if not rows.rows:
        cause = f"{printable(files.root)} holds no {_CSV}, no {_JSON}, no sub-folder per class."
        raise BadInput(cause, _FORM)
    return rows


def _completed(
    named: Mapping[str, set[str]], files: Files, tagged: Iterable[str]
) -> dict[str, set[str]]:
    """Splits as named, and those that follow: train from the rest, val from the masks."""
    splits = {split: set(ids) for split, ids in named.items()}
    rest = files.pictures.keys() - set().union(*splits.values())
    if "train" not in splits:
        splits["train"], rest = rest, set()
    if "val" not in splits:
        masked = ({name for name in ids if files.mask(name)} for ids in (rest, splits["train"]))
        splits["val"] = next(filter(None, masked), set())
    # What is not there must be in a split, to be counted among the images left out.
    splits["train"] |= set(tagged) - set().union(*splits.values()) - files.pictures.keys()
    return {split: splits[split] for split in SPLITS if splits.get(split)}


def _untagged(
    files: Files, rows: Rows, splits: Mapping[str, set[str]], tags: Mapping[str, Sequence[str]]
) -> list[Problem]:
    """Pictures of train and val without a row; one without a tag in its row is fine."""
    lack = f"has no row in {rows.origin}" if rows.origin else "lies in no folder of a class"
    used = splits.get("train", set()) | splits.get("val", set())
    problems = []
    for name in sorted(used & files.pictures.keys() - tags.keys()):
        where = printable(files.pictures[name][0])
        remedy = f"Give it one, without tags if it shows no class; {_FORM[0].lower()}{_FORM[1:]}"
        problems.append(Problem(f"{where} {lack}.", remedy, name, path=where))
    return problems


def _there(path: Path) -> bool:
    # A link that leads nowhere is told when it is read, not passed over.
    return path.is_file() or path.is_symlink()
