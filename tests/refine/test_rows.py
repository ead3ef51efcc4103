"""Compiled building blocks: where their machine code is kept, and single operations."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

from gleclip_cli.compiled import kernel
from gleclip_cli.refine.rows import add, from_bits, load, store

ROOT = Path(__file__).resolve().parents[2]


@kernel
def scaled_sums(out: Any, table: Any, factor: Any, lanes: Any) -> None:
    for i in range(table.shape[0]):
        store(out, i, add(load(out, i, lanes), factor, load(table, i, lanes)))


@kernel
def float_of(bits: Any) -> Any:
    return from_bits(bits)


@pytest.mark.parametrize("lanes", [1, 2, 3, 4, 8])
def test_rows_are_read_and_written_whole(lanes: int) -> None:
    rng = np.random.default_rng(lanes)
    out, table = rng.random((2, 7, lanes), np.float32)
    expected = out + np.float32(0.3) * table
    scaled_sums(out, table, np.float32(0.3), (0,) * lanes)
    np.testing.assert_allclose(out, expected, rtol=1e-6)


def test_bits_of_a_float() -> None:
    assert float_of(np.float32(-1.75).view(np.int32)) == -1.75


def test_compiled_code_needs_no_place_to_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither beside the source nor in a home folder, as in many containers."""
    compiled = numba.njit

    def njit(*, cache: bool = False, **options: Any) -> Any:
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return compiled(**options)

    monkeypatch.setattr(numba, "njit", njit)
    doubled = kernel(lambda x: 2 * x)
    assert doubled(21) == 42


@pytest.mark.slow
def test_the_second_process_compiles_nothing(tmp_path: Path) -> None:
    code = (
        "import numpy as np; from gleclip_cli.refine import crf, permutohedral, simplices\n"
        "crf.dense_crf(np.zeros((4, 5, 3), np.uint8), np.ones((2, 4, 5), np.float32))\n"
        "kernels = crf.softmax, permutohedral._blur, simplices.find_corners\n"
        "print([sum(k.stats.cache_misses.values()) for k in kernels])"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    run = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment
        )
        for _ in range(2)
    ]
    assert [r.stdout.strip() for r in run] == ["[1, 1, 1]", "[0, 0, 0]"], run
