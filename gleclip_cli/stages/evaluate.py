"""Maps, pseudo masks or a network's predictions are scored against the true masks of a split."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gleclip_cli.artifacts.labels import Labels
from gleclip_cli.artifacts.maps import save_label_image
from gleclip_cli.artifacts.per_image import (
    CLASS_TABLE,
    IMAGE_TABLE,
    open_image_tables,
    read_image_tables,
)
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.stage import Manifest, Stage, load_manifest, open_stage, require
from gleclip_cli.artifacts.tables import load_prepared, save_scores
from gleclip_cli.config import TRAIN, EvaluateConfig, Execution
from gleclip_cli.datasets.vocabulary import Vocabulary, load_vocabulary
from gleclip_cli.errors import UsageError
from gleclip_cli.metrics.bootstrap import bootstrap
from gleclip_cli.metrics.mix_ups import mix_ups
from gleclip_cli.metrics.sources import Levels
from gleclip_cli.metrics.subject import Subject, find_subject
from gleclip_cli.metrics.sweep import BackgroundSweep
from gleclip_cli.metrics.tally import Counted, Tally, count_image
from gleclip_cli.parallel.batches import helpers, prefetched
from gleclip_cli.progress import SILENT, Progress

Labeller = Callable[[Any], Labels]
"""What was loaded for an image -> its predicted labels (H, W)."""
_RESAMPLES = 1000

_Done = TypeVar("_Done")
_Chosen = tuple[dict[str, Any], list[str]]


def evaluate(
    run: RunDir,
    config: EvaluateConfig,
    *,
    execution: Execution = Execution(),
    progress: Progress = SILENT,
) -> Manifest:
    """Write scores, confusion matrix and tables of images, and the predictions of a network.

    Image-level labels decide which classes maps and pseudo masks hold, unless the maps were made
    without them; a network never sees them.
    Maps and pseudo masks of trainaug serve train, where train has none of its own.
    Images without a true mask are counted (`without_mask`), not scored. The background threshold
    of maps is the given one, else that of a finished sweep on train, else swept on this split.

    Raises:
        MissingInput: the split has no true masks, there is nothing to score, or a prediction is
            missing and `allow_missing` is off.
        BadInput: a mask has another size than its image or unknown values, and `on_bad` is stop
            (else the image fails); or no pixel can be scored.
        OtherSettings: the folder holds scores made with other settings.
    """
    name = f"{config.what}-{config.split}"
    if execution.shard[1] > 1 and not config.predicts:
        raise UsageError(
            "Several processes share predictions of a network, if these are saved; nothing else.",
            "Leave out torchrun or --shard: scores are counted by one process.",
        )
    allow = execution.allow_partial
    prepared = require(run, "prepare_data", allow_partial=allow)
    vocabulary = load_vocabulary(load_prepared(run).vocabulary)
    names = vocabulary.class_names
    subject = find_subject(run, config, prepared, names, allow_partial=allow, progress=progress)
    work = _Evaluation(run, config, execution, progress, vocabulary, subject)
    with open_stage(
        run,
        "evaluate",
        config,
        name=name,
        inputs=subject.inputs,
        item_ids=subject.scope.listed if config.predicts else (),
        execution=execution,
        progress=progress,
    ) as stage:
        if stage.dry_run:
            return stage.finish()
        todo = stage.todo(subject.fingerprints()) if config.predicts else []
        if not todo and stage.finished:
            finished = load_manifest(run, "evaluate", name)
            if finished.complete:
                return finished
        return work.score(stage, todo)


@dataclass(frozen=True)
class _Evaluation:
    """One evaluation on its way."""

    run: RunDir
    config: EvaluateConfig
    execution: Execution
    progress: Progress
    vocabulary: Vocabulary
    subject: Subject

    @property
    def num_classes(self) -> int:
        return len(self.vocabulary.class_names)

    def score(self, stage: Stage, todo: list[str]) -> Manifest:
        """Predict what is left, count every image, write the scores."""
        config, subject = self.config, self.subject
        image_ids = subject.scope.scored
        if config.predicts:
            self._write_predictions(stage, todo)
            if not stage.ended():
                return stage.leave()  # the last process scores
            failed = stage.index.failures()
            image_ids = [image_id for image_id in image_ids if image_id not in failed]
        tally = Tally(self.num_classes)
        with open_image_tables(stage.folder) as tables:

            def add(one: Counted) -> None:
                if tally.add(one):
                    tables.add(one.image, one.facts())

            chosen: dict[str, Any] = {}
            if config.what == "cam":
                chosen, image_ids = self._score_maps(stage, add)
            elif config.predicts or config.what == "pseudo":
                image_ids = self._each(stage, image_ids, subject.sources.counted, add, "score")
            else:
                image_ids = self._score_network(stage, add)
            tally.require_pixels()
        return self._write_scores(stage, tally, chosen, image_ids)

    def _write_scores(
        self, stage: Stage, tally: Tally, chosen: dict[str, Any], image_ids: list[str]
    ) -> Manifest:
        """Write what was counted on these images, with intervals and warnings."""
        subject = self.subject
        counts = {**subject.scope.counts, "unscorable": len(subject.scope.scored) - len(image_ids)}
        images = read_image_tables(stage.folder, self.num_classes)
        overlaps = (image.overlap for image in images)
        intervals = bootstrap(overlaps, tally.images, resamples=_RESAMPLES)
        intervals = intervals.of_enough(tally.images)
        scores = tally.scores(self.vocabulary.class_names, intervals)
        scores = replace(scores, extra={**subject.facts(), **chosen, **counts, **scores.extra})
        for warning in mix_ups(tally.confusion, ignored_pixels=tally.ignored_pixels):
            stage.warn(warning)
        files = save_scores(stage.folder, scores, tally.confusion)
        files += [stage.folder / name for name in (IMAGE_TABLE, CLASS_TABLE)]
        return stage.finish(*files, images=scores.images, **counts)

    def _score_maps(self, stage: Stage, add: Callable[[Counted], None]) -> _Chosen:
        """Score maps; return the background threshold with its origin, and the scored images.

        A threshold that is known needs one pass over the maps, one that is chosen here another.
        """
        config, image_ids, sources = self.config, self.subject.scope.scored, self.subject.sources
        chosen, sweep = BackgroundSweep(self.num_classes), BackgroundSweep(self.num_classes)
        known = self.subject.known_threshold()
        if known is None:
            image_ids = self._each(
                stage, image_ids, sources.levels, lambda one: chosen.add(*one), "sweep"
            )
            known = chosen.result().threshold, config.split
        threshold, origin = known

        def take(one: tuple[Counted, Levels]) -> None:
            add(one[0])
            sweep.add(*one[1])

        count = partial(sources.counted_at, threshold=threshold)
        image_ids = self._each(stage, image_ids, count, take, "score")
        self.progress.say(f"Background threshold {threshold}: {self._origin(origin)}.")
        result = sweep.result()
        curves = {**result.curves(), "best": result.threshold}
        facts = {"threshold": threshold, "threshold_chosen_on": origin, "sweep": curves}
        return facts, image_ids

    def _origin(self, chosen_on: str) -> str:
        if chosen_on in ("given", TRAIN):
            return "as given" if chosen_on == "given" else f"the best of {TRAIN}"
        return f"the best of {chosen_on} itself, so that the scores flatter"

    def _score_network(self, stage: Stage, add: Callable[[Counted], None]) -> list[str]:
        """Predict and score without keeping a mask; return the scored images."""
        label, sources = self._network(stage), self.subject.sources

        def load(image_id: str) -> tuple[str, Labels, NDArray[np.uint8]]:
            return image_id, sources.gt_mask(image_id), sources.image(image_id)

        def take(one: tuple[str, Labels, NDArray[np.uint8]]) -> None:
            image_id, gt_mask, image = one
            add(count_image(image_id, gt_mask, label(image), self.num_classes))

        workers = self.execution.workers
        return self._each(stage, self.subject.scope.scored, load, take, "score", workers=workers)

    def _write_predictions(self, stage: Stage, todo: list[str]) -> None:
        """Predict every image of this process's list that is not done."""
        config, data = self.config, self.subject.data
        if todo:
            label = self._network(stage)
            images = prefetched(todo, self.subject.sources.image, workers=self.execution.workers)
            for image_id, image in self.progress.each(images, total=len(todo), label="predict"):
                path = self.run.pred_mask(config.what, config.split, image_id)
                with stage.item(image_id, data.record(config.split, image_id).image):
                    save_label_image(path, label(image()), self.vocabulary.palette)
                    stage.done(image_id, path)

    def _each(
        self,
        stage: Stage,
        image_ids: list[str],
        work: Callable[[str], _Done],
        take: Callable[[_Done], None],
        label: str,
        *,
        workers: int | None = None,
    ) -> list[str]:
        """Hand to `take` what `work` makes of each id, in threads; return what went well."""
        good, data = [], self.subject.data
        threads = helpers(self.execution.workers) if workers is None else workers
        results = prefetched(image_ids, work, workers=threads)
        for image_id, result in self.progress.each(results, total=len(image_ids), label=label):
            with stage.item(image_id, data.record(self.config.split, image_id).mask):
                take(result())
                good.append(image_id)
        return good

    def _network(self, stage: Stage) -> Labeller:
        # Only here: torch, open_clip and torchvision take seconds to start.
        from gleclip_cli.cam.texts import naming_texts
        from gleclip_cli.parallel.device import device_of
        from gleclip_cli.seg.labeller import Naming, load_labeller
        from gleclip_cli.seg.predict import views_of

        config, device = self.config, device_of(self.execution, self.progress)
        trained = self.subject.source.data["config"]
        clip = trained.get("clip_model", ""), trained.get("clip_weights", "")  # "": of a hub
        decide = load_labeller(
            self.run.checkpoint_of(config.what), device, views=views_of(config), crf=config.crf,
            naming=Naming(naming_texts(self.vocabulary), *clip) if config.regions else None,
            warn=stage.warn,
        )  # fmt: skip
        return lambda image: decide(image).labels
