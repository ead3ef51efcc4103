"""Images and image-level labels -> GLE-CLIP, in rounds: a teacher labels, the model learns."""

import shutil
from dataclasses import asdict
from typing import Any

from gleclip_cli.artifacts.checkpoint import save_checkpoint
from gleclip_cli.artifacts.labels import Labels
from gleclip_cli.artifacts.maps import save_label_image
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.stage import Manifest, Stage, load_manifest, require
from gleclip_cli.artifacts.tables import PreparedData, load_prepared
from gleclip_cli.cam.build import build_gleclip, spec_of, warnings_about
from gleclip_cli.cam.criterion import GroundingCriterion
from gleclip_cli.cam.lesson import TaughtLesson
from gleclip_cli.cam.mosaic import draw_mosaics
from gleclip_cli.cam.teacher import Teacher
from gleclip_cli.cam.texts import remembered, texts_hash, wording_of
from gleclip_cli.config import Execution, TrainCamConfig
from gleclip_cli.datasets.vocabulary import Vocabulary, load_vocabulary
from gleclip_cli.errors import MissingInput, UsageError
from gleclip_cli.model.clip import build_clip
from gleclip_cli.model.gleclip import GLECLIP
from gleclip_cli.model.texts import Wording
from gleclip_cli.model.weights import ClipSource, find_clip
from gleclip_cli.parallel.device import pick_device
from gleclip_cli.parallel.processes import Processes, joined
from gleclip_cli.progress import SILENT, Progress, counted
from gleclip_cli.resources import clip_files
from gleclip_cli.training.batches import AugmentedBatches
from gleclip_cli.training.cached import CachedBatches
from gleclip_cli.training.loop import fit, rounds
from gleclip_cli.training.output import BadImages, monitor, open_training
from gleclip_cli.training.recipe import Recipe
from gleclip_cli.training.source import Drawing, batch_source
from gleclip_cli.training.teaching import teach
from gleclip_cli.training.trainer import Trainer

_MONITORED = 20
"""Images of the validation split whose seeds are scored once at the end."""


def train_cam(
    run: RunDir,
    config: TrainCamConfig,
    *,
    execution: Execution = Execution(),
    progress: Progress = SILENT,
) -> Manifest:
    """Train GLE-CLIP and write its checkpoint; a cut training goes on.

    Images without classes are left out and counted.

    Raises:
        MissingInput: no prepared data, or no image with a class.
        OtherSettings: the run's GLE-CLIP was trained with other settings.
        Diverged: the loss is NaN or infinite; the last good state is kept.
    """
    if execution.shard[1] > 1:
        raise UsageError("A training cannot be split by --shard.", "Leave out --shard.")
    with joined(execution.device) as processes:
        processes.share(config.batch_size)  # refused before anything is read or written
        manifest = _train(run, config, processes, execution, progress)
        processes.wait()  # until the main process has written the manifest
        if processes.main or execution.dry_run:
            return manifest
        return load_manifest(run, "train_cam")


def _train(
    run: RunDir,
    config: TrainCamConfig,
    processes: Processes,
    execution: Execution,
    progress: Progress,
) -> Manifest:
    prepared = load_prepared(run)
    inputs = [require(run, "prepare_data", allow_partial=execution.allow_partial)]
    vocabulary = load_vocabulary(prepared.vocabulary)
    names = clip_files(config.clip_model, config.clip_weights)
    source = find_clip(*names, fetch=not execution.dry_run)
    wording = wording_of(vocabulary, config.texts, background_texts=config.background_texts)
    weights = {"clip": source.sha256, "texts": texts_hash(wording)}
    with open_training(
        run, "train_cam", config, inputs=inputs, weights=weights,
        processes=processes, execution=execution, progress=progress,
    ) as stage:  # fmt: skip
        if execution.dry_run:
            return stage.finish()
        if stage.finished:
            manifest = load_manifest(run, "train_cam")
        else:
            training = _Training(
                run, prepared, vocabulary, config, stage, processes, execution, progress
            )
            manifest = training.work(source, wording)
        # Only now: until the manifest stands, a kill must not cost the training.
        if processes.main:
            shutil.rmtree(run.cam_training_state(), ignore_errors=True)
        return manifest


