"""Peers' `.npy` files, whose content is a pickle: read, and nothing in them is run.

What numpy and torch name in such files is done by hand here; torch is not needed for its tensors.
"""

import io
import math
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gleclip_cli.artifacts.photos import read_file
from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.errors import BadInput
from gleclip_cli.pickles import KEYS, Budget, Machine, Named, checked

_REMEDY = "Only arrays, tensors, numbers, texts, lists, tuples and dictionaries are read."
_CODES = re.compile(r"[biufc]\d{1,2}|O8")
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
# torch's format before 1.6, in which storages are still pickled (torch/serialization.py).
_TORCH_MAGIC, _TORCH_VERSION = 0x1950A86A20F9469CFC6C, 1001
_STORAGES = {
    "torch.BoolStorage": "?",
    "torch.ByteStorage": "u1",
    "torch.CharStorage": "i1",
    "torch.ShortStorage": "<i2",
    "torch.IntStorage": "<i4",
    "torch.LongStorage": "<i8",
    "torch.HalfStorage": "<f2",
    "torch.FloatStorage": "<f4",
    "torch.DoubleStorage": "<f8",
}


def read_pickled_npy(path: Path) -> Any:
    """What a `.npy` holds: an array, or the object that was pickled in its place.

    That is an array, a scalar, a torch tensor (as an array), int, float, str, or a list, tuple or
    dict of such. Arrays may be read-only.

    Raises:
        BadInput: it holds or names anything else, is damaged, or larger than 2 GiB.
    """
    content = read_file(path)
    try:
        return _read(content)
    except (ValueError, TypeError, LookupError, OverflowError) as error:
        reason = "it is damaged" if isinstance(error, LookupError) else printable(error).rstrip(".")
        raise BadInput(f"{printable(path)} is refused: {reason}.", _REMEDY) from error


def _read(content: bytes) -> Any:
    stream = io.BytesIO(content)
    shape, dtype = _header(stream)
    if not dtype.hasobject:
        if math.prod(shape) * dtype.itemsize > len(content):
            raise ValueError("it breaks off")
        stream.seek(0)
        return np.lib.format.read_array(stream, allow_pickle=False)
    # An honest file holds every byte once; written as text (protocol 2), bytes are made twice.
    value = Machine(Budget(2 * len(content)), _CALLS, {"numpy.ndarray"}).load(stream)
    if checked(value, np.ndarray).shape != shape:
        raise ValueError("its header and its content differ in shape")
    _check_plain(value)
    return value if shape else value.item()


def _header(stream: io.BytesIO) -> tuple[tuple[int, ...], np.dtype[Any]]:
    try:
        shape, _, dtype = _HEADERS[np.lib.format.read_magic(stream)](stream)
    except Exception as error:  # of many kinds: numpy has its header read by Python's own parser
        raise ValueError(f"not a .npy, or a damaged one ({error})") from error
    return shape, dtype


def _check_plain(value: Any) -> None:
    """Look at everything inside; shared parts once, because they may be shared very often."""
    seen: set[int] = set()
    left = [value]
    while left:
        value = left.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, dict):
            left += value.values()
        elif isinstance(value, list | tuple):
            left += value
        elif isinstance(value, np.ndarray):
            left += value.reshape(-1).tolist() if value.dtype.hasobject else ()
        elif not isinstance(value, KEYS):
            raise ValueError(f"it holds an object of type {type(value).__name__}")


class _Dtype:
    """A dtype whose byte order the pickle tells later."""

    def __init__(self, code: str) -> None:
        if not _CODES.fullmatch(checked(code, str)):
            raise ValueError(f"an array holds {code}")
        self.dtype = np.dtype(code)

    def build(self, state: Any) -> None:
        _, order, *structure = state
        if any(part is not None for part in structure[:3]):
            raise ValueError("an array has fields")
        self.dtype = self.dtype.newbyteorder(order)


def _make_dtype(machine: Machine, code: str, *_: object) -> _Dtype:
    dtype = _Dtype(code)
    machine.unbuilt[id(dtype)] = dtype.build
    return dtype


def _reconstruct(machine: Machine, kind: object, *_: object) -> NDArray[Any]:
    if kind != Named("numpy.ndarray"):
        raise ValueError(f"an array is of kind {kind}")
    array: NDArray[Any] = np.empty(0)
    machine.unbuilt[id(array)] = partial(_fill, machine, array)
    return array


