"""Pseudo masks -> a segmentation network that needs no image-level labels."""

import shutil
from dataclasses import asdict, replace
from typing import Any

from gleclip_cli.artifacts.checkpoint import save_checkpoint, weights_file
from gleclip_cli.artifacts.labels import Labels, label_dtype
from gleclip_cli.artifacts.lines import sha256_of
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.stage import Manifest, Stage, load_manifest, require
from gleclip_cli.artifacts.tables import PreparedData, load_prepared
from gleclip_cli.cam.texts import remembered, wording_used
from gleclip_cli.config import Execution, TrainSegConfig
from gleclip_cli.datasets.vocabulary import load_vocabulary
from gleclip_cli.errors import MissingInput, UsageError
from gleclip_cli.model.weights import find_clip
from gleclip_cli.parallel.device import pick_device
from gleclip_cli.parallel.processes import Processes, joined
from gleclip_cli.progress import SILENT, Progress, counted
from gleclip_cli.refine.naming import named_by
from gleclip_cli.refine.steps import require_steps
from gleclip_cli.resources import clip_files
from gleclip_cli.seg.clip_decoder import ClipDecoder
from gleclip_cli.seg.learner import make_trainer
from gleclip_cli.seg.lesson import Lesson
from gleclip_cli.seg.network import (
    NetworkSpec,
    SegmentationNetwork,
    check_arch,
    start_network,
    warnings_of,
)
from gleclip_cli.seg.predict import predict_logits
from gleclip_cli.seg.refresh import Refresh, steps_on_pixels
from gleclip_cli.seg.relabel import Relabeller
from gleclip_cli.training.batches import AugmentedBatches
from gleclip_cli.training.cached import CachedBatches
from gleclip_cli.training.loop import fit, rounds
from gleclip_cli.training.output import BadImages, monitor, open_training
from gleclip_cli.training.source import Drawing, batch_source
from gleclip_cli.training.trainer import Trainer

_MONITORED = 50
"""Images of the validation split scored once at the end; `evaluate` scores them all."""


