"""What is handed to other programs."""

from dataclasses import dataclass

from gleclip_cli.config.checks import choice, positive_limit, require
from gleclip_cli.config.words import EVALUATE_WHAT, TRAIN

MASK_FORMATS = (
    *("coco", "cvat", "labelstudio", "labelme"),
    *("png", "png-rgb", "png-grey", "voc-test"),
)
MAP_FORMATS = ("clip-es", "irn", "psa")
NETWORK_FORMATS = ("onnx", "hub")
EXPORT_FORMATS = (*MASK_FORMATS, *MAP_FORMATS, *NETWORK_FORMATS)

_WITH_BAND = ("cvat", "labelme", "png", "png-rgb", "png-grey")


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """What is exported, and how.

    `what` is `pseudo`, `cam`, or the name of a network: its predictions, or itself as `onnx` and
    `hub`. `split`: train, for a network val, for voc-test test, unless named. `simplify`: pixels
    by which the outline of a polygon may be moved. `ignore_band`: pixels on both sides of a
    boundary that are ignored. `images`: address below which Label Studio finds the pictures.
    """

    format: str
    what: str = "pseudo"
    split: str = ""
    polygons: bool = False
    simplify: float = 1.0
    ignore_band: int = 0
    images: str = "/data/local-files/?d="
    allow_missing: bool = False
    limit: int | None = None

    def __post_init__(self) -> None:
        choice("--format", self.format, EXPORT_FORMATS)
        if not self.split:
            split = TRAIN if self.what in EVALUATE_WHAT else "val"
            object.__setattr__(self, "split", "test" if self.format == "voc-test" else split)
        maps = " or ".join(MAP_FORMATS)
        fits = {
            "cam": (self.format in MAP_FORMATS, f"Maps are exported as {maps}."),
            "pseudo": (self.format in MASK_FORMATS, "Pseudo masks are no maps and no network."),
        }
        fit, remedy = fits.get(self.what, (self.format not in MAP_FORMATS, "Name --what cam."))
        require(fit, f"--what {self.what} has no --format {self.format}.", remedy)
        require(
            not self.polygons or self.format == "coco",
            f"--polygons is for coco, not for {self.format}.",
            "Leave it out.",
        )
        require(self.simplify >= 0, f"--simplify is {self.simplify}.", "Use 0 or more pixels.")
        require(self.ignore_band >= 0, f"--ignore-band is {self.ignore_band}.", "Use 0 or more.")
        require(
            not self.ignore_band or self.format in _WITH_BAND,
            f"{self.format} knows no ignored pixels.",
            f"Leave out --ignore-band, or use one of: {', '.join(_WITH_BAND)}.",
        )
        require(
            not self.allow_missing or self.format != "voc-test",
            "The server wants every image of the list.",
            "Leave out --allow-missing.",
        )
        positive_limit(self.limit)
