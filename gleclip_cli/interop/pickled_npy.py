"""Dictionaries as `.npy` files in the way of peers: a pickle in an array without axes.

Written by hand, in protocol 3: the bytes depend on the content alone, a tensor needs no torch, and
every Python 3 with any numpy reads them, as peers' tools are old. To read:
`artifacts.pickled.read_pickled_npy`.
"""

import io
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gleclip_cli.artifacts.atomic import write_bytes

_ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tC\x01btR"
_DTYPE = b"cnumpy\ndtype\n(X%sK\x00K\x01tR(K\x03X%sNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK%ctb"
_PLAIN, _OF_OBJECTS = 0, 63  # flags of a dtype
_TENSOR = b"ctorch\nfrom_numpy\n(%stR"


class AsTensor:
    """An array that unpickles as a torch tensor."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array


def write_pickled_npy(path: Path, content: Mapping[Any, Any]) -> None:
    """Write a dictionary of arrays or `AsTensor` by texts or whole numbers."""
    stream = io.BytesIO()
    header = {"descr": "|O", "fortran_order": False, "shape": ()}
    np.lib.format.write_array_header_1_0(stream, header)
    boxed = _filled((), _dtype("O8", "|", _OF_OBJECTS), b"](" + _pickled(dict(content)) + b"e")
    stream.write(b"\x80\x03" + boxed + b".")
    write_bytes(path, stream.getvalue(), durable=False)


def _pickled(value: object) -> bytes:
    if isinstance(value, str):
        return b"X" + _counted(value)
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    if isinstance(value, dict):
        return b"}(" + b"".join(_pickled(k) + _pickled(v) for k, v in value.items()) + b"u"
    if isinstance(value, AsTensor):
        return _TENSOR % _pickled(value.array)
    if isinstance(value, np.ndarray):
        plain = np.ascontiguousarray(value, value.dtype.newbyteorder("<"))
        data = b"B" + struct.pack("<I", plain.nbytes) + plain.tobytes()
        return _filled(value.shape, _dtype(plain.dtype.str[1:], "<"), data)
    raise TypeError(f"{type(value).__name__} is not for such files")


def _filled(shape: tuple[int, ...], dtype: bytes, data: bytes) -> bytes:
    sizes = b"".join(map(_pickled, shape))
    return _ARRAY + b"(K\x01(" + sizes + b"t" + dtype + b"K\x00" + data + b"tb"


def _dtype(code: str, order: str, flags: int = _PLAIN) -> bytes:
    return _DTYPE % (_counted(code), _counted(order), flags)


def _counted(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("<I", len(encoded)) + encoded
