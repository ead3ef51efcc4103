"""Published results that may stand beside one's own: same data set, split and stage."""

import tomllib
from dataclasses import asdict, dataclass, field
from typing import Any

from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.stage import load_manifest
from gleclip_cli.artifacts.tables import Scores, load_prepared
from gleclip_cli.config import EVALUATE_WHAT
from gleclip_cli.errors import MissingInput, UsageError
from gleclip_cli.resources import data_file


@dataclass(frozen=True, kw_only=True)
class Result:
    """One figure; `stage`: cam, pseudo or seg; `miou` in percent, as printed there."""

    method: str
    stage: str
    network: str
    supervision: str
    miou: float
    source: str
    note: str = ""


@dataclass(frozen=True)
class Beside:
    """Results by falling mIoU, the run's own among them; `warnings`: why they may not compare."""

    dataset: str
    split: str
    rows: tuple[Result, ...]
    warnings: list[str] = field(default_factory=list)

    def as_json(self) -> list[dict[str, Any]]:
        """Return the rows."""
        return [asdict(row) for row in self.rows]


def load_results(dataset: str, split: str, stage: str) -> list[Result]:
    """Return the published results of one table."""
    return [
        Result(stage=stage, **entry)
        for entry in _read().get("results", {}).get(dataset, {}).get(split, {}).get(stage, [])
    ]


def results_for(run: RunDir, what: str, split: str) -> list[Result]:
    """Return what is published for the data set of a run, and the stage that made `what`.

    Raises:
        UsageError: the data set has classes of its own, or nothing is known of this stage there.
    """
    data = load_prepared(run)
    own_classes = data.vocabulary != data.dataset
    stage = _stage(what)
    results = [] if own_classes else load_results(data.dataset, split, stage)
    if not results:
        whose = "classes of your own" if own_classes else f"{stage} on {data.dataset} {split}"
        raise UsageError(
            f"No published results are known for {whose}.",
            "There are some for voc (cam and pseudo on train, networks on val) and coco.",
        )
    return results


def beside_published(run: RunDir, scores: Scores, what: str, split: str) -> Beside:
    """Return `results_for` a run with its own scores among them."""
    results, dataset, stage = (
        results_for(run, what, split),
        load_prepared(run).dataset,
        _stage(what),
    )
    own = Result(
        method="this run",
        stage=stage,
        network=_network(run, what, split, scores),
        supervision="image labels, CLIP",
        miou=100 * scores.miou,
        source=str(run.root),
    )
    rows = sorted([*results, own], key=lambda row: -row.miou)
    expected = _read()["images"].get(dataset, {}).get(split)
    warnings = []
    if expected != scores.images:
        warnings.append(
            f"{scores.images} images are scored, of the published {expected} of {split}: figures "
            "of another set do not compare."
        )
    if scores.extra.get("threshold_chosen_on") == split != "train":
        warnings.append("The background was chosen on this split itself, which flatters.")
    return Beside(dataset, split, tuple(rows), warnings)


def _stage(what: str) -> str:
    return what if what in EVALUATE_WHAT else "seg"


def _network(run: RunDir, what: str, split: str, scores: Scores) -> str:
    """Return what made the scored output, as its settings name it."""
    try:
        if what not in EVALUATE_WHAT:
            return str(load_manifest(run, "train_seg", what).data["config"]["arch"])
        made_for = str(scores.extra.get("made_for", split))
        config = load_manifest(run, "gen_cam", made_for).data["config"]
        return f"{config['method']}, {config['clip_model']}"
    except (MissingInput, KeyError):
        return ""


def _read() -> dict[str, Any]:
    with data_file("published.toml").open("rb") as file:
        return tomllib.load(file)
