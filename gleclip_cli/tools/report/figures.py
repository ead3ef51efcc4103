"""Tables and charts of the page, made from evaluations and outputs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.tools.report.charts import (
    heat_map,
    share_bar,
    share_scale,
)
from gleclip_cli.tools.report.encode import colours_of, css
from gleclip_cli.tools.report.outputs import Output
from gleclip_cli.tools.report.scores import (
    Evaluation,
    largest_confusions,
    main_of_each_kind,
    row_shares,
)

_MEASURES = (
    ("Foreground mIoU", "miou_foreground"),
    ("Boundary mIoU", "boundary_miou"),
    ("Frequency-weighted IoU", "frequency_weighted_iou"),
    ("Pixel accuracy", "pixel_accuracy"),
    ("FP", "fp_foreground"),
    ("FN", "fn_foreground"),
)
_NOT_BY_IMAGES = ("prepare_data", "train_cam", "train_seg")


def score_table(evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    """Return the table of all evaluations; a measure that none has is no column."""
    measures = [m for m in _MEASURES if any(_share(e, m[1]) is not None for e in evaluations)]
    rows = [
        {
            "kind": e.kind,
            "title": e.title,
            "shares": [e.scores.miou, *(_share(e, key) for _, key in measures)],
            "interval": e.interval,
            "images": e.scores.images,
            "notes": _notes(e),
        }
        for e in evaluations
    ]
    return {
        "stats": [
            {
                "kind": e.kind,
                "title": e.title,
                "miou": e.scores.miou,
                "interval": e.interval,
                "images": e.scores.images,
            }
            for e in main_of_each_kind(list(evaluations))
        ],
        "score_columns": ["mIoU", *(name for name, _ in measures)],
        "score_rows": rows,
        "intervals_known": any(e.interval for e in evaluations),
    }


def _share(evaluation: Evaluation, name: str) -> float | None:
    value = evaluation.fact(name)
    return float(value) if isinstance(value, int | float) else None


def _notes(evaluation: Evaluation) -> str:
    """Say what stands behind a score: labels, threshold, images that were left out."""
    notes = []
    if evaluation.fact("image_level_labels_used"):
        notes.append("classes from tags")
    elif evaluation.kind < 2:
        notes.append("without tags")
    if (threshold := evaluation.fact("threshold")) is not None:
        origin = evaluation.fact("threshold_chosen_on")
        notes.append(f"threshold {threshold:g}, {'given' if origin == 'given' else f'of {origin}'}")
    for name, told in (
        ("missing", "without prediction"),
        ("without_mask", "without true mask"),
        ("unscorable", "unreadable"),
        ("images_all_ignored", "all ignored"),
    ):
        if count := evaluation.fact(name):
            notes.append(f"{count} {told}")
    if why := evaluation.fact("no_interval"):
        notes.append(f"no interval: {why}")
    return "; ".join(notes)


def class_table(
    evaluations: Sequence[Evaluation], names: Sequence[str], palette: NDArray[np.uint8]
) -> dict[str, Any]:
    """Return the classes with the IoU of each kind, by that of the last kind, best first."""
    shown = main_of_each_kind(list(evaluations))
    if not shown:
        return {"class_rows": []}
    *others, last = shown
    colours = colours_of(np.arange(len(names)), palette)
    rows: list[dict[str, Any]] = []
    for name, colour in zip(names, colours, strict=True):
        values = [e.scores.per_class_iou.get(name) for e in shown]
        if all(value is None for value in values):
            continue
        low, high = last.intervals.get(name, (None, None))
        marks = [(e.kind, v) for e, v in zip(others, values, strict=False)]
        bar = share_bar(values[-1], low=low, high=high, others=marks, colour=last.kind)
        pairs = [(v, e.intervals.get(name)) for v, e in zip(values, shown, strict=True)]
        row = {"name": printable(name), "colour": css(colour), "bar": bar, "ious": pairs[::-1]}
        rows.append(row)
    rows.sort(key=lambda row: -(row["ious"][0][0] or 0))
    return {
        "class_rows": rows,
        "class_scale": share_scale(),
        "class_bar": last.title,
        "class_dots": [(e.kind, e.title) for e in others],
        "class_columns": [e.title for e in reversed(shown)],
        "class_intervals": bool(last.intervals),
    }


def confusion_part(evaluations: Sequence[Evaluation], names: tuple[str, ...]) -> dict[str, Any]:
    """Return heat map and largest confusions of the last kind that has a matrix."""
    for evaluation in reversed(main_of_each_kind(list(evaluations))):
        confusion = evaluation.confusion
        if confusion is None or confusion.shape != (len(names), len(names) + 1):
            continue
        seen = (confusion.sum(axis=1) > 0) | (confusion[:, :-1].sum(axis=0) > 0)
        undecided = bool(confusion[:, -1].any())
        shares = row_shares(confusion)[seen][:, [*seen, undecided]]
        labels = [printable(name) for name, known in zip(names, seen, strict=True) if known]
        label = f"Confusion matrix, {evaluation.title}; the table beside it has its largest cells"
        columns = [*labels, "ignored"] if undecided else labels
        return {
            "heat": heat_map(labels, columns, shares.tolist(), label=label),
            "confusion_of": evaluation.title,
            "undecided": undecided,
            "confusions": [
                (printable(truth), printable(predicted), share)
                for truth, predicted, share in largest_confusions(confusion, names)
            ],
        }
    return {"heat": None}


def time_part(outputs: Sequence[Output]) -> dict[str, Any]:
    """Return the finished stages with their wall times; the longest fills its bar."""
    timed = [(o, o.seconds) for o in outputs if o.exists and o.seconds is not None]
    longest = max((seconds for _, seconds in timed if seconds), default=1.0) or 1.0
    rows = []
    for output, seconds in timed:
        images = 0 if output.stage in _NOT_BY_IMAGES else output.images
        speed = images / seconds if images and seconds else None
        bar = share_bar((seconds or 0) / longest, colour=1, lines=False)
        rows.append(
            {
                "title": output.title,
                "bar": bar,
                "time": duration(seconds or 0),
                "images": images,
                "speed": speed,
            }
        )
    total = duration(sum(seconds or 0 for _, seconds in timed))
    return {"times": rows, "total_time": total}


def duration(seconds: float) -> str:
    """Write a time for people: 8.2 s, 3 min 05 s, 2 h 07 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return (
        f"{minutes} min {rest:02d} s"
        if minutes < 60
        else f"{minutes // 60} h {minutes % 60:02d} min"
    )
