"""Opens every file of a data set and tells all its faults; writes nothing."""

from gleclip_cli.config import PrepareDataConfig
from gleclip_cli.datasets.source import DataIndex, verify
from gleclip_cli.errors import UsageError
from gleclip_cli.interop.given import read_with_masks
from gleclip_cli.progress import SILENT, Progress


def check(config: PrepareDataConfig, *, workers: int = 0, progress: Progress = SILENT) -> DataIndex:
    """Verify the data set that `config` names, as `prepare-data` would.

    Raises:
        BadInput: the folder does not hold that layout at all.
        UsageError: scenes, which have no files; an empty list; a bad class table.
    """
    if config.dataset == "scenes":
        raise UsageError("Scenes are drawn, not read.", "Name your data set with --dataset.")
    return verify(read_with_masks(config, progress=progress), workers=workers, progress=progress)
