"""What every format of masks is written from, and what its masks become when they come back."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gleclip_cli.artifacts.labels import Labels, ignore_index
from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.datasets.folder.files import leads_out
from gleclip_cli.datasets.vocabulary import BACKGROUND, Vocabulary
from gleclip_cli.errors import BadInput, UsageError

IGNORED = "ignored"
IGNORED_COLOUR = (224, 224, 192)
"""The name and the colour that CVAT and VOC's tools give to ignored pixels."""


@dataclass(frozen=True)
class Masked:
    """One picture of a data set, of `size` (H, W), with its mask: `labels` (H, W)."""

    image_id: str
    image: Path
    size: tuple[int, int]
    labels: Labels


@dataclass(frozen=True)
class Stored:
    """A mask in a file of another program: `draw` gives its labels and may raise `BadInput`."""

    source: Path
    draw: Callable[[], Labels]


def path_of(image_id: str, ending: str) -> str:
    """Return the id as a path below some folder, as a data set has it.

    Raises:
        BadInput: it would lead out of that folder.
    """
    if leads_out(image_id) or "\n" in image_id:
        raise BadInput(f"The id {printable(image_id)} is no path.", "Rename the image.")
    return f"{image_id}{ending}"


def regions(masked: Masked) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """Yield every class of a mask with the pixels (H, W) it has."""
    for value in np.unique(masked.labels).tolist():
        if value not in (BACKGROUND, ignore_index(masked.labels)):
            yield value, masked.labels == value


def class_colours(vocabulary: Vocabulary) -> list[tuple[int, ...]]:
    """Return the colour of every label, background first.

    Raises:
        UsageError: two classes share one.
    """
    count = len(vocabulary.class_names)
    colours = [tuple(colour) for colour in vocabulary.palette[:count].tolist()]
    if count > len(colours) or len({*colours, IGNORED_COLOUR}) <= count:
        raise UsageError(
            f"The class table {vocabulary.name} has no colour of its own for every class.",
            "Use a format without colours, such as png-grey.",
        )
    return colours


def class_id(vocabulary: Vocabulary, name: str, where: Path) -> int:
    """Return the class id of a name.

    Raises:
        BadInput: the table has no such class.
    """
    if name in vocabulary.class_names:
        return vocabulary.class_names.index(name)
    unknown = f"{printable(name)!r} ({vocabulary.guess(name)})"
    raise BadInput(
        f"{printable(where)} names the unknown class {unknown}.",
        f"Use the class names of the table {vocabulary.name}.",
    )
