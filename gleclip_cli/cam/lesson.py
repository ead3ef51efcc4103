"""What GLE-CLIP is taught: the pictures of a split, each with the labels its teacher gave."""

from dataclasses import dataclass

from gleclip_cli.artifacts.labels import Labels
from gleclip_cli.artifacts.maps import load_label_image
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.tables import PreparedData
from gleclip_cli.training.batches import Pair


@dataclass(frozen=True)
class TaughtLesson:
    """Reads pictures and the labels of a round; picklable, for loading processes."""

    run: RunDir
    prepared: PreparedData
    split: str
    num_labels: int
    round: int

    def __call__(self, image_id: str) -> Pair:
        """Read a picture and its labels.

        Raises:
            BadInput: one of both is missing or damaged.
        """
        return self.prepared.load_image(self.split, image_id), self.labels(image_id)

    def labels(self, image_id: str) -> Labels:
        """Read the labels of a picture."""
        return load_label_image(self.run.teacher_mask(self.round, image_id), self.num_labels)
