"""Which images an evaluation counts, and whose output it scores."""

from dataclasses import dataclass

from gleclip_cli.artifacts.manifest import Manifest, not_kept
from gleclip_cli.artifacts.run_dir import RunDir, printable
from gleclip_cli.artifacts.tables import PreparedData
from gleclip_cli.config import EVALUATE_WHAT, TRAIN, TRAINAUG, EvaluateConfig
from gleclip_cli.errors import MissingInput


@dataclass(frozen=True)
class Scope:
    """`listed` images of a split, of which `scored` have a true mask and a prediction."""

    listed: list[str]
    scored: list[str]
    counts: dict[str, int]


def made_for(run: RunDir, stage: str, split: str) -> str:
    """Return the split whose output serves `split`: its own, or trainaug's, which holds train."""
    own, larger = run.output(stage, split), run.output(stage, TRAINAUG)
    return TRAINAUG if split == TRAIN and larger.exists() and not own.exists() else split


def find_scope(data: PreparedData, config: EvaluateConfig, source: Manifest, output: str) -> Scope:
    """Find the images to score with `source`, the output made for the split or network `output`.

    Raises:
        MissingInput: there are no true masks, or a prediction is missing and must not be.
    """
    if config.what == "cam" and not source.data.get("kept", True):
        raise not_kept(source)
    split, by_split = config.split, config.what in EVALUATE_WHAT
    listed = data.image_ids(split)
    if by_split and output != split:
        # what was limited there is not missing here
        of_output = set(data.image_ids(output)[: source.data["config"]["limit"]])
        listed = [image_id for image_id in listed if image_id in of_output]
    listed = listed[: config.limit]
    with_mask = [i for i in listed if data.record(split, i).mask is not None]
    if not with_mask:
        raise MissingInput(
            f"The images of {split} have no true masks: there is nothing to score against.",
            "Prepare the data set with its masks, or name another --split.",
        )
    predicted = set(source.fingerprints()) if by_split else set(listed)
    missing = [i for i in with_mask if i not in predicted]
    if missing and (len(missing) == len(with_mask) or not config.allow_missing):
        raise MissingInput(
            f"{len(missing)} of {len(with_mask)} images of {split} have no prediction, "
            f"the first is {printable(missing[0])}.",
            f"Make them with `gleclip {source.stage.replace('_', '-')}`, or score the others "
            "with --allow-missing or --limit.",
        )
    counts = {"without_mask": len(listed) - len(with_mask), "missing": len(missing)}
    return Scope(listed, [i for i in with_mask if i in predicted], counts)
