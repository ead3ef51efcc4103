"""Compiled loops: Python functions that numba turns into machine code on first use."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import numba

_Function = TypeVar("_Function", bound=Callable[..., Any])


def kernel(function: _Function) -> _Function:
    """Compile on first use, without the GIL; kept beside its file or in the user's own cache."""
    plain = inspect.unwrap(function)  # the tests' check of shapes cannot be compiled
    options = {"nogil": True, "fastmath": True, "error_model": "numpy"}
    try:
        compiled: _Function = numba.njit(cache=True, **options)(plain)
    except RuntimeError:  # neither folder can be written
        compiled = numba.njit(**options)(plain)
    return compiled
