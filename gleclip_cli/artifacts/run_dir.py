"""`RunDir`: every path of a run, and safe file names made from image ids."""

import hashlib
import os
import unicodedata
from contextlib import suppress
from pathlib import Path

from gleclip_cli.errors import BadInput

_LONGEST_NAME = 255
_LONGEST_SUFFIX = len(".npz")
_RESERVED = frozenset('/\\%:*?"<>|')
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
LAST_RUN_FILE = ".last"


class RunDir:
    """The folder of one run; nobody else joins a path inside it.

    `opened`: whether an output in it has been opened for writing through this object.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self.opened = False

    def output(self, stage: str, name: str = "") -> Path:
        """Folder of one stage output, such as gen_cam/train."""
        folder = self.root / stage
        return folder / safe_name(name) if name else folder

    def outputs(self, stage: str) -> list[Path]:
        """Folders of a stage that have been begun, sorted: its own, or one per split or name."""
        folder = self.root / stage
        return sorted(f for f in (folder, *folder.glob("*")) if (f / "settings.json").is_file())

    def report(self) -> Path:
        """The page that `report` writes."""
        return self.root / "report.html"

    def drawn_masks(self) -> Path:
        """Folder of the masks that `prepare_data` draws from outlines or matrices."""
        return self.output("prepare_data") / "masks"

    def verified(self) -> Path:
        """Notebook of the pictures that `prepare_data` need not open again."""
        return self.root / "cache" / "verified.json"

    def text_embeddings(self, key: str) -> Path:
        """Embeddings of texts; `key`: the hash of what they were made from."""
        return self.root / "cache" / "texts" / f"{key}.safetensors"

    def cam_checkpoint(self) -> Path:
        """Weights of GLE-CLIP."""
        return self.output("train_cam") / "checkpoint.safetensors"

    def cam_training_state(self) -> Path:
        """Folder of the state from which the training of GLE-CLIP resumes."""
        return self.output("train_cam") / "state"

    def teacher_mask(self, number: int, image_id: str) -> Path:
        """Label image that the training of GLE-CLIP learns from in one of its rounds."""
        folder = self.cam_training_state() / f"teacher-{number}"
        return folder / f"{safe_name(image_id)}.png"

    def cam(self, split: str, image_id: str) -> Path:
        """Maps of one image; 256 folders keep directories small."""
        first = hashlib.sha256(os.fsencode(image_id)).hexdigest()[:2]
        return self.output("gen_cam", split) / "cams" / first / f"{safe_name(image_id)}.npz"

    def pseudo_mask(self, split: str, image_id: str) -> Path:
        """Label image that `refine` makes."""
        return self.output("refine", split) / "pseudo_masks" / f"{safe_name(image_id)}.png"

    def confidence(self, split: str, image_id: str) -> Path:
        """Confidence image that `refine` makes."""
        return self.output("refine", split) / "confidence" / f"{safe_name(image_id)}.png"

    def mask_statistics(self, split: str) -> Path:
        """What the pseudo masks of a split hold, by class and by image."""
        return self.output("refine", split) / "statistics.json"

    def evaluation(self, what: str, split: str) -> Path:
        """Folder with the scores of `what` (cam, pseudo, or a network's name) on a split."""
        return self.output("evaluate", f"{what}-{split}")

    def pred_mask(self, what: str, split: str, image_id: str) -> Path:
        """Label image that `evaluate` scored."""
        return self.evaluation(what, split) / "pred_masks" / f"{safe_name(image_id)}.png"

    def checkpoint(self, name: str) -> Path:
        """Weights of a segmentation network."""
        return self.output("train_seg", name) / "checkpoint.safetensors"

    def checkpoint_of(self, what: str) -> Path:
        """Weights of the network `what`: of a folder made for a hub, unless the run has it."""
        elsewhere = Path(what)
        own = self.checkpoint(what)
        there = not own.exists() and (elsewhere / "config.json").is_file()
        return elsewhere if there else own

    def training_state(self, name: str) -> Path:
        """Folder of the state from which training resumes."""
        return self.output("train_seg", name) / "state"

    def refreshed(self, name: str, number: int) -> Path:
        """What a training has found when it made its pseudo masks anew, for the nth time."""
        return self.training_state(name) / f"refreshed-{number}.json"

    def refreshed_mask(self, name: str, number: int, image_id: str) -> Path:
        """Label image that a training made anew; as `pseudo_mask`."""
        folder = self.training_state(name) / f"pseudo_masks-{number}"
        return folder / f"{safe_name(image_id)}.png"

    def refreshed_confidence(self, name: str, number: int, image_id: str) -> Path:
        """Confidence image that a training made anew; as `confidence`."""
        folder = self.training_state(name) / f"confidence-{number}"
        return folder / f"{safe_name(image_id)}.png"


class OutDir(RunDir):
    """A folder of predictions: a stage output by itself, with pictures in folders as they lay."""

    def output(self, stage: str, name: str = "") -> Path:
        """The folder itself."""
        return self.root

    def mask(self, image_id: str) -> Path:
        """Label image of a picture."""
        return self._of("masks", image_id, ".png")

    def overlay(self, image_id: str, ending: str) -> Path:
        """The picture under the colours of its classes."""
        return self._of("overlays", image_id, f".{ending}")

    def areas(self, image_id: str = "") -> Path:
        """Areas of the classes in a picture; without an id, those of all together."""
        return self._of("areas", image_id, ".json") if image_id else self.root / "areas.json"

    def _of(self, folder: str, image_id: str, ending: str) -> Path:
        *parents, name = map(safe_name, image_id.split("/"))
        return Path(self.root, folder, *parents, f"{name}{ending}")


def run_of(checkpoint: Path) -> RunDir:
    """The run that a segmentation network lies in, if it lies in one."""
    return RunDir(checkpoint.resolve().parent.parent.parent)


def safe_name(image_id: str) -> str:
    """Quote an image id into one file name: no `/`, no `..`, reversible by URL unquoting.

    Raises:
        BadInput: the id is empty, or its name is too long for a file system.
    """
    if not image_id:
        raise BadInput("An image id is empty.", "Name every image of the list.")
    last = len(image_id) - 1
    name = "".join(
        _quoted(letter) if _unsafe(letter, at_end=position in (0, last)) else letter
        for position, letter in enumerate(image_id)
    )
    length = len(os.fsencode(name)) + _LONGEST_SUFFIX
    if length > _LONGEST_NAME:
        raise BadInput(
            f"The file name of image {printable(image_id)} would have {length} bytes, "
            f"more than {_LONGEST_NAME}.",
            "Shorten the name of the image.",
        )
    return name


def printable(text: object) -> str:
    r"""Escape what could drive a terminal or hide in a log: "\x1b" for ESC, and so on."""
    return "".join(
        letter
        if unicodedata.category(letter) not in _HIDDEN_CATEGORIES
        else letter.encode("unicode_escape", "surrogatepass").decode("ascii")
        for letter in str(text)
    )


def remember_run(run: RunDir, base: Path = Path("runs")) -> None:
    """Note in `base`/.last that `run` was used last; a convenience, so never an error.

    A run that failed before anything was made may be gone again.
    """
    root = run.root.resolve()
    if not root.is_dir():
        return
    inside = root.is_relative_to(base.resolve())
    name = root.relative_to(base.resolve()) if inside else root
    with suppress(OSError):
        base.mkdir(parents=True, exist_ok=True)
        temporary = base / f".{LAST_RUN_FILE}.tmp-{os.getpid()}"
        temporary.write_bytes(os.fsencode(name) + b"\n")
        temporary.replace(base / LAST_RUN_FILE)


def last_run(base: Path = Path("runs")) -> Path | None:
    """The run used last, if `base` remembers one that still exists."""
    try:
        name = os.fsdecode((base / LAST_RUN_FILE).read_bytes().removesuffix(b"\n"))
    except OSError:
        return None
    folder = base / name
    return folder if name and folder.is_dir() else None


def _unsafe(letter: str, *, at_end: bool) -> bool:
    # Dots and spaces at either end hide a file, climb a folder, or are dropped by Windows.
    # Written out, because Unicode's tables change with the version of Python.
    control = letter < " " or "\x7f" <= letter <= "\x9f" or "\ud800" <= letter <= "\udfff"
    return control or letter in _RESERVED or (at_end and letter in ". ")


def _quoted(letter: str) -> str:
    return "".join(f"%{byte:02X}" for byte in letter.encode("utf-8", "surrogateescape"))
