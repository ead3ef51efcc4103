"""The layouts that can be read, by the name that `--dataset` gives them."""

from collections.abc import Callable
from pathlib import Path

from gleclip_cli.config import PrepareDataConfig
from gleclip_cli.datasets.coco.reader import read_coco
from gleclip_cli.datasets.folder.reader import read_folder
from gleclip_cli.datasets.source import Source
from gleclip_cli.datasets.voc.reader import read_voc
from gleclip_cli.datasets.vocabulary import read_vocabulary

READERS: dict[str, Callable[..., Source]] = {
    "voc": read_voc,
    "coco": read_coco,
    "folder": read_folder,
}
"""Each is called with the folder, the class table asked for (or None) and `limit=`."""


def read_source(config: PrepareDataConfig) -> Source:
    """Read what the files of a data set say; `limit` ids of every split at most.

    Raises:
        BadInput: the folder does not hold that layout.
        UsageError: a list names no image, or a class table contradicts itself.
    """
    classes = read_vocabulary(Path(config.classes).expanduser()) if config.classes else None
    data = Path(config.data).expanduser()
    return READERS[config.dataset](data, classes, limit=config.limit)
