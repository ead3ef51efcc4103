"""Activation maps become pseudo masks with a confidence per pixel."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from gleclip_cli.artifacts.maps import Cam, load_cam, save_confidence, save_label_image
from gleclip_cli.artifacts.run_dir import RunDir, printable
from gleclip_cli.artifacts.stage import Manifest, open_stage, require
from gleclip_cli.artifacts.tables import load_prepared
from gleclip_cli.config import Execution, RefineConfig
from gleclip_cli.datasets.vocabulary import load_vocabulary
from gleclip_cli.errors import BadInput, EnvironmentFault, MissingInput
from gleclip_cli.parallel.device import pick_device
from gleclip_cli.parallel.workers import over_images
from gleclip_cli.progress import SILENT, Progress, counted
from gleclip_cli.refine.pseudo_mask import pseudo_mask, with_background
from gleclip_cli.refine.steps import on_pixels, require_steps

if TYPE_CHECKING:
    from gleclip_cli.cam.spread import MapSource, Spreader


def refine(
    run: RunDir,
    config: RefineConfig,
    *,
    execution: Execution = Execution(),
    progress: Progress = SILENT,
) -> Manifest:
    """Write a pseudo mask and its confidence for every image that has maps.

    Images without maps are counted (`without_maps`), as are those without classes, whose masks
    are all background. Finished images are kept.

    Raises:
        MissingInput: the split has no maps.
        UsageError: `caa` is asked for maps that were made with it.
        EnvironmentFault: the backend of the CRF is not installed.
        OtherSettings: the folder holds masks made with other settings, or `caa` finds other
            weights than those of the maps.
    """
    partial = execution.allow_partial
    prepared = require(run, "prepare_data", allow_partial=partial)
    cams = require(run, "gen_cam", config.split, allow_partial=partial)
    data = load_prepared(run)
    listed = data.image_ids(config.split)[: config.limit]
    maps, images = cams.fingerprints(), data.fingerprints(config.split)
    image_ids = [image_id for image_id in listed if image_id in maps]
    if not image_ids:
        raise MissingInput(f"No image of {config.split} has maps.", "Run `gleclip gen-cam` again.")
    fetch = not execution.dry_run
    source = _source_of_maps(cams, fetch=fetch) if "caa" in config.steps else None
    require_steps(config)
    with open_stage(
        run,
        "refine",
        config,
        name=config.split,
        inputs=[prepared, cams],
        item_ids=image_ids,
        execution=execution,
        progress=progress,
    ) as stage:
        made_with = cams.data["config"]
        stage.note(labels=made_with.get("labels", "given"))
        if lost := len(listed) - len(image_ids):
            why = f" (gen-cam --limit {made_with['limit']})" if made_with["limit"] else ""
            stage.warn(f"Left out: {counted(lost, 'image')} without maps{why}.")
        todo = stage.todo({i: f"{maps[i]} {images[i]}" for i in image_ids})
        if todo and not stage.dry_run:
            device = str(pick_device(execution.device, progress))
            stage.note(device=device)
            setup = (run, config, device, source)
            results = over_images(_Refiner, setup, todo, workers=execution.workers)
            for image_id, refined in progress.each(results, total=len(todo), label="refine"):
                with stage.item(image_id, run.cam(config.split, image_id)):
                    without_classes = refined()
                    files = _files(run, config.split, image_id)
                    stage.done(image_id, *files, without_classes=without_classes)
        return stage.finish(without_maps=lost)


def _files(run: RunDir, split: str, image_id: str) -> tuple[Path, Path]:
    return run.pseudo_mask(split, image_id), run.confidence(split, image_id)


def _source_of_maps(manifest: Manifest, *, fetch: bool) -> "MapSource":
    # Only caa needs a model: without it, workers start in half the time and memory.
    from gleclip_cli.cam.spread import source_of_maps

    return source_of_maps(manifest.data, fetch=fetch)


def _spreader(source: "MapSource", device: torch.device, threshold: float) -> "Spreader":
    from gleclip_cli.cam.spread import Spreader

    return Spreader(source, device, threshold=threshold)


class _Refiner:
    """Refines one image at a time; made once per process."""

    def __init__(
        self, run: RunDir, config: RefineConfig, device: str, source: "MapSource | None"
    ) -> None:
        self._run, self._config = run, config
        self._device = torch.device(device)
        self._data = load_prepared(run)
        self._vocabulary = load_vocabulary(self._data.vocabulary)
        self._spread = _spreader(source, self._device, config.caa_threshold) if source else None

    def __call__(self, image_id: str) -> bool:
        """Write the mask and confidence of an image; return whether it has no class."""
        config = self._config
        cam = load_cam(self._run.cam(config.split, image_id))
        if config.steps and len(cam.class_ids):
            try:
                scores = self._refined(cam, self._image(image_id, cam.size))
            except torch.OutOfMemoryError as error:
                raise EnvironmentFault(
                    f"The device has no memory for one image of {cam.size} pixels.",
                    "Use --device cpu.",
                ) from error
        else:
            scores = self._with_background(cam)
        places, share = pseudo_mask(scores)
        labels = cam.labels(places, len(self._vocabulary.class_names))
        mask_path, confidence_path = _files(self._run, config.split, image_id)
        save_label_image(mask_path, labels, self._vocabulary.palette)
        save_confidence(confidence_path, share)
        return not len(cam.class_ids)

    def _image(self, image_id: str, size: tuple[int, int]) -> NDArray[np.uint8]:
        image = self._data.load_image(self._config.split, image_id)
        if image.shape[:2] != size:
            raise BadInput(
                f"{printable(image_id)} has {image.shape[:2]} pixels, its maps are of {size}.",
                "Run `gleclip gen-cam` again.",
            )
        return image

    def _refined(self, cam: Cam, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Apply all steps: those on the grid, then background, then those on pixels."""
        if self._spread:
            cam = replace(cam, scores=self._spread(cam.scores, image))
        return on_pixels(self._with_background(cam), image, self._config, self._device)

    def _with_background(self, cam: Cam) -> NDArray[np.float32]:
        power, constant = self._config.bg_power, self._config.bg_threshold
        return with_background(cam, power=power, constant=constant)
