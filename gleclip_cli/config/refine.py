"""How maps become pseudo masks."""

from dataclasses import dataclass

from gleclip_cli.config.checks import choice, fraction, positive_limit, require
from gleclip_cli.config.words import REFINE_STEPS

CRF_PRESETS = ("deeplab", "afa", "irn", "psa")
CRF_BACKENDS = ("lattice", "pydensecrf")


@dataclass(frozen=True, kw_only=True)
class RefineConfig:
    """How maps become pseudo masks: steps in order, then background, argmax, confidence.

    The background score is (1 - max over classes) ** `bg_power`, or the constant
    `bg_threshold` when that is given (0 to 1). `crf_preset` names the source of the CRF's settings.
    """

    split: str = "train"
    steps: tuple[str, ...] = ("par",)
    bg_power: float = 1.0
    bg_threshold: float | None = None
    caa_threshold: float = 0.4
    par_iterations: int = 20
    crf_preset: str = "deeplab"
    crf_iterations: int = 10
    crf_backend: str = "lattice"
    limit: int | None = None

    def __post_init__(self) -> None:
        for step in self.steps:
            choice("--steps", step, REFINE_STEPS)
        require(
            "caa" not in self.steps[1:],
            f"--steps is {','.join(self.steps)}.",
            "Put caa first, once: it works on the maps' own grid, the others on pixels.",
        )
        require(self.bg_power > 0, f"--bg-power is {self.bg_power}.", "Use a positive number.")
        if self.bg_threshold is not None:
            fraction("--bg-threshold", self.bg_threshold)
        fraction("--caa-threshold", self.caa_threshold)
        require(self.par_iterations >= 0, "--par-iterations is negative.", "Use 0 or more.")
        choice("--crf-preset", self.crf_preset, CRF_PRESETS)
        require(self.crf_iterations >= 0, "--crf-iterations is negative.", "Use 0 or more.")
        choice("--crf-backend", self.crf_backend, CRF_BACKENDS)
        positive_limit(self.limit)
