"""Peers' pickled `.npy`: what they hold is read, and what they would run is not."""

import contextlib
import io
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gleclip_cli.artifacts.pickled import read_pickled_npy
from gleclip_cli.errors import BadInput
from gleclip_cli.pickles import Budget, Machine

ROOT = Path(__file__).resolve().parents[2]
PROTOCOLS = [2, 3, 4, 5]


def boxed(value: object) -> NDArray[Any]:
    """`value` as the array of no axis that numpy.save makes of it."""
    array = np.empty((), dtype=object)
    array[()] = value
    return array


def write(folder: Path, pickled: bytes, shape: str = "()") -> Path:
    header = f"{{'descr': '|O', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    path = folder / "a.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode())
    with path.open("ab") as file:
        file.write(pickled)
    return path


def read(folder: Path, value: object, protocol: int = 4) -> Any:
    return read_pickled_npy(write(folder, pickle.dumps(boxed(value), protocol)))


ARRAYS: dict[str, NDArray[Any]] = {
    "half": np.random.default_rng(0).random((2, 3, 4)).astype(np.float16),
    "fortran": np.asfortranarray(np.arange(12, dtype=">i4").reshape(3, 4)),
    "turned": np.arange(24.0).reshape(2, 3, 4).transpose(1, 0, 2),
    "strided": np.arange(20, dtype=np.uint8)[::3],
    "large": np.random.default_rng(1).random(100_000),
    "bool": np.array([True, False]),
    "empty": np.empty((0, 3)),
    "number": np.array(7),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_arrays_come_back(tmp_path: Path, protocol: int) -> None:
    found = read(tmp_path, ARRAYS, protocol)
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype.newbyteorder("=") == array.dtype.newbyteorder("=")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_values_come_back(tmp_path: Path, protocol: int) -> None:
    shared = [1, 2]
    value = {
        2007000032: [1, -2, 2**70, 0.5, True, "\u00fcber"],
        "t": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)),
        1.5: {"shared": shared, "again": shared},
        np.int64(3): np.float32(0.1),
    }
    found = read(tmp_path, value, protocol)
    assert found == value
    assert type(found[np.int64(3)]) is np.float32


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_tensors_become_arrays(tmp_path: Path, protocol: int) -> None:
    whole = torch.arange(24.0).reshape(2, 3, 4)
    tensors = {
        "keys": torch.tensor([3, 14]),
        "cam": whole.half(),
        "part": whole[1, :, 1:3],
        "turned": whole.permute(2, 0, 1),
        "none": torch.empty(0, 5),
        "bool": torch.tensor([True, False]),
        "one": torch.tensor(0.25),
    }
    found = read(tmp_path, tensors, protocol)
    for name, tensor in tensors.items():
        assert isinstance(found[name], np.ndarray)
        assert found[name].dtype == tensor.numpy().dtype
        np.testing.assert_array_equal(found[name], tensor.numpy())


def test_tensors_need_no_torch(tmp_path: Path) -> None:
    path = write(tmp_path, pickle.dumps(boxed({"keys": torch.tensor([3, 14])}), 4))
    code = (
        "import sys; from pathlib import Path\n"
        "from gleclip_cli.artifacts.pickled import read_pickled_npy\n"
        f"print(read_pickled_npy(Path({str(path)!r}))['keys'].tolist(), 'torch' in sys.modules)"
    )
    words = [sys.executable, "-c", code]
    result = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert result.stdout == "[3, 14] False\n", result.stderr


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_files_of_numpy_1_are_read(tmp_path: Path, protocol: int) -> None:
    pickled = pickle.dumps(boxed({"a": np.arange(3), "b": np.float64(2)}), protocol)
    # Protocols 2 and 3 end names by a new line, 4 and 5 write their length before them.
    pickled = pickled.replace(b"\x8c\x16numpy._core.multi", b"\x8c\x15numpy.core.multi")
    pickled = pickled.replace(b"\x8c\x13numpy._core.numeric", b"\x8c\x12numpy.core.numeric")
    pickled = pickled.replace(b"numpy._core.", b"numpy.core.")
    assert b"_core" not in pickled
    found = read_pickled_npy(write(tmp_path, pickled))
    assert found["a"].tolist() == [0, 1, 2]
    assert found["b"] == 2


