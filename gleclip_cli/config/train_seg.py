"""How a segmentation network is trained."""

from dataclasses import dataclass

from gleclip_cli.config.checks import choice, crop_side, fraction, positive_limit, require
from gleclip_cli.config.words import EVALUATE_WHAT

ARCHITECTURES = ("clip-decoder", "deeplabv2", "deeplabv2-small", "smp:<decoder>:<encoder>")


@dataclass(frozen=True, kw_only=True)
class TrainSegConfig:
    """How a segmentation network is trained from pseudo masks (or true masks, as a yardstick).

    `confidence_threshold`: pixels of pseudo masks below it are ignored (0 to 1);
    `confidence_weights`: the others count as much as they are sure. `correction`: from half of the
    training on, pixels take the label that the mean of weights (`ema`) gives more than this
    probability. `refresh`: how often clip-decoder, between equal rounds of its training, makes the
    pseudo masks anew by the affinity it has learned. `jitter`: how far colours vary (0 to 1).
    `freeze_norms`: batch norm of a pretrained body stays as it is. 0 turns `clip_norm`, `ema`,
    `jitter`, `correction` and `refresh` off. `accumulate` batches make a step. `epochs` counts
    passes over the training split, `warmup` is a share of them (0 to 1).
    `scales`: range of the random enlargement of training pictures; 1 alone keeps their size and
    lets the features of clip-decoder be cached. `pretrained`: what the body starts from; that of
    clip-decoder is always CLIP.
    """

    name: str = "seg"
    split: str = "train"
    val_split: str = "val"
    targets: str = "pseudo"
    arch: str = "deeplabv2"
    clip_model: str = "ViT-B-16-quickgelu"
    clip_weights: str = "openai"
    pretrained: str = "none"
    freeze_norms: bool = False
    epochs: float = 20.0
    batch_size: int = 10
    accumulate: int = 1
    crop: int = 321
    learning_rate: float = 2.5e-4
    weight_decay: float = 5e-4
    optimiser: str = "auto"
    schedule: str = "poly"
    warmup: float = 0.0
    poly_power: float = 0.9
    clip_norm: float = 0.0
    ema: float = 0.0
    balanced: bool = True
    confidence_threshold: float = 0.0
    confidence_weights: bool = False
    correction: float = 0.0
    refresh: int = 0
    scales: tuple[float, ...] = (1.0,)
    flip: bool = True
    jitter: float = 0.0
    precision: str = "fp32"
    channels_last: bool = False
    compile: bool = False
    seed: int = 0
    limit: int | None = None

    def __post_init__(self) -> None:
        if not self.arch.startswith("smp:"):  # `seg.smp` knows these
            choice("--arch", self.arch, ARCHITECTURES)
        choice("--targets", self.targets, ("pseudo", "gt"))
        choice("--optimiser", self.optimiser, ("auto", "sgd", "adamw"))
        choice("--schedule", self.schedule, ("poly", "cosine"))
        choice("--precision", self.precision, ("fp32", "bf16", "fp16"))
        require(self.epochs > 0, f"--epochs is {self.epochs}.", "Use a positive number.")
        for name in ("batch_size", "accumulate"):
            value = getattr(self, name)
            require(value > 0, f"--{name.replace('_', '-')} is {value}.", "Use 1 or more.")
        crop_side(self.crop)
        require(self.clip_norm >= 0, f"--clip-norm is {self.clip_norm}.", "Use 0 or more.")
        for name in ("warmup", "confidence_threshold", "ema", "jitter", "correction"):
            fraction(f"--{name.replace('_', '-')}", getattr(self, name))
        self._check_pairs()
        require(
            bool(self.scales) and all(s > 0 for s in self.scales),
            f"--scales is {list(self.scales)}.",
            "Give one or more positive numbers.",
        )
        require(
            bool(self.name) and "/" not in self.name and self.name not in EVALUATE_WHAT,
            f"--name is {self.name!r}.",
            "Use a plain word other than cam and pseudo.",
        )
        positive_limit(self.limit)

    def _check_pairs(self) -> None:
        """See that what is asked for goes together."""
        started = self.pretrained != "none"
        require(
            self.pretrained in ("none", "imagenet") or self.arch != "clip-decoder",
            f"--pretrained {self.pretrained} is not for clip-decoder.",
            "CLIP is its body: name it with --clip-model and --clip-weights.",
        )
        require(
            started or not self.freeze_norms,
            "--freeze-norms would freeze a batch norm that has seen nothing.",
            "Use it with --pretrained.",
        )
        require(
            self.ema > 0 or not self.correction,
            "--correction has no teacher without --ema.",
            "Add --ema 0.999.",
        )
        require(
            self.targets == "pseudo" or not (self.correction or self.confidence_weights),
            "--correction and --confidence-weights are for pseudo masks.",
            "Leave them out, or use --targets pseudo.",
        )
        require(self.refresh >= 0, f"--refresh is {self.refresh}.", "Use 0 or more.")
        require(
            not self.refresh or (self.arch, self.targets) == ("clip-decoder", "pseudo"),
            "--refresh makes pseudo masks anew by what clip-decoder has learned.",
            "Leave it out, or use --arch clip-decoder --targets pseudo.",
        )
        require(
            not (self.refresh and self.compile),
            "--refresh learns from parts that --compile hides.",
            "Leave one of them out.",
        )