class _Training:
    """What the steps of one training share."""

    def __init__(
        self,
        run: RunDir,
        prepared: PreparedData,
        vocabulary: Vocabulary,
        config: TrainCamConfig,
        stage: Stage,
        processes: Processes,
        execution: Execution,
        progress: Progress,
    ) -> None:
        self._run, self._prepared, self._vocabulary = run, prepared, vocabulary
        self._config, self._stage, self._processes = config, stage, processes
        self._execution, self._progress = execution, progress
        self._num_labels = len(vocabulary.class_names)
        self._tags = dict(prepared.labels(config.split))
        self._state = run.cam_training_state()

    def work(self, source: ClipSource, wording: Wording) -> Manifest:
        """Train from start or saved state to the checkpoint."""
        config, stage, processes = self._config, self._stage, self._processes
        image_ids = self._tagged()
        device = pick_device(processes.device, self._progress)
        clip = build_clip(source).to(device)
        for warning in warnings_about(clip, self._vocabulary):
            stage.warn(warning)
        texts = remembered(self._run, source)(clip, wording)
        spec, classes = spec_of(config), len(wording.prompts)
        model = build_gleclip(spec, clip, texts, classes, seed=config.seed)
        criterion = GroundingCriterion(model, config, self._tags, mean_count=processes.mean)
        recipe = Recipe.of(config, len(image_ids), least=config.rounds)
        trainer = Trainer(model, criterion, recipe, device=device, processes=processes)
        on_bad = BadImages(stage, processes, images=len(image_ids), on_bad=self._execution.on_bad)
        self._rounds(trainer, model, image_ids, on_bad)
        on_bad.gather()
        if not processes.main:
            return stage.finish()
        meta = {
            "model": asdict(spec),
            "wording": asdict(wording),
            "clip_sha256": source.sha256,
            "monitor": self._monitor(model.eval()),
        }
        path = self._run.cam_checkpoint()
        save_checkpoint(path, model.weights(), meta)
        stage.note(device=str(device), processes=processes.count)
        files = (path, path.with_suffix(".json"))
        return stage.finish(*files, steps=trainer.step, images=len(image_ids))

    def _rounds(
        self, trainer: Trainer, model: GLECLIP, image_ids: list[str], on_bad: BadImages
    ) -> None:
        """Teach and learn, round by round, from where the saved state stands."""
        source: CachedBatches | AugmentedBatches | None = None
        log, progress = self._stage.log, self._progress
        for number, last, begins in rounds(trainer, self._config.rounds, self._state, log=log):
            if begins:  # later, these weights are no longer the teacher's
                self._teach(model, number, image_ids, on_bad)
            lesson = self._lesson(number, image_ids)
            if source is None:
                source = self._source(model, lesson, image_ids, on_bad)
            else:
                source.relabel(lesson)
            steps = source.steps
            fit(trainer, steps, until=last, state_folder=self._state, log=log, progress=progress)

    def _teach(self, model: GLECLIP, number: int, image_ids: list[str], on_bad: BadImages) -> None:
        """Write the labels of a round that are not there yet; processes share the images."""
        teacher = Teacher(model.eval(), self._config, first=number == 0)

        def label(image_id: str) -> Labels:
            image = self._prepared.load_image(self._config.split, image_id)
            return teacher(image, self._tags[image_id])

        def save(image_id: str, labels: Labels) -> None:
            path = self._run.teacher_mask(number, image_id)
            save_label_image(path, labels, self._vocabulary.palette)

        teach(
            image_ids, label, save,
            done=lambda image_id: self._run.teacher_mask(number, image_id).exists(),
            device=model.clip.mean.device, processes=self._processes, on_bad=on_bad,
            progress=self._progress, task=f"teacher {number + 1}",
        )  # fmt: skip
        model.train()

    def _lesson(self, number: int, image_ids: list[str]) -> TaughtLesson:
        """Return what a round teaches; its mosaics are those of all rounds, and get tags."""
        config = self._config
        taught = [i for i in image_ids if self._run.teacher_mask(0, i).exists()]
        mosaics = draw_mosaics(self._tags, taught, share=config.mosaics, seed=config.seed)
        for mosaic_id, parts in mosaics.parts.items():
            self._tags[mosaic_id] = sorted({self._tags[part][0] for part in parts})
        return TaughtLesson(
            self._run, self._prepared, config.split, self._num_labels, number, mosaics
        )

    def _tagged(self) -> list[str]:
        listed = self._prepared.image_ids(self._config.split)[: self._config.limit]
        tagged = [image_id for image_id in listed if self._tags[image_id]]
        if not tagged:
            raise MissingInput(
                f"No image of {self._config.split} has a class.", "Tag the images, prepare again."
            )
        if lost := len(listed) - len(tagged):
            self._stage.warn(f"Left out: {counted(lost, 'image')} without a class.")
        return tagged

    def _source(
        self, model: GLECLIP, lesson: TaughtLesson, image_ids: list[str], on_bad: BadImages
    ) -> CachedBatches | AugmentedBatches:
        config, mosaics = self._config, lesson.mosaics.parts
        drawing = Drawing(
            batch_size=config.batch_size,
            crop=config.crop,
            flip=config.flip,
            seed=config.seed,
            share=self._processes.share(config.batch_size),
            workers=self._execution.workers,
        )
        # a mosaic is about as large as its first part
        shown = [*image_ids, *(parts[0] for parts in mosaics.values())]
        return batch_source(
            model, [*image_ids, *mosaics], lesson, drawing,
            sizes=(self._prepared.record(config.split, i).size for i in shown),
            on_bad=on_bad, note=self._stage.note, progress=self._progress,
        )  # fmt: skip

    def _monitor(self, model: GLECLIP) -> dict[str, Any]:
        """Score what the model would teach on the first images of the validation split."""
        split = self._config.val_split
        if split not in self._prepared.splits():
            return {}
        teacher, tags = Teacher(model, self._config, first=False), self._prepared.labels(split)

        def taught(image_id: str) -> Labels:
            return teacher(self._prepared.load_image(split, image_id), tags[image_id])

        looked_at = [i for i in self._prepared.image_ids(split)[:_MONITORED] if tags[i]]
        return monitor(self._stage, self._prepared, split, looked_at, taught, self._num_labels)
