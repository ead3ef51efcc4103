"""Pickles as data: values come out, and nothing that a pickle can say is done."""

import io
import pickle
from pathlib import Path
from typing import Any

import pytest

from gleclip_cli.pickles import Budget, Instance, Machine, Named


def read(data: bytes) -> Any:
    """With any name allowed, and no call."""
    return Machine(Budget(0), {}, None, lambda name: ("kept", name)).load(io.BytesIO(data))


def test_plain_values_come_out_as_they_went_in() -> None:
    twice = [1, 2]
    value = {
        "numbers": [0, 255, 65535, -3, 2**40, -(2**70), 1.5],
        "rest": (None, True, False, "größer", (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)),
        "twice": [twice, twice],
        7: {},
    }
    again = read(pickle.dumps(value, protocol=2))
    assert again == value
    assert again["twice"][0] is again["twice"][1]


class Thing:
    pass


def test_an_object_is_a_note_of_its_class_and_attributes() -> None:
    thing = Thing()
    thing.first, thing.second = 1, "two"  # type: ignore[attr-defined]
    stream = io.BytesIO()
    pickle.Pickler(stream, protocol=2).dump(thing)
    # As torch's writer makes objects: NEWOBJ without copyreg, which protocol 2 gives.
    note = read(stream.getvalue())
    assert isinstance(note, Instance)
    assert note.kind == Named(f"{Thing.__module__}.Thing")
    assert note.state == {"first": 1, "second": "two"}


def test_things_kept_elsewhere_are_asked_for() -> None:
    class Keeper(pickle.Pickler):
        def persistent_id(self, obj: Any) -> Any:
            return ("storage", "0") if obj is Thing else None

    stream = io.BytesIO()
    Keeper(stream, protocol=2).dump([Thing, 1])
    assert read(stream.getvalue()) == [("kept", ("storage", "0")), 1]


class Touch:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("payload-ran"),)


class TouchByState:
    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (), None, None, iter([(Path.touch, Path("payload-ran"))])


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("payload", [Touch(), TouchByState()])
def test_fault_72_no_call_is_carried_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: int, payload: object
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ValueError, TypeError)):
        read(pickle.dumps(payload, protocol=protocol))
    assert not (tmp_path / "payload-ran").exists()


@pytest.mark.parametrize(
    "data",
    [
        b"(S'touch payload-ran'\nios\nsystem\n.",  # INST
        b"(cos\nsystem\nS'touch payload-ran'\no.",  # OBJ
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x10touch payload-ran\x85R.",  # STACK_GLOBAL
        b"\x80\x02\x82\x01.",  # EXT1
        b"\x80\x02cos\nsystem\n)\x81}b.",  # NEWOBJ: noted as a class
    ],
)
def test_fault_72_every_way_to_name_a_function_ends_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        value = read(data)
    except ValueError:
        value = None
    assert value is None or isinstance(value, Instance)
    assert not (tmp_path / "payload-ran").exists()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b".",
        b"\x80\x02",
        b"\x80\x02K\x01",
        b"\x80\x02h\x07.",
        b"\x80\x02t.",
        b"\x80\x02K\x01K\x02b.",
        b"\x80\x02(K\x01e.",
        b"\x80\x02}((K\x01tK\x02u.",
        b"\x80\x02}(]K\x02u.",
        b"\x80\x02K\x01\x86.",
        b"not a pickle",
    ],
)
def test_what_torch_does_not_write_is_refused(data: bytes) -> None:
    with pytest.raises((ValueError, TypeError, KeyError, IndexError)):
        read(data)
