"""How maps are made."""

from dataclasses import dataclass

from gleclip_cli.config.checks import choice, fraction, positive_limit, require
from gleclip_cli.config.words import CALIBRATIONS, TEXTS

CAM_METHODS = ("gle-clip", "clip-es", "similarity")
CAA_THRESHOLDS = {"gle-clip": 0.7, "clip-es": 0.4, "similarity": 0.88}
"""Share of a map's maximum that opens a box; stretched similarities are high nearly everywhere."""


@dataclass(frozen=True, kw_only=True)
class GenCamConfig:
    """How class activation maps are made from images and image-level labels.

    `texts`: bare class names, the class table's prompts, or these with its attributes mixed in.
    `caa_threshold` is the share of the maximum above which a map opens a box (0 to 1), None: that
    of the method. `labels` none: the tags are not looked at, every class may be anywhere.
    """

    split: str = "train"
    method: str = "gle-clip"
    labels: str = "given"
    clip_model: str = "ViT-B-16-quickgelu"
    clip_weights: str = "openai"
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    calibration: str = "svc"
    texts: str = "synonyms"
    background_texts: bool = True
    caa: bool = True
    caa_threshold: float | None = None
    parity: bool = False
    precision: str = "fp32"
    limit: int | None = None

    def __post_init__(self) -> None:
        choice("--method", self.method, CAM_METHODS)
        choice("--labels", self.labels, ("given", "none"))
        require(
            self.labels == "given" or self.method == "gle-clip",
            f"--method {self.method} needs the labels of the images.",
            "Use --labels none with --method gle-clip.",
        )
        require(
            not (self.parity and self.method == "gle-clip"),
            "gle-clip has no published code to repeat.",
            "Use --parity with --method clip-es or similarity.",
        )
        choice("--calibration", self.calibration, CALIBRATIONS)
        choice("--texts", self.texts, TEXTS)
        choice("--precision", self.precision, ("fp32", "bf16", "fp16"))
        require(
            bool(self.scales) and all(s > 0 for s in self.scales),
            f"--scales is {list(self.scales)}.",
            "Give one or more positive numbers.",
        )
        if self.caa_threshold is not None:
            fraction("--caa-threshold", self.caa_threshold)
        positive_limit(self.limit)

    @property
    def box_threshold(self) -> float:
        """The share of the maximum that opens a box."""
        given = self.caa_threshold
        return CAA_THRESHOLDS[self.method] if given is None else given
