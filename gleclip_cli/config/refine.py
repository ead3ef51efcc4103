"""How maps become pseudo masks."""

from dataclasses import dataclass

from gleclip_cli.config.checks import choice, fraction, positive_limit, require
from gleclip_cli.config.words import GRID_STEPS, MODEL_STEPS, REFINE_STEPS

CRF_PRESETS = ("deeplab", "afa", "irn", "psa")
CRF_BACKENDS = ("lattice", "pydensecrf")
AFFINITIES = ("attention", "learned", "both")
WALK_STRIDES = ("grid", "4")
BACKGROUND_RULES = ("max", "sum")
CAMS_FORMATS = ("clip-es", "irn", "psa", "npz")


@dataclass(frozen=True, kw_only=True)
class RefineConfig:
    """How maps become pseudo masks: steps in order, then background, argmax, confidence.

    `cams`: a folder of maps made elsewhere, in `cams_format`; npz is gleclip's own.
    The background score is (1 - max over classes) ** `bg_power`, with `bg_rule` sum (1 - sum over
    classes) ** `bg_power`, or the constant `bg_threshold` when that is given (0 to 1). `affinity`:
    what caa and walk follow, CLIP's attention, what GLE-CLIP has learned, or their product;
    `walk_stride`: the walk's cells are patches (grid) or 4 pixels wide. `crf_preset` names the
    source of the CRF's settings.
    """

    split: str = "train"
    cams: str | None = None
    cams_format: str | None = None
    steps: tuple[str, ...] = ("par",)
    bg_rule: str = "max"
    bg_power: float = 1.0
    bg_threshold: float | None = None
    affinity: str = "attention"
    caa_threshold: float = 0.4
    walk_stride: str = "4"
    walk_exponent: float = 10.0
    walk_steps: int = 256
    par_iterations: int = 20
    crf_preset: str = "deeplab"
    crf_iterations: int = 10
    crf_backend: str = "lattice"
    limit: int | None = None

    def __post_init__(self) -> None:
        require(
            (self.cams is None) == (self.cams_format is None),
            f"--cams is {self.cams}, --cams-format is {self.cams_format}.",
            f"Give both or none; formats: {', '.join(CAMS_FORMATS)}.",
        )
        if self.cams_format is not None:
            choice("--cams-format", self.cams_format, CAMS_FORMATS)
        for step in self.steps:
            choice("--steps", step, REFINE_STEPS)
        grid_steps = [step for step in self.steps if step in GRID_STEPS]
        require(
            list(self.steps[: len(grid_steps)]) == sorted(set(grid_steps)),
            f"--steps is {','.join(self.steps)}.",
            "Put caa and walk first, in this order, once each: they work on maps, not on pixels.",
        )
        choice("--bg-rule", self.bg_rule, BACKGROUND_RULES)
        require(self.bg_power > 0, f"--bg-power is {self.bg_power}.", "Use a positive number.")
        if self.bg_threshold is not None:
            fraction("--bg-threshold", self.bg_threshold)
        choice("--affinity", self.affinity, AFFINITIES)
        fraction("--caa-threshold", self.caa_threshold)
        choice("--walk-stride", self.walk_stride, WALK_STRIDES)
        require(
            self.walk_exponent > 0, f"--walk-exponent is {self.walk_exponent}.", "Use 10 or so."
        )
        require(self.walk_steps >= 0, "--walk-steps is negative.", "Use 0 or more.")
        require(self.par_iterations >= 0, "--par-iterations is negative.", "Use 0 or more.")
        choice("--crf-preset", self.crf_preset, CRF_PRESETS)
        require(self.crf_iterations >= 0, "--crf-iterations is negative.", "Use 0 or more.")
        choice("--crf-backend", self.crf_backend, CRF_BACKENDS)
        positive_limit(self.limit)

    @property
    def needs_model(self) -> bool:
        """Whether a step looks at images through CLIP again."""
        return any(step in MODEL_STEPS for step in self.steps)

    @property
    def follows_training(self) -> bool:
        """Whether a step looks through the run's GLE-CLIP; maps from elsewhere name no other."""
        return self.needs_model and (self.affinity != "attention" or self.cams is not None)
