"""Unpacking: what is in an archive comes out whole, and a hostile one leaves nothing behind."""

import gzip
import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from gleclip_cli.datasets import archives
from gleclip_cli.datasets.archives import check_room, unpack
from gleclip_cli.errors import BadInput, EnvironmentFault

PLENTY = 10**6
GOOD = {"data/a.txt": b"one", "data/sub/b.txt": b"two" * 1000, "data/empty": b"", "other/c": b"x"}


def as_tar(files: dict[str, bytes], *more: tarfile.TarInfo, mode: str = "w") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in more:
            archive.addfile(info, io.BytesIO(bytes(max(info.size, 0))))
    return stream.getvalue()


def as_tgz(files: dict[str, bytes], *more: tarfile.TarInfo) -> bytes:
    return gzip.compress(as_tar(files, *more))


def as_zip(files: dict[str, bytes], *more: tuple[zipfile.ZipInfo, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        for info, content in more:
            archive.writestr(info, content)
    return stream.getvalue()


Write = Callable[[dict[str, bytes]], bytes]
FORMS = pytest.mark.parametrize("write", [as_tar, as_tgz, as_zip])


class Place:
    """A target in a folder of its own, so that what leads out of it is seen."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.target = root / "outer" / "target"
        self.target.mkdir(parents=True)
        self.archive = root / "outer" / "archive.part"

    def unpack(self, content: bytes, most_bytes: int = PLENTY) -> None:
        self.archive.write_bytes(content)
        unpack(self.archive, self.target, "data", most_bytes=most_bytes)

    @property
    def files(self) -> dict[str, bytes]:
        """What lies anywhere below the root, but for the archive."""
        found = [path for path in self.root.rglob("*") if path.is_file() or path.is_symlink()]
        return {
            os.path.relpath(path, self.target): path.read_bytes()
            for path in found
            if path != self.archive
        }


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@FORMS
def test_the_named_folder_comes_out_and_nothing_else(place: Place, write: Write) -> None:
    place.unpack(write(GOOD))
    assert place.files == {name: text for name, text in GOOD.items() if name != "other/c"}


@FORMS
def test_a_folder_in_a_folder_comes_out_beside_what_is_there(place: Place, write: Write) -> None:
    (place.target / "data").mkdir()
    (place.target / "data" / "mine").write_bytes(b"kept")
    place.archive.write_bytes(write({"./data/sub/b": b"two", "data/a": b"one"}))
    unpack(place.archive, place.target, "data/sub", most_bytes=PLENTY)
    assert place.files == {"data/mine": b"kept", "data/sub/b": b"two"}


def test_folders_of_an_archive_may_be_empty_and_files_are_plain(place: Place) -> None:
    folder = tarfile.TarInfo("data/none")
    folder.type = tarfile.DIRTYPE
    program = tarfile.TarInfo("data/program")
    program.mode = 0o6777
    place.unpack(as_tar({}, folder, program))
    assert (place.target / "data" / "none").is_dir()
    assert not (place.target / "data" / "program").stat().st_mode & (stat.S_ISUID | stat.S_IXUSR)


@FORMS
@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "data/../../evil",
        "other/../../evil",
        "/evil",
        "//host/share/evil",
        "C:evil",
        "C:\\evil",
        "data\\..\\..\\evil",
        "..",
    ],
)
def test_fault_74_names_that_lead_out_are_refused(place: Place, write: Write, name: str) -> None:
    with pytest.raises(BadInput, match="leads out of it"):
        place.unpack(write({**GOOD, name: b"evil"}))
    assert place.files == {}


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
@pytest.mark.parametrize(
    ("kind", "target", "named"),
    [
        (tarfile.SYMTYPE, "../../../evil", "a link"),
        (tarfile.SYMTYPE, "/etc/passwd", "a link"),
        (tarfile.SYMTYPE, "a.txt", "a link"),
        (tarfile.LNKTYPE, "../../evil", "a link"),
        (tarfile.LNKTYPE, "data/a.txt", "a link"),
        (tarfile.CHRTYPE, "", "a device"),
        (tarfile.BLKTYPE, "", "a device"),
        (tarfile.FIFOTYPE, "", "a device"),
    ],
)
@pytest.mark.parametrize("name", ["data/x", "other/x"])
def test_fault_74_links_and_devices_in_tar_are_refused(
    place: Place,
    compress: Callable[[bytes], bytes],
    kind: bytes,
    target: str,
    named: str,
    name: str,
) -> None:
    with pytest.raises(BadInput, match=f"{name} is {named}"):
        place.unpack(compress(as_tar(GOOD, special(name, kind, target))))
    assert place.files == {}


@pytest.mark.parametrize(
    ("kind", "named"),
    [(stat.S_IFLNK, "a link"), (stat.S_IFCHR, "a device"), (stat.S_IFIFO, "a device")],
)
def test_fault_74_links_and_devices_in_zip_are_refused(place: Place, kind: int, named: str) -> None:
    info = zipfile.ZipInfo("data/x")
    info.external_attr = (kind | 0o777) << 16
    with pytest.raises(BadInput, match=f"data/x is {named}"):
        place.unpack(as_zip(GOOD, (info, b"../../../evil")))
    assert place.files == {}


def test_fault_74_nothing_is_written_through_a_link(place: Place) -> None:
    link = special("data/way", tarfile.SYMTYPE, "../..")
    behind = tarfile.TarInfo("data/way/evil")
    with pytest.raises(BadInput, match="a link"):
        place.unpack(as_tar({}, link, behind))
    assert place.files == {}


@FORMS
def test_fault_75_more_bytes_than_announced_are_refused(place: Place, write: Write) -> None:
    content = write({"data/a": os.urandom(60_000), "data/b": os.urandom(60_000)})
    with pytest.raises(BadInput, match="more than 100000 bytes"):
        place.unpack(content, most_bytes=100_000)
    assert place.files == {}
    place.unpack(content, most_bytes=140_000)
    assert len(place.files) == 2


@pytest.mark.parametrize("write", [as_tgz, as_zip])
def test_fault_75_bombs_are_refused_by_their_ratio(place: Place, write: Write) -> None:
    bomb = write({"data/zeros": bytes(10**7)})
    assert len(bomb) < 20_000
    with pytest.raises(BadInput, match="unpacks to more than"):
        place.unpack(bomb, most_bytes=10**9)
    assert place.files == {}


def test_fault_75_a_bomb_in_the_headers_of_a_tar_is_refused(place: Place) -> None:
    long_name = special("data/x", tarfile.GNUTYPE_LONGNAME)
    long_name.size = 10**7
    with pytest.raises(BadInput, match="unpacks to more than"):
        place.unpack(as_tgz({}, long_name), most_bytes=10**9)


def test_fault_75_a_file_of_negative_size_is_refused(place: Place) -> None:
    info = tarfile.TarInfo("data/x")
    info.size = -512  # would lead back to its own header, for ever
    header = info.tobuf(tarfile.GNU_FORMAT)
    for content in (header * 20, gzip.compress(header * 20)):
        with pytest.raises(BadInput, match="unpacks to more than"):
            place.unpack(content)


def test_fault_75_too_many_files_are_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_MOST_MEMBERS", 3)
    with pytest.raises(BadInput, match="more than 3 files"):
        place.unpack(as_zip(GOOD))
    assert place.files == {}


def test_fault_75_a_zip_that_lies_about_its_size_is_refused(place: Place) -> None:
    content = bytearray(as_zip({"data/a": b"x" * 5000}))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = content.index(signature) + offset
        content[start : start + 4] = (10).to_bytes(4, "little")
    with pytest.raises(BadInput, match="refused"):
        place.unpack(bytes(content))
    assert place.files == {}


@FORMS
def test_truncated_archives_are_refused(place: Place, write: Write) -> None:
    whole = write({"data/a": os.urandom(5000), "data/b": os.urandom(5000)})
    for length in (0, 3, 10, 600, 3000, 7000):
        with pytest.raises(BadInput, match=r"archive\.part"):
            place.unpack(whole[:length])
        assert place.files == {}


def test_flipped_bits_of_a_zip_are_refused(place: Place) -> None:
    whole = bytearray(as_zip({"data/a": os.urandom(5000)}))
    whole[2000] ^= 1
    with pytest.raises(BadInput, match=r"archive\.part is refused"):
        place.unpack(bytes(whole))
    assert place.files == {}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("write", [as_tar, as_zip])
def test_one_name_for_two_files_is_refused(place: Place, write: Callable[..., bytes]) -> None:
    if write is as_tar:
        content = as_tar(GOOD, tarfile.TarInfo("data/a.txt"))
    else:
        content = as_zip(GOOD, (zipfile.ZipInfo("data/a.txt"), b"x"))
    with pytest.raises(BadInput, match=r"cannot be unpacked: .*exists"):
        place.unpack(content)
    assert place.files == {}
    with pytest.raises(BadInput, match="cannot be unpacked"):
        place.unpack(write({"data/a": b"file", "data/a/b": b"and folder"}))
    assert place.files == {}


def test_an_encrypted_zip_is_refused(place: Place) -> None:
    content = bytearray(as_zip({"data/a": b"x"}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    with pytest.raises(BadInput, match="encrypted"):
        place.unpack(bytes(content))


@FORMS
def test_an_archive_without_the_folder_is_refused(place: Place, write: Write) -> None:
    with pytest.raises(BadInput, match="no folder data"):
        place.unpack(write({"database/a": b"x"}))


def test_what_a_killed_run_left_is_removed(place: Place) -> None:
    left = place.target / ".archive.part.unpacking" / "data"
    left.mkdir(parents=True)
    (left / "a.txt").write_bytes(b"half")
    place.unpack(as_zip(GOOD))
    assert place.files["data/a.txt"] == b"one"
    assert not left.parent.exists()


def test_without_room_nothing_is_unpacked(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(EnvironmentFault, match=r"GB are needed in .*target, 0\.0 are free"):
        place.unpack(as_zip(GOOD))
    assert place.files == {}
    check_room(place.target, 1000)
