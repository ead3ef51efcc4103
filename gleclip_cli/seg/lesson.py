"""What a network is taught: the pictures of a split, each with its mask."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gleclip_cli.artifacts.labels import ignore_index, label_fault
from gleclip_cli.artifacts.maps import load_confidence, load_label_image
from gleclip_cli.artifacts.run_dir import RunDir, printable
from gleclip_cli.artifacts.tables import PreparedData
from gleclip_cli.errors import BadInput
from gleclip_cli.training.batches import Pair, Weighted


@dataclass(frozen=True)
class Lesson:
    """Reads pictures and masks of a split; picklable, for loading processes.

    `pseudo`: pseudo masks of the run, else true masks. `confidence_threshold` (0 to 1): pixels of
    pseudo masks below it are ignored. `weighted`: the confidence comes with the mask. `refreshed`:
    the pseudo masks are those that the training `name` has made anew, for the nth time.
    """

    run: RunDir
    prepared: PreparedData
    split: str
    num_classes: int
    pseudo: bool = True
    confidence_threshold: float = 0.0
    weighted: bool = False
    name: str = ""
    refreshed: int = 0

    def mask_path(self, image_id: str) -> Path | None:
        """Path of the mask, or None if the data set has no true mask for this image."""
        if self.pseudo:
            return self.pseudo_mask_path(image_id)
        return self.prepared.record(self.split, image_id).mask

    def pseudo_mask_path(self, image_id: str) -> Path:
        """Path of the pseudo mask."""
        if self.refreshed:
            return self.run.refreshed_mask(self.name, self.refreshed, image_id)
        return self.run.pseudo_mask(self.split, image_id)

    def confidence_path(self, image_id: str) -> Path:
        """Path of the confidence of a pseudo mask."""
        if self.refreshed:
            return self.run.refreshed_confidence(self.name, self.refreshed, image_id)
        return self.run.confidence(self.split, image_id)

    def size(self, image_id: str) -> tuple[int, int]:
        """Height and width of an image, as prepared."""
        return self.prepared.record(self.split, image_id).size

    def __call__(self, image_id: str) -> Pair | Weighted:
        """Read a picture and its mask, doubtful pixels ignored, and what `weighted` asks for.

        Raises:
            BadInput: one of both is damaged, or they do not fit each other or the vocabulary.
        """
        path = self.mask_path(image_id)
        if path is None:
            raise BadInput(f"{printable(image_id)} has no true mask.", "Use --targets pseudo.")
        image = self.prepared.load_image(self.split, image_id)
        mask = load_label_image(path, self.num_classes)
        if mask.shape != image.shape[:2]:
            raise BadInput(
                f"{printable(path)} is {mask.shape}, its image {image.shape[:2]}.",
                "A mask has the size of its image: make it again.",
            )
        if fault := label_fault(mask, self.num_classes):
            cause = f"{printable(path)} of image {printable(image_id)} {fault}."
            raise BadInput(cause, "Masks hold class ids as in the vocabulary.")
        if not self.pseudo or not (self.weighted or self.confidence_threshold > 0):
            return image, mask
        confidence = load_confidence(self.confidence_path(image_id))
        doubtful = confidence < self.confidence_threshold
        mask = np.where(doubtful, mask.dtype.type(ignore_index(mask)), mask)
        if not self.weighted:
            return image, mask
        return image, mask, np.rint(255 * confidence).astype(np.uint8)
