"""What GLE-CLIP is taught: the pictures of a split, each with the labels its teacher gave."""

from dataclasses import dataclass

from gleclip_cli.artifacts.maps import load_label_image
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.tables import PreparedData
from gleclip_cli.cam.mosaic import Mosaics
from gleclip_cli.training.batches import Pair


@dataclass(frozen=True)
class TaughtLesson:
    """Reads pictures and mosaics with the labels of a round; picklable, for loading processes."""

    run: RunDir
    prepared: PreparedData
    split: str
    num_labels: int
    round: int
    mosaics: Mosaics

    def __call__(self, image_id: str) -> Pair:
        """Read a picture, or make a mosaic, with its labels.

        Raises:
            BadInput: one of both is missing or damaged.
        """
        if image_id in self.mosaics.parts:
            return self.mosaics.make(image_id, self)
        path = self.run.teacher_mask(self.round, image_id)
        image = self.prepared.load_image(self.split, image_id)
        return image, load_label_image(path, self.num_labels)