def train_seg(
    run: RunDir,
    config: TrainSegConfig,
    *,
    execution: Execution = Execution(),
    progress: Progress = SILENT,
) -> Manifest:
    """Train the network `config.name` and write its checkpoint; a cut training goes on.

    Raises:
        MissingInput: no prepared data, or no masks to learn from.
        OtherSettings: a network of that name was trained with other settings.
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
        return load_manifest(run, "train_seg", config.name)


def _train(
    run: RunDir,
    config: TrainSegConfig,
    processes: Processes,
    execution: Execution,
    progress: Progress,
) -> Manifest:
    check_arch(config.arch)
    prepared = load_prepared(run)
    inputs = [require(run, "prepare_data", allow_partial=execution.allow_partial)]
    if config.targets == "pseudo":
        inputs.append(require(run, "refine", config.split, allow_partial=execution.allow_partial))
    weights = _weight_hashes(config, fetch=not execution.dry_run)
    if execution.overwrite and not execution.dry_run:
        names = load_vocabulary(prepared.vocabulary).class_names
        start_network(_spec_of(config, len(names)), config.pretrained)  # refused before it replaces
    with open_training(
        run, "train_seg", config, name=config.name, inputs=inputs, weights=weights,
        processes=processes, execution=execution, progress=progress,
    ) as stage:  # fmt: skip
        if execution.dry_run:
            return stage.finish()
        if stage.finished:
            manifest = load_manifest(run, "train_seg", config.name)
        else:
            manifest = _Training(run, prepared, config, stage, processes, execution, progress).work(
                inputs[-1], weights
            )
        # Only now: until the manifest stands, a kill must not cost the training.
        if processes.main:
            shutil.rmtree(run.training_state(config.name), ignore_errors=True)
        return manifest


class _Training:
    """What the steps of one training share."""

    def __init__(
        self,
        run: RunDir,
        prepared: PreparedData,
        config: TrainSegConfig,
        stage: Stage,
        processes: Processes,
        execution: Execution,
        progress: Progress,
    ) -> None:
        self._run, self._config, self._stage = run, config, stage
        self._processes = processes
        self._execution, self._progress = execution, progress
        self._prepared = prepared
        self._classes = load_vocabulary(prepared.vocabulary).class_names
        self._lesson = Lesson(
            run,
            prepared,
            config.split,
            len(self._classes),
            pseudo=config.targets == "pseudo",
            confidence_threshold=config.confidence_threshold,
            weighted=config.confidence_weights,
            name=config.name,
        )

    def work(self, source: Manifest, weights: dict[str, str]) -> Manifest:
        """Train from start or saved state to the checkpoint."""
        config, stage = self._config, self._stage
        image_ids = self._image_ids(source)
        device = pick_device(self._processes.device, self._progress)
        spec = _spec_of(config, len(self._classes))
        started = start_network(spec, config.pretrained, seed=config.seed)
        network = started.network
        for warning in (*warnings_of(network), *started.warnings):
            stage.warn(warning)
        for note in started.notes:
            self._progress.say(note)
        on_bad = BadImages(
            stage, self._processes, images=len(image_ids), on_bad=self._execution.on_bad
        )
        trainer, kept = make_trainer(
            network,
            config,
            self._prepared.labels(config.split),
            len(image_ids),
            device=device,
            processes=self._processes,
            warn=stage.warn,
        )
        self._learn(trainer, network, kept, image_ids, on_bad, source)
        on_bad.gather()
        if not self._processes.main:
            return stage.finish()
        meta = {
            "network": asdict(started.spec),
            "clip_sha256": weights.get("clip", ""),
            "classes": list(self._classes),
            "monitor": self._monitor(kept.eval()),
        }
        path = self._run.checkpoint(config.name)
        save_checkpoint(path, kept.weights(), meta)
        stage.note(device=str(device), processes=self._processes.count)
        files = (path, path.with_suffix(".json"))
        return stage.finish(*files, steps=trainer.step, images=len(image_ids))

    def _learn(
        self,
        trainer: Trainer,
        network: SegmentationNetwork,
        kept: SegmentationNetwork,
        image_ids: list[str],
        on_bad: BadImages,
        masks: Manifest,
    ) -> None:
        """Train, round by round, from where the saved state stands; `refresh` between rounds."""
        count, state = self._config.refresh, self._run.training_state(self._config.name)
        log, progress = self._stage.log, self._progress
        refresh = None
        if count and isinstance(kept, ClipDecoder):
            refresh = Refresh(
                self._lesson, self._relabeller(kept, masks), image_ids, self._processes, on_bad,
                log=log, progress=progress,
            )  # fmt: skip
        source: CachedBatches | AugmentedBatches | None = None
        for number, last, begins in rounds(trainer, 1 + count, state, log=log):
            if refresh is not None and number and begins:
                refresh(number, trainer.step)
            lesson = replace(self._lesson, refreshed=number)
            if source is None:
                source = self._source(network, lesson, image_ids, on_bad)
            else:
                source.relabel(lesson)
            fit(trainer, source.steps, until=last, state_folder=state, log=log, progress=progress)
        if refresh is not None and self._processes.main:
            self._stage.note(refreshed=[refresh.facts(n) for n in range(1, 1 + count)])

    def _relabeller(self, network: ClipDecoder, masks: Manifest) -> Relabeller:
        """Return what makes pseudo masks anew, by the steps of `masks` that it can repeat."""
        refine, left_out = steps_on_pixels(masks.data["config"])
        require_steps(refine)
        if left_out:
            self._stage.note(refresh_leaves_out=left_out)
            self._progress.say(f"Refresh leaves out: {', '.join(left_out)}.")
        if "regions" not in refine.steps:
            return Relabeller(network, refine)
        # the texts are those of refine, the CLIP is the network's
        trained = "train_cam" in masks.data["digests"]
        made_with = ("train_cam",) if trained else ("gen_cam", self._config.split)
        wording = wording_used(self._run, load_manifest(self._run, *made_with).data)
        clip = find_clip(*clip_files(self._config.clip_model, self._config.clip_weights))
        namer = named_by(network.clip, wording, embed=remembered(self._run, clip))
        return Relabeller(network, refine, namer)

    def _image_ids(self, source: Manifest) -> list[str]:
        """Images that have a mask to learn from; how many have none is told."""
        listed = self._prepared.image_ids(self._config.split)
        if self._config.targets == "pseudo":
            done = source.fingerprints()
            usable = [image_id for image_id in listed if image_id in done]
        else:
            usable = [image_id for image_id in listed if self._lesson.mask_path(image_id)]
        if not usable:
            raise MissingInput(
                f"No image of {self._config.split} has a {self._config.targets} mask.",
                "Prepare a data set with masks, or use --targets pseudo.",
            )
        if lost := len(listed) - len(usable):
            self._stage.warn(f"Left out: {counted(lost, 'image')} without a mask.")
        return usable[: self._config.limit]

    def _source(
        self,
        network: SegmentationNetwork,
        lesson: Lesson,
        image_ids: list[str],
        on_bad: BadImages,
    ) -> CachedBatches | AugmentedBatches:
        config = self._config
        drawing = Drawing(
            batch_size=config.batch_size,
            crop=config.crop,
            flip=config.flip,
            jitter=config.jitter,
            seed=config.seed,
            share=self._processes.share(config.batch_size),
            scales=(min(config.scales), max(config.scales)),
            workers=self._execution.workers,
        )
        return batch_source(
            network, image_ids, lesson, drawing,
            sizes=map(lesson.size, image_ids),
            on_bad=on_bad, note=self._stage.note, progress=self._progress,
        )  # fmt: skip

    def _monitor(self, network: SegmentationNetwork) -> dict[str, Any]:
        """Score the first images of the validation split, without mirror images."""
        split, classes = self._config.val_split, len(self._classes)
        known = self._prepared.image_ids(split) if split in self._prepared.splits() else []

        def predict(image_id: str) -> Labels:
            image = self._prepared.load_image(split, image_id)
            labels = predict_logits(network, image, flip=False).argmax(0)
            predicted: Labels = labels.to("cpu").numpy().astype(label_dtype(classes))
            return predicted

        return monitor(self._stage, self._prepared, split, known[:_MONITORED], predict, classes)


def _spec_of(config: TrainSegConfig, num_classes: int) -> NetworkSpec:
    on_clip = config.arch == "clip-decoder"
    return NetworkSpec(
        arch=config.arch,
        num_classes=num_classes,
        clip_model=config.clip_model if on_clip else "",
        clip_weights=config.clip_weights if on_clip else "",
    )


def _weight_hashes(config: TrainSegConfig, *, fetch: bool) -> dict[str, str]:
    """Hashes of everything the network starts from, for the stage key."""
    if config.arch == "clip-decoder":
        model, weights = clip_files(config.clip_model, config.clip_weights)
        return {"clip": find_clip(model, weights, fetch=fetch).sha256}
    path = weights_file(config.pretrained)
    return {"pretrained": sha256_of(path)} if path else {}
