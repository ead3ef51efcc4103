"""What every configuration asks of its values; a wrong one is a `UsageError`."""

from gleclip_cli.errors import UsageError

_LEAST_CROP = 32
"""Pixels: what an encoder shrinks to one cell, and the side of the largest patches of CLIP."""


def require(condition: bool, cause: str, remedy: str = "") -> None:
    if not condition:
        raise UsageError(cause, remedy)


def choice(name: str, value: str, known: tuple[str, ...]) -> None:
    require(value in known, f"{name} is {value!r}.", f"Choose one of: {', '.join(known)}.")


def fraction(name: str, value: float) -> None:
    require(0 <= value <= 1, f"{name} is {value}.", "Use a number from 0 to 1.")


def positive_limit(limit: int | None) -> None:
    require(limit is None or limit > 0, f"--limit is {limit}.", "Use 1 or more.")


def crop_side(crop: int) -> None:
    require(crop >= _LEAST_CROP, f"--crop is {crop}.", f"Use {_LEAST_CROP} pixels or more.")


def views(scales: tuple[float, ...], window: int | None, stride: int | None) -> None:
    require(
        bool(scales) and all(s > 0 for s in scales),
        f"--scales is {list(scales)}.",
        "Give one or more positive numbers.",
    )
    require(window is None or window > 0, f"--window is {window}.", "Use 1 or more.")
    require(
        stride is None or 0 < stride <= (window or stride),
        f"--stride is {stride}.",
        "Use 1 or more, and no more than --window: no pixel may lie between windows.",
    )
