"""Opens every file of a data set and tells all its faults; writes nothing."""

from pathlib import Path

from gleclip_cli.config import PrepareDataConfig
from gleclip_cli.datasets.readers import read_source
from gleclip_cli.datasets.source import DataIndex, verify
from gleclip_cli.datasets.vocabulary import read_vocabulary
from gleclip_cli.errors import UsageError
from gleclip_cli.progress import SILENT, Progress


def check(config: PrepareDataConfig, *, workers: int = 0, progress: Progress = SILENT) -> DataIndex:
    """Verify the data set that `config` names, as `prepare-data` would.

    Raises:
        BadInput: the folder does not hold that layout at all.
        UsageError: scenes, which have no files; an empty list; a bad class table.
    """
    if config.dataset == "scenes":
        raise UsageError("Scenes are drawn, not read.", "Name your data set with --dataset.")
    classes = read_vocabulary(Path(config.classes).expanduser()) if config.classes else None
    source = read_source(
        config.dataset, Path(config.data).expanduser(), classes, limit=config.limit
    )
    return verify(source, workers=workers, progress=progress)
