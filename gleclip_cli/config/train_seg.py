"""How a segmentation network is trained."""

from dataclasses import dataclass

from gleclip_cli.config.checks import choice, fraction, positive_limit, require
from gleclip_cli.config.words import EVALUATE_WHAT

ARCHITECTURES = ("clip-decoder", "deeplabv2", "deeplabv2-small", "smp:<decoder>:<encoder>")


@dataclass(frozen=True, kw_only=True)
class TrainSegConfig:
    """How a segmentation network is trained from pseudo masks (or true masks, as a yardstick).

    `confidence_threshold`: pixels of pseudo masks below it are ignored (0 to 1).
    `epochs` counts passes over the training split, `warmup` is a share of them (0 to 1).
    `scales`: range of the random enlargement of training pictures; 1 alone keeps their size and
    lets the features of clip-decoder be cached. `pretrained`: what the body starts from.
    """

    name: str = "seg"
    split: str = "train"
    val_split: str = "val"
    targets: str = "pseudo"
    arch: str = "deeplabv2"
    clip_model: str = "ViT-B-16-quickgelu"
    clip_weights: str = "openai"
    pretrained: str = "none"
    epochs: float = 20.0
    batch_size: int = 10
    crop: int = 321
    learning_rate: float = 2.5e-4
    weight_decay: float = 5e-4
    warmup: float = 0.0
    poly_power: float = 0.9
    balanced: bool = True
    confidence_threshold: float = 0.0
    scales: tuple[float, ...] = (1.0,)
    flip: bool = True
    seed: int = 0
    limit: int | None = None

    def __post_init__(self) -> None:
        if not self.arch.startswith("smp:"):  # `seg.smp` knows these
            choice("--arch", self.arch, ARCHITECTURES)
        choice("--targets", self.targets, ("pseudo", "gt"))
        require(self.epochs > 0, f"--epochs is {self.epochs}.", "Use a positive number.")
        require(self.batch_size > 0, "--batch-size is not positive.", "Use 1 or more.")
        require(self.crop > 0, f"--crop is {self.crop}.", "Use 1 or more.")
        fraction("--warmup", self.warmup)
        require(
            bool(self.scales) and all(s > 0 for s in self.scales),
            f"--scales is {list(self.scales)}.",
            "Give one or more positive numbers.",
        )
        fraction("--confidence-threshold", self.confidence_threshold)
        require(
            bool(self.name) and "/" not in self.name and self.name not in EVALUATE_WHAT,
            f"--name is {self.name!r}.",
            "Use a plain word other than cam and pseudo.",
        )
        require(
            self.pretrained == "none" or self.arch != "clip-decoder",
            "--pretrained is not for clip-decoder.",
            "CLIP is its body: name it with --clip-model and --clip-weights.",
        )
        positive_limit(self.limit)
