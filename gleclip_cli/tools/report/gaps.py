"""What a report cannot show, and the command that would change it."""

from collections.abc import Sequence
from dataclasses import dataclass
from shlex import quote

from gleclip_cli.artifacts.run_dir import RunDir, printable
from gleclip_cli.artifacts.tables import PreparedData
from gleclip_cli.config import TRAIN, TRAINAUG
from gleclip_cli.tools.report.outputs import Output
from gleclip_cli.tools.report.scores import Evaluation


@dataclass(frozen=True)
class Gap:
    """Something missing, and the command that makes it, if there is one."""

    text: str
    command: str = ""


def next_command(run: RunDir, command: str, options: str = "") -> str:
    """Return a command line for this run."""
    return f"gleclip {command} --run {quote(printable(run.root))} {options}".strip()


def find_gaps(
    run: RunDir,
    data: PreparedData,
    outputs: Sequence[Output],
    evaluations: Sequence[Evaluation],
    faults: Sequence[str],
) -> list[Gap]:
    """Return all gaps in pipeline order, then what could not be read."""
    gaps = _unmade(run, outputs)
    masked = [s for s in data.splits() if _has_masks(data, s)]
    if not masked:
        gaps.append(Gap("Scores: the data set has no true masks, so nothing can be scored."))
    gaps += _unscored(run, outputs, evaluations, masked)
    if "val" not in data.splits():
        gaps.append(Gap("A val split: every figure here is about images that were learned from."))
    for output in outputs:
        if output.state != "finished":
            text = f"All of {output.title}: it is {output.state}."
            gaps.append(Gap(text, "" if output.state == "damaged" else output.command))
    return gaps + [Gap(f"Unreadable: {printable(fault)}") for fault in faults]


def _unmade(run: RunDir, outputs: Sequence[Output]) -> list[Gap]:
    known = {output.stage for output in outputs}
    return [
        Gap(f"{what}: not made.", next_command(run, command))
        for what, command in (
            ("Maps", "gen-cam"),
            ("Pseudo masks", "refine"),
            ("A network", "train-seg"),
        )
        if command.replace("-", "_") not in known
    ]


def _unscored(
    run: RunDir,
    outputs: Sequence[Output],
    evaluations: Sequence[Evaluation],
    masked: Sequence[str],
) -> list[Gap]:
    """Name what was made, has true masks to be scored against, and was not scored."""
    gaps = []
    scored = {(e.what, e.split) for e in evaluations}
    for output in outputs:
        what = {"gen_cam": "cam", "refine": "pseudo", "train_seg": output.name}.get(output.stage)
        if not what or not output.exists:
            continue
        split = TRAIN if output.name == TRAINAUG else output.name
        if output.stage == "train_seg":
            split = next((s for s in ("val", *masked) if s in masked), "")
            done = any(w == what for w, _ in scored)
        else:
            done = (what, split) in scored
        if split in masked and not done:
            options = f"--what {quote(printable(what))} --split {quote(printable(split))}"
            text = f"Scores of {output.title}: not evaluated on {split}."
            gaps.append(Gap(text, next_command(run, "evaluate", options)))
    return gaps


def _has_masks(data: PreparedData, split: str) -> bool:
    return any(data.record(split, i).mask is not None for i in data.image_ids(split))
