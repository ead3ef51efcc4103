"""One frozen dataclass per stage: everything that changes a stage's output, and nothing else.

How a stage is executed (device, workers, shard, resume ...) is `Execution`; it never changes bytes.
Precedence, highest first: command line, environment, TOML file, preset of the data set, default.
"""

from dataclasses import dataclass, fields
from typing import Any

from gleclip_cli.errors import UsageError

DATASETS = ("scenes", "voc", "coco", "folder")
CAM_METHODS = ("gle-clip", "clip-es", "similarity")
CAA_THRESHOLDS = {"gle-clip": 0.7, "clip-es": 0.4, "similarity": 0.88}
"""Share of a map's maximum that opens a box; stretched similarities are high nearly everywhere."""

CALIBRATIONS = ("none", "maskclip", "svc")
BCA = ("both", "t2p", "p2t", "off")
DAF = ("dynamic", "fixed", "local", "global")
DAF_PROJECTIONS = ("dynamic", "static", "off")
DAF_FUSIONS = ("score", "embed")
TEXTS = ("plain", "synonyms", "enriched")
REFINE_STEPS = ("caa", "par", "crf")
CRF_PRESETS = ("deeplab", "afa", "irn", "psa")
CRF_BACKENDS = ("lattice", "pydensecrf")
ARCHITECTURES = ("clip-decoder", "deeplabv2", "deeplabv2-small")
EVALUATE_WHAT = ("cam", "pseudo")

TRAIN, TRAINAUG = "train", "trainaug"
"""trainaug is VOC's train with the images of SBD: it holds all of train."""


def _require(condition: bool, cause: str, remedy: str = "") -> None:
    if not condition:
        raise UsageError(cause, remedy)


