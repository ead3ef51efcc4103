"""What an evaluation scores: maps, pseudo masks or a network, by which images, made from what."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gleclip_cli.artifacts.checkpoint import network_elsewhere
from gleclip_cli.artifacts.manifest import Manifest, require
from gleclip_cli.artifacts.run_dir import RunDir, printable
from gleclip_cli.artifacts.tables import PreparedData, load_prepared, load_scores
from gleclip_cli.config import EVALUATE_WHAT, TRAIN, EvaluateConfig
from gleclip_cli.errors import MissingInput
from gleclip_cli.metrics.scope import Scope, find_scope, made_for
from gleclip_cli.metrics.sources import Sources
from gleclip_cli.metrics.sweep import sweep_of_train
from gleclip_cli.progress import Progress

_STAGES = {"cam": "gen_cam", "pseudo": "refine"}


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The output that is scored.

    `made_for`: the split or network it is of; `source`: its manifest; `train_sweep`: scores of
    train's maps, where they choose the background threshold.
    """

    config: EvaluateConfig
    data: PreparedData
    sources: Sources
    prepared: Manifest
    source: Manifest
    made_for: str
    train_sweep: Manifest | None
    scope: Scope

    @property
    def inputs(self) -> list[Manifest | None]:
        """What the scores are made from."""
        return [self.prepared, self.source, self.train_sweep]

    def fingerprints(self) -> dict[str, str]:
        """Return, by image, the hash of what a prediction is made from."""
        images = self.data.fingerprints(self.config.split)
        return {i: f"{self.source.digest} {images[i]}" for i in self.scope.listed}

    def known_threshold(self) -> tuple[float, str] | None:
        """Return the background threshold and where it is from, unless it is to be chosen here."""
        if self.config.bg_threshold is not None:
            return self.config.bg_threshold, "given"
        if self.train_sweep is not None:
            return float(load_scores(self.train_sweep.path.parent).extra["threshold"]), TRAIN
        return None

    def facts(self) -> dict[str, Any]:
        """Return what the scores tell of their subject."""
        return {
            "dataset": self.data.dataset,
            "what": self.config.what,
            "split": self.config.split,
            "made_for": self.made_for,
            "image_level_labels_used": self._labels_used(),
        }

    def _labels_used(self) -> bool:
        """Whether image-level labels have chosen the classes of what is scored."""
        if self.config.what not in EVALUATE_WHAT:
            return False
        made = self.source.data
        told = made["config"] if self.config.what == "cam" else made
        return bool(told.get("labels", "given") == "given")


def find_subject(
    run: RunDir,
    config: EvaluateConfig,
    prepared: Manifest,
    class_names: tuple[str, ...],
    *,
    allow_partial: bool,
    progress: Progress,
) -> Subject:
    """Find everything that is to be scored, and refuse what cannot be.

    Raises:
        UsageError: the data set has no such split.
        MissingInput: there are no true masks, or there is nothing to score.
        BadInput: a network from elsewhere knows other classes.
    """
    split, by_split = config.split, config.what in EVALUATE_WHAT
    data = load_prepared(run)
    data.require_split(split)
    _refuse_no_folder(run, config.what)
    stage = _STAGES.get(config.what, "train_seg")
    output = made_for(run, stage, split) if by_split else config.what
    if by_split or run.checkpoint(output) == run.checkpoint_of(output):
        partial = allow_partial or config.allow_missing
        source = require(run, stage, output, allow_partial=partial)
    else:
        source = network_elsewhere(run.checkpoint_of(output), class_names)
    if by_split and output != split:
        progress.say(f"{split} has no output of its own: {output}, which holds it, serves.")
    scope = find_scope(data, config, source, output)
    swept_elsewhere = config.what == "cam" and config.bg_threshold is None and split != TRAIN
    return Subject(
        config=config,
        data=data,
        sources=Sources(run, data, config, output, len(class_names)),
        prepared=prepared,
        source=source,
        made_for=output,
        train_sweep=sweep_of_train(run, source) if swept_elsewhere else None,
        scope=scope,
    )


def _refuse_no_folder(run: RunDir, what: str) -> None:
    """A path means a network from elsewhere, which no training of this run would make."""
    if Path(what).name == what or run.checkpoint_of(what).exists():
        return
    state = "holds no config.json" if Path(what).is_dir() else "is no folder"
    raise MissingInput(
        f"{printable(what)} {state}.",
        "Name the folder of a network, such as `gleclip export` makes, or one of this run.",
    )
