"""A data set as its layout describes it, and as it is after every file was verified."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from gleclip_cli.artifacts.labels import Labels
from gleclip_cli.artifacts.maps import save_label_image
from gleclip_cli.artifacts.tables import ImageRecord
from gleclip_cli.artifacts.verified import Verified
from gleclip_cli.datasets.integrity import (
    Checked,
    Drawing,
    Picture,
    Problem,
    check_picture,
    in_threads,
)
from gleclip_cli.datasets.mask_forms import palette_note, with_coloured_masks_drawn
from gleclip_cli.datasets.vocabulary import Vocabulary
from gleclip_cli.progress import SILENT, Progress


@dataclass(frozen=True)
class Source:
    """What the files of a data set say before any picture is opened.

    `splits`: usable ids by split, sorted; `labels`: sorted 1-based class ids by image id, a missing
    id has none; `pictures`: one per id whose file was found; `notes` counts what is odd but
    harmless.
    """

    root: Path
    vocabulary: Vocabulary
    splits: Mapping[str, Sequence[str]]
    labels: Mapping[str, Sequence[int]]
    pictures: Sequence[Picture]
    problems: tuple[Problem, ...] = ()
    notes: Mapping[str, int] = field(default_factory=dict)

    @property
    def image_ids(self) -> list[str]:
        """Ids of all splits, sorted, each once."""
        return sorted(set().union(*self.splits.values()))

    def first(self, limit: int | None) -> "Source":
        """Return the first `limit` ids of every split and what belongs to them."""
        splits = {split: ids[:limit] for split, ids in self.splits.items()}
        kept = set().union(*splits.values())
        return replace(
            self,
            splits=splits,
            labels={name: ids for name, ids in self.labels.items() if name in kept},
            pictures=[picture for picture in self.pictures if picture.image_id in kept],
            problems=tuple(
                problem
                for problem in self.problems
                if problem.structural or problem.image_id in {"", *kept}
            ),
        )


@dataclass(frozen=True)
class DataIndex:
    """What a data set holds: per split the good ids, their labels (1-based ids) and files.

    `problems` are the faults found; images named by them stand in no split.
    `notes` counts what was odd about image files that are used all the same.
    """

    root: Path
    labels: dict[str, dict[str, list[int]]]
    records: dict[str, dict[str, ImageRecord]]
    problems: tuple[Problem, ...]
    notes: Counter[str]

    @property
    def fingerprints(self) -> dict[str, str]:
        """Id of every good image -> SHA-256 of its file."""
        return {n: record.sha256 for table in self.records.values() for n, record in table.items()}

    @property
    def counts(self) -> dict[str, int]:
        """Different images, those that list no object (test aside); images and masks by split."""
        tables = [table for split, table in self.labels.items() if split != "test"]
        empty = {name for table in tables for name, ids in table.items() if not ids}
        images = set().union(*self.records.values())
        counts = {"images": len(images), "without_objects": len(empty)}
        for split, table in self.records.items():
            counts[split] = len(table)
            counts[f"{split}_masks"] = sum(record.mask is not None for record in table.values())
        return counts


def verify(
    source: Source,
    *,
    masks: Path | None = None,
    verified: Verified | None = None,
    workers: int = 0,
    progress: Progress = SILENT,
) -> DataIndex:
    """Open every picture and mask of a data set; faults are collected, not raised.

    `masks` is the folder that keeps drawn masks (None: drawn, checked and dropped); `verified`
    spares what was opened before and has not changed since.
    """
    vocabulary = source.vocabulary
    classes, palette = len(vocabulary.classes), vocabulary.palette

    def keep(drawing: Drawing, mask: Labels) -> None:
        if masks:
            save_label_image(masks / drawing.file, mask, palette)

    def check(picture: Picture) -> Checked:
        picture = with_coloured_masks_drawn(picture, vocabulary)
        files = [picture.image, *_files(picture, masks)]
        if verified and (known := verified.get(picture.image_id, files, classes)):
            return Checked(picture, *known)
        checked = check_picture(picture, classes, keep)
        notes = [palette_note(m, vocabulary) for m in picture.masks.values() if isinstance(m, Path)]
        checked = replace(checked, notes=(*checked.notes, *sorted({n for n in notes if n})))
        if verified and not checked.problems:
            facts = checked.size, checked.sha256, checked.notes
            verified.put(picture.image_id, files, classes, facts)
        return checked

    checked = in_threads(
        check, source.pictures, workers=workers, progress=progress, label="Checking images"
    )
    return _assemble(source, checked, masks)


def _files(picture: Picture, masks: Path | None) -> list[Path]:
    """Every file that decides about a picture: its masks, or what they are drawn from and to."""
    files: dict[Path, None] = {}
    for mask in picture.masks.values():
        if isinstance(mask, Drawing):
            files[mask.source] = None
            if masks:
                files[masks / mask.file] = None
        elif mask:
            files[mask] = None
    return list(files)


def _assemble(source: Source, checked: Sequence[Checked], masks: Path | None) -> DataIndex:
    problems = [*source.problems, *(problem for one in checked for problem in one.problems)]
    bad = {problem.image_id for problem in problems}
    good = {c.picture.image_id: c for c in checked if c.picture.image_id not in bad}
    notes = Counter(note for one in good.values() for note in one.notes) + Counter(source.notes)
    for split in ("train", "trainaug"):
        if shared := set(source.splits.get(split, ())) & set(source.splits.get("val", ())):
            notes[f"in {split} and in val"] = len(shared)
    records = {
        split: {name: _record(good[name], split, masks) for name in ids if name in good}
        for split, ids in source.splits.items()
    }
    labels = {
        split: {name: list(source.labels.get(name, ())) for name in table}
        for split, table in records.items()
    }
    return DataIndex(source.root, labels, records, tuple(problems), notes)


def _record(one: Checked, split: str, masks: Path | None) -> ImageRecord:
    mask = one.picture.masks.get(split)
    if isinstance(mask, Drawing):
        mask = masks / mask.file if masks else mask.source
    return ImageRecord(image=one.picture.image, mask=mask, size=one.size, sha256=one.sha256)
