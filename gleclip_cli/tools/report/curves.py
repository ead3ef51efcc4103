"""Curves of the page with their captions: thresholds of maps, losses and scores of trainings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from gleclip_cli.config import TRAIN
from gleclip_cli.tools.report.charts import Mark, Series, line_chart, training_lines
from gleclip_cli.tools.report.outputs import Output
from gleclip_cli.tools.report.scores import Evaluation

_MOST_ACTIVATION = 2.0
"""Where the axis of over- and under-activation ends: beyond, thresholds are of no use."""


@dataclass(frozen=True)
class Figure:
    """A chart with its caption; `keys`: (colour, name) of its lines, if they are several."""

    chart: Markup
    caption: str
    keys: tuple[tuple[int, str], ...] = ()


def sweep_figures(evaluations: Sequence[Evaluation]) -> list[Figure]:
    """Return the curves of each evaluation of maps that has swept the background threshold."""
    figures = []
    for evaluation in evaluations:
        sweep = evaluation.fact("sweep")
        if isinstance(sweep, dict) and (points := _curve(sweep, "miou")):
            figures.append(_threshold_figure(evaluation, points))
            if over := _curve(sweep, "over_activation"):
                figures.append(_activation_figure(evaluation, over, sweep))
    return figures


def _curve(sweep: Mapping[str, Any], name: str) -> list[tuple[float, float]]:
    pairs = zip(sweep.get("thresholds", []), sweep.get(name, []), strict=False)
    return [(float(threshold), float(value)) for threshold, value in pairs if value is not None]


def _threshold_figure(evaluation: Evaluation, points: list[tuple[float, float]]) -> Figure:
    threshold, miou = float(evaluation.fact("threshold")), evaluation.scores.miou
    told = f"{threshold:g}: {100 * miou:.1f} %"
    chart = line_chart(
        [Series("mIoU", points, evaluation.kind)],
        label=f"mIoU by background threshold, {evaluation.title}",
        x_name="background threshold",
        y_name="mIoU, %",
        marks=[Mark(threshold, miou, told, evaluation.kind)],
        y_range=(0, max(0.1, 1.12 * max(value for _, value in points))),
        scale=100,
    )
    caption = f"{evaluation.title}: mIoU at each constant background score; marked, the one used: "
    origin = evaluation.fact("threshold_chosen_on")
    if origin == "given":
        caption += "given."
    elif origin == evaluation.split != TRAIN:
        caption += f"the best of {origin} itself, which flatters it."
    else:
        caption += f"the best of {origin}."
    return Figure(chart, caption)


def _activation_figure(
    evaluation: Evaluation, over: list[tuple[float, float]], sweep: Mapping[str, Any]
) -> Figure:
    under = _curve(sweep, "under_activation")
    lines = [
        Series(name, [point for point in points if point[1] <= _MOST_ACTIVATION], colour)
        for colour, (name, points) in enumerate(
            (("over-activation", over), ("under-activation", under))
        )
    ]
    chart = line_chart(
        lines,
        label=f"Over- and under-activation by background threshold, {evaluation.title}",
        x_name="background threshold",
        y_name="pixels by hits",
        y_range=(0, _MOST_ACTIVATION),
    )
    keys = tuple((line.colour, line.name) for line in lines)
    caption = f"{evaluation.title}: wrong and missed pixels by hits, mean over classes."
    return Figure(chart, caption, keys)


def training_figures(outputs: Sequence[Output]) -> list[Figure]:
    """Return the loss of every training by step, and its scores where they are more than one."""
    figures = []
    for output in outputs:
        told, colour = output.training, 0 if output.stage == "train_cam" else 2
        if told.losses:
            figures.append(_loss_figure(output, colour))
        if len(told.monitored) > 1:
            chart = line_chart(
                [Series("mIoU", told.monitored, colour, dots=True)],
                label=f"mIoU by step, {output.title}",
                x_name="step",
                y_name="mIoU, %",
                scale=100,
            )
            caption = f"{output.title}: mIoU on a few images of {told.monitored_split}."
            figures.append(Figure(chart, caption))
    return figures


def _loss_figure(output: Output, colour: int) -> Figure:
    told = output.training
    lines = training_lines("loss", told.losses, colour=colour)
    chart = line_chart(lines, label=f"Loss by step, {output.title}", x_name="step", y_name="loss")
    step, loss = told.losses[-1]
    caption = f"{output.title}: loss{' and its running mean' if len(lines) > 1 else ''}; "
    caption += f"{loss:.3f} at step {step:g}."
    if len(told.monitored) == 1:
        miou = told.monitored[0][1]
        caption += f" Then {100 * miou:.1f} % mIoU on a few images of {told.monitored_split}."
    return Figure(chart, caption)
