"""The maps of an image, from the run or from elsewhere, become its pseudo mask and confidence."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from numpy import ndarray

from gleclip_cli.artifacts.maps import Cam, load_cam, save_confidence, save_label_image
from gleclip_cli.artifacts.run_dir import RunDir, printable
from gleclip_cli.artifacts.tables import PreparedData, load_prepared
from gleclip_cli.cam.refiner import Refiner
from gleclip_cli.config import RefineConfig
from gleclip_cli.datasets.vocabulary import load_vocabulary
from gleclip_cli.errors import BadInput, EnvironmentFault
from gleclip_cli.interop.map_folder import MapFolder
from gleclip_cli.refine.pseudo_mask import pseudo_mask

if TYPE_CHECKING:
    from gleclip_cli.cam.spread import MapSource


class MaskWriter:
    """Refines one image at a time; made once per process.

    `source`: the model behind the maps, for a step that needs it; `folder`: where maps come from
    that are not the run's.
    """

    def __init__(
        self,
        run: RunDir,
        config: RefineConfig,
        device: str,
        source: "MapSource | None",
        folder: MapFolder | None,
    ) -> None:
        self._run, self._config = run, config
        self._data = load_prepared(run)
        self._read = maps_from(folder, self._data, config.split) if folder else self._own_maps
        self._vocabulary = load_vocabulary(self._data.vocabulary)
        self._refiner = Refiner(config, torch.device(device), source)

    def __call__(self, image_id: str) -> bool:
        """Write the mask and confidence of an image; return whether it has no class.

        Raises:
            BadInput: its maps are damaged, or of another picture.
            EnvironmentFault: it does not fit into the device's memory.
        """
        cam = self._read(image_id)
        places, share = pseudo_mask(self._scores(cam, image_id))
        labels = cam.labels(places, len(self._vocabulary.class_names))
        mask_path, confidence_path = mask_files(self._run, self._config.split, image_id)
        save_label_image(mask_path, labels, self._vocabulary.palette)
        save_confidence(confidence_path, share)
        return not len(cam.class_ids)

    def _own_maps(self, image_id: str) -> Cam:
        return load_cam(self._run.cam(self._config.split, image_id))

    def _scores(self, cam: Cam, image_id: str) -> Float[ndarray, "k1 H W"]:
        if not self._refiner.works_on(cam):
            return self._refiner.plain(cam)
        image = self._data.load_image(self._config.split, image_id)
        if image.shape[:2] != cam.size:
            raise BadInput(
                f"{printable(image_id)} has {image.shape[:2]} pixels, its maps are of {cam.size}.",
                "Run `gleclip gen-cam` again.",
            )
        try:
            return self._refiner(cam, image)
        except torch.OutOfMemoryError as error:
            raise EnvironmentFault(
                f"The device has no memory for one image of {cam.size} pixels.",
                "Use --device cpu.",
            ) from error


def maps_from(folder: MapFolder, data: PreparedData, split: str) -> Callable[[str], Cam]:
    """Return what reads the maps of an image of `split` from elsewhere; see `MapFolder.load`."""
    tags, classes = data.labels(split), len(load_vocabulary(data.vocabulary).class_names)

    def read(image_id: str) -> Cam:
        size = data.record(split, image_id).size
        return folder.load(image_id, size=size, num_classes=classes, tags=tags[image_id])

    return read


def mask_files(run: RunDir, split: str, image_id: str) -> tuple[Path, Path]:
    """Return the pseudo mask of an image and its confidence."""
    return run.pseudo_mask(split, image_id), run.confidence(split, image_id)