def test_numpys_own_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, {3: np.ones((2, 2), np.float32)})  # type: ignore[arg-type]
    assert read_pickled_npy(path)[3].tolist() == [[1, 1], [1, 1]]
    np.save(path, np.array([[1, "a"], [2.5, "b"]], dtype=object))
    assert read_pickled_npy(path).tolist() == [[1, "a"], [2.5, "b"]]
    np.save(path, ARRAYS["half"])
    np.testing.assert_array_equal(read_pickled_npy(path), ARRAYS["half"])


class Call:
    """Pickled as a call of `function`."""

    def __init__(self, function: Any, *arguments: object, state: object = None) -> None:
        self.reduced = (function, arguments) + ((state,) if state is not None else ())

    def __reduce__(self) -> tuple[Any, ...]:
        return self.reduced


class Made:
    """Pickled by its class; does its work when it gets its state."""

    def __setstate__(self, state: dict[str, str]) -> None:
        Path(state["file"]).touch()


def payloads(mark: Path) -> dict[str, bytes]:
    touch = f"__import__('pathlib').Path({str(mark)!r}).touch()"
    made = Made()
    made.__dict__["file"] = str(mark)
    objects: dict[str, object] = {
        "system": Call(os.system, f"touch '{mark}'"),
        "exec": Call(exec, touch),
        "eval": {"keys": [Call(eval, touch)]},
        "open": (Call(open, str(mark), "w"),),
        "state": made,
        "array": boxed([Call(exec, touch)]),
        "key": {Call(exec, touch): 1},
        "numpy": Call(np.ndarray.tofile, np.zeros(1), str(mark)),
    }
    found = {
        f"{name} {protocol}": pickle.dumps(value, protocol)
        for name, value in objects.items()
        for protocol in range(6)
    }
    storage = pickle.dumps(Call(exec, touch), 2)
    found["storage"] = pickle.dumps(Call(torch.storage._load_from_bytes, storage), 4)
    found["inst"] = b"(S'" + touch.encode().replace(b"'", b"\\'") + b"'\ni__builtin__\nexec\n."
    found["obj"] = b"(c__builtin__\nexec\nX" + len(touch).to_bytes(4, "little")
    found["obj"] += touch.encode() + b"o."
    return found


@pytest.mark.parametrize("name", payloads(Path("x")))
def test_fault_71_payloads_are_refused_and_not_run(tmp_path: Path, name: str) -> None:
    mark = tmp_path / "ran"
    pickled = payloads(mark)[name]
    with pytest.raises(BadInput, match=r"a\.npy is refused"):
        read_pickled_npy(write(tmp_path, pickled))
    assert not mark.exists()


@pytest.mark.parametrize("name", ["system 4", "exec 2", "state 3", "array 5", "obj", "inst"])
def test_the_payloads_do_run_elsewhere(tmp_path: Path, name: str) -> None:
    pickle.loads(payloads(tmp_path / "ran")[name])
    assert (tmp_path / "ran").exists()


def array_with(shape: object, dtype: object, data: object) -> Call:
    from numpy._core.multiarray import _reconstruct  # type: ignore[attr-defined]

    return Call(_reconstruct, np.ndarray, (0,), b"b", state=(1, shape, dtype, False, data))


