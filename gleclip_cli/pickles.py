"""Pickles, walked through step by step; nothing they name is imported or run.

A pickle is a program. Only the instructions that build plain values are known here; the functions
it names are looked up in the reader's own table, and whatever stands in no table is refused.
"""

import pickletools
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")
KEYS = (str, int, float, np.number, np.bool_)

_PUSHED = {
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_MADE: dict[str, Callable[[], object]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_SKIPPED = {"PROTO", "FRAME", "STOP"}


@dataclass(frozen=True)
class Named:
    """Something that a pickle names, such as numpy.ndarray."""

    name: str


@dataclass(eq=False)
class Instance:
    """An object of some class, not made: its class and its attributes."""

    kind: Named
    state: Any = None


@dataclass
class Budget:
    """What a file may still cost: a short one that repeats itself must not fill the memory."""

    size: int
    steps: int = 2**23

    def spend(self, *, size: int = 0, steps: int = 0) -> None:
        """Count bytes about to be made, or steps.

        Raises:
            ValueError: that is too much.
        """
        self.size -= size
        self.steps -= steps
        if self.size < 0 or self.steps < 0:
            raise ValueError("it unpacks to far more than it holds")


class Machine:
    """Carries out the harmless instructions of a pickle.

    `calls`: what is done for functions, by name; `names`: what else may be named, None for
    anything, whose objects then become `Instance`s; `unbuilt`: by id, how an object that one of
    the calls has made takes its state; `kept`: what stands for the id of a thing kept elsewhere.
    """

    def __init__(
        self,
        budget: Budget,
        calls: Mapping[str, Callable[..., Any]],
        names: Collection[str] | None,
        kept: Callable[[Any], Any] = lambda reference: reference,
    ) -> None:
        self.budget = budget
        self.unbuilt: dict[int, Callable[[Any], None]] = {}
        self._calls = calls
        self._names = names
        self._kept = kept
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def load(self, stream: BytesIO) -> Any:
        """Read one pickle from `stream`, up to its end.

        Raises:
            ValueError, TypeError, LookupError, OverflowError: it is damaged, or holds an
                instruction or a name that is not known here.
        """
        self._stack, self._marks, self._memo = [], [], {}
        for opcode, argument, _ in pickletools.genops(stream):
            self.budget.spend(steps=1)
            if opcode.name in _PUSHED:
                self._stack.append(argument)
            elif opcode.name in _MADE:
                self._stack.append(_MADE[opcode.name]())
            elif opcode.name not in _SKIPPED:
                self._do(opcode.name, argument)
        return self._stack.pop()

    def _do(self, name: str, argument: Any) -> None:
        stack = self._stack
        match name:
            case "MARK":
                self._marks.append(len(stack))
            case "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = stack[-1]
            case "MEMOIZE":
                self._memo[len(self._memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(self._memo[argument])
            case "TUPLE":
                stack.append(tuple(self._since_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(self._last(_TUPLES[name])))
            case "APPEND" | "APPENDS":
                items = self._last(1) if name == "APPEND" else self._since_mark()
                checked(stack[-1], list).extend(items)
            case "SETITEM" | "SETITEMS":
                items = self._last(2) if name == "SETITEM" else self._since_mark()
                self._set_items(checked(stack[-1], dict), items)
            case "GLOBAL":
                stack.append(self._named(*argument.split(" ")))
            case "STACK_GLOBAL":
                stack.append(self._named(*self._last(2)))
            case "REDUCE":
                function, arguments = self._last(2)
                stack.append(self._call(checked(function, Named).name, checked(arguments, tuple)))
            case "NEWOBJ" if self._names is None:
                kind, _ = self._last(2)
                stack.append(Instance(checked(kind, Named)))
            case "BINPERSID":
                stack.append(self._kept(*self._last(1)))
            case "BUILD":
                self._build(*self._last(1))
            case _:
                raise ValueError(f"it holds the instruction {name}")

    def _last(self, count: int) -> list[Any]:
        if count > len(self._stack):
            raise ValueError("it is damaged")
        return self._since(len(self._stack) - count)

    def _since_mark(self) -> list[Any]:
        return self._since(self._marks.pop())

    def _since(self, start: int) -> list[Any]:
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _set_items(self, target: dict[Any, Any], items: list[Any]) -> None:
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, KEYS):  # others could take for ever to hash
                raise ValueError(f"a key is of type {type(key).__name__}")
            target[key] = value

    def _named(self, module: str, name: str) -> Named:
        # numpy 2 has moved what numpy 1 calls numpy.core.
        full = f"{module}.{name}".replace("numpy.core.", "numpy._core.", 1)
        if self._names is not None and full not in {*self._calls, *self._names}:
            raise ValueError(f"it names {full}")
        return Named(full)

    def _call(self, name: str, arguments: tuple[Any, ...]) -> Any:
        if name not in self._calls:
            raise ValueError(f"it calls {name}")
        return self._calls[name](self, *arguments)

    def _build(self, state: Any) -> None:
        target = self._stack[-1]
        build = self.unbuilt.pop(id(target), None)
        if isinstance(target, Instance):
            target.state = state
        elif build is None:
            raise ValueError(f"it changes an object of type {type(target).__name__}")
        else:
            build(state)


def checked(value: Any, kind: type[T]) -> T:
    """Return `value`, or raise TypeError because it is not of `kind`."""
    if not isinstance(value, kind):
        raise TypeError(f"{kind.__name__} expected, {type(value).__name__} found")
    return value
