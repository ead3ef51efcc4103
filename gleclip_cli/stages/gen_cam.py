"""Images and image-level labels become class activation maps."""

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray

from gleclip_cli.artifacts.maps import Cam, save_cam
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.stage import Manifest, Stage, open_stage, require
from gleclip_cli.artifacts.tables import PreparedData, load_prepared
from gleclip_cli.cam.build import fitting, load_gleclip, warnings_about
from gleclip_cli.cam.method import CamMethod, Views, trained, training_free
from gleclip_cli.cam.texts import remembered, texts_hash, wording_of
from gleclip_cli.config import Execution, GenCamConfig
from gleclip_cli.datasets.vocabulary import Vocabulary, load_vocabulary
from gleclip_cli.errors import EnvironmentFault
from gleclip_cli.model.clip import build_clip
from gleclip_cli.model.weights import ClipSource, find_clip
from gleclip_cli.parallel.batches import Buckets, prefetched
from gleclip_cli.parallel.device import device_of
from gleclip_cli.parallel.threads import picture_threads
from gleclip_cli.progress import SILENT, Progress
from gleclip_cli.resources import clip_files

# On a CPU a batch gains nothing, and alone an image has the same bytes whoever its neighbours are.
_PATCHES_AT_ONCE = {"cpu": 0, "cuda": 16384, "mps": 4096}
_ATTENTION_AT_ONCE = 2**25
_LOOK_AHEAD = 256


@dataclass(frozen=True)
class _Item:
    image_id: str
    class_ids: list[int]
    size: tuple[int, int]
    views: Views
    scores: NDArray[np.float32] | None = None  # made at once where nothing is batched


def gen_cam(
    run: RunDir,
    config: GenCamConfig,
    *,
    execution: Execution = Execution(),
    progress: Progress = SILENT,
) -> Manifest:
    """Write one `Cam` for every image of `config.split`; finished images are kept.

    An image without classes gets an empty map and is counted.

    Raises:
        MissingInput: the run has no image lists.
        UsageError: no such split, model or weights.
        OtherSettings: the folder holds CAMs made with other settings.
        EnvironmentFault: weights, device or memory cannot be had.
    """
    with open_cams(run, config, execution=execution, progress=progress) as cams:
        deque(cams.made(), maxlen=0)
        return cams.stage.finish()


@contextmanager
def open_cams(
    run: RunDir, config: GenCamConfig, *, execution: Execution, progress: Progress
) -> Iterator["Cams"]:
    """Open the maps of a split for writing; raises what `gen_cam` does."""
    inputs = [require(run, "prepare_data", allow_partial=execution.allow_partial)]
    data = load_prepared(run)
    vocabulary = load_vocabulary(data.vocabulary)
    names = clip_files(config.clip_model, config.clip_weights)
    source = find_clip(*names, fetch=not execution.dry_run)
    wording = wording_of(vocabulary, config.texts, background_texts=config.background_texts)
    weights = {"clip": source.sha256, "texts": texts_hash(wording)}
    if config.method == "gle-clip":
        inputs.append(require(run, "train_cam", allow_partial=execution.allow_partial))
        fitting(inputs[-1], weights, config.calibration)
    with open_stage(
        run,
        "gen_cam",
        config,
        name=config.split,
        inputs=inputs,
        weights=weights,
        item_ids=data.image_ids(config.split)[: config.limit],
        execution=execution,
        arguments={**asdict(config), **asdict(wording)},
        progress=progress,
    ) as stage:
        # a model trained anew on changed pictures has the same settings
        model = inputs[1].digest if config.method == "gle-clip" else ""
        images = data.fingerprints(config.split)
        fingerprints = {i: f"{model} {images[i]}".lstrip() for i in images}
        yield Cams(stage, run, config, data, vocabulary, source, fingerprints, execution, progress)


