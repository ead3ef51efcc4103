"""Tables of a run: `PreparedData` (image lists, image-level labels, `ImageRecord`s), `Scores`."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gleclip_cli.artifacts.arrays import save_arrays
from gleclip_cli.artifacts.atomic import write_text
from gleclip_cli.artifacts.json_files import read_json, write_json
from gleclip_cli.artifacts.photos import load_photo
from gleclip_cli.artifacts.run_dir import RunDir, printable, safe_name
from gleclip_cli.errors import BadInput, MissingInput, UsageError

_PREPARE_AGAIN = "Run `gleclip prepare-data` again."


@dataclass(frozen=True)
class ImageRecord:
    """Where an image is and what it was when the data were prepared.

    `size`: (H, W) in pixels as decoded, EXIF orientation applied; `sha256`: of the file.
    """

    image: Path
    mask: Path | None
    size: tuple[int, int]
    sha256: str


class PreparedData:
    """Image lists, image-level labels and image records of a run; splits are read on demand."""

    def __init__(self, run: RunDir) -> None:
        self._folder = run.output("prepare_data")
        facts = read_json(self._folder / "dataset.json")
        self.dataset = str(facts["dataset"])
        table = str(facts["vocabulary"])
        own = table.endswith(".toml")  # a class table of one's own is kept in the run
        self.vocabulary = str(self._folder / table) if own else table
        # A root inside the run is stored relative to it, so that a run can be moved.
        self.root = run.root.absolute() / str(facts["root"])
        self._splits = tuple(facts["splits"])
        self._tables: dict[str, dict[str, Any]] = {}

    def splits(self) -> list[str]:
        """Names of the image lists."""
        return list(self._splits)

    def image_ids(self, split: str) -> list[str]:
        """Ids of a split, sorted.

        Raises:
            UsageError: there is no such split, or its list is empty.
        """
        self.require_split(split)
        text = (self._folder / "lists" / f"{safe_name(split)}.txt").read_bytes()
        lines = text.decode("utf-8", "surrogateescape").split("\n")
        ids = [_unescaped(line) for line in lines if line]
        if not ids:
            raise UsageError(f"The image list {split} is empty.", "Name another --split.")
        return ids

    def labels(self, split: str) -> dict[str, list[int]]:
        """Image id -> sorted class ids (1-based; 0 is background and not listed)."""
        return {image_id: list(ids) for image_id, ids in self._table("labels", split).items()}

    def record(self, split: str, image_id: str) -> ImageRecord:
        """Where an image and its mask are.

        Raises:
            BadInput: the split has no such image.
        """
        row = self._table("images", split).get(image_id)
        if row is None:
            raise BadInput(f"The split {split} has no image {printable(image_id)}.", _PREPARE_AGAIN)
        mask = None if row["mask"] is None else self.root / row["mask"]
        height, width = row["size"]
        return ImageRecord(self.root / row["image"], mask, (height, width), row["sha256"])

    def load_image(self, split: str, image_id: str) -> NDArray[np.uint8]:
        """Decode an image to uint8 (H, W, 3), as it was when the data were prepared.

        Raises:
            BadInput: the file is damaged, or has changed since.
        """
        record = self.record(split, image_id)
        photo = load_photo(record.image)
        if photo.sha256 != record.sha256:
            raise BadInput(
                f"{printable(record.image)} has changed since the data were prepared.",
                _PREPARE_AGAIN,
            )
        return photo.image

    def fingerprints(self, split: str) -> dict[str, str]:
        """Image id -> hash of the image and its labels, for `Stage.todo`."""
        labels = self._table("labels", split)
        return {
            image_id: hashlib.sha256(
                f"{row['sha256']} {labels.get(image_id, [])}".encode()
            ).hexdigest()
            for image_id, row in self._table("images", split).items()
        }

    def _table(self, kind: str, split: str) -> dict[str, Any]:
        self.require_split(split)
        name = f"{kind}/{safe_name(split)}.json"
        if name not in self._tables:
            self._tables[name] = read_json(self._folder / name)
        return self._tables[name]

    def require_split(self, split: str) -> None:
        """Raise UsageError, which names the splits there are, if there is no such one."""
        if split not in self._splits:
            raise UsageError(
                f"The data set {self.dataset} has no split {split!r}.",
                f"Choose one of: {', '.join(self._splits)}.",
            )


def load_prepared(run: RunDir) -> PreparedData:
    """Open the prepared data of a run.

    Raises:
        MissingInput: `prepare-data` has not run.
    """
    folder = run.output("prepare_data")
    if not (folder / "dataset.json").exists():
        raise MissingInput(
            f"No prepared data in {printable(run.root)}.",
            f"Run `gleclip prepare-data --run {printable(run.root)} --dataset NAME`.",
        )
    return PreparedData(run)


def save_prepared(
    run: RunDir,
    *,
    dataset: str,
    vocabulary: str,
    root: Path,
    records: Mapping[str, Mapping[str, ImageRecord]],
    labels: Mapping[str, Mapping[str, Sequence[int]]],
    class_table: str = "",
) -> list[Path]:
    """Write lists, labels and image records by split, and last dataset.json.

    `class_table`: the TOML text of a table that does not ship with the program; `vocabulary` is
    then the name of the file that keeps it. Returns the files, for `Stage.finish`.
    """
    folder = run.output("prepare_data")
    written = []
    if class_table:
        written.append(folder / vocabulary)
        write_text(folder / vocabulary, class_table)
    for split, images in records.items():
        name = safe_name(split)
        ids = sorted(images)
        rows = {image_id: _row(images[image_id], root) for image_id in ids}
        classes = {image_id: sorted(labels[split].get(image_id, ())) for image_id in ids}
        lists = folder / "lists" / f"{name}.txt"
        write_text(lists, "".join(_escaped(image_id) + "\n" for image_id in ids))
        _write_rows(folder / "labels" / f"{name}.json", classes)
        _write_rows(folder / "images" / f"{name}.json", rows)
        written += [lists, folder / "labels" / f"{name}.json", folder / "images" / f"{name}.json"]
    facts = {
        "dataset": dataset,
        "vocabulary": vocabulary,
        "root": _stored(root.resolve(), run.root.resolve()),
        "splits": {split: len(images) for split, images in records.items()},
    }
    write_json(folder / "dataset.json", facts)
    return [*written, folder / "dataset.json"]


@dataclass(frozen=True)
class Scores:
    """Scores of one evaluation; `miou` and IoUs from 0 to 1.

    `per_class_iou`: name -> IoU, None where neither truth nor prediction has the class;
    `extra`: further facts, written beside the others.
    """

    miou: float
    per_class_iou: dict[str, float | None]
    images: int
    extra: dict[str, Any] = field(default_factory=dict)


def save_scores(folder: Path, scores: Scores, confusion: NDArray[np.int64]) -> list[Path]:
    """Write scores.json and confusion.npz; returns them, for `Stage.finish`."""
    paths = [folder / name for name in ("confusion.npz", "scores.json")]
    save_arrays(paths[0], {"confusion": confusion})
    facts = {
        "miou": scores.miou,
        "per_class_iou": scores.per_class_iou,
        "images": scores.images,
    }
    write_json(paths[1], {**scores.extra, **facts})
    return paths


def load_scores(path: Path) -> Scores:
    """Read scores.json, or the one of an evaluation's folder.

    Raises:
        BadInput: the file is missing or damaged.
    """
    facts = read_json(path / "scores.json" if path.is_dir() else path)
    try:
        return Scores(facts.pop("miou"), facts.pop("per_class_iou"), facts.pop("images"), facts)
    except KeyError as error:
        raise BadInput(
            f"{printable(path)} lacks {error}.", "Run `gleclip evaluate` again."
        ) from error


def _row(record: ImageRecord, root: Path) -> dict[str, Any]:
    return {
        "image": _stored(record.image, root),
        "mask": None if record.mask is None else _stored(record.mask, root),
        "size": list(record.size),
        "sha256": record.sha256,
    }


def _stored(path: Path, root: Path) -> str:
    inside = path.is_relative_to(root)
    return path.relative_to(root).as_posix() if inside else str(path.absolute())


def _write_rows(path: Path, rows: Mapping[str, Any]) -> None:
    """JSON with one id per line: readable by eye, by diff and by any parser."""
    lines = [f"{json.dumps(key)}: {json.dumps(row, sort_keys=True)}" for key, row in rows.items()]
    write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")


def _escaped(image_id: str) -> str:
    return image_id.replace("%", "%25").replace("\n", "%0A").replace("\r", "%0D")


def _unescaped(line: str) -> str:
    return line.replace("%0A", "\n").replace("%0D", "\r").replace("%25", "%")
