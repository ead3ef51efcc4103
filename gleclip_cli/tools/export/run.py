"""One export from start to end."""

from dataclasses import dataclass, field
from pathlib import Path

from gleclip_cli.artifacts.manifest import load_manifest
from gleclip_cli.artifacts.maps import Cam
from gleclip_cli.artifacts.run_dir import RunDir, safe_name
from gleclip_cli.artifacts.tables import PreparedData, load_prepared
from gleclip_cli.config import EvaluateConfig, Execution, ExportConfig
from gleclip_cli.config.export import MAP_FORMATS, NETWORK_FORMATS
from gleclip_cli.datasets.vocabulary import load_vocabulary
from gleclip_cli.interop.cam_dicts import write_cam_dict
from gleclip_cli.parallel.batches import prefetched
from gleclip_cli.progress import SILENT, Progress
from gleclip_cli.tools.export.masks import COUNTED, FOLDERS, beside, masks_of, write_masks
from gleclip_cli.tools.export.network import write_network
from gleclip_cli.tools.export.source import Found, find_source
from gleclip_cli.tools.export.target import check_target, new_target


@dataclass(frozen=True)
class Exported:
    """What was written: `counts` by name; `missing`: ids of images without a mask.

    `note`: what is to be told of a network.
    """

    out: Path
    counts: dict[str, int] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    note: str = ""


def export(
    run: RunDir,
    config: ExportConfig,
    out: Path,
    *,
    evaluate: EvaluateConfig,
    execution: Execution = Execution(),
    progress: Progress = SILENT,
) -> Exported:
    """Write masks, maps or a network of a run to `out`, whole or not at all.

    Raises:
        UsageError: `out` exists and may not be replaced, or the format cannot hold the classes.
        MissingInput: a stage has not run, or images have no mask and must have one.
        BadInput: a mask is damaged or has another size than its picture.
    """
    data = load_prepared(run)
    endings = FOLDERS.get(config.format, ())
    for path, folder in {out: endings, **beside(out, config.format)}.items():
        check_target(path, endings=folder, overwrite=execution.overwrite, data=data.root)
    if config.format in NETWORK_FORMATS:
        return _export_network(run, config, out, data, execution, folder=bool(endings))
    found = find_source(
        run, data, config, evaluate=evaluate, execution=execution, progress=progress
    )
    counts = {"images": len(found.image_ids)}
    exported = Exported(out, counts, tuple(found.missing))
    if execution.dry_run:
        return exported
    with new_target(out, folder=bool(endings)) as temporary:
        if config.format in MAP_FORMATS:
            _write_maps(temporary, found, config, execution.workers, progress)
            return exported
        masks = masks_of(found, data, config, workers=execution.workers, progress=progress)
        vocabulary = load_vocabulary(data.vocabulary)
        written = write_masks(temporary, out, masks, vocabulary, config)
    if config.format in COUNTED:
        counts[COUNTED[config.format]] = written
    return exported


def _export_network(
    run: RunDir,
    config: ExportConfig,
    out: Path,
    data: PreparedData,
    execution: Execution,
    *,
    folder: bool,
) -> Exported:
    load_manifest(run, "train_seg", config.what)
    if execution.dry_run:
        return Exported(out)
    with new_target(out, folder=folder) as temporary:
        note = write_network(temporary, run, config.what, config.format, data)
    return Exported(out, note=note)


def _write_maps(
    folder: Path, found: Found, config: ExportConfig, workers: int, progress: Progress
) -> None:
    loaded = prefetched(found.image_ids, found.load, workers=workers)
    for image_id, load in progress.each(loaded, total=len(found.image_ids), label="export"):
        cam = load()
        assert isinstance(cam, Cam)
        write_cam_dict(folder / f"{safe_name(image_id)}.npy", config.format, cam)
