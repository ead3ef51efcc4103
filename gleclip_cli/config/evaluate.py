"""What is scored."""

from dataclasses import dataclass

from gleclip_cli.config.checks import fraction, positive_limit, views
from gleclip_cli.config.words import EVALUATE_WHAT

PREDICTING = ("scales", "flip", "window", "stride", "crf", "regions")
"""The fields that decide what a network predicts."""


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """What is scored against the true masks of a split.

    `what` is `cam`, `pseudo`, or the name of a trained network. The background threshold of maps
    is `bg_threshold`, else that of a finished sweep of train's maps, else swept on this split.
    A network sees at most `window` pixels a side at once (None: as many as suit it), every `stride`
    pixels (None: three quarters of that); `crf` refines what it predicts; then, with `regions`, the
    CLIP in it names each region, seen without the rest of the picture.
    """

    what: str = "seg"
    split: str = "val"
    bg_threshold: float | None = None
    scales: tuple[float, ...] = (1.0,)
    flip: bool = True
    window: int | None = None
    stride: int | None = None
    crf: bool = False
    regions: bool = False
    allow_missing: bool = False
    save_predictions: bool = True
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.bg_threshold is not None:
            fraction("--bg-threshold", self.bg_threshold)
        views(self.scales, self.window, self.stride)
        positive_limit(self.limit)

    @property
    def predicts(self) -> bool:
        """Whether predictions of a network are files: they take time, and are kept."""
        return self.what not in EVALUATE_WHAT and self.save_predictions
