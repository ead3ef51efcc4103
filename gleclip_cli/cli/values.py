"""Words of the command line, of TOML and of presets as the fields of a configuration."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields
from types import NoneType
from typing import Any, get_args, get_origin

from gleclip_cli.errors import UsageError


def build(config: type[Any], *layers: Mapping[str, Any]) -> Any:
    """Return `config` from layers of values; a later layer wins, fields of others are left out.

    Raises:
        UsageError: a value has the wrong type or makes no sense.
    """
    merged = {name: value for layer in layers for name, value in layer.items()}
    known = {f.name: f.type for f in fields(config)}
    return config(**{n: _typed(n, v, known[n]) for n, v in merged.items() if n in known})


def _typed(name: str, value: Any, kind: Any) -> Any:
    """Return `value` as `kind`; lists and separated words become tuples."""
    if NoneType in get_args(kind):
        return None if value is None else _typed(name, value, get_args(kind)[0])
    if get_origin(kind) is tuple:
        return _typed_tuple(name, value, get_args(kind))
    if kind is float and type(value) is int:
        return float(value)
    if kind in (int, float) and isinstance(value, str):
        with suppress(ValueError):
            return kind(value)
    if type(value) is kind:
        return value
    raise UsageError(f"--{dashed(name)} is {value!r}.", f"Use a value of type {kind.__name__}.")


def _typed_tuple(name: str, value: Any, kinds: tuple[Any, ...]) -> tuple[Any, ...]:
    parts = words(name, value)
    if Ellipsis not in kinds and len(parts) != len(kinds):
        raise UsageError(f"--{dashed(name)} is {value!r}.", f"Give {len(kinds)} values.")
    return tuple(_typed(name, word, kinds[0]) for word in parts)


def words(name: str, value: Any) -> list[Any]:
    """Split what the command line gives: `a,b`, or `i/n` for a shard; `none` is no word."""
    parts = list(value) if isinstance(value, (list, tuple)) else [value]
    separator = "/" if name == "shard" else ","
    split = [w for p in parts for w in (p.split(separator) if isinstance(p, str) else [p])]
    return [] if split in ([""], ["none"]) else split


def dashed(name: str) -> str:
    """Return a field name as it is typed."""
    return name.replace("_", "-")
