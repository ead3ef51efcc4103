"""Kept text embeddings: the same bytes again; damaged, or of something else: made anew."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.text_cache import cached_texts

MADE_FROM: dict[str, Any] = {"weights": "abc", "names": ["cat", "Fahrräder"], "templates": ["{}"]}
EMBEDDED = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))


class Encoder:
    def __init__(self, embedded: Tensor = EMBEDDED) -> None:
        self.calls = 0
        self._embedded = embedded

    def __call__(self) -> Tensor:
        self.calls += 1
        return self._embedded


def never() -> Tensor:
    raise AssertionError("encoded again")


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path)


def only_file(run: RunDir) -> Path:
    (file,) = (run.root / "cache" / "texts").iterdir()
    return file


def test_what_was_encoded_once_comes_back_bit_for_bit(run: RunDir) -> None:
    encode = Encoder(EMBEDDED.T.contiguous().T)  # strides are no part of it
    first = cached_texts(run, MADE_FROM, encode)
    again = cached_texts(run, dict(reversed(MADE_FROM.items())), never)
    assert torch.equal(first, EMBEDDED)
    assert torch.equal(again, EMBEDDED)
    assert again.data_ptr() % 64 == 0  # elsewhere products round otherwise
    assert encode.calls == 1
    assert only_file(run).suffix == ".safetensors"


@pytest.mark.parametrize(
    "change", [{"weights": "xyz"}, {"names": ["Fahrräder", "cat"]}, {"torch": "2.6"}]
)
def test_anything_else_is_encoded_anew(run: RunDir, change: dict[str, Any]) -> None:
    cached_texts(run, MADE_FROM, Encoder())
    other = Encoder(-EMBEDDED)
    assert torch.equal(cached_texts(run, {**MADE_FROM, **change}, other), -EMBEDDED)
    assert torch.equal(cached_texts(run, MADE_FROM, never), EMBEDDED)


def test_no_texts_are_kept_as_none(run: RunDir) -> None:
    cached_texts(run, MADE_FROM, Encoder(torch.zeros(0, 5)))
    assert cached_texts(run, MADE_FROM, never).shape == (0, 5)


def test_fault_52_a_damaged_file_is_made_again(run: RunDir) -> None:
    cached_texts(run, MADE_FROM, Encoder())
    file = only_file(run)
    whole = file.read_bytes()
    last = len(whole) - 1
    damages = [b"", b"not safetensors", whole[:-4], whole + b"\0"]
    damages += [
        whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :]
        for at in (0, 20, whole.index(b"sha256") + 12, last - 30, last)
    ]
    for damage in damages:
        file.write_bytes(damage)
        encode = Encoder()
        assert torch.equal(cached_texts(run, MADE_FROM, encode), EMBEDDED)
        assert encode.calls == 1
        assert file.read_bytes() == whole


def test_a_file_of_other_texts_under_this_name_is_not_believed(run: RunDir) -> None:
    cached_texts(run, MADE_FROM, Encoder())
    file = only_file(run)
    cached_texts(RunDir(run.root / "other"), {**MADE_FROM, "weights": "x"}, Encoder(-EMBEDDED))
    file.write_bytes(only_file(RunDir(run.root / "other")).read_bytes())
    assert torch.equal(cached_texts(run, MADE_FROM, Encoder()), EMBEDDED)
