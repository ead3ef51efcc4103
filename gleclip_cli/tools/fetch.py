"""Downloads the official archives of a data set into the folder that `prepare-data` reads."""

from pathlib import Path

from gleclip_cli.config import PrepareDataConfig
from gleclip_cli.datasets.download import download
from gleclip_cli.errors import UsageError
from gleclip_cli.progress import SILENT, Progress

ARCHIVES = {"voc": ("voc", "sbd"), "coco": ("coco",)}
"""Data set -> what it needs: VOC's trainaug has its masks from SBD."""


def fetch(config: PrepareDataConfig, *, progress: Progress = SILENT) -> None:
    """Fetch, compare and unpack what is not there yet.

    Raises:
        UsageError: the data set has no official archives.
        BadInput: an archive differs from its checksum, or is hostile.
        EnvironmentFault: no connection, or too little room.
    """
    if config.dataset not in ARCHIVES:
        known = " or ".join(ARCHIVES)
        raise UsageError(f"{config.dataset} cannot be downloaded.", f"Use --dataset {known}.")
    for name in ARCHIVES[config.dataset]:
        download(name, Path(config.data).expanduser(), progress=progress)
