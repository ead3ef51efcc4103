"""CVAT's "Segmentation mask 1.1": a zip with painted masks and a table of colours.

labelmap.txt                         lines `name:R,G,B::`, background first
ImageSets/Segmentation/default.txt   ids, one per line
SegmentationClass/<id>.png           RGB
"""

import zipfile
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from gleclip_cli.artifacts.labels import Labels, ignore_index, label_dtype
from gleclip_cli.artifacts.painted import labels_of_colours
from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.datasets.vocabulary import Vocabulary
from gleclip_cli.errors import BadInput, UsageError
from gleclip_cli.interop.masked import (
    IGNORED,
    IGNORED_COLOUR,
    Masked,
    Stored,
    class_colours,
    class_id,
    path_of,
    regions,
)
from gleclip_cli.interop.pngs import decoded, drawn, png_bytes

_TABLE = "labelmap.txt"
_LIST = "ImageSets/Segmentation/default.txt"
_MASKS = "SegmentationClass/"
_VOID = (IGNORED, "void", "ignore")
_LARGEST = 2**28
_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the same masks give the same bytes
_DAMAGE = (zipfile.BadZipFile, zipfile.LargeZipFile, OSError, ValueError, RuntimeError, EOFError)
_AGAIN = 'Export it from CVAT again, as "Segmentation mask 1.1".'

Names = Mapping[tuple[int, ...], str]
"""Colour -> name of its class."""


def write_cvat(out: Path, masks: Iterable[Masked], vocabulary: Vocabulary, *, band: bool) -> int:
    """Write the archive mask by mask; return the number of regions. `band`: pixels are ignored.

    Raises:
        UsageError: a class has no colour of its own, or a name that the table cannot hold.
    """
    table = dict(zip(vocabulary.class_names, class_colours(vocabulary), strict=True))
    if bad := [name for name in table if set(name) & set(":#\n") or name != name.strip()]:
        cause = f"CVAT's {_TABLE} cannot hold the class name {printable(bad[0])!r}."
        raise UsageError(cause, "Rename the class.")
    if band:
        table[IGNORED] = IGNORED_COLOUR
    lines = [f"{name}:{','.join(map(str, colour))}::\n" for name, colour in table.items()]
    names, written = [], 0
    with zipfile.ZipFile(out, "w") as archive:
        _add(archive, _TABLE, "".join(lines))
        for masked in masks:
            path = _MASKS + path_of(masked.image_id, ".png")
            _add(archive, path, png_bytes(drawn(masked.labels, vocabulary, "png-rgb")))
            names.append(f"{masked.image_id}\n")
            written += sum(1 for _ in regions(masked))
        _add(archive, _LIST, "".join(names))
    return written


def read_cvat(path: Path, vocabulary: Vocabulary) -> dict[str, Stored]:
    """Find the masks of an archive by name of picture.

    Raises:
        BadInput: it is damaged, holds no masks, or has no table of colours.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            listed = archive.namelist()
            start = next((_before(name) for name in listed if f"/{_MASKS}" in f"/{name}"), None)
            if start is None or f"{start}{_TABLE}" not in listed:
                cause = f"{printable(path)} holds no {_MASKS} with a {_TABLE} beside it."
                raise BadInput(cause, _AGAIN)
            names = _names(_content(archive, f"{start}{_TABLE}"), path)
    except _DAMAGE as error:
        raise BadInput(f"{printable(path)} is damaged: {printable(error)}.", _AGAIN) from error
    folder = f"{start}{_MASKS}"
    return {
        name.removeprefix(folder).removesuffix(".png"): Stored(
            path, partial(_draw, path, name, names, vocabulary)
        )
        for name in listed
        if name.startswith(folder) and name.endswith(".png")
    }


def _add(archive: zipfile.ZipFile, name: str, content: str | bytes) -> None:
    data = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
    packed = zipfile.ZIP_DEFLATED if isinstance(content, str) else zipfile.ZIP_STORED
    archive.writestr(zipfile.ZipInfo(name, _LONG_AGO), data, packed)


def _before(name: str) -> str:
    return f"/{name}".partition(f"/{_MASKS}")[0].lstrip("/") + "/" * (not name.startswith(_MASKS))


def _content(archive: zipfile.ZipFile, name: str) -> bytes:
    size = archive.getinfo(name).file_size
    if size > _LARGEST:
        raise ValueError(f"{name} unpacks to {size} bytes")
    return archive.read(name)


def _names(table: bytes, path: Path) -> dict[tuple[int, ...], str]:
    names: dict[tuple[int, ...], str] = {}
    for line in table.decode("utf-8-sig", "replace").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        try:
            colour = tuple(int(part) for part in rest.split(":")[0].split(","))
        except ValueError:
            colour = ()
        if len(colour) != 3 or colour in names:
            cause = f"{printable(path)}: {_TABLE} has no colour of its own for {printable(name)!r}."
            raise BadInput(cause, _AGAIN)
        names[colour] = name.strip()
    return names


def _draw(path: Path, name: str, names: Names, vocabulary: Vocabulary) -> Labels:
    where = f"{printable(path)}, {printable(name)},"
    try:
        with zipfile.ZipFile(path) as archive:
            content = _content(archive, name)
    except (*_DAMAGE, KeyError) as error:
        raise BadInput(f"{where} is damaged: {printable(error)}.", _AGAIN) from error
    colours = np.array(decoded(content, where).convert("RGB"))
    dtype = label_dtype(len(vocabulary.class_names))
    ids = {}
    for colour in np.unique(colours.reshape(-1, 3), axis=0).tolist():
        if (known := names.get(tuple(colour))) is not None:
            void = known in _VOID and known not in vocabulary.class_names
            ids[tuple(colour)] = (
                ignore_index(np.empty(0, dtype)) if void else class_id(vocabulary, known, path)
            )
    return labels_of_colours(colours, ids, where).astype(dtype)
