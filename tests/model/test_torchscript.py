"""TorchScript archives: torch's own reading is the reference, hostile ones are refused."""

import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gleclip_cli.errors import BadInput
from gleclip_cli.model.clip import load_clip
from gleclip_cli.model.torchscript import is_torchscript, module_classes, read_torchscript
from gleclip_cli.model.weights import read_weights

Entries = dict[str, bytes]


@pytest.fixture(scope="module")
def archive(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_clip_json: str,
    save_torchscript: Callable[[Any, Path], None],
) -> Path:
    file = tmp_path_factory.mktemp("archive") / "ViT-tiny.pt"
    save_torchscript(load_clip(tiny_clip_json, "random", seed=9).clip, file)
    return file


def by_torch(file: Path) -> dict[str, Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dict(torch.jit.load(str(file), map_location="cpu").state_dict())


def assert_same(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert set(actual) == set(expected)
    for name, value in expected.items():
        assert actual[name].dtype == value.dtype
        assert torch.equal(actual[name], value), name


def test_the_tensors_are_those_that_torch_loads(archive: Path) -> None:
    assert is_torchscript(archive)
    tensors = read_torchscript(archive)
    assert_same(tensors, by_torch(archive))
    assert tensors["visual.proj"].dtype == torch.float16
    assert {"VisionTransformer", "QuickGELU", "LayerNorm"} <= module_classes(archive)


class Odd(nn.Module):
    """Attributes of every kind, and tensors that share or stride through one storage."""

    names: dict[str, int]
    sizes: list[int]
    nothing: int | None

    def __init__(self) -> None:
        super().__init__()
        base = torch.arange(24, dtype=torch.float64)
        self.register_buffer("strided", base.view(4, 6).T[1:4:2])
        self.register_buffer("tail", base[20:])
        self.register_buffer("empty", torch.zeros(0, 3))
        self.register_buffer("flag", torch.tensor(True))
        self.register_buffer("brain", torch.tensor([1.5, -2]).bfloat16())
        self.inner = nn.ModuleDict({"a": nn.Linear(2, 3), "b": nn.ReLU()})
        self.sizes, self.names, self.nothing = [1, 2], {"x": 1, "y": 2}, None
        self.ratio, self.label = 0.5, "größer"

    def forward(self, x: Tensor) -> Tensor:
        return x * self.ratio + len(self.sizes) + len(self.names)


def test_a_scripted_module_with_attributes_of_every_kind(tmp_path: Path) -> None:
    file = tmp_path / "odd.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(Odd()).save(str(file))
    assert_same(read_torchscript(file), by_torch(file))


def test_other_files_are_no_torchscript(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / "a.pt")
    torch.save({"a": torch.ones(1)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "empty.pt").write_bytes(b"")
    for name in ("a.pt", "old.pt", "empty.pt"):
        assert not is_torchscript(tmp_path / name)


def entries_of(archive: Path) -> Entries:
    with zipfile.ZipFile(archive) as opened:
        return {name: opened.read(name) for name in opened.namelist() if "/code/" not in name}


def rewritten(folder: Path, entries: Entries, **compressed: int) -> Path:
    file = folder / "hostile.pt"
    with zipfile.ZipFile(file, "w") as opened:
        for name, content in entries.items():
            kind = compressed.get(name.rpartition("/")[2], zipfile.ZIP_STORED)
            opened.writestr(name, content, compress_type=kind)
    return file


def refused(file: Path, reason: str) -> None:
    with pytest.raises(BadInput, match=f"cannot be read as weights: .*({reason})") as caught:
        read_weights(file)
    assert len(caught.value.cause) < 600


class Touch:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("payload-ran"),)


def test_fault_72_a_payload_in_the_tree_of_modules_does_not_run(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    entries = entries_of(archive)
    tree = entries["ViT-tiny/data.pkl"]
    system = b"cos\nsystem\n(X\x11\x00\x00\x00touch payload-rantR"
    payloads = [
        pickle.dumps(Touch(), protocol=2),
        pickle.dumps({"state_dict": Touch(), "x": 1}, protocol=2),
        # before the genuine tree: run by whoever executes it, although the tree is whole
        tree[:2] + system + b"0" + tree[2:],
        tree[:-1] + system + b"\x86.",
    ]
    for payload in payloads:
        file = rewritten(tmp_path, {**entries, "ViT-tiny/data.pkl": payload})
        refused(file, "it calls|holds the instruction")
    assert not (tmp_path / "payload-ran").exists()


def tree_of(storage: tuple[Any, ...], *view: Any) -> bytes:
    """A module whose one tensor is such a view, as torch writes it."""

    def written(value: Any) -> bytes:
        return pickle.dumps(value, protocol=2)[2:-1]

    name, kind, *rest = storage
    named = b"c" + kind.replace(" ", "\n").encode() + b"\n"
    reference = b"(" + written(name) + named + b"".join(map(written, rest)) + b"tQ"
    call = b"ctorch._utils\n_rebuild_tensor_v2\n(" + reference + b"".join(map(written, view))
    state = b"}(" + written("weight") + call + b"tR" + written("x") + b"Nu"
    return b"\x80\x02c__torch__\nModule\n)\x81" + state + b"b."


def one_tensor(folder: Path, storage: tuple[Any, ...], *view: Any, content: bytes) -> Path:
    entries = {
        "a/data.pkl": tree_of(storage, *view),
        "a/data/0": content,
        "a/constants.pkl": b"\x80\x02).",
    }
    return rewritten(folder, entries)


SIX = torch.arange(6.0).numpy().tobytes()


def stored(key: Any = "0", kind: str = "torch FloatStorage", numel: Any = 6) -> tuple[Any, ...]:
    return ("storage", kind, key, "cuda:0", numel)


def test_a_tensor_written_by_hand_is_read(tmp_path: Path) -> None:
    file = one_tensor(tmp_path, stored(), 1, (2, 2), (1, 2), False, {}, content=SIX)
    assert read_torchscript(file)["weight"].tolist() == [[1, 3], [2, 4]]


@pytest.mark.parametrize(
    "key", ["../../etc/passwd", "/etc/passwd", "..", "", "0/../1", "0\n", "1" * 20, 0]
)
def test_fault_72_a_storage_is_a_number_and_never_a_path(tmp_path: Path, key: Any) -> None:
    file = one_tensor(tmp_path, stored(key), 0, (6,), (1,), False, {}, content=SIX)
    refused(file, "asks for the storage|expected string|bytes-like")


@pytest.mark.parametrize("name", ["../a/data/0", "/data/0", "a/../../b", "a/data/../../c", "data"])
def test_fault_74_an_entry_that_climbs_out_is_refused(tmp_path: Path, name: str) -> None:
    file = one_tensor(tmp_path, stored(), 0, (6,), (1,), False, {}, content=SIX)
    refused(rewritten(tmp_path, {**entries_of(file), name: b""}), "it has an entry")


@pytest.mark.parametrize(
    ("view", "storage", "reason"),
    [
        ((1, (6,), (1,)), stored(), "in a storage of 6"),
        ((0, (4, 2), (1, 3)), stored(), "in a storage of 6"),
        ((0, (10**6, 10**6), (0, 0)), stored(), "in a storage of 6"),  # terabytes when copied
        ((0, (2**62, 2**62), (1, 1)), stored(), "in a storage of 6"),
        ((-1, (2,), (1,)), stored(), "impossible shape"),
        ((0, (2,), (-1,)), stored(), "impossible shape"),
        ((0, (1,) * 40, (1,) * 40), stored(), "impossible shape"),
        ((0, (True,), (1,)), stored(), "impossible shape"),
        ((0, (2.0,), (1,)), stored(), "impossible shape"),
        ((0, (1,), (1,)), stored(numel="6"), "storage 0 has no size"),
        ((0, (2, 2), (1,)), stored(), "argument 2 is shorter"),
        ((0, (1,), (1,)), stored(numel=10**12), "storage 0 has 24 bytes"),
        ((0, (1,), (1,)), stored(kind="torch QInt8Storage"), "torch.QInt8Storage"),
        ((0, (1,), (1,)), stored(kind="os FloatStorage"), "os.FloatStorage"),
    ],
)
def test_fault_75_a_tensor_that_leaves_its_storage_is_refused(
    tmp_path: Path, view: tuple[Any, ...], storage: tuple[Any, ...], reason: str
) -> None:
    refused(one_tensor(tmp_path, storage, *view, False, {}, content=SIX), reason)


def test_fault_75_a_shape_that_doubles_when_written_out_is_not_written_out(tmp_path: Path) -> None:
    nest: tuple[Any, ...] = ()
    for _ in range(60):
        nest = (nest, nest)
    file = one_tensor(tmp_path, stored(), 0, nest, (1, 1), False, {}, content=SIX)
    refused(file, "impossible shape")


def test_fault_75_compressed_entries_are_not_opened(archive: Path, tmp_path: Path) -> None:
    bomb = bytes(2**20)
    entries = {**entries_of(archive), "ViT-tiny/data/0": bomb}
    refused(rewritten(tmp_path, entries, **{"0": zipfile.ZIP_DEFLATED}), "zip bomb")
    # torch.load is kept from such a file, too
    torch.save({"a": torch.zeros(2**18)}, tmp_path / "plain.pt")
    entries = entries_of(tmp_path / "plain.pt")
    refused(rewritten(tmp_path, entries, **{"0": zipfile.ZIP_DEFLATED}), "zip bomb")


def test_fault_75_entries_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    file = one_tensor(tmp_path, stored(), 0, (6,), (1,), False, {}, content=SIX * 200)
    with zipfile.ZipFile(file, "a") as opened:
        opened.writestr("a/extra", b"")
        shared = opened.getinfo("a/data/0")
        for number in range(1, 4):
            again = zipfile.ZipInfo(f"a/data/{number}")
            again.header_offset, again.CRC = shared.header_offset, shared.CRC
            again.file_size = again.compress_size = shared.file_size
            opened.filelist.append(again)
            opened.NameToInfo[again.filename] = again
    refused(file, "overlap")


def test_a_module_that_holds_itself_ends(tmp_path: Path) -> None:
    tree = b"\x80\x02c__torch__\nModule\n)\x81q\x00}(X\x01\x00\x00\x00ah\x00X\x01\x00\x00\x00bNub."
    file = rewritten(tmp_path, {"a/data.pkl": tree, "a/constants.pkl": b""})
    assert read_torchscript(file) == {}
    refused(file, "no state dict")


def test_modules_nested_without_end_are_refused(tmp_path: Path) -> None:
    depth = 50_000
    opening = b"c__torch__\nModule\n)\x81}(X\x01\x00\x00\x00bNX\x01\x00\x00\x00a"
    tree = b"\x80\x02" + opening * depth + b"N" + b"ub" * depth + b"."
    refused(rewritten(tmp_path, {"a/data.pkl": tree, "a/constants.pkl": b""}), "nested too deep")


def test_fault_52_damaged_archives_are_refused(archive: Path, tmp_path: Path) -> None:
    whole = archive.read_bytes()
    file = tmp_path / "damaged.pt"
    place = whole.index(entries_of(archive)["ViT-tiny/data/7"]) + 5
    flipped = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
    cuts = [whole[: len(whole) * part // 7] for part in range(1, 7)]
    for content in (flipped, whole[:-1], whole[:5], *cuts):
        file.write_bytes(content)
        refused(file, "Bad CRC|not a zip file|failed|PytorchStreamReader|pickle")
    entries = entries_of(archive)
    del entries["ViT-tiny/data/3"]
    refused(rewritten(tmp_path, entries), "data/3")
