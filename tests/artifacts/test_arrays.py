"""Arrays come back as they were, and archives that are no such thing are refused."""

from pathlib import Path

import numpy as np
import pytest

from gleclip_cli.artifacts.arrays import load_arrays, save_arrays
from gleclip_cli.errors import BadInput


def test_arrays_come_back_in_their_type(tmp_path: Path) -> None:
    arrays = {"confusion": np.eye(3, dtype=np.int64), "none": np.zeros((0, 2), np.float16)}
    save_arrays(tmp_path / "a.npz", arrays)
    after = load_arrays(tmp_path / "a.npz")
    assert set(after) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(after[name], array)
        assert (after[name].dtype, after[name].shape) == (array.dtype, array.shape)


def test_fault_75_a_zip_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.npz"
    save_arrays(path, {"x": np.zeros(1000)})
    monkeypatch.setattr("gleclip_cli.artifacts.arrays._LARGEST_ARRAY", 1000)
    with pytest.raises(BadInput, match="claims 8128 bytes"):
        load_arrays(path)
