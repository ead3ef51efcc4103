"""Arrays by name in an .npz: no pickle, no clock, checked sizes."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gleclip_cli.artifacts.atomic import write_bytes
from gleclip_cli.artifacts.photos import read_file
from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.errors import BadInput

_EPOCH = (1980, 1, 1, 0, 0, 0)
_LARGEST_ARRAY = 2**30
_REDO = "Delete it and run the command that made it again."


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write an uncompressed .npz whose bytes depend on the arrays alone (no clock, no zlib)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            entry = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            entry.create_system = 3
            entry.external_attr = 0o644 << 16
            content = io.BytesIO()
            np.lib.format.write_array(
                content, np.ascontiguousarray(arrays[name]), allow_pickle=False
            )
            archive.writestr(entry, content.getvalue())
    write_bytes(path, buffer.getvalue(), durable=False)


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read an .npz, checking its CRCs; pickles and oversized entries are refused.

    Raises:
        BadInput: the file is missing or damaged, or an entry is no plain array.
    """
    data = read_file(path)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {
                entry.filename.removesuffix(".npy"): _read_entry(archive, entry)
                for entry in archive.infolist()
            }
    except MemoryError:
        raise
    except Exception as error:  # zipfile and numpy raise many kinds on damaged bytes
        raise BadInput(f"{printable(path)} is damaged: {printable(error)}.", _REDO) from error


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> NDArray[Any]:
    if entry.file_size > _LARGEST_ARRAY:
        raise ValueError(f"{entry.filename} claims {entry.file_size} bytes")
    content = io.BytesIO(archive.read(entry))
    array: NDArray[Any] = np.lib.format.read_array(content, allow_pickle=False)
    return array