def tensor_with(offset: object, size: object, stride: object) -> Call:
    storage = torch.zeros(6)._typed_storage()
    return Call(torch._utils._rebuild_tensor_v2, storage, offset, size, stride, False, {})


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(None, id="nothing"),
        pytest.param(b"x", id="bytes"),
        pytest.param({1, 2}, id="set"),
        pytest.param(1j, id="complex"),
        pytest.param({(1, 2): 3}, id="tuple as key"),
        pytest.param(np.dtype("f4"), id="dtype"),
        pytest.param(np.ndarray, id="class"),
        pytest.param(np.array(["a"]), id="texts"),
        pytest.param(np.zeros(2, "M8[s]"), id="dates"),
        pytest.param(np.zeros(2, [("a", "f4")]), id="fields"),
        pytest.param(np.ma.masked_array([1.0]), id="masked array"),
        pytest.param(torch.zeros(2, dtype=torch.bfloat16), id="bfloat16"),
        pytest.param(torch.nn.Parameter(torch.zeros(2)), id="parameter"),
        pytest.param(Call(np.ndarray, (2,)), id="class called"),
        pytest.param(array_with((5,), np.dtype("f4"), bytes(8)), id="too few bytes"),
        pytest.param(array_with((-2,), np.dtype("f4"), bytes(8)), id="negative shape"),
        pytest.param(array_with((2.0,), np.dtype("f4"), bytes(8)), id="fractional shape"),
        pytest.param(array_with((1,), np.dtype("O"), bytes(8)), id="bytes as objects"),
        pytest.param(array_with((2,), np.dtype("O"), [1]), id="too few objects"),
        pytest.param(array_with((2,), "f4", bytes(8)), id="no dtype"),
        pytest.param(tensor_with(0, (7,), (1,)), id="tensor beyond its storage"),
        pytest.param(tensor_with(6, (1,), (1,)), id="tensor behind its storage"),
        pytest.param(tensor_with(-1, (2,), (1,)), id="tensor before its storage"),
        pytest.param(tensor_with(5, (2,), (-1,)), id="tensor backwards"),
        pytest.param(tensor_with(0, (10**6, 10**6), (0, 0)), id="tensor out of nothing"),
        pytest.param(tensor_with(0, (2,), (1, 1)), id="tensor of two minds"),
    ],
)
def test_fault_71_nothing_but_the_listed_types_is_read(tmp_path: Path, value: object) -> None:
    with pytest.raises(BadInput, match=r"a\.npy is refused"):
        read(tmp_path, {"keys": value})


def test_an_object_is_not_given_a_state_twice(tmp_path: Path) -> None:
    pickled = pickle.dumps(boxed(1), 2)
    again = pickled[:-1] + b"(dUb."
    with pytest.raises(BadInput, match="refused"):
        read_pickled_npy(write(tmp_path, again))
    with pytest.raises(BadInput, match="changes an object of type list"):
        read_pickled_npy(write(tmp_path, b"\x80\x02]}b."))


def test_short_files_do_not_unpack_to_large_ones(tmp_path: Path) -> None:
    text = b"X" + (10**5).to_bytes(4, "little") + b"x" * 10**5 + b"q\x00"
    encode = b"c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86R"
    with pytest.raises(BadInput, match="far more than it holds"):
        read_pickled_npy(write(tmp_path, b"\x80\x02]" + text + encode * 1000 + b"."))
    with pytest.raises(ValueError, match="far more than it holds"):
        Machine(Budget(size=0, steps=10), {}, ()).load(io.BytesIO(b"]" * 11 + b"."))


def test_lists_that_hold_each_other_often_are_looked_at_once(tmp_path: Path) -> None:
    value: list[object] = []
    for _ in range(100):
        value = [value] * 10
    assert len(read(tmp_path, value)) == 10


@pytest.mark.filterwarnings("ignore:invalid escape sequence")  # in a text that pickletools parses
def test_damaged_files_are_refused_wherever_the_damage_is(tmp_path: Path) -> None:
    value = {"a": np.arange(3), "t": torch.tensor([1]), "b": [np.float32(1), "x", {2: (3, 4.5)}]}
    whole = write(tmp_path, pickle.dumps(boxed(value), 2)).read_bytes()
    path = tmp_path / "a.npy"
    for end in range(1, len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(BadInput):
            read_pickled_npy(path)
    random = np.random.default_rng(0)
    for position in range(len(whole)):
        byte = bytes([random.integers(256)])
        path.write_bytes(whole[:position] + byte + whole[position + 1 :])
        with contextlib.suppress(BadInput):
            read_pickled_npy(path)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"no numpy", id="text"),
        pytest.param(pickle.dumps({1: 2}), id="bare pickle"),
        pytest.param(b"\x93NUMPY\x09\x00" + bytes(100), id="version 9"),
        pytest.param(b"\x93NUMPY\x01\x00\xff\xff{", id="header cut"),
    ],
)
def test_what_is_no_npy_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(BadInput, match=r"a\.npy"):
        read_pickled_npy(tmp_path / "a.npy")


def test_a_header_that_promises_too_much_is_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (10**12,)}
    np.lib.format.write_array_header_1_0(stream, header)
    (tmp_path / "a.npy").write_bytes(stream.getvalue())
    with pytest.raises(BadInput, match="breaks off"):
        read_pickled_npy(tmp_path / "a.npy")
    pickled = pickle.dumps(boxed({1: 2}), 4)
    with pytest.raises(BadInput, match="differ in shape"):
        read_pickled_npy(write(tmp_path, pickled, "(1,)"))
