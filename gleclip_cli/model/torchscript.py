"""Tensors of a TorchScript archive, such as OpenAI's CLIP files, read without running anything.

The archive is a zip: `data.pkl` holds the tree of modules and says which storages their tensors
look at, `data/<number>` are the storages as raw bytes, `code/` is never read.
"""

import io
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gleclip_cli.pickles import Budget, Instance, Machine, Named, checked

_ZIP = b"PK\x03\x04"
_LARGEST_TREE = 2**22
_LONGEST_NAME = 1000
_MOST_AXES = 16
_TYPES = {
    "torch.DoubleStorage": torch.float64,
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
}


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: torch.dtype
    numel: int


@dataclass(frozen=True)
class _View:
    """A tensor to be: elements of a storage, by offset and strides."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def is_torchscript(file: Path) -> bool:
    """Whether `file` is an archive of torch that holds a scripted or traced module.

    Raises:
        ValueError, zipfile.BadZipFile: it is an archive that torch does not write.
    """
    with file.open("rb") as stream:
        if stream.read(len(_ZIP)) != _ZIP:
            return False
    with _opened(file) as (archive, root):
        return f"{root}/constants.pkl" in archive.NameToInfo


def read_torchscript(file: Path) -> dict[str, Tensor]:
    """Return every tensor that a module of the archive has as an attribute, by its dotted name.

    Raises:
        ValueError, TypeError, KeyError, IndexError, zipfile.BadZipFile: the archive is damaged or
            asks for anything but tensors.
    """
    storages: dict[_Storage, Tensor] = {}
    with _opened(file) as (archive, root):
        tensors = {}
        for name, value in _attributes(archive, root):
            if isinstance(value, _View):
                if value.storage not in storages:
                    storages[value.storage] = _read_storage(archive, root, value.storage)
                tensors[name] = _tensor(storages[value.storage], value)
    return tensors


def module_classes(file: Path) -> set[str]:
    """Return the names of the modules' classes, without the packages they come from.

    Raises:
        as `read_torchscript`
    """
    with _opened(file) as (archive, root):
        values = (value for _, value in _attributes(archive, root))
        kinds = {value.kind.name for value in values if isinstance(value, Instance)}
        return {kind.rpartition(".")[2] for kind in kinds}


@contextmanager
def _opened(file: Path) -> Iterator[tuple[zipfile.ZipFile, str]]:
    """Open an archive and name its one folder; refuse what could grow or hide."""
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        root = entries[0].filename.split("/")[0] if entries else ""
        for entry in entries:
            first, *rest = entry.filename.split("/")
            if first != root or not rest or ".." in (first, *rest):
                raise ValueError(f"it has an entry {entry.filename!r}")
            # Code may be compressed, but nobody reads it.
            if entry.file_size != entry.compress_size and rest[0] != "code":
                raise ValueError(f"its entry {entry.filename!r} is compressed, a possible zip bomb")
        if sum(entry.compress_size for entry in entries) > file.stat().st_size:
            raise ValueError("its entries overlap, a possible zip bomb")
        yield archive, root


def _attributes(archive: zipfile.ZipFile, root: str) -> Iterator[tuple[str, Any]]:
    """Yield every module and every attribute with its dotted name; a shared module once."""
    tree = archive.getinfo(f"{root}/data.pkl")
    if tree.file_size > _LARGEST_TREE:
        raise ValueError(f"its tree of modules has {tree.file_size} bytes")
    machine = Machine(Budget(0), _CALLS, None, _storage)
    value = machine.load(io.BytesIO(archive.read(tree)))
    waiting, seen = [("", value)], set()
    while waiting:
        name, value = waiting.pop()
        yield name, value
        if isinstance(value, Instance) and id(value) not in seen:
            seen.add(id(value))
            prefix = f"{name}." if name else ""
            if len(prefix) > _LONGEST_NAME:
                raise ValueError("its modules are nested too deep")
            state = value.state if isinstance(value.state, Mapping) else {}
            waiting += [(f"{prefix}{key}", part) for key, part in state.items()]


def _storage(reference: Any) -> _Storage:
    _, kind, key, _, numel = reference
    name = checked(kind, Named).name
    # A key becomes part of an entry's name.
    if not re.fullmatch(r"[0-9]{1,9}", key):
        raise ValueError(f"it asks for the storage {key!r}")
    if name not in _TYPES:
        raise ValueError(f"it asks for a storage of {name}")
    if type(numel) is not int:
        raise ValueError(f"its storage {key} has no size")
    return _Storage(key, _TYPES[name], numel)


def _view(_: Machine, storage: Any, offset: Any, size: Any, stride: Any, *rest: object) -> _View:
    """Refuse a view that leaves its storage, or that is larger: such a one grows when copied."""
    numbers = (offset, *size, *stride)
    # Not shown: a tuple of tuples of tuples can be endless to write out.
    if len(size) > _MOST_AXES or not all(type(n) is int and n >= 0 for n in numbers):
        raise ValueError("it has a tensor of an impossible shape")
    steps = zip(size, stride, strict=True)
    last = offset + sum((count - 1) * step for count, step in steps)
    elements = prod(size)
    if elements and (last >= storage.numel or elements > storage.numel):
        raise ValueError(f"it has a tensor {size} in a storage of {storage.numel}")
    return _View(storage, offset, tuple(size), tuple(stride))


def _read_storage(archive: zipfile.ZipFile, root: str, storage: _Storage) -> Tensor:
    entry = archive.getinfo(f"{root}/data/{storage.key}")
    if entry.file_size != storage.numel * storage.dtype.itemsize:
        raise ValueError(f"its storage {storage.key} has {entry.file_size} bytes")
    if not storage.numel:
        return torch.empty(0, dtype=storage.dtype)
    # A bytearray, because torch wants memory that may be written; the CRC is checked on the way.
    return torch.frombuffer(bytearray(archive.read(entry)), dtype=storage.dtype)


def _tensor(storage: Tensor, view: _View) -> Tensor:
    return storage.as_strided(view.size, view.stride, view.offset)


def _first(_: Machine, value: Any, *rest: object) -> Any:
    return value


# What torch's writer needs to be called.
_CALLS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": lambda _: {},
    "torch._utils._rebuild_tensor_v2": _view,
    "torch.jit._pickle.restore_type_tag": _first,
    **{
        f"torch.jit._pickle.build_{kind}list": _first
        for kind in ("int", "bool", "double", "tensor")
    },
}
