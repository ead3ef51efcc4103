"""A pickle read as data: nothing is imported, called or made but plain values.

torch's C++ writer needs some thirty opcodes. A machine of our own walks them, so that there is no
`find_class` to get wrong: a global stays a pair of names, an object a note of its class and state.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

_ARGUMENTS = {"BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class Global(NamedTuple):
    """What the pickle calls by name; never looked up."""

    module: str
    name: str


@dataclass(eq=False)
class Instance:
    """An object of some class, not made: its class and its attributes."""

    kind: Global
    state: Any = None


class _Mark:
    """Where the values of one container begin on the stack."""


Reduce = Callable[[Global, tuple[Any, ...]], Any]
Persistent = Callable[[Any], Any]


def read_plain_pickle(data: bytes, *, reduce: Reduce, persistent: Persistent) -> Any:
    """Return the value of a pickle.

    `reduce` answers calls, `persistent` names of things kept elsewhere; both decide by data alone
    and raise ValueError for what they do not know.

    Raises:
        ValueError, TypeError, KeyError, IndexError: an opcode or a structure torch does not write.
    """
    machine = _Machine(reduce, persistent)
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name == "STOP":
            break
        machine.step(opcode.name, argument)
    (value,) = machine.stack
    return value


class _Machine:
    def __init__(self, reduce: Reduce, persistent: Persistent) -> None:
        self.stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._reduce = reduce
        self._persistent = persistent

    def step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in _ARGUMENTS:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _TUPLES:
            stack.append(tuple([stack.pop() for _ in range(_TUPLES[name])][::-1]))
        elif name in ("BINPUT", "LONG_BINPUT"):
            self._memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
        elif name == "GLOBAL":
            stack.append(Global(*argument.split(" ")))
        elif name == "BINPERSID":
            stack.append(self._persistent(stack.pop()))
        elif name in ("NEWOBJ", "REDUCE", "BUILD"):
            self._objects(name)
        else:
            self._containers(name)

    def _objects(self, name: str) -> None:
        argument, target = self.stack.pop(), self.stack.pop()
        if name == "BUILD":
            _expect(target, Instance).state = argument
            self.stack.append(target)
        elif name == "NEWOBJ":
            _expect(argument, tuple)
            self.stack.append(Instance(_expect(target, Global)))
        else:
            self.stack.append(self._reduce(_expect(target, Global), _expect(argument, tuple)))

    def _containers(self, name: str) -> None:
        stack = self.stack
        match name:
            case "PROTO":
                pass
            case "MARK":
                stack.append(_Mark())
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "TUPLE":
                stack.append(tuple(self._since_mark()))
            case "APPEND":
                value = stack.pop()
                _expect(stack[-1], list).append(value)
            case "APPENDS":
                values = self._since_mark()
                _expect(stack[-1], list).extend(values)
            case "SETITEMS":
                values = self._since_mark()
                keys = [_expect(key, str | int | float) for key in values[::2]]
                _expect(stack[-1], dict).update(zip(keys, values[1::2], strict=True))
            case _:
                raise ValueError(f"its pickle uses {name}")

    def _since_mark(self) -> list[Any]:
        values = []
        while not isinstance(value := self.stack.pop(), _Mark):
            values.append(value)
        return values[::-1]


def _expect(value: Any, kind: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"its pickle has a {type(value).__name__} in the wrong place")
    return value
