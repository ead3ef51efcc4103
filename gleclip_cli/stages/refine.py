"""Activation maps become pseudo masks with a confidence per pixel."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gleclip_cli.artifacts.json_files import read_json, write_json
from gleclip_cli.artifacts.manifest import not_kept
from gleclip_cli.artifacts.run_dir import RunDir, printable
from gleclip_cli.artifacts.stage import Manifest, Stage, open_stage, require
from gleclip_cli.artifacts.tables import load_prepared
from gleclip_cli.cam.mask_writer import MaskWriter, maps_from, mask_files
from gleclip_cli.config import Execution, RefineConfig
from gleclip_cli.datasets.vocabulary import load_vocabulary
from gleclip_cli.errors import BadInput, MissingInput, UsageError
from gleclip_cli.interop.map_folder import MapFolder, find_maps
from gleclip_cli.metrics.mask_statistics import measure_masks
from gleclip_cli.parallel.device import device_of
from gleclip_cli.parallel.workers import over_images
from gleclip_cli.progress import SILENT, Progress, counted
from gleclip_cli.refine.steps import require_steps

_SHOWN = 5
_TRIED = 5
"""Maps from elsewhere that are read before anything is replaced, until one is good."""

if TYPE_CHECKING:
    from gleclip_cli.cam.spread import MapSource


def refine(
    run: RunDir,
    config: RefineConfig,
    *,
    execution: Execution = Execution(),
    progress: Progress = SILENT,
) -> Manifest:
    """Write a pseudo mask and its confidence for every image that has maps.

    Images without maps are counted (`without_maps`), as are those without classes, whose masks
    are all background. Finished images are kept. What all masks hold stands in statistics.json.

    Raises:
        MissingInput: the split has no maps, or a step needs a GLE-CLIP that is not there.
        BadInput: two files of a folder of maps are named alike, or none of its first can be read.
        UsageError: `caa` is asked for maps that were made with it.
        EnvironmentFault: the backend of the CRF is not installed.
        OtherSettings: the folder holds masks made with other settings, or `caa` finds other
            weights than those of the maps.
    """
    listed = load_prepared(run).image_ids(config.split)[: config.limit]
    cams, image_ids = _maps_of(run, config, listed, execution)
    if isinstance(cams, Manifest) and not cams.data.get("kept", True):
        _refuse_spent_maps(run, config, cams, image_ids, execution)
    with open_masks(run, config, cams, image_ids, execution=execution, progress=progress) as masks:
        lost = sorted(set(listed) - set(image_ids))
        if lost:
            count = counted(len(lost), "image")
            masks.stage.warn(f"Left out: {count} without maps{_why_lost(cams, lost)}.")
        todo = masks.todo
        if todo and not masks.stage.dry_run:
            made = masks.made(todo, workers=execution.workers)
            deque(progress.each(made, total=len(todo), label="refine"), maxlen=0)
        manifest = masks.stage.finish(without_maps=len(lost))
        if not masks.stage.dry_run:
            _measure(run, manifest, config.split, progress)
        return manifest


def _maps_of(
    run: RunDir, config: RefineConfig, listed: Sequence[str], execution: Execution
) -> tuple[Manifest | MapFolder, list[str]]:
    """Find the maps, and which of the listed images have some or need none."""
    cams: Manifest | MapFolder
    if config.cams is not None and config.cams_format is not None:
        cams = find_maps(Path(config.cams).expanduser(), config.cams_format)
        tags = load_prepared(run).labels(config.split)
        image_ids = [i for i in listed if cams.path(i) or not tags[i]]
        _try_maps(run, config, cams, image_ids, stop=execution.on_bad == "stop")
    else:
        cams = require(run, "gen_cam", config.split, allow_partial=execution.allow_partial)
        maps = cams.fingerprints()
        image_ids = [image_id for image_id in listed if image_id in maps]
    if not image_ids:
        remedy = "Check --cams." if config.cams else "Run `gleclip gen-cam` again."
        raise MissingInput(f"No image of {config.split} has maps.", remedy)
    return cams, image_ids


def _try_maps(
    run: RunDir, config: RefineConfig, cams: MapFolder, image_ids: Sequence[str], *, stop: bool
) -> None:
    """Refuse, before anything is replaced, maps that cannot be read as what they are said to be.

    One bad file among good ones is a fault of its image, unless that is to `stop` the stage.
    """
    read, faults = maps_from(cams, load_prepared(run), config.split), []
    for image_id in [i for i in image_ids if cams.path(i)][: 1 if stop else _TRIED]:
        try:
            read(image_id)
        except BadInput as fault:
            faults.append(fault)
        else:
            return
    if faults:
        raise faults[0]


def _measure(run: RunDir, manifest: Manifest, split: str, progress: Progress) -> None:
    """Write and tell what the masks hold, unless that has been done for just these masks."""
    path = run.mask_statistics(split)
    with suppress(BadInput):  # none yet
        if read_json(path).get("masks") == manifest.digest:
            return
    data, done = load_prepared(run), manifest.fingerprints()
    names = load_vocabulary(data.vocabulary).class_names
    counted = progress.each(done, total=len(done), label="statistics")
    statistics = measure_masks(run, split, counted, data.labels(split), names)
    write_json(path, {"masks": manifest.digest, **statistics.table()})
    if done:
        progress.say(statistics.summary())


@contextmanager
def open_masks(
    run: RunDir,
    config: RefineConfig,
    cams: Manifest | MapFolder,
    image_ids: Sequence[str],
    *,
    execution: Execution,
    progress: Progress,
) -> Iterator["Masks"]:
    """Open the pseudo masks of these images for writing; raises what `refine` does.

    `cams`: the maps, which may be in the making, or were made elsewhere.
    """
    partial = execution.allow_partial
    prepared = require(run, "prepare_data", allow_partial=partial)
    made_here = cams if isinstance(cams, Manifest) else None
    if made_here is not None and config.cams is not None:
        raise UsageError("--fused refines maps as they are made, not --cams.", "Leave one out.")
    training = require(run, "train_cam", allow_partial=partial) if config.follows_training else None
    source = None
    if config.needs_model:
        # Other steps need no model: without it, workers start in half the time and memory.
        from gleclip_cli.cam.spread import source_of_maps

        fetch = not execution.dry_run
        source = source_of_maps(run, config, made_here, training, fetch=fetch)
    require_steps(config)
    with open_stage(
        run,
        "refine",
        config,
        name=config.split,
        inputs=[prepared, made_here, training],
        item_ids=image_ids,
        execution=execution,
        progress=progress,
    ) as stage:
        if isinstance(cams, Manifest):
            stage.note(labels=cams.data["config"].get("labels", "given"))
            maps, folder = cams.fingerprints(), None
        else:
            stage.note(labels="given", maps=cams.listing())
            maps, folder = {i: cams.fingerprint(i) for i in image_ids}, cams
        images = load_prepared(run).fingerprints(config.split)
        # a model trained anew on changed pictures has the same settings
        model = f" {training.digest}" if training else ""
        made_from = {i: f"{maps.get(i, '')} {images[i]}{model}" for i in image_ids}
        todo = stage.todo(made_from)  # which looks up what each is made from when it is done
        device = ""
        if todo and not stage.dry_run:
            device = str(device_of(execution, progress))
            stage.note(device=device)
        yield Masks(stage, todo, made_from, run, config, device, source, folder, model)


@dataclass(frozen=True)
class Masks:
    """The pseudo masks of a split while they are made; `todo`: images that are left."""

    stage: Stage
    todo: list[str]
    made_from: dict[str, str]
    run: RunDir
    config: RefineConfig
    device: str
    source: "MapSource | None"
    folder: MapFolder | None
    model: str

    def made(self, image_ids: Iterable[str], *, workers: int = 0) -> Iterator[str]:
        """Yield every id once its mask and confidence are written or have failed."""
        split, folder = self.config.split, self.folder
        setup = (self.run, self.config, self.device, self.source, folder)
        for image_id, refined in over_images(MaskWriter, setup, image_ids, workers=workers):
            path = folder.path(image_id) if folder else self.run.cam(split, image_id)
            with self.stage.item(image_id, path):
                without_classes = refined()
                files = mask_files(self.run, split, image_id)
                self.stage.done(image_id, *files, without_classes=without_classes)
            yield image_id

    def follow(self, image_ids: Iterable[str], cams: Stage) -> Iterator[str]:
        """Make the masks of images whose maps come from `cams`; yield those that went well."""
        images = load_prepared(self.run).fingerprints(self.config.split)

        def arriving() -> Iterator[str]:
            for image_id in image_ids:
                entry = cams.index.entry(image_id)
                if entry is not None and image_id in self.made_from:
                    self.made_from[image_id] = f"{entry.content} {images[image_id]}{self.model}"
                    yield image_id

        for image_id in self.made(arriving()):
            entry = self.stage.index.entry(image_id)
            if entry is not None and entry.fingerprint == self.made_from[image_id]:
                yield image_id


def _refuse_spent_maps(
    run: RunDir, config: RefineConfig, cams: Manifest, image_ids: list[str], execution: Execution
) -> None:
    """Refuse, before anything is replaced, what needs maps that were not kept."""
    look = replace(execution, dry_run=True)
    with open_masks(run, config, cams, image_ids, execution=look, progress=SILENT) as masks:
        left = masks.todo
    if left and not any(run.cam(config.split, image_id).exists() for image_id in left):
        raise not_kept(cams)


def _why_lost(cams: Manifest | MapFolder, image_ids: Sequence[str]) -> str:
    if isinstance(cams, MapFolder):
        more = ", ..." if len(image_ids) > _SHOWN else ""
        return f": {printable(', '.join(image_ids[:_SHOWN]))}{more}"
    limit = cams.data["config"]["limit"]
    return f" (gen-cam --limit {limit})" if limit else ""
