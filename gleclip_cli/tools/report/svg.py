"""SVG by small pure functions: tags that escape, numbers that stay short, axes with round ticks."""

import math
from collections.abc import Iterable
from itertools import pairwise

from markupsafe import Markup, escape

Attribute = str | float | None


def tag(name: str, *children: str, **attributes: Attribute) -> Markup:
    """Return one element; text and values are escaped, `class_` is class, `a_b` is a-b."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(number(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = "".join(escape(child) for child in children)
    return Markup(f"<{name}{written}>{inner}</{name}>" if inner else f"<{name}{written}/>")


def number(value: str | float) -> str:
    """Write a number with at most two decimals; text as it is."""
    if isinstance(value, str):
        return value
    return f"{value:.2f}".rstrip("0").rstrip(".") if "." in f"{value:.2f}" else str(value)


def ticks(low: float, high: float, *, about: int = 6) -> list[float]:
    """Return round numbers within [low, high], about that many: steps of 1, 2 or 5 times 10^n."""
    span = high - low
    if not span > 0 or not math.isfinite(span):
        return [low]
    rough = span / about
    power: float = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def path_of(points: Iterable[tuple[float, float]]) -> str:
    """Return the `d` of a polyline."""
    return "M" + "L".join(f"{number(x)} {number(y)}" for x, y in points)


def smoothed(values: list[float], *, half: int) -> list[float]:
    """Return the mean of the `2 half + 1` neighbours of each value, fewer at the ends."""
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    count = len(values)
    bounds = [(max(0, i - half), min(count, i + half + 1)) for i in range(count)]
    return [(sums[high] - sums[low]) / (high - low) for low, high in bounds]


def thinned(points: list[tuple[float, float]], *, most: int) -> list[tuple[float, float]]:
    """Return at most about `most` of the points: of each stretch its lowest and highest."""
    if len(points) <= most:
        return points
    bounds = [round(i * len(points) / (most // 2)) for i in range(most // 2 + 1)]
    kept: list[tuple[float, float]] = []
    for start, end in pairwise(bounds):
        stretch = points[start:end]
        ends = {min(stretch, key=lambda p: p[1]), max(stretch, key=lambda p: p[1])}
        kept += sorted(ends)
    return kept
