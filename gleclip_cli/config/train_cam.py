"""How GLE-CLIP is trained."""

from dataclasses import dataclass, fields

from gleclip_cli.config.checks import choice, crop_side, fraction, positive_limit, require
from gleclip_cli.config.words import CALIBRATIONS, PIXEL_STEPS, TEXTS

BCA = ("both", "t2p", "p2t", "off")
DAF = ("dynamic", "fixed", "local", "global")
DAF_PROJECTIONS = ("dynamic", "static", "off")
DAF_FUSIONS = ("score", "embed")


@dataclass(frozen=True, kw_only=True)
class TrainCamConfig:
    """How GLE-CLIP is trained from image-level labels.

    Parts: `gd` and its most `gd_levels` (patch stride, half of it ...), `bca` and its layers (off:
    maps of scenes are better without), `daf` with its projection and fusion. Teacher: maps become
    pseudo labels by CAA (`caa_threshold`, a share of the maximum) and `teacher_steps`; after each
    of `rounds` they are made anew by what was learned: with the `gate`, or, if the steps begin with
    walk, by a walk. `mosaics`: made of pictures of one class, a share of the number of images.
    `epochs` counts passes over the split in all rounds together; `warmup` is a share of them (0 to
    1). A loss of weight 0 is not computed.
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
    bca: str = "off"
    bca_layers: int = 1
    daf: str = "dynamic"
    daf_projection: str = "dynamic"
    daf_fusion: str = "score"
    caa: bool = True
    caa_threshold: float = 0.7
    gate: bool = True
    teacher_steps: tuple[str, ...] = ("walk", "par", "regions")
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
        choice("--calibration", self.calibration, CALIBRATIONS)
        choice("--texts", self.texts, TEXTS)
        choice("--bca", self.bca, BCA)
        choice("--daf", self.daf, DAF)
        choice("--daf-projection", self.daf_projection, DAF_PROJECTIONS)
        choice("--daf-fusion", self.daf_fusion, DAF_FUSIONS)
        for step in self.teacher_steps:
            choice("--teacher-steps", step, ("walk", *PIXEL_STEPS))
        require(
            "walk" not in self.teacher_steps[1:],
            f"--teacher-steps is {','.join(self.teacher_steps)}.",
            "Put walk first, once: it works on maps, the others on pixels.",
        )
        for name in ("gd_levels", "bca_layers", "rounds", "epochs", "batch_size"):
            option = f"--{name.replace('_', '-')}"
            value = getattr(self, name)
            require(value > 0, f"{option} is {value}.", "Use a positive number.")
        crop_side(self.crop)
        losses = [getattr(self, f.name) for f in fields(self) if f.name.startswith("loss_")]
        require(
            min(losses) >= 0 and max(losses) > 0,
            f"The weights of the losses are {losses}.",
            "Use 0 or more, and more than 0 for at least one.",
        )
        fraction("--caa-threshold", self.caa_threshold)
        fraction("--warmup", self.warmup)
        fraction("--mosaics", self.mosaics)
        positive_limit(self.limit)
