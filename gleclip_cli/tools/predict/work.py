"""One picture after another: label it, count, write; finished pictures are kept."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gleclip_cli.artifacts.lines import sha256_of
from gleclip_cli.artifacts.maps import save_jpeg, save_label_image, save_picture
from gleclip_cli.artifacts.photos import Photo, load_photo
from gleclip_cli.artifacts.run_dir import OutDir, RunDir
from gleclip_cli.artifacts.stage import Manifest, Stage, open_stage
from gleclip_cli.config import Execution, PredictConfig
from gleclip_cli.errors import BadInput, UsageError
from gleclip_cli.parallel.batches import prefetched
from gleclip_cli.parallel.device import device_of
from gleclip_cli.progress import SILENT, Progress, counted
from gleclip_cli.refine.decide import Decision
from gleclip_cli.tools.grid import painted
from gleclip_cli.tools.predict.areas import areas_of, hold_all, save_all_areas, save_areas
from gleclip_cli.tools.predict.model import Label, Model, map_model, network_model
from gleclip_cli.tools.predict.pictures import Pictures, find_pictures
from gleclip_cli.tools.predict.tags import find_tags

_ROWS = 512
_QUALITY = 90


def predict(
    images: Sequence[str],
    out: OutDir,
    config: PredictConfig,
    *,
    run: RunDir,
    checkpoint: Path | None = None,
    classes: str = "",
    execution: Execution = Execution(),
    progress: Progress = SILENT,
) -> Manifest:
    """Write mask, overlay and areas of every picture that `images` (files, folders, patterns) name.

    The network is the one of `checkpoint`, a file or its folder, else `config.name` of `run`;
    `classes`: a class table for methods without training. Pictures of earlier calls stay.

    Raises:
        UsageError: no picture, an unknown tag, an output around its input, a `checkpoint` for a
            method that uses no network.
        MissingInput: no such network, or GLE-CLIP has not been trained.
        OtherSettings: `out` holds masks made with other settings.
    """
    if checkpoint is not None and config.method != "network":
        raise UsageError(
            f"--checkpoint names a network, and --method {config.method} uses none.",
            "Leave one of both out.",
        )
    pictures = find_pictures(images, out)
    tags = find_tags(config.tags, pictures.files)
    if config.method == "network":
        model = network_model(checkpoint or run.checkpoint(config.name), run, config)
    else:
        model = map_model(run, config, classes, tags.names)
    work = _Work(
        out, config, pictures, tags.class_ids(model.vocabulary), model, execution, progress
    )
    with open_stage(
        out,
        "predict",
        _what_counts(config),
        weights=model.weights,
        item_ids=list(pictures.files),
        execution=execution,
        arguments=asdict(config),
        progress=progress,
        keep_others=True,
    ) as stage:
        return work.on(stage)


def _what_counts(config: PredictConfig) -> PredictConfig:
    """Return the settings without those that this method does not look at.

    The tags of a picture count as its input.
    """
    config = replace(config, tags=())
    if config.method == "network":
        config = replace(config, bg_power=1.0, bg_threshold=None)
    else:
        config = replace(config, name="")
    return replace(config, clip_model="", clip_weights="") if config.trained else config


@dataclass(frozen=True)
class _Work:
    out: OutDir
    config: PredictConfig
    pictures: Pictures
    class_ids: Mapping[str, list[int] | None]
    model: Model
    execution: Execution
    progress: Progress

    def on(self, stage: Stage) -> Manifest:
        todo = stage.todo(self._fingerprints(stage.index.own_ids()))
        if stage.dry_run:
            return stage.finish()
        for problem in self.pictures.problems:
            name = problem.image_id or problem.path
            with stage.item(name):
                raise BadInput(problem.cause, problem.remedy)
        if todo:
            self._label(stage, todo)
        if not stage.ended():
            return stage.leave()
        done = sorted({*stage.index.item_ids} - stage.index.failures().keys())
        if stage.finished and hold_all(self.out, done):
            return stage.finish()
        return stage.finish(save_all_areas(self.out, done, self.model.vocabulary))

    def _fingerprints(self, image_ids: Sequence[str]) -> dict[str, str]:
        """Return a hash of each picture's bytes and tags; of one that cannot be read, none."""
        found = {}
        for image_id in image_ids:
            with suppress(OSError):
                digest = sha256_of(self.pictures.files[image_id])
                tags = f"{digest} {self.class_ids[image_id]}"
                found[image_id] = sha256(tags.encode()).hexdigest()
        return found

    def _label(self, stage: Stage, todo: list[str]) -> None:
        unknown = sum(self.class_ids[i] is None for i in todo)
        if unknown and self.config.tags:
            stage.warn(f"{counted(unknown, 'picture')} without tags: any class may be in them.")
        device = device_of(self.execution, self.progress)
        label = self.model.load(device, stage.warn)
        stage.note(device=str(device))
        loaded = prefetched(
            todo, lambda i: load_photo(self.pictures.files[i]), workers=self.execution.workers
        )
        notes = Counter[str]()
        for image_id, load in self.progress.each(loaded, total=len(todo), label="predict"):
            with stage.item(image_id, self.pictures.files[image_id]):
                photo = load()
                stage.done(image_id, *self._write(image_id, photo, label))
                notes.update(photo.notes)
        for note, images in sorted(notes.items()):
            stage.warn(f"{counted(images, 'image')}: {note}.")

    def _write(self, image_id: str, photo: Photo, label: Label) -> list[Path]:
        vocabulary, given = self.model.vocabulary, self.class_ids[image_id]
        decision = label(photo.image, given)
        mask = self.out.mask(image_id)
        save_label_image(mask, decision.labels, vocabulary.palette)
        facts = {
            "image": str(self.pictures.files[image_id]),
            "sha256": photo.sha256,
            "notes": photo.notes,
            "size": photo.image.shape[:2],
            "tags": None if given is None else [vocabulary.class_names[i] for i in given],
            "classes": areas_of(decision, vocabulary.class_names),
        }
        files = [mask, save_areas(self.out, image_id, facts)]
        if self.config.overlays != "none":
            files.append(self._overlay(image_id, photo.image, decision))
        return files

    def _overlay(self, image_id: str, image: NDArray[np.uint8], decision: Decision) -> Path:
        path = self.out.overlay(image_id, self.config.overlays)
        overlay = np.empty_like(image)
        for top in range(0, len(image), _ROWS):  # floats of a whole photograph take gigabytes
            rows = slice(top, top + _ROWS + 1)  # one more, because outlines look below
            part = painted(image[rows], decision.labels[rows], self.model.vocabulary.palette)
            overlay[top : top + _ROWS] = part[:_ROWS]
        if self.config.overlays == "jpg":
            save_jpeg(path, overlay, quality=_QUALITY)
        else:
            save_picture(path, overlay)
        return path