def _fill(machine: Machine, array: Any, state: Any) -> None:
    """Give an array its shape, type and data in place: other parts may refer to it already."""
    _, shape, dtype, fortran, data = state
    kind = checked(dtype, _Dtype).dtype
    if kind.hasobject:
        _check_count(machine, shape, len(checked(data, list)), 1)
    else:
        _check_count(machine, shape, len(checked(data, bytes)), kind.itemsize)
    array.__setstate__((1, shape, kind, bool(fortran), data))


def _from_buffer(
    machine: Machine, data: bytes | bytearray, dtype: _Dtype, shape: Any, order: str, *axes: Any
) -> NDArray[Any]:
    kind = checked(dtype, _Dtype).dtype
    if not isinstance(data, bytes | bytearray):
        raise TypeError(f"bytes expected, {type(data).__name__} found")
    _check_count(machine, shape, len(data), kind.itemsize)
    array = np.frombuffer(data, kind)
    if order == "K" and axes:
        return array.reshape(shape).transpose(axes[0])
    return array.reshape(shape, order="F" if order == "F" else "C")


def _scalar(machine: Machine, dtype: _Dtype, data: bytes) -> Any:
    return _from_buffer(machine, data, dtype, (), "C")[()]


def _check_count(machine: Machine, shape: Any, held: int, size: int) -> None:
    count = math.prod(_sizes(shape))
    if count * size != held:
        raise ValueError(f"{held} bytes or objects stand for an array of shape {shape}")
    machine.budget.spend(size=held)


def _sizes(values: Any) -> tuple[int, ...]:
    if not all(type(value) is int and value >= 0 for value in checked(values, tuple)):
        raise ValueError(f"{values} are no sizes")
    return tuple(values)


def _encode(machine: Machine, text: str, coding: str) -> bytes:
    """How protocol 2 writes bytes."""
    if coding != "latin1":
        raise ValueError(f"bytes are written as {coding}")
    machine.budget.spend(size=len(checked(text, str)))
    return text.encode(coding)


def _no_bytes(machine: Machine) -> bytes:
    """How protocol 2 writes no bytes at all."""
    return b""


def _ordered_dict(machine: Machine) -> dict[str, Any]:
    """The hooks of a tensor: none, for others are named and so refused."""
    return {}


def _load_storage(machine: Machine, data: bytes) -> NDArray[Any]:
    stream = io.BytesIO(checked(data, bytes))
    inner = Machine(machine.budget, {}, _STORAGES)
    magic, version, system, storage, keys = (inner.load(stream) for _ in range(5))
    if (magic, version) != (_TORCH_MAGIC, _TORCH_VERSION) or not system["little_endian"]:
        raise ValueError("a tensor is in an unknown format")
    _, kind, key, _, count, view = storage
    held = int.from_bytes(stream.read(8), "little")
    if keys != [key] or view is not None or held != count:
        raise ValueError("a tensor is damaged")
    dtype = np.dtype(_STORAGES[checked(kind, Named).name])
    return np.frombuffer(data, dtype, count, stream.tell())


def _rebuild_tensor(
    machine: Machine, storage: NDArray[Any], offset: int, size: Any, stride: Any, *_: object
) -> NDArray[Any]:
    sizes, strides, (start,) = _sizes(size), _sizes(stride), _sizes((offset,))
    count, held = math.prod(sizes), checked(storage, np.ndarray).size
    last = start + sum((n - 1) * step for n, step in zip(sizes, strides, strict=True))
    if count and last >= held:
        raise ValueError(f"a tensor of shape {sizes} does not fit into its storage")
    machine.budget.spend(size=count * storage.itemsize)
    steps = [step * storage.itemsize for step in strides]
    view = np.lib.stride_tricks.as_strided(storage[start:], sizes, steps)
    return view.copy()


_CALLS: dict[str, Callable[..., Any]] = {
    "__builtin__.bytes": _no_bytes,
    "_codecs.encode": _encode,
    "collections.OrderedDict": _ordered_dict,
    "numpy.dtype": _make_dtype,
    "numpy._core.multiarray._reconstruct": _reconstruct,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy._core.numeric._frombuffer": _from_buffer,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch.from_numpy": lambda _, array: checked(array, np.ndarray),
    "torch.storage._load_from_bytes": _load_storage,
}
