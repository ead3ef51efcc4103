"""The masks and maps of a run that are exported: which there are, which are missing."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING

from gleclip_cli.artifacts.labels import Labels
from gleclip_cli.artifacts.manifest import load_manifest
from gleclip_cli.artifacts.maps import Cam, load_cam, load_label_image
from gleclip_cli.artifacts.run_dir import RunDir, printable
from gleclip_cli.artifacts.stage import Manifest, require
from gleclip_cli.artifacts.tables import PreparedData
from gleclip_cli.config import PREDICTING, EvaluateConfig, Execution, ExportConfig
from gleclip_cli.datasets.vocabulary import load_vocabulary
from gleclip_cli.errors import MissingInput
from gleclip_cli.metrics.scope import made_for
from gleclip_cli.parallel.device import pick_device
from gleclip_cli.progress import Progress

if TYPE_CHECKING:
    from gleclip_cli.seg.labeller import Labeller

_NAMED = 5


@dataclass(frozen=True)
class Found:
    """`image_ids` that have what is exported, the ids that have not, and how one is loaded.

    `ready`: it is read from a file, which threads may do ahead.
    """

    image_ids: list[str]
    missing: list[str]
    load: Callable[[str], Labels | Cam]
    ready: bool = True


def find_source(
    run: RunDir,
    data: PreparedData,
    config: ExportConfig,
    *,
    evaluate: EvaluateConfig,
    execution: Execution,
    progress: Progress,
) -> Found:
    """Find masks or maps of a split; a network's predictions are made if none are kept.

    `evaluate` tells how predictions are made, and so which of those that are kept count.

    Raises:
        MissingInput: a stage has not run, or images have no mask and must have one.
    """
    listed = data.image_ids(config.split)[: config.limit]
    if config.what in ("cam", "pseudo"):
        found = _of_stage(run, data, config, listed, execution)
    else:
        found = _of_network(run, data, config, listed, evaluate, execution, progress)
    if found.missing and (not found.image_ids or not config.allow_missing):
        named = ", ".join(map(printable, found.missing[:_NAMED]))
        more = " ..." if len(found.missing) > _NAMED else ""
        raise MissingInput(
            f"{len(found.missing)} of {len(listed)} images of {config.split} lack what is "
            f"exported: {named}{more}",
            "Make it, or export the others with --allow-missing.",
        )
    return found


def _of_stage(
    run: RunDir,
    data: PreparedData,
    config: ExportConfig,
    listed: list[str],
    execution: Execution,
) -> Found:
    stage = "gen_cam" if config.what == "cam" else "refine"
    output = made_for(run, stage, config.split)
    partial = execution.allow_partial or config.allow_missing
    done = require(run, stage, output, allow_partial=partial).fingerprints()
    classes = len(load_vocabulary(data.vocabulary).class_names)

    def load(image_id: str) -> Labels | Cam:
        if config.what == "cam":
            return load_cam(run.cam(output, image_id))
        return load_label_image(run.pseudo_mask(output, image_id), classes)

    return Found([i for i in listed if i in done], [i for i in listed if i not in done], load)


def _of_network(
    run: RunDir,
    data: PreparedData,
    config: ExportConfig,
    listed: list[str],
    evaluate: EvaluateConfig,
    execution: Execution,
    progress: Progress,
) -> Found:
    network = require(run, "train_seg", config.what, allow_partial=execution.allow_partial)
    classes = len(load_vocabulary(data.vocabulary).class_names)
    kept = _kept(run, config, evaluate, network)
    if all(image_id in kept for image_id in listed):
        progress.say(f"Predictions that evaluate has kept of {config.what} on {config.split}.")
        path = run.pred_mask
        return Found(
            listed, [], lambda i: load_label_image(path(config.what, config.split, i), classes)
        )
    progress.say(f"{config.what} labels {config.split}: evaluate has kept no such predictions.")

    @cache
    def labeller() -> "Labeller":
        # Only here: open_clip and torchvision double the time to start.
        from gleclip_cli.cam.texts import naming_texts
        from gleclip_cli.seg.labeller import Naming, load_labeller
        from gleclip_cli.seg.predict import views_of

        clip = (network.data["config"][name] for name in ("clip_model", "clip_weights"))
        texts = naming_texts(load_vocabulary(data.vocabulary))
        return load_labeller(
            run.checkpoint(config.what),
            pick_device(execution.device, progress),
            views=views_of(evaluate),
            crf=evaluate.crf,
            naming=Naming(texts, *clip) if evaluate.regions else None,
            warn=progress.warn,
        )

    def load(image_id: str) -> Labels:
        return labeller()(data.load_image(config.split, image_id)).labels

    return Found(listed, [], load, ready=False)


def _kept(
    run: RunDir, config: ExportConfig, evaluate: EvaluateConfig, network: Manifest
) -> dict[str, str]:
    """Images whose predictions are files, made by this network and in this way."""
    try:
        manifest = load_manifest(run, "evaluate", f"{config.what}-{config.split}")
    except MissingInput:
        return {}
    made, wanted = manifest.data["config"], asdict(evaluate)
    same = all(made.get(name) == _as_json(wanted[name]) for name in PREDICTING)
    current = manifest.data["digests"].get(network.name) == network.digest
    return manifest.fingerprints() if same and current else {}


def _as_json(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
