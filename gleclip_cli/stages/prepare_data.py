"""Data set -> image lists and image-level labels.

The user's files are verified and indexed, never copied or touched; masks stored as outlines or
matrices are drawn into the run. `scenes` draws a VOC2012 into the run first and then takes the
same road.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from gleclip_cli.artifacts.run_dir import RunDir, printable
from gleclip_cli.artifacts.stage import Manifest, Stage, open_stage
from gleclip_cli.artifacts.tables import save_prepared
from gleclip_cli.artifacts.verified import Verified
from gleclip_cli.config import Execution, PrepareDataConfig
from gleclip_cli.datasets.integrity import Problem, as_error
from gleclip_cli.datasets.scenes import draw_scene, scene_id
from gleclip_cli.datasets.source import DataIndex, Source, verify
from gleclip_cli.datasets.voc.reader import read_voc
from gleclip_cli.datasets.voc.writer import write_image, write_list
from gleclip_cli.datasets.vocabulary import Vocabulary, load_vocabulary
from gleclip_cli.errors import BadInput, UsageError
from gleclip_cli.interop.given import read_with_masks, require_masks, with_given_masks
from gleclip_cli.progress import SILENT, Progress, counted

STOP_ON_BAD = Execution(on_bad="stop")


_TOLD = 30
"""Classes whose images are counted aloud."""
_MANY = 1000
"""So many pictures are not opened again only because the call failed."""


def prepare_data(
    run: RunDir,
    config: PrepareDataConfig,
    *,
    execution: Execution = STOP_ON_BAD,
    progress: Progress = SILENT,
) -> Manifest:
    """Verify and index a data set, or draw the scenes; finished scenes are kept.

    Raises:
        BadInput: the data set has faults, all of them in one message; with `on_bad` skip bad
            images are left out instead, listed and counted.
        UsageError: an empty list, a shard, or data inside the run.
    """
    if execution.shard != (0, 1):
        raise UsageError("prepare-data is not done in shards.", "Leave out --shard.")
    if config.dataset == "scenes":
        return _prepare_scenes(run, config, execution, progress)
    return _prepare_files(run, config, execution, progress)


def _prepare_files(
    run: RunDir, config: PrepareDataConfig, execution: Execution, progress: Progress
) -> Manifest:
    data = Path(config.data).expanduser()
    if data.resolve().is_relative_to(run.root.resolve()):
        raise UsageError(
            f"The data {printable(data)} lie inside the run {printable(run.root)}.",
            "Name another folder with --run.",
        )
    source = read_with_masks(config, progress=progress)
    with open_stage(
        run,
        "prepare_data",
        config,
        item_ids=source.image_ids,
        execution=execution,
        progress=progress,
    ) as stage:
        index = _verified(run, source, execution, progress)
        if _stops(index, execution):
            raise as_error(index.problems, source.root)
        _settle(stage, index)
        progress.say(_told_classes(source))
        return _finish(run, stage, config.dataset, source, index)


def _verified(run: RunDir, source: Source, execution: Execution, progress: Progress) -> DataIndex:
    """Open what changed since the last time; a dry run, and a quick failure, leave nothing."""
    if execution.dry_run:
        return verify(source, workers=execution.workers, progress=progress)
    notebook = Verified(run.verified())
    index = verify(
        source,
        masks=run.drawn_masks(),
        verified=notebook,
        workers=execution.workers,
        progress=progress,
    )
    if len(source.pictures) >= _MANY or not _stops(index, execution):
        notebook.save()
    return index


def _stops(index: DataIndex, execution: Execution) -> bool:
    """Whether the faults found are more than images that may be left out."""
    structural = any(problem.structural for problem in index.problems)
    return bool(index.problems) and (structural or execution.on_bad != "skip")


def _prepare_scenes(
    run: RunDir, config: PrepareDataConfig, execution: Execution, progress: Progress
) -> Manifest:
    sizes = {"train": config.train_images, "val": config.val_images}
    scenes = {
        scene_id(split, number): (split, number)
        for split, size in sizes.items()
        for number in range(min(size, config.limit or size))
    }
    vocabulary = load_vocabulary(config.dataset)
    require_masks(config.masks, scenes, vocabulary)
    with open_stage(
        run,
        "prepare_data",
        config,
        item_ids=list(scenes),
        execution=execution,
        progress=progress,
    ) as stage:
        left = stage.todo()
        if execution.dry_run or (not left and stage.finished):
            return stage.finish()
        root = stage.folder / "scenes" / "VOC2012"
        for image_id in progress.each(left, total=len(left), label="Drawing scenes"):
            with stage.item(image_id):
                split, number = scenes[image_id]
                _draw(stage, root, image_id, split, number, config.seed, vocabulary)
        lists = [
            write_list(root, split, [name for name, (of, _) in scenes.items() if of == split])
            for split in sizes
        ]
        source = with_given_masks(read_voc(root, vocabulary), config.masks, progress=progress)
        index = _verified(run, source, execution, progress)
        if index.problems:
            raise as_error(index.problems, root)
        return _finish(run, stage, config.dataset, source, index, lists)


def _draw(
    stage: Stage,
    root: Path,
    image_id: str,
    split: str,
    number: int,
    seed: int,
    vocabulary: Vocabulary,
) -> None:
    scene = draw_scene(split, number, seed)
    stage.done(
        image_id,
        *write_image(root, image_id, scene.image, scene.mask, scene.class_ids, vocabulary),
    )


def _settle(stage: Stage, index: DataIndex) -> None:
    """Record the good images, and those left out because of faults."""
    faults: dict[str, list[Problem]] = defaultdict(list)
    for problem in index.problems:
        faults[problem.image_id].append(problem)
    for problem in faults.pop("", []):
        stage.warn(problem.cause)
    left = stage.todo(index.fingerprints)
    if stage.dry_run:
        if faults:
            stage.warn(f"{counted(len(faults), 'image')} would be left out.")
        return
    for image_id in left:
        with stage.item(image_id):
            if image_id in faults:
                raise BadInput(
                    " ".join(problem.cause for problem in faults[image_id]),
                    " ".join({problem.remedy: None for problem in faults[image_id]}),
                )
            stage.done(image_id)


def _told_classes(source: Source) -> str:
    """How many images have each class: a folder taken for a class is seen here, or nowhere."""
    images = Counter(name for ids in source.labels.values() for name in ids)
    names = source.vocabulary.class_names
    told = [f"{printable(names[name])} {count}" for name, count in images.most_common()]
    more = f" and {len(told) - _TOLD} more" if len(told) > _TOLD else ""
    return f"Images by class: {', '.join(told[:_TOLD])}{more}."


def _finish(
    run: RunDir,
    stage: Stage,
    dataset: str,
    source: Source,
    index: DataIndex,
    lists: Sequence[Path] = (),
) -> Manifest:
    for split, table in index.records.items():
        if not table:
            raise BadInput(f"No image of {split} is usable.", "Read failed.jsonl and mend them.")
    for note, images in sorted(index.notes.items()):
        stage.warn(f"{counted(images, 'image')}: {note}.")
    if stage.dry_run:
        return stage.finish(**index.counts)
    written = save_prepared(
        run,
        dataset=dataset,
        vocabulary="classes.toml" if source.vocabulary.text else source.vocabulary.name,
        root=index.root,
        records=index.records,
        labels=index.labels,
        class_table=source.vocabulary.text,
    )
    return stage.finish(*lists, *written, **index.counts)
