"""Which data set is prepared."""

from dataclasses import dataclass

from gleclip_cli.config.checks import choice, positive_limit, require

DATASETS = ("scenes", "voc", "coco", "folder")


@dataclass(frozen=True, kw_only=True)
class PrepareDataConfig:
    """Where the data set is, or how many scenes to draw.

    `classes` is a class table (TOML) to use in place of the data set's own; `masks` a file or
    folder of masks that were made or corrected elsewhere.
    """

    dataset: str = "scenes"
    data: str = ""
    classes: str = ""
    masks: str = ""
    train_images: int = 600
    val_images: int = 200
    seed: int = 0
    limit: int | None = None

    def __post_init__(self) -> None:
        choice("--dataset", self.dataset, DATASETS)
        if self.dataset == "scenes":
            require(not self.data, "scenes are drawn, not read.", "Leave out --data.")
            require(not self.classes, "scenes have classes of their own.", "Leave out --classes.")
            require(
                self.train_images > 0 and self.val_images > 0,
                "scenes needs at least one image per split.",
                "Raise --train-images and --val-images.",
            )
        else:
            require(
                bool(self.data),
                f"The data set {self.dataset} needs its folder.",
                "Name it with --data DIR or the environment variable GLECLIP_DATA.",
            )
        positive_limit(self.limit)