def _choice(name: str, value: str, known: tuple[str, ...]) -> None:
    _require(value in known, f"{name} is {value!r}.", f"Choose one of: {', '.join(known)}.")


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How a stage runs: never part of the stage key."""

    device: str = "auto"
    workers: int = 0
    shard: tuple[int, int] = (0, 1)
    resume: bool = True
    overwrite: bool = False
    allow_partial: bool = False
    on_bad: str = "skip"
    max_failures: int | None = None
    dry_run: bool = False

    def __post_init__(self) -> None:
        _choice("--on-bad", self.on_bad, ("stop", "skip"))
        index, count = self.shard
        _require(0 <= index < count, f"--shard is {index}/{count}.", "Use i/n with 0 <= i < n.")
        _require(self.workers >= 0, f"--workers is {self.workers}.", "Use 0 or more.")


@dataclass(frozen=True, kw_only=True)
class PrepareDataConfig:
    """Where the data set is, or how many scenes to draw.

    `classes` is a class table (TOML) to use in place of the data set's own.
    """

    dataset: str = "scenes"
    data: str = ""
    classes: str = ""
    train_images: int = 600
    val_images: int = 200
    seed: int = 0
    limit: int | None = None

    def __post_init__(self) -> None:
        _choice("--dataset", self.dataset, DATASETS)
        if self.dataset == "scenes":
            _require(not self.data, "scenes are drawn, not read.", "Leave out --data.")
            _require(not self.classes, "scenes have classes of their own.", "Leave out --classes.")
            _require(
                self.train_images > 0 and self.val_images > 0,
                "scenes needs at least one image per split.",
                "Raise --train-images and --val-images.",
            )
        else:
            _require(
                bool(self.data),
                f"The data set {self.dataset} needs its folder.",
                "Name it with --data DIR or the environment variable GLECLIP_DATA.",
            )
        _positive_limit(self.limit)


@dataclass(frozen=True, kw_only=True)
class TrainCamConfig:
    """How GLE-CLIP is trained from image-level labels.

    Parts: `gd` and its most `gd_levels` (patch stride, half of it ...), `bca` and its layers, `daf`
    with its projection and fusion. Teacher: maps become pseudo labels by CAA (`caa_threshold`, a
    share of the maximum) and `teacher_steps`; after each of `rounds` they are made anew by what
    was learned, with the `gate`. `mosaics`: made of pictures of one class, a share of the number of
    images. `epochs` counts passes over the split in all rounds together;
    `warmup` is a share of them (0 to 1). A loss of weight 0 is not computed.
    """

    split: str = "train"
    val_split: str = "val"
    clip_model: str = "ViT-B-16-quickgelu"
    clip_weights: str = "openai"
    calibration: str = "svc"
    texts: str = "synonyms"
    background_texts: bool = True
    gd: bool = True
    gd_levels: int = 3
    bca: str = "both"
    bca_layers: int = 2
    daf: str = "dynamic"
    daf_projection: str = "dynamic"
    daf_fusion: str = "score"
    caa: bool = True
    caa_threshold: float = 0.7
    gate: bool = True
    teacher_steps: tuple[str, ...] = ("par",)
    rounds: int = 2
    mosaics: float = 0.25
    epochs: float = 11.0
    batch_size: int = 4
    crop: int = 320
    flip: bool = True
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup: float = 0.05
    poly_power: float = 1.0
    loss_seg: float = 1.0
    loss_pairs: float = 0.1
    loss_presence: float = 0.0
    loss_text: float = 0.0
    loss_area: float = 0.0
    loss_variation: float = 0.0
    seed: int = 0
    limit: int | None = None

    def __post_init__(self) -> None:
        _choice("--calibration", self.calibration, CALIBRATIONS)
        _choice("--texts", self.texts, TEXTS)
        _choice("--bca", self.bca, BCA)
        _choice("--daf", self.daf, DAF)
        _choice("--daf-projection", self.daf_projection, DAF_PROJECTIONS)
        _choice("--daf-fusion", self.daf_fusion, DAF_FUSIONS)
        for step in self.teacher_steps:
            _choice("--teacher-steps", step, tuple(s for s in REFINE_STEPS if s != "caa"))
        for name in ("gd_levels", "bca_layers", "rounds", "epochs", "batch_size", "crop"):
            option = f"--{name.replace('_', '-')}"
            value = getattr(self, name)
            _require(value > 0, f"{option} is {value}.", "Use a positive number.")
        losses = [getattr(self, f.name) for f in fields(self) if f.name.startswith("loss_")]
        _require(
            min(losses) >= 0 and max(losses) > 0,
            f"The weights of the losses are {losses}.",
            "Use 0 or more, and more than 0 for at least one.",
        )
        _fraction("--caa-threshold", self.caa_threshold)
        _fraction("--warmup", self.warmup)
        _fraction("--mosaics", self.mosaics)
        _positive_limit(self.limit)


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
        _choice("--method", self.method, CAM_METHODS)
        _choice("--labels", self.labels, ("given", "none"))
        _require(
            self.labels == "given" or self.method == "gle-clip",
            f"--method {self.method} needs the labels of the images.",
            "Use --labels none with --method gle-clip.",
        )
        _require(
            not (self.parity and self.method == "gle-clip"),
            "gle-clip has no published code to repeat.",
            "Use --parity with --method clip-es or similarity.",
        )
        _choice("--calibration", self.calibration, CALIBRATIONS)
        _choice("--texts", self.texts, TEXTS)
        _choice("--precision", self.precision, ("fp32", "bf16", "fp16"))
        _require(
            bool(self.scales) and all(s > 0 for s in self.scales),
            f"--scales is {list(self.scales)}.",
            "Give one or more positive numbers.",
        )
        if self.caa_threshold is not None:
            _fraction("--caa-threshold", self.caa_threshold)
        _positive_limit(self.limit)

    @property
    def box_threshold(self) -> float:
        """The share of the maximum that opens a box."""
        given = self.caa_threshold
        return CAA_THRESHOLDS[self.method] if given is None else given


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
            _choice("--steps", step, REFINE_STEPS)
        _require(
            "caa" not in self.steps[1:],
            f"--steps is {','.join(self.steps)}.",
            "Put caa first, once: it works on the maps' own grid, the others on pixels.",
        )
        _require(self.bg_power > 0, f"--bg-power is {self.bg_power}.", "Use a positive number.")
        if self.bg_threshold is not None:
            _fraction("--bg-threshold", self.bg_threshold)
        _fraction("--caa-threshold", self.caa_threshold)
        _require(self.par_iterations >= 0, "--par-iterations is negative.", "Use 0 or more.")
        _choice("--crf-preset", self.crf_preset, CRF_PRESETS)
        _require(self.crf_iterations >= 0, "--crf-iterations is negative.", "Use 0 or more.")
        _choice("--crf-backend", self.crf_backend, CRF_BACKENDS)
        _positive_limit(self.limit)


@dataclass(frozen=True, kw_only=True)
class TrainSegConfig:
    """How a segmentation network is trained from pseudo masks (or true masks, as a yardstick).

    `confidence_threshold`: pixels of pseudo masks below it are ignored (0 to 1).
    `epochs` counts passes over the training split, `warmup` is a share of them (0 to 1).
    `scales`: range of the random enlargement of training pictures; 1 alone keeps their size and
    lets the features of clip-decoder be cached. `pretrained`: file or torchvision's name.
    """

    name: str = "seg"
    split: str = "train"
    val_split: str = "val"
    targets: str = "pseudo"
    arch: str = "deeplabv2"
    clip_model: str = "ViT-B-16-quickgelu"
    clip_weights: str = "openai"
    pretrained: str = ""
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
        _choice("--arch", self.arch, ARCHITECTURES)
        _choice("--targets", self.targets, ("pseudo", "gt"))
        _require(self.epochs > 0, f"--epochs is {self.epochs}.", "Use a positive number.")
        _require(self.batch_size > 0, "--batch-size is not positive.", "Use 1 or more.")
        _require(self.crop > 0, f"--crop is {self.crop}.", "Use 1 or more.")
        _fraction("--warmup", self.warmup)
        _require(
            bool(self.scales) and all(s > 0 for s in self.scales),
            f"--scales is {list(self.scales)}.",
            "Give one or more positive numbers.",
        )
        _fraction("--confidence-threshold", self.confidence_threshold)
        _require(
            bool(self.name) and "/" not in self.name and self.name not in EVALUATE_WHAT,
            f"--name is {self.name!r}.",
            "Use a plain word other than cam and pseudo.",
        )
        _positive_limit(self.limit)


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """What is scored against the true masks of a split.

    `what` is `cam`, `pseudo`, or the name of a trained network. The background threshold of maps
    is `bg_threshold`, else that of a finished sweep of train's maps, else swept on this split.
    """

    what: str = "seg"
    split: str = "val"
    bg_threshold: float | None = None
    scales: tuple[float, ...] = (1.0,)
    flip: bool = True
    allow_missing: bool = False
    save_predictions: bool = True
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.bg_threshold is not None:
            _fraction("--bg-threshold", self.bg_threshold)
        _positive_limit(self.limit)


def _fraction(name: str, value: float) -> None:
    _require(0 <= value <= 1, f"{name} is {value}.", "Use a number from 0 to 1.")


def _positive_limit(limit: int | None) -> None:
    _require(limit is None or limit > 0, f"--limit is {limit}.", "Use 1 or more.")


STAGE_CONFIGS: dict[str, type[Any]] = {
    "prepare-data": PrepareDataConfig,
    "train-cam": TrainCamConfig,
    "gen-cam": GenCamConfig,
    "refine": RefineConfig,
    "train-seg": TrainSegConfig,
    "evaluate": EvaluateConfig,
}
"""Stage configurations in pipeline order, by command name."""


def field_names(config: type[Any]) -> tuple[str, ...]:
    """Names of a configuration's fields, in order."""
    return tuple(f.name for f in fields(config))
