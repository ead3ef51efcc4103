"""Pickles written by hand, read by numpy, by torch's own classes and by the restricted reader."""

import pickletools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gleclip_cli.artifacts.pickled import read_pickled_npy
from gleclip_cli.interop.pickled_npy import AsTensor, write_pickled_npy

CONTENT: dict[Any, Any] = {
    "halves": np.random.default_rng(0).random((2, 3, 4)).astype(np.float16),
    "turned": np.arange(6.0).reshape(2, 3).T,
    "big endian": np.arange(3, dtype=">i4"),
    "none": np.empty((0, 5), np.float32),
    7: np.array(2.5),
    "\u00fcber": 300,
}


def loaded(path: Path) -> Any:
    return np.load(path, allow_pickle=True).item()


def test_numpy_reads_what_is_written(tmp_path: Path) -> None:
    write_pickled_npy(tmp_path / "a.npy", CONTENT)
    for found in (loaded(tmp_path / "a.npy"), read_pickled_npy(tmp_path / "a.npy")):
        assert list(found) == list(CONTENT)
        assert found["\u00fcber"] == 300
        for key in list(CONTENT)[:-1]:
            np.testing.assert_array_equal(found[key], CONTENT[key])
            assert found[key].dtype == CONTENT[key].dtype.newbyteorder("=")


def test_tensors_unpickle_as_tensors(tmp_path: Path) -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    write_pickled_npy(tmp_path / "a.npy", {"cam": AsTensor(array)})
    found = loaded(tmp_path / "a.npy")["cam"]
    assert torch.equal(found, torch.from_numpy(array))
    found += 1  # its memory is its own
    assert np.array_equal(read_pickled_npy(tmp_path / "a.npy")["cam"], array)


def test_old_tools_know_every_word(tmp_path: Path) -> None:
    write_pickled_npy(tmp_path / "a.npy", {**CONTENT, "cam": AsTensor(np.zeros(2))})
    content = (tmp_path / "a.npy").read_bytes()
    codes = list(pickletools.genops(content[content.index(b"\n") + 1 :]))
    named = {argument for code, argument, _ in codes if code.name == "GLOBAL"}
    assert max(code.proto for code, _, _ in codes) == 3
    core = "numpy.core.multiarray _reconstruct"
    assert named == {core, "numpy ndarray", "numpy dtype", "torch from_numpy"}


def test_other_types_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="set"):
        write_pickled_npy(tmp_path / "a.npy", {"keys": {1}})
