"""What whole runs, plans, checks and predictions tell, as tables and as JSON."""

from collections.abc import Mapping
from itertools import starmap
from typing import TYPE_CHECKING, Any

from gleclip_cli.cli.console import Report, named, percent
from gleclip_cli.progress import counted

if TYPE_CHECKING:  # `--help` loads neither numpy nor torch
    from gleclip_cli.datasets.source import DataIndex
    from gleclip_cli.pipeline import Summary
    from gleclip_cli.plan import Plan


def show_areas(report: Report, classes: Mapping[str, Mapping[str, Any]]) -> None:
    """Show what pictures hold: images, share of all pixels and confidence by class."""
    report.document["classes"] = classes
    rows = [
        [name, str(area["images"]), percent(area["share"]), percent(area["confidence"])]
        for name, area in sorted(classes.items(), key=lambda entry: -entry[1]["pixels"])
    ]
    columns = ["class", "images", "share", "confidence"]
    report.table("Pixels of all pictures, in percent", columns, rows)


def show_summary(report: Report, summary: "Summary") -> None:
    """Show what a whole run made: seconds and mIoU per step."""
    scored = {r.label: r.scores.miou for r in summary.results if r.scores}
    for result in summary.results:
        report.failures(result.manifest)
    report.document |= {
        "run": str(summary.run.root),
        "miou": scored,
        "seconds_per_step": {r.label: round(r.seconds, 3) for r in summary.results},
        "unscored": summary.unscored,
        "waiting": summary.waiting,
    }
    rows = [[r.label, f"{r.seconds:.1f}", percent(scored.get(r.label))] for r in summary.results]
    rows += [[name, "", "no true masks"] for name in summary.unscored]
    rows += [[name, "", "not reached"] for name in summary.waiting]
    title = f"Run {summary.run.root}, mIoU in percent"
    report.table(title, ["step", "seconds", "mIoU"], rows)


def show_plan(report: Report, plan: "Plan") -> None:
    """Show what a run would do and cost."""
    report.document |= {"steps": [vars(step) for step in plan.steps], "free_bytes": plan.free}
    rows = [
        [s.label, s.note or str(s.images), _duration(s.seconds), _megabytes(s.size)]
        for s in plan.steps
    ]
    known = [s for s in plan.steps if s.seconds is not None]
    if len(known) == len(rows):
        seconds, size = sum(s.seconds or 0 for s in known), sum(s.size or 0 for s in known)
        rows.append(["all", "", _duration(seconds), _megabytes(size)])
    title = f"Plan, from a probe; {_megabytes(plan.free)} MB are free"
    report.table(title, ["step", "images", "time", "MB"], rows)


def show_findings(report: Report, index: "DataIndex") -> None:
    """Show what a data set holds, what is odd about it, and all its faults."""
    problems = [
        {"image": p.image_id, "path": p.path, "reason": p.cause, "remedy": p.remedy}
        for p in index.problems
    ]
    report.document |= {
        "data": str(index.root),
        "counts": index.counts,
        "notes": dict(index.notes),
        "problems": problems,
    }
    for note, images in sorted(index.notes.items()):
        report.warn(f"{counted(images, 'image')}: {note}.")
    counts = ", ".join(starmap(named, index.counts.items()))
    report.say(f"{index.root}: {counts}.")
    if problems:
        rows = [[p["image"], p["reason"], p["remedy"]] for p in problems]
        report.table(counted(len(rows), "problem"), ["image", "reason", "remedy"], rows)


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _megabytes(size: float | None) -> str:
    return "unknown" if size is None else f"{size / 1e6:,.0f}"
