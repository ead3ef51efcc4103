"""A grid of images of one or several runs: maps, what every step of `refine` makes, the truth."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from gleclip_cli.artifacts.labels import Labels, ignore_index
from gleclip_cli.artifacts.maps import load_cam, load_label_image, save_picture
from gleclip_cli.artifacts.run_dir import RunDir, printable
from gleclip_cli.artifacts.stage import load_manifest
from gleclip_cli.artifacts.tables import PreparedData, load_prepared
from gleclip_cli.cam.refiner import Refiner
from gleclip_cli.config import RefineConfig
from gleclip_cli.datasets.vocabulary import Vocabulary, load_vocabulary
from gleclip_cli.errors import MissingInput, UsageError
from gleclip_cli.metrics.scope import made_for
from gleclip_cli.parallel.device import pick_device
from gleclip_cli.progress import SILENT, Progress
from gleclip_cli.refine.pseudo_mask import pseudo_mask
from gleclip_cli.tools.grid import Pixels, fitted, grid, painted

IMAGE, SEED, STEPS, PSEUDO, TRUTH = "image", "seed", "steps", "pseudo", "truth"
_TITLES = {
    "caa": "+ CAA", "walk": "+ walk", "par": "+ PAR", "regions": "+ regions", "crf": "+ CRF",
}  # fmt: skip


@dataclass(frozen=True)
class _Column:
    """`exists` tells of an image id whether `labels` finds some; without both, the photograph."""

    title: str
    exists: Callable[[str], bool] | None = None
    labels: Callable[[str], Labels] | None = None


def picture(
    runs: Sequence[RunDir],
    path: Path,
    *,
    split: str = "train",
    columns: Sequence[str] = (),
    titles: Sequence[str] = (),
    image_ids: Sequence[str] = (),
    images: int = 6,
    width: int = 200,
    device: str = "auto",
    progress: Progress = SILENT,
) -> list[str]:
    """Draw a grid into the PNG `path`, a row for each image; return their ids.

    `columns`: of image, seed (maps before any step), steps (after each step of the run's `refine`),
    pseudo, truth, or the name of a network; by default what there is: of one run every step, of
    several their last results. `titles`: one for each run. Without `image_ids`, `images` are
    taken evenly from those that have all columns. `width`: of a column in pixels.

    Raises:
        MissingInput: no image has all columns.
        UsageError: not one title for each run; no such split.
        BadInput: no such image.
    """
    if titles and len(titles) != len(runs):
        raise UsageError(f"{len(titles)} titles, {len(runs)} runs.", "Give each run one, or none.")
    picked = pick_device(device, progress)
    sources = [_Source(run, split, picked) for run in runs]
    sheet = _columns(sources, list(columns), list(titles))
    chosen = list(image_ids) or _evenly(sources[0].data.image_ids(split), sheet, images)
    rows, seen = [], set[int]()
    for image_id in progress.each(chosen, total=len(chosen), label="picture"):
        cell = fitted(sources[0].data.load_image(split, image_id), width)
        row: list[Pixels | None] = []
        for column in sheet:
            if column.labels is None:
                row.append(cell)
                continue
            labels = column.labels(image_id)
            seen |= set(np.unique(labels).tolist()) - {0, ignore_index(labels)}
            row.append(painted(cell, labels, sources[0].vocabulary.palette))
        rows.append(row)
    save_picture(path, grid([column.title for column in sheet], rows, sources[0].legend(seen)))
    return chosen


def _columns(sources: list["_Source"], names: list[str], titles: list[str]) -> list[_Column]:
    names = names or _default_columns(sources)
    heads = titles or [printable(s.run.root.name) if len(sources) > 1 else "" for s in sources]
    of_runs = [name for name in names if name not in (IMAGE, TRUTH)]
    sheet = []
    for name in names:
        if name == IMAGE:
            sheet.append(_Column("image"))
        elif name == TRUTH:
            sheet.append(_Column("ground truth", sources[0].has_truth, sources[0].truth))
        else:
            for source, head in zip(sources, heads, strict=True):
                for column in source.columns(name):
                    told = "" if head and of_runs == [name] and name != STEPS else column.title
                    title = " ".join(word for word in (head, told) if word)
                    sheet.append(replace(column, title=title))
    return sheet


def _default_columns(sources: list["_Source"]) -> list[str]:
    """Return what there is: of one run all, of several the last result that each has."""
    there = [name for name in sources[0].results() if all(name in s.results() for s in sources)]
    if len(sources) > 1:
        there = there[-1:]
    elif STEPS in there:
        there.remove(PSEUDO)  # they are what the last step makes
    truth = any(map(sources[0].has_truth, sources[0].data.image_ids(sources[0].split)))
    return [IMAGE, *there, *([TRUTH] if truth else [])]


def _evenly(image_ids: Sequence[str], sheet: Sequence[_Column], count: int) -> list[str]:
    whole = [i for i in image_ids if all(c.exists is None or c.exists(i) for c in sheet)]
    if not whole:
        shown = ", ".join(column.title for column in sheet)
        raise MissingInput(f"No image has all of: {shown}.", "Name other --columns, or a --split.")
    places = np.linspace(0, len(whole) - 1, min(count, len(whole))).round().astype(int)
    return [whole[place] for place in places]


@dataclass(frozen=True)
class _Source:
    """What one run has of a split."""

    run: RunDir
    split: str
    device: torch.device

    @cached_property
    def data(self) -> PreparedData:
        return load_prepared(self.run)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return load_vocabulary(self.data.vocabulary)

    def legend(self, labels: set[int]) -> list[tuple[str, list[int]]]:
        """Return name and colour of each label that is a class."""
        names, palette = self.vocabulary.class_names, self.vocabulary.palette
        return [(names[i], palette[i % 256].tolist()) for i in sorted(labels) if i < len(names)]

    def results(self) -> list[str]:
        """Return the names of all columns, in the order of the stages."""
        maps, masks = self._kept("gen_cam"), self._kept("refine")
        networks = [folder.name for folder in self.run.outputs("train_seg")]
        known = [(SEED, maps), (STEPS, maps and masks), (PSEUDO, masks)]
        known += [(name, self.run.evaluation(name, self.split).exists()) for name in networks]
        return [name for name, exists in known if exists]

    def _kept(self, stage: str) -> bool:
        try:
            made = load_manifest(self.run, stage, self._made_for(stage))
        except MissingInput:
            return False
        return bool(made.data.get("kept", True))

    def columns(self, name: str) -> list[_Column]:
        """Return the columns of one name: several for steps, else one."""
        if name == SEED:
            config = replace(self._config, steps=())
            return [self._refined("seed", Refiner(config, self.device))]
        if name == STEPS:
            return self._after_each_step()
        return [_Column("pseudo masks" if name == PSEUDO else name, *self._stored(name))]

    def has_truth(self, image_id: str) -> bool:
        return self.data.record(self.split, image_id).mask is not None

    def truth(self, image_id: str) -> Labels:
        mask = self.data.record(self.split, image_id).mask
        if mask is None:
            raise MissingInput(
                f"{printable(image_id)} has no true mask.", "Leave truth out of --columns."
            )
        return load_label_image(mask, len(self.vocabulary.class_names))

    def _made_for(self, stage: str) -> str:
        return made_for(self.run, stage, self.split)

    @cached_property
    def _config(self) -> RefineConfig:
        """The settings of the run's masks; the defaults without masks."""
        try:
            made_with = load_manifest(self.run, "refine", self._made_for("refine")).data["config"]
        except MissingInput:
            return RefineConfig()
        return RefineConfig(**{**made_with, "steps": tuple(made_with["steps"])})

    def _after_each_step(self) -> list[_Column]:
        steps, source = self._config.steps, None
        if self._config.needs_model:
            from gleclip_cli.cam.spread import source_of_maps

            cams = load_manifest(self.run, "gen_cam", self._made_for("gen_cam"))
            trained = self._config.follows_training
            training = load_manifest(self.run, "train_cam") if trained else None
            source = source_of_maps(self.run, self._config, cams, training)
        columns = []
        for count, step in enumerate(steps, start=1):
            config = replace(self._config, steps=steps[:count])
            columns.append(self._refined(_TITLES[step], Refiner(config, self.device, source)))
        return columns

    def _refined(self, title: str, refiner: Refiner) -> _Column:
        def path(image_id: str) -> Path:
            return self.run.cam(self._made_for("gen_cam"), image_id)

        def labels(image_id: str) -> Labels:
            cam = load_cam(path(image_id))
            image = self.data.load_image(self.split, image_id)
            scores = refiner(cam, image) if refiner.works_on(cam) else refiner.plain(cam)
            places, _ = pseudo_mask(scores)
            return cam.labels(places, len(self.vocabulary.class_names))

        return _Column(title, lambda image_id: path(image_id).exists(), labels)

    def _stored(self, name: str) -> tuple[Callable[[str], bool], Callable[[str], Labels]]:
        """Return whether a pseudo mask or a network's prediction is there, and how to read it."""

        def path(image_id: str) -> Path:
            if name == PSEUDO:
                return self.run.pseudo_mask(self._made_for("refine"), image_id)
            return self.run.pred_mask(name, self.split, image_id)

        def labels(image_id: str) -> Labels:
            return load_label_image(path(image_id), len(self.vocabulary.class_names))

        return lambda image_id: path(image_id).exists(), labels
