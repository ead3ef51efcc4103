"""How pictures of anybody's are labelled."""

from dataclasses import dataclass

from gleclip_cli.config.checks import choice, fraction, require, views
from gleclip_cli.config.gen_cam import CAM_METHODS

OVERLAYS = ("jpg", "png", "none")


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """How pictures become masks: by a trained network, or by maps alone (`method`).

    `name`: the network, unless `method` names how maps are made. `tags` holds for every picture.
    For `scales`, `flip`, `window`, `stride`, `crf` and `regions` see `EvaluateConfig`; maps see a
    picture as a whole, and their background scores (1 - max over classes) ** `bg_power`, or
    `bg_threshold`.
    `clip_model` and `clip_weights` count for methods that have no training.
    """

    name: str = "seg"
    method: str = "network"
    tags: tuple[str, ...] = ()
    scales: tuple[float, ...] = (1.0,)
    flip: bool = True
    window: int | None = None
    stride: int | None = None
    crf: bool = False
    regions: bool = False
    bg_power: float = 1.0
    bg_threshold: float | None = None
    clip_model: str = "ViT-B-16-quickgelu"
    clip_weights: str = "openai"
    overlays: str = "jpg"

    def __post_init__(self) -> None:
        choice("--method", self.method, ("network", *CAM_METHODS))
        views(self.scales, self.window, self.stride)
        require(
            self.method == "network" or not (self.window or self.stride),
            "Maps are made of whole pictures.",
            "Leave out --window and --stride, or use a network.",
        )
        require(self.bg_power > 0, f"--bg-power is {self.bg_power}.", "Use a positive number.")
        if self.bg_threshold is not None:
            fraction("--bg-threshold", self.bg_threshold)
        choice("--overlays", self.overlays, OVERLAYS)

    @property
    def trained(self) -> bool:
        """Whether what was trained brings its own CLIP."""
        return self.method in ("network", "gle-clip")
