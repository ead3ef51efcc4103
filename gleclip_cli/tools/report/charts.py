"""The figures of a report, each a pure function from numbers to inline SVG.

Colours and fonts come from report.css by class names; c0, c1, c2 are the series' colours.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from gleclip_cli.tools.report.svg import number, path_of, smoothed, tag, thinned, ticks

_MOST_POINTS = 400
_CELLS = ((30.0, 14), (24.0, 25), (14.0, 90), (6.0, math.inf))
"""Side of a cell of the heat map -> up to how many classes."""
_NAMED, _NUMBERED = 14.0, 24.0
_SMALLEST_SHARE = 0.005
_LONGEST_NAME = 18
_WIDE, _HIGH = 460.0, 250.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 14.0, 14.0, 40.0


@dataclass(frozen=True)
class Series:
    """A line of a chart; `colour`: its place among the series' colours."""

    name: str
    points: list[tuple[float, float]]
    colour: int = 0
    faint: bool = False
    dots: bool = False


@dataclass(frozen=True)
class Mark:
    """A point to look at, with what is written beside it."""

    x: float
    y: float
    text: str
    colour: int = 0


def share_bar(
    value: float | None,
    *,
    low: float | None = None,
    high: float | None = None,
    others: Sequence[tuple[int, float | None]] = (),
    colour: int = 2,
    lines: bool = True,
) -> Markup:
    """Return one bar over the whole width, 0 to 1, with its interval and marks of `others`.

    Positions are percentages, so the bar follows the width of the page and text stays sharp.
    The numbers stand beside it: to a screen reader the bar is decoration.
    """
    quarters = [_percent(i / 4) for i in range(5)] if lines else []
    parts = [tag("line", class_="grid", x1=at, x2=at, y1=0, y2=22) for at in quarters]
    if value is not None and math.isfinite(value):
        width = _percent(value)
        parts.append(tag("rect", class_=f"bar c{colour}", x=0, y=6, width=width, height=10))
    for place, other in others:
        if other is not None:
            parts.append(tag("circle", class_=f"dot c{place}", cx=_percent(other), cy=11, r=3.5))
    if low is not None and high is not None:
        first, last = _percent(low), _percent(high)
        parts.append(tag("line", class_="whisker", x1=first, x2=last, y1=11, y2=11))
        parts += [tag("line", class_="whisker", x1=x, x2=x, y1=8, y2=14) for x in (first, last)]
    return tag("svg", *parts, class_="share", height=22, aria_hidden="true")


def share_scale() -> Markup:
    """Return the scale that stands above such bars."""
    texts = []
    for quarter in range(5):
        side = ("start", "mid odd", "mid", "mid odd", "end")[quarter]
        told = f"{25 * quarter}{' %' if quarter == 4 else ''}"
        texts.append(tag("text", told, class_=side, x=_percent(quarter / 4), y=12))
    return tag("svg", *texts, class_="share", height=16, aria_hidden="true")


def _percent(share: float) -> str:
    return f"{number(100 * min(max(share, 0), 1))}%"


def heat_map(
    rows: Sequence[str], columns: Sequence[str], shares: Sequence[Sequence[float]], *, label: str
) -> Markup:
    """Return a matrix of shares: rows are true classes, columns predicted ones.

    Cells under half a percent stay empty, so that hundreds of classes are a page, not a book.
    """
    cell = next(side for side, most in _CELLS if len(rows) <= most)
    margin = 12 + 6.4 * min(max(map(len, columns)), _LONGEST_NAME) if cell >= _NAMED else 4.0
    parts: list[Markup] = []
    for row, (name, values) in enumerate(zip(rows, shares, strict=True)):
        y = margin + row * cell
        if cell >= _NAMED:
            middle = y + cell / 2 + 4
            parts.append(tag("text", _short(name), class_="end", x=margin - 8, y=middle))
        for column, share in enumerate(values):
            if share >= _SMALLEST_SHARE:
                what = f"{name} as {columns[column]}"
                parts += _cell(margin + column * cell, y, cell, share, what)
    for column, name in enumerate(columns if cell >= _NAMED else ()):
        x = margin + (column + 0.5) * cell + 4
        turn = f"rotate(-90 {number(x)} {number(margin - 8)})"
        parts.append(tag("text", _short(name), x=x, y=margin - 8, transform=turn))
    wide, high = len(columns) * cell, len(rows) * cell
    parts.append(tag("rect", class_="box", x=margin, y=margin, width=wide, height=high))
    box = f"0 0 {number(margin + wide + 4)} {number(margin + high + 4)}"
    full = round(margin + wide + 4)
    widths = f"width:{full}px;max-width:max(100%,{round(0.8 * full)}px)"
    title = tag("title", label)
    return tag("svg", title, *parts, class_="heat", viewBox=box, role="img", style=widths)