@dataclass(frozen=True)
class Cams:
    """The maps of a split while they are made."""

    stage: Stage
    run: RunDir
    config: GenCamConfig
    data: PreparedData
    vocabulary: Vocabulary
    source: ClipSource
    fingerprints: Mapping[str, str]
    execution: Execution
    progress: Progress

    def made(self, *, spent: Collection[str] = ()) -> Iterator[str]:
        """Yield the id of every image that was left, once its map is written or has failed.

        `spent`: images whose finished maps nobody needs any more, so that they may be gone.
        """
        todo = self.stage.todo(self.fingerprints, spent=spent)
        if not todo or self.stage.dry_run:
            return
        labels = self.data.labels(self.config.split)
        if self.config.labels == "none":
            everything = list(range(1, len(self.vocabulary.class_names)))
            labels = dict.fromkeys(labels, everything)
        workers = self.execution.workers
        written = _write_cams(
            self.stage, self.run, self.data, self._method(), self.config, labels, todo, workers
        )
        yield from self.progress.each(written, total=len(todo), label="gen-cam")

    def _method(self) -> CamMethod:
        config, device = self.config, device_of(self.execution, self.progress)
        if config.precision != "fp32" and device.type != "cuda":
            self.progress.say(f"{config.precision} is for CUDA: computing in fp32.")
        if config.method == "gle-clip":
            method = trained(config, load_gleclip(self.run, device))
        else:
            clip, embed = build_clip(self.source).to(device), remembered(self.run, self.source)
            method = training_free(config, clip, self.vocabulary, embed=embed)
        for warning in warnings_about(method.clip, self.vocabulary):
            self.stage.warn(warning)
        return method


def _write_cams(
    stage: Stage,
    run: RunDir,
    data: PreparedData,
    method: CamMethod,
    config: GenCamConfig,
    labels: Mapping[str, list[int]],
    todo: list[str],
    workers: int,
) -> Iterator[str]:
    """Yield every image id once its map is written or its failure recorded."""
    split = config.split
    budget = _Budget(method)
    buckets = Buckets(budget.key, budget.images, look_ahead=_LOOK_AHEAD)

    def load(image_id: str) -> _Item:
        class_ids = labels[image_id]
        image = data.load_image(split, image_id)
        height, width = image.shape[:2]
        views = method.prepare(image) if class_ids else ()
        item = _Item(image_id, class_ids, (height, width), views)
        return item if budget.batches else replace(item, views=(), scores=budget.maps([item])[0])

    def write(batch: list[_Item]) -> Iterator[str]:
        for item, scores in zip(batch, budget.maps(batch), strict=True):
            path = run.cam(split, item.image_id)
            with stage.item(item.image_id, data.record(split, item.image_id).image):
                cam = Cam(scores, np.array(item.class_ids, np.int64), item.size)
                save_cam(path, cam.seen() if config.labels == "none" else cam)
                stage.done(item.image_id, path, without_classes=not item.class_ids)
            yield item.image_id

    with nullcontext(workers) if budget.batches else picture_threads(method.device) as threads:
        for image_id, loaded in prefetched(todo, load, workers=threads):
            ready: list[_Item] = []
            with stage.item(image_id, data.record(split, image_id).image):
                ready.append(loaded())
            for item in ready:
                yield from write(buckets.add(item))
            if not ready:
                yield image_id
    for batch in buckets.rest():
        yield from write(batch)


class _Budget:
    """How many images a batch holds, halved whenever the device runs out of memory."""

    def __init__(self, method: CamMethod) -> None:
        self._method = method
        self._patches = _PATCHES_AT_ONCE[method.device.type]
        self.batches = self._patches > 0

    def key(self, item: _Item) -> object:
        """Return what images of one batch share: the grids of all scales, and having classes."""
        return self._method.grids(item.size) if item.class_ids else None

    def images(self, item: _Item) -> int:
        """Most images like `item` in one batch."""
        if not item.class_ids:
            return 1
        patches = prod(self._method.grid(item.size))
        return max(1, min(self._patches // patches, _ATTENTION_AT_ONCE // patches**2))

    def maps(self, batch: list[_Item]) -> list[NDArray[np.float32]]:
        """Return the maps of a batch, in halves if it does not fit into memory.

        Raises:
            EnvironmentFault: not even one image fits.
        """
        if batch and batch[0].scores is not None:
            return [item.scores for item in batch if item.scores is not None]
        if not batch or not batch[0].class_ids:
            return [np.zeros((0, *self._method.grid(item.size)), np.float32) for item in batch]
        if len(batch) <= self.images(batch[0]):
            try:
                return self._method([i.views for i in batch], [i.class_ids for i in batch])
            except torch.OutOfMemoryError as error:
                if len(batch) == 1:
                    raise EnvironmentFault(
                        f"The device has no memory for one image of {batch[0].size} pixels.",
                        "Use smaller --scales, or --device cpu.",
                    ) from error
            torch.cuda.empty_cache()
            self._patches //= 2
        half = len(batch) // 2
        return [*self.maps(batch[:half]), *self.maps(batch[half:])]
