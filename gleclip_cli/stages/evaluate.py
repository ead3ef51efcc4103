"""Maps, pseudo masks or a network's predictions are scored against the true masks of a split."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gleclip_cli.artifacts.labels import Labels
from gleclip_cli.artifacts.maps import Cam, load_cam, load_label_image, save_label_image
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.stage import Manifest, Stage, load_manifest, open_stage, require
from gleclip_cli.artifacts.tables import PreparedData, load_prepared, load_scores, save_scores
from gleclip_cli.config import EVALUATE_WHAT, TRAIN, EvaluateConfig, Execution
from gleclip_cli.datasets.vocabulary import Vocabulary, load_vocabulary
from gleclip_cli.metrics.mix_ups import mix_ups
from gleclip_cli.metrics.scope import Scope, find_scope, made_for
from gleclip_cli.metrics.sweep import THRESHOLDS, BackgroundSweep, sweep_of_train
from gleclip_cli.metrics.tally import Tally
from gleclip_cli.parallel.batches import prefetched
from gleclip_cli.parallel.device import pick_device
from gleclip_cli.progress import SILENT, Progress
from gleclip_cli.refine.pseudo_mask import pseudo_mask, with_background

Labeller = Callable[[Any], Labels]
"""What was loaded for an image -> its predicted labels (H, W)."""


def evaluate(
    run: RunDir,
    config: EvaluateConfig,
    *,
    execution: Execution = Execution(),
    progress: Progress = SILENT,
) -> Manifest:
    """Write scores.json, confusion.npz and per_image.csv, and the predictions of a network.

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
    work = _prepare(run, config, execution, progress)
    with open_stage(
        run,
        "evaluate",
        config,
        name=name,
        inputs=work.inputs,
        item_ids=work.scope.listed if work.keeps_predictions else (),
        execution=execution,
        progress=progress,
    ) as stage:
        if stage.dry_run:
            return stage.finish()
        todo = stage.todo(work.fingerprints()) if work.keeps_predictions else []
        if not todo and stage.finished:
            finished = load_manifest(run, "evaluate", name)
            if finished.complete:
                return finished
        return work.score(stage, todo)


def _prepare(
    run: RunDir, config: EvaluateConfig, execution: Execution, progress: Progress
) -> "_Evaluation":
    """Find everything that is to be scored, and refuse what cannot be."""
    split, partial = config.split, execution.allow_partial
    prepared = require(run, "prepare_data", allow_partial=partial)
    stage_name = {"cam": "gen_cam", "pseudo": "refine"}.get(config.what, "train_seg")
    by_split = config.what in EVALUATE_WHAT
    output = made_for(run, stage_name, split) if by_split else config.what
    partial = partial or config.allow_missing
    source = require(run, stage_name, output, allow_partial=partial)
    data = load_prepared(run)
    if by_split and output != split:
        progress.say(f"{split} has no output of its own: {output}, which holds it, serves.")
    scope = find_scope(data, config, source, output)
    swept_elsewhere = config.what == "cam" and config.bg_threshold is None and split != TRAIN
    return _Evaluation(
        run=run,
        config=config,
        execution=execution,
        progress=progress,
        data=data,
        vocabulary=load_vocabulary(data.vocabulary),
        prepared=prepared,
        source=source,
        made_for=output,
        train_sweep=sweep_of_train(run, source) if swept_elsewhere else None,
        scope=scope,
    )


