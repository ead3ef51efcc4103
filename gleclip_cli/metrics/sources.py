"""What is scored: true masks, maps and predicted masks of an evaluation, and their counts."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gleclip_cli.artifacts.labels import Labels
from gleclip_cli.artifacts.maps import load_cam, load_label_image
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.tables import PreparedData
from gleclip_cli.config import EvaluateConfig
from gleclip_cli.metrics.confusion import Counts
from gleclip_cli.metrics.sweep import Peaks, levels_of, peaks_of
from gleclip_cli.metrics.tally import Counted, count_image

Levels = tuple[NDArray[np.int64], Counts]
"""What `BackgroundSweep.add` takes of one image."""


@dataclass(frozen=True)
class Sources:
    """Reads and counts one image at a time; `made_for`: whose maps and pseudo masks are read.

    Every method may raise BadInput: a file is missing or damaged, or does not fit the others.
    """

    run: RunDir
    data: PreparedData
    config: EvaluateConfig
    made_for: str
    num_classes: int

    def gt_mask(self, image_id: str) -> Labels:
        """Return the true mask of an image that has one."""
        mask = self.data.record(self.config.split, image_id).mask
        assert mask is not None  # only images with one are scored
        return load_label_image(mask, self.num_classes)

    def image(self, image_id: str) -> NDArray[np.uint8]:
        """Return the picture (H, W, 3)."""
        return self.data.load_image(self.config.split, image_id)

    def counted(self, image_id: str) -> Counted:
        """Count a pseudo mask, or a prediction that was saved."""
        what = self.config.what
        path = self.run.pred_mask(what, self.config.split, image_id)
        if what == "pseudo":
            path = self.run.pseudo_mask(self.made_for, image_id)
        pred_mask = load_label_image(path, self.num_classes)
        return count_image(image_id, self.gt_mask(image_id), pred_mask, self.num_classes)

    def levels(self, image_id: str) -> Levels:
        """Count maps at every background threshold."""
        return self._levels(image_id, self.gt_mask(image_id), self._peaks(image_id))

    def counted_at(self, image_id: str, threshold: float) -> tuple[Counted, Levels]:
        """Count maps at one background threshold in full, and at every one."""
        gt_mask, peaks = self.gt_mask(image_id), self._peaks(image_id)
        labels = peaks.labels(threshold, self.num_classes)
        counted = count_image(image_id, gt_mask, labels, self.num_classes)
        return counted, self._levels(image_id, gt_mask, peaks)

    def _peaks(self, image_id: str) -> Peaks:
        cam = load_cam(self.run.cam(self.made_for, image_id))
        return peaks_of(cam.each_enlarged(), cam.class_ids, cam.size)

    def _levels(self, image_id: str, gt_mask: Labels, peaks: Peaks) -> Levels:
        return peaks.class_ids, levels_of(gt_mask, peaks, self.num_classes, name=image_id)
