"""Downloads the official archives of a data set into the folder that `prepare-data` reads."""

from pathlib import Path

from gleclip_cli.config import PrepareDataConfig
from gleclip_cli.datasets.download import download, missing_archives
from gleclip_cli.errors import UsageError
from gleclip_cli.progress import SILENT, Progress

ARCHIVES = {"voc": ("voc", "sbd"), "coco": ("coco",)}
"""Data set -> what it needs: VOC's trainaug has its masks from SBD."""


def fetch(config: PrepareDataConfig, *, dry_run: bool = False, progress: Progress = SILENT) -> bool:
    """Fetch, compare and unpack what is not there yet; return whether the data set is there.

    With `dry_run` it is only told what would be fetched.

    Raises:
        UsageError: the data set has no official archives.
        BadInput: an archive differs from its checksum, or is hostile.
        EnvironmentFault: no connection, or too little room.
    """
    if config.dataset not in ARCHIVES:
        known = " or ".join(ARCHIVES)
        raise UsageError(f"{config.dataset} cannot be downloaded.", f"Use --dataset {known}.")
    target = Path(config.data).expanduser()
    if not dry_run:
        for name in ARCHIVES[config.dataset]:
            download(name, target, progress=progress)
        return True
    missing = [file for name in ARCHIVES[config.dataset] for file in missing_archives(name, target)]
    for file in missing:
        progress.say(f"{file.url} would be fetched: {file.size / 1e6:,.0f} MB.")
    return not missing