@dataclass(frozen=True, kw_only=True)
class _Evaluation:
    """One evaluation; `made_for` is the split or network whose output is scored."""

    run: RunDir
    config: EvaluateConfig
    execution: Execution
    progress: Progress
    data: PreparedData
    vocabulary: Vocabulary
    prepared: Manifest
    source: Manifest
    made_for: str
    train_sweep: Manifest | None
    scope: Scope

    @property
    def inputs(self) -> list[Manifest | None]:
        return [self.prepared, self.source, self.train_sweep]

    @property
    def num_classes(self) -> int:
        return len(self.vocabulary.class_names)

    @property
    def labels_used(self) -> bool:
        """Whether image-level labels have chosen the classes of what is scored."""
        if self.config.what not in EVALUATE_WHAT:
            return False
        made = self.source.data
        told = made["config"] if self.config.what == "cam" else made
        return bool(told.get("labels", "given") == "given")

    @property
    def keeps_predictions(self) -> bool:
        """Whether predictions are files: they take time, so an interrupted run keeps them."""
        return self.config.what not in EVALUATE_WHAT and self.config.save_predictions

    def fingerprints(self) -> dict[str, str]:
        images = self.data.fingerprints(self.config.split)
        return {i: f"{self.source.digest} {images[i]}" for i in self.scope.listed}

    def score(self, stage: Stage, todo: list[str]) -> Manifest:
        """Predict what is left, count every image, write the scores."""
        config, vocabulary = self.config, self.vocabulary
        tally = Tally(self.num_classes)
        facts: dict[str, Any] = {"what": config.what, "split": config.split}
        facts["made_for"] = self.made_for
        facts["image_level_labels_used"] = self.labels_used
        label: Labeller = _as_it_is
        image_ids = self.scope.scored
        if config.what == "cam":
            chosen, image_ids = self._choose_threshold(stage)
            facts |= chosen
            told = "as given" if config.bg_threshold is not None else "the best of {}"
            told = told.format(chosen["threshold_chosen_on"])
            self.progress.say(f"Background threshold {chosen['threshold']}: {told}.")
            label = _thresholded(chosen["threshold"], self.num_classes)
        elif self.keeps_predictions:
            image_ids = self._write_predictions(stage, todo, vocabulary.palette)
        elif config.what not in EVALUATE_WHAT:
            label = self._network(stage)
        image_ids = self._each(
            stage, image_ids, lambda i, gt, loaded: tally.add(i, gt, label(loaded)), "score"
        )
        counts = {**self.scope.counts, "unscorable": len(self.scope.scored) - len(image_ids)}
        scores = tally.scores(vocabulary.class_names)
        scores = replace(scores, extra={**facts, **counts, **scores.extra})
        for warning in mix_ups(tally.confusion, ignored_pixels=tally.ignored_pixels):
            stage.warn(warning)
        files = save_scores(stage.folder, scores, tally.confusion, tally.rows)
        return stage.finish(*files, images=scores.images, **counts)

    def _choose_threshold(self, stage: Stage) -> tuple[dict[str, Any], list[str]]:
        """Return the background threshold with its origin, and the images still to score."""
        config, scored = self.config, self.scope.scored
        if config.bg_threshold is not None:
            return {"threshold": config.bg_threshold, "threshold_chosen_on": "given"}, scored
        if self.train_sweep is not None:
            known = load_scores(self.train_sweep.path.parent).extra["threshold"]
            return {"threshold": known, "threshold_chosen_on": TRAIN}, scored
        sweep = BackgroundSweep(self.num_classes)

        def add(image_id: str, gt_mask: Labels, cam: Cam) -> None:
            sweep.add(gt_mask, cam.enlarged(), cam.class_ids, name=image_id)

        image_ids = self._each(stage, scored, add, "sweep")
        result = sweep.result()
        miou = [None if np.isnan(value) else float(value) for value in result.miou]
        return {
            "threshold": result.threshold,
            "threshold_chosen_on": config.split,
            "sweep": {"thresholds": [round(float(t), 2) for t in THRESHOLDS], "miou": miou},
        }, image_ids

    def _write_predictions(
        self, stage: Stage, todo: list[str], palette: NDArray[np.uint8]
    ) -> list[str]:
        """Predict every listed image that is not done; return those that can be scored."""
        config, failed = self.config, set(todo)
        if todo:
            label = self._network(stage)
            images = prefetched(todo, self._load_image, workers=self.execution.workers)
            for image_id, image in self.progress.each(images, total=len(todo), label="predict"):
                path = self.run.pred_mask(config.what, config.split, image_id)
                with stage.item(image_id, self.data.record(config.split, image_id).image):
                    save_label_image(path, label(image()), palette)
                    stage.done(image_id, path)
                    failed.remove(image_id)
        return [i for i in self.scope.scored if i not in failed]

    def _each(
        self,
        stage: Stage,
        image_ids: list[str],
        use: Callable[[str, Labels, Any], None],
        label: str,
    ) -> list[str]:
        """Call `use` with id, true mask and what is scored; return the ids that went well."""
        good = []
        pairs = prefetched(image_ids, self._load_pair, workers=self.execution.workers)
        for image_id, pair in self.progress.each(pairs, total=len(image_ids), label=label):
            with stage.item(image_id, self.data.record(self.config.split, image_id).mask):
                use(image_id, *pair())
                good.append(image_id)
        return good

    def _load_pair(self, image_id: str) -> tuple[Labels, Any]:
        what, split = self.config.what, self.config.split
        mask = self.data.record(split, image_id).mask
        assert mask is not None  # only images with one are scored
        gt_mask = load_label_image(mask, self.num_classes)
        if what == "cam":
            return gt_mask, load_cam(self.run.cam(self.made_for, image_id))
        if what == "pseudo":
            path = self.run.pseudo_mask(self.made_for, image_id)
        elif self.keeps_predictions:
            path = self.run.pred_mask(what, split, image_id)
        else:
            return gt_mask, self._load_image(image_id)
        return gt_mask, load_label_image(path, self.num_classes)

    def _load_image(self, image_id: str) -> NDArray[np.uint8]:
        return self.data.load_image(self.config.split, image_id)

    def _network(self, stage: Stage) -> Labeller:
        # Only here: open_clip and torchvision double the time to start.
        from gleclip_cli.seg.labeller import load_labeller
        from gleclip_cli.seg.predict import views_of

        config, device = self.config, pick_device(self.execution.device, self.progress)
        decide = load_labeller(
            self.run.checkpoint(config.what),
            device,
            views=views_of(config),
            crf=config.crf,
            warn=stage.warn,
        )
        return lambda image: decide(image).labels


def _as_it_is(labels: Labels) -> Labels:
    return labels


def _thresholded(threshold: float, num_classes: int) -> Labeller:
    def label(cam: Cam) -> Labels:
        scores = with_background(cam, constant=threshold)
        places, _ = pseudo_mask(scores)
        return cam.labels(places, num_classes)

    return label
