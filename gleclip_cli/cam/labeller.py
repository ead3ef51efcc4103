"""Maps alone, without a network, as a function from pictures to label images with a confidence."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import UInt8

from gleclip_cli.artifacts.maps import Cam
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.cam.build import load_gleclip, warnings_about
from gleclip_cli.cam.method import CamMethod, trained, training_free
from gleclip_cli.cam.texts import naming_texts
from gleclip_cli.config import GenCamConfig, PredictConfig
from gleclip_cli.datasets.vocabulary import Vocabulary
from gleclip_cli.errors import BadInput, EnvironmentFault, OtherSettings
from gleclip_cli.model.clip import build_clip
from gleclip_cli.model.weights import find_clip
from gleclip_cli.refine.bands import bounded
from gleclip_cli.refine.decide import Decision, Namer, by_scores, by_steps
from gleclip_cli.refine.naming import named_by
from gleclip_cli.refine.pseudo_mask import with_background
from gleclip_cli.resources import clip_files


@dataclass(frozen=True)
class MapLabeller:
    """Labels pictures of any size by maps of their tags; `untagged`: of all classes, if it can.

    `namer`: names regions at last, if that is asked for.
    """

    config: PredictConfig
    num_classes: int
    tagged: CamMethod
    untagged: CamMethod | None
    namer: Namer | None = None

    def __call__(
        self, image: UInt8[np.ndarray, "H W 3"], class_ids: Sequence[int] | None = None
    ) -> Decision:
        """Return class ids and the winner's share of a picture; `class_ids`: what is in it.

        Raises:
            BadInput: maps are not finite, or cannot be made without tags.
            EnvironmentFault: the picture does not fit into the device's memory.
        """
        height, width = image.shape[:2]
        method = self.untagged if class_ids is None else self.tagged
        if method is None:
            raise BadInput(
                f"It has no tags, and {self.config.method} looks for nothing else.",
                "Give --tags, or use --method gle-clip or a network.",
            )
        known = range(1, self.num_classes) if class_ids is None else class_ids
        try:
            cam = self._cam(method, image, list(known))
        except torch.OutOfMemoryError as error:
            raise EnvironmentFault(
                f"The device has no memory for one image of {height} x {width} pixels.",
                "Use smaller --scales, or --device cpu.",
            ) from error
        if class_ids is None:
            cam = cam.seen()
        config, ids = self.config, [0, *cam.class_ids.tolist()]
        scores = with_background(cam, power=config.bg_power, constant=config.bg_threshold)
        if config.crf or self.namer is not None:
            device, namer = str(method.device), self.namer
            return by_steps(
                image, scores, ids, self.num_classes, crf=config.crf, device=device, namer=namer
            )
        return by_scores(scores, ids, (height, width), self.num_classes)

    def _cam(
        self, method: CamMethod, image: UInt8[np.ndarray, "H W 3"], class_ids: list[int]
    ) -> Cam:
        """Return maps that are enlarged no further than is worth it."""
        size = image.shape[0], image.shape[1]
        scores = np.zeros((0, *method.grid(size)), np.float32)
        if class_ids:
            (scores,) = method([method.prepare(image)], [class_ids])
        if not np.isfinite(scores).all():
            raise BadInput("Its maps are not finite.", "Use --device cpu, or other weights.")
        return Cam(scores, np.array(class_ids, np.int64), bounded(*size))


def load_map_labeller(
    run: RunDir,
    config: PredictConfig,
    vocabulary: Vocabulary,
    device: torch.device,
    *,
    warn: Callable[[str], None],
) -> MapLabeller:
    """Load what `config.method` needs; `warn` is told what `warnings_about` tells.

    Raises:
        MissingInput: GLE-CLIP has not been trained.
        BadInput: its checkpoint is damaged.
        OtherSettings: it was trained on other classes.
        EnvironmentFault, UsageError: a CLIP that cannot be had.
    """
    maps = GenCamConfig(method=config.method, scales=config.scales, flip=config.flip)
    untagged: CamMethod | None = None
    if config.method == "gle-clip":
        model = load_gleclip(run, device)
        if model.num_classes != len(vocabulary.classes):
            raise OtherSettings(
                f"GLE-CLIP knows {model.num_classes} classes, the run {len(vocabulary.classes)}.",
                "Train it again: `gleclip train-cam --overwrite`.",
            )
        tagged = trained(maps, model)
        untagged = trained(replace(maps, labels="none"), model)
    else:
        clip = build_clip(find_clip(*clip_files(config.clip_model, config.clip_weights)))
        tagged = training_free(maps, clip.to(device), vocabulary)
    for warning in warnings_about(tagged.clip, vocabulary):
        warn(warning)
    namer = named_by(tagged.clip, naming_texts(vocabulary)) if config.regions else None
    return MapLabeller(config, len(vocabulary.class_names), tagged, untagged, namer)