def _cell(x: float, y: float, side: float, share: float, what: str) -> tuple[Markup, ...]:
    title = tag("title", f"{what}: {100 * share:.1f} %")
    place = {"x": x, "y": y, "width": side, "height": side}
    rect = tag("rect", title, class_="cell", **place, fill_opacity=share**0.7)
    if side < _NUMBERED or share < 0.01:
        return (rect,)
    strength = "strong" if share > 0.55 else "weak"
    x, y = x + side / 2, y + side / 2 + 3.5
    return rect, tag("text", f"{100 * share:.0f}", class_=f"in {strength}", x=x, y=y)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"


def line_chart(
    series: Sequence[Series],
    *,
    label: str,
    x_name: str,
    y_name: str,
    marks: Sequence[Mark] = (),
    y_range: tuple[float, float] | None = None,
    scale: float = 1.0,
) -> Markup:
    """Return lines over common axes; y is written times `scale`. Without a point there is none."""
    points = [point for line in series for point in line.points]
    if not points:
        return Markup("")
    x_low, x_high = min(p[0] for p in points), max(p[0] for p in points)
    y_low, y_high = y_range or _around([p[1] for p in points])
    x_high = x_high if x_high > x_low else x_low + 1

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_low) / (x_high - x_low) * (_WIDE - _LEFT - _RIGHT)
        up = (min(max(y, y_low), y_high) - y_low) / (y_high - y_low) * (_HIGH - _TOP - _BOTTOM)
        return _LEFT + across, _HIGH - _BOTTOM - up

    parts = [tag("title", label)]
    for value in ticks(y_low, y_high):
        _, y = place(x_low, value)
        parts.append(tag("line", class_="grid", x1=_LEFT, x2=_WIDE - _RIGHT, y1=y, y2=y))
        parts.append(tag("text", f"{value * scale:g}", class_="end", x=_LEFT - 7, y=y + 4))
    for value in ticks(x_low, x_high):
        x, _ = place(value, y_low)
        parts.append(tag("text", f"{value:g}", class_="mid", x=x, y=_HIGH - _BOTTOM + 17))
    base = _HIGH - _BOTTOM
    parts.append(tag("line", class_="axis", x1=_LEFT, x2=_WIDE - _RIGHT, y1=base, y2=base))
    parts.append(tag("text", x_name, class_="mid name", x=(_LEFT + _WIDE) / 2, y=_HIGH - 5))
    turn = f"rotate(-90 11 {number((_TOP + base) / 2)})"
    middle = (_TOP + base) / 2
    parts.append(tag("text", y_name, class_="mid name", x=11, y=middle, transform=turn))
    for line in series:
        placed = [place(x, y) for x, y in thinned(line.points, most=_MOST_POINTS)]
        kind = f"line c{line.colour}{' faint' if line.faint else ''}"
        if len(placed) > 1:
            parts.append(tag("path", tag("title", line.name), class_=kind, d=path_of(placed)))
        if line.dots or len(placed) == 1:
            parts += [
                tag("circle", class_=f"dot c{line.colour}", cx=x, cy=y, r=3) for x, y in placed
            ]
    for mark in marks:
        parts += _marked(mark, *place(mark.x, mark.y))
    return tag("svg", *parts, class_="plot", viewBox=f"0 0 {_WIDE:g} {_HIGH:g}", role="img")


def _marked(mark: Mark, x: float, y: float) -> list[Markup]:
    side, step = ("end", -9) if x > 0.6 * _WIDE else ("start", 9)
    base = _HIGH - _BOTTOM
    return [
        tag("line", class_="drop", x1=x, x2=x, y1=y, y2=base),
        tag("circle", class_=f"dot c{mark.colour}", cx=x, cy=y, r=4),
        tag("text", mark.text, class_=f"told {side}", x=x + step, y=base - 10),
    ]


def _around(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = 0.06 * (high - low) or 0.05 * (abs(high) or 1)
    return max(low - room, 0.0) if low >= 0 else low - room, high + room


def training_lines(name: str, losses: list[tuple[float, float]], *, colour: int) -> list[Series]:
    """Return a loss as logged, faint, and its running mean over a twentieth of the steps."""
    half = len(losses) // 40
    if half < 1:
        return [Series(name, losses, colour)]
    means = smoothed([loss for _, loss in losses], half=half)
    steps = [step for step, _ in losses]
    mean = list(zip(steps, means, strict=True))
    return [Series(name, losses, colour, faint=True), Series(f"{name}, mean", mean, colour)]
