"""Scores as tables: few columns, or all with --details; beside another run, beside published ones.

Numbers are in percent of pixels; a row of JSON holds what its table shows, and more.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from gleclip_cli.cli.console import Report, percent
from gleclip_cli.progress import counted

if TYPE_CHECKING:  # `--help` loads neither numpy nor torch
    from gleclip_cli.artifacts.tables import Scores
    from gleclip_cli.metrics.bootstrap import Interval
    from gleclip_cli.tools.compare import Comparison
    from gleclip_cli.tools.published import Beside

_DETAILS = {
    "precision": "per_class_precision",
    "recall": "per_class_recall",
    "FP": "per_class_fp",
    "FN": "per_class_fn",
    "boundary": "per_class_boundary_iou",
}
_SKIPPED = {
    "without_mask": "without true mask",
    "missing": "without prediction",
    "unscorable": "failed",
    "images_all_ignored": "all ignored",
}


def show_scores(report: Report, scores: "Scores", *, details: bool = False) -> None:
    """Show IoU per class, the mean and the other figures of a set."""
    extra = scores.extra
    report.document |= {
        **extra,
        "miou": scores.miou,
        "per_class_iou": scores.per_class_iou,
        "images": scores.images,
    }
    names = extra.get("class_names") or list(scores.per_class_iou)
    intervals = extra.get("per_class_interval", {})
    more = {title: extra.get(key, {}) for title, key in _DETAILS.items()} if details else {}
    rows = [
        [
            name,
            percent(scores.per_class_iou[name]),
            *([_range(intervals.get(name))] if details else []),
            *(percent(column.get(name)) for column in more.values()),
        ]
        for name in names
        if details or scores.per_class_iou[name] is not None
    ]
    mean = [f"mean of {counted(scores.images, 'image')}", percent(scores.miou)]
    ends = _range(extra.get("miou_interval"))
    rows.append([*mean, *([ends] if details else []), *("" for _ in more)])
    columns = ["class", "IoU", *(["95 %"] if details else []), *more]
    report.table("IoU in percent", columns, rows)
    report.tell(_summary(scores, ends, details=details))
    if why := extra.get("no_interval"):
        report.tell(f"No interval: {why}.")
    skipped = [f"{extra[key]} {words}" for key, words in _SKIPPED.items() if extra.get(key)]
    if skipped:
        report.tell(f"Not scored: {', '.join(skipped)}.")


def _summary(scores: "Scores", ends: str, *, details: bool) -> str:
    """Return the figures that are no column, in one line."""
    extra = scores.extra
    figures = {
        "95 % interval of the mean": ends,
        "without background": percent(extra.get("miou_foreground")),
        "boundary": percent(extra.get("boundary_miou")),
        "pixel accuracy": percent(extra.get("pixel_accuracy")),
    }
    if details:
        figures |= {
            "frequency-weighted IoU": percent(extra.get("frequency_weighted_iou")),
            "FP of foreground": percent(extra.get("fp_foreground")),
            "FN of foreground": percent(extra.get("fn_foreground")),
        }
    if extra.get("what") == "cam":
        figures |= {
            "over-activation": _ratio(extra.get("over_activation")),
            "under-activation": _ratio(extra.get("under_activation")),
        }
    return "; ".join(f"{name} {value}" for name, value in figures.items() if value) + "."


def show_comparison(report: Report, found: "Comparison") -> None:
    """Show two evaluations, the differences between them and how sure those are."""
    report.document |= found.as_json()
    rows = [
        [name, percent(one), percent(other), *_difference(interval)]
        for name, one, other, interval in found.by_class()
        if one is not None or other is not None
    ]
    miou = found.difference.miou
    rows.append(["mean", percent(found.first.miou), percent(found.second.miou), *_difference(miou)])
    title = (
        f"IoU in percent on {counted(found.images, 'image')}; "
        f"A: {found.names[0]}, B: {found.names[1]}"
    )
    report.table(title, ["class", "A", "B", "B - A", "95 % interval", "sure"], rows)
    why = report.document["no_interval"]
    report.tell(f"Whether that is a difference is not told: {why}." if why else _verdict(miou))


def _verdict(miou: "Interval") -> str:
    low, high = (f"{100 * end:+.1f}" for end in (miou.low, miou.high))
    if miou.low <= 0 <= miou.high:
        return f"No difference is shown: the interval of the mean, {low} to {high}, contains 0."
    which = "better" if miou.low > 0 else "worse"
    points = abs(100 * miou.value)
    return f"B is {which} by {points:.1f} points of mIoU (95 % interval {low} to {high})."


def show_published(report: Report, beside: "Beside") -> None:
    """Show published results of the same data set, split and stage, and the run's own."""
    report.document["published"] = beside.as_json()
    rows = [
        [
            *(row.method, row.network, row.supervision, f"{row.miou:.1f}", row.note),
            row.source.rpartition(", ")[2],  # where, without the title
        ]
        for row in beside.rows
    ]
    columns = ["method", "network", "supervision", "mIoU", "note", "source"]
    report.table(f"Published on {beside.dataset} {beside.split}, mIoU in percent", columns, rows)
    for warning in beside.warnings:
        report.warn(warning)


def _difference(interval: "Interval") -> list[str]:
    if interval.value != interval.value:  # NaN: in no truth and no prediction of one
        return ["", "", ""]
    if interval.low != interval.low:  # too few images
        return [f"{100 * interval.value:+.1f}", "", ""]
    sure = not interval.low <= 0 <= interval.high
    ends = " to ".join(f"{100 * end:+.1f}" for end in (interval.low, interval.high))
    return [f"{100 * interval.value:+.1f}", ends, "yes" if sure else ""]


def _range(ends: Iterable[Any] | None) -> str:
    known = [end for end in ends or () if end is not None]
    return "-".join(map(percent, known)) if len(known) == 2 else ""


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
