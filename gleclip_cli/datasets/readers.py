"""The layouts that can be read, by the name that `--dataset` gives them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path

from gleclip_cli.config import PrepareDataConfig
from gleclip_cli.datasets.coco.layout import find_layout
from gleclip_cli.datasets.coco.reader import read_coco
from gleclip_cli.datasets.folder.reader import read_folder
from gleclip_cli.datasets.source import Source
from gleclip_cli.datasets.voc.lists import find_root
from gleclip_cli.datasets.voc.reader import read_voc
from gleclip_cli.datasets.vocabulary import read_vocabulary
from gleclip_cli.errors import BadInput

READERS: dict[str, Callable[..., Source]] = {
    "voc": read_voc,
    "coco": read_coco,
    "folder": read_folder,
}
"""Each is called with the folder, the class table asked for (or None) and `limit=`."""


_SHARED: ContextVar[dict[PrepareDataConfig, Source] | None] = ContextVar("_SHARED", default=None)


@contextmanager
def reading_once() -> Iterator[None]:
    """While this lasts, a data set is read the first time only; limits then cut what was read."""
    token = _SHARED.set({})
    try:
        yield
    finally:
        _SHARED.reset(token)


def read_source(config: PrepareDataConfig) -> Source:
    """Read what the files of a data set say; `limit` ids of every split at most.

    Raises:
        BadInput: the folder does not hold that layout.
        UsageError: a list names no image, or a class table contradicts itself.
    """
    shared = _SHARED.get()
    if shared is None:
        return _read(config)
    unlimited = replace(config, limit=None)
    if unlimited not in shared:
        shared[unlimited] = _read(config)
    return shared[unlimited].first(config.limit)


def layout_of(data: Path) -> str:
    """Tell which layout a folder has: voc or coco, or folder, which is all the rest.

    COCO is passed on in the shape of VOC, too, but without annotations of single images.
    """
    listed = annotated = False
    with suppress(BadInput):
        root = find_root(data)
        listed, annotated = (root / "ImageSets").is_dir(), (root / "Annotations").is_dir()
    if listed and annotated:
        return "voc"
    with suppress(BadInput):
        find_layout(data)
        return "coco"
    return "voc" if listed else "folder"


def _read(config: PrepareDataConfig) -> Source:
    classes = read_vocabulary(Path(config.classes).expanduser()) if config.classes else None
    data = Path(config.data).expanduser()
    return READERS[config.dataset](data, classes, limit=config.limit)
