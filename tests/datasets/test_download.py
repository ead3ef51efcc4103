"""Downloads from a server on this machine: good, broken off, changed and hostile."""

import hashlib
import io
import re
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock
from urllib.parse import urlparse

import numpy as np
import pytest

from gleclip_cli.artifacts.lock import FolderLock
from gleclip_cli.datasets import archives
from gleclip_cli.datasets import download as module
from gleclip_cli.datasets.download import Archive, download
from gleclip_cli.errors import BadInput, EnvironmentFault, UsageError
from gleclip_cli.progress import Silent

PICTURES = np.random.default_rng(0).bytes(300_000)


def zipped(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


class Server(ThreadingHTTPServer):
    """Serves `files`; misbehaves as told and writes down which byte each request began with."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.starts: list[int] = []
        self.breaks: list[int] = []
        self.ranges = True
        self.lengths = True
        self.endless = False
        self.status = 200
        self.moved: dict[str, str] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, path = self.server, self.path.strip("/")
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked and server.ranges else 0
        server.starts.append(start)
        if path in server.moved:
            self.send_response(302)
            self.send_header("Location", f"{server.url}/{server.moved[path]}")
            self.end_headers()
            return
        content = server.files.get(path)
        if content is None or server.status != 200:
            self.send_error(404 if content is None else server.status)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if server.lengths:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = start + server.breaks.pop(0) if server.breaks else len(content)
        self.wfile.write(content[start:end])
        while server.endless:
            self.wfile.write(bytes(2**16))

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(module, "_PAUSES", (0.0, 0.0, 0.0))
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.endless = False
        server.shutdown()
        thread.join()


@pytest.fixture
def table(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table of one archive per folder; `offer` fills it."""
    path = tmp_path / "downloads.toml"
    path.write_text("")
    monkeypatch.setattr(module, "data_file", lambda *_: path)
    server.files["pictures.zip"] = zipped({"pictures/a.jpg": PICTURES, "pictures/b.jpg": b"b"})
    server.files["labels.zip"] = zipped({"labels/a.json": b"{}"})
    offer(path, server, "pictures.zip", "pictures")
    offer(path, server, "labels.zip", "labels")
    return path


def offer(table: Path, server: Server, name: str, folder: str, **changes: object) -> None:
    content = server.files[name]
    entry = {
        "url": f"{server.url}/{name}",
        "size": len(content),
        "unpacked": 10**6,
        "checksum": f"sha256:{hashlib.sha256(content).hexdigest()}",
        "folder": folder,
    } | changes
    lines = [f"{k} = {v!r}" for k, v in entry.items()]
    with table.open("a") as file:
        file.write("\n".join(["[[set]]", *lines, ""]))


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "data" / "here"


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


WHOLE = {"pictures/a.jpg", "pictures/b.jpg", "labels/a.json"}


def test_archives_are_fetched_and_unpacked_and_removed(
    table: Path, server: Server, target: Path
) -> None:
    assert download("set", target) == target
    assert tree(target) == WHOLE
    assert (target / "pictures" / "a.jpg").read_bytes() == PICTURES
    assert server.starts == [0, 0]


def test_a_finished_download_is_not_repeated(table: Path, server: Server, target: Path) -> None:
    download("set", target)
    server.starts.clear()
    server.files.clear()
    said: list[str] = []
    teller = Silent()
    teller.say = said.append  # type: ignore[method-assign]
    download("set", target, progress=teller)
    assert server.starts == []
    assert [line.endswith("is there already.") for line in said] == [True, True]


def test_only_what_is_missing_is_fetched(table: Path, server: Server, target: Path) -> None:
    (target / "pictures").mkdir(parents=True)
    download("set", target)
    assert tree(target) == {"labels/a.json"}
    assert len(server.starts) == 1


def test_a_broken_connection_is_taken_up_where_it_broke(
    table: Path, server: Server, target: Path
) -> None:
    server.breaks = [100_000, 150_000]
    download("set", target)
    assert server.starts[:3] == [0, 100_000, 250_000]
    assert tree(target) == WHOLE


def test_the_next_command_goes_on_where_the_last_ended(
    table: Path, server: Server, target: Path
) -> None:
    target.mkdir(parents=True)
    (target / "pictures.zip.part").write_bytes(server.files["pictures.zip"][:200_000])
    download("set", target)
    assert server.starts == [200_000, 0]
    assert tree(target) == WHOLE


def test_a_file_that_came_whole_is_not_fetched_again(
    table: Path, server: Server, target: Path
) -> None:
    target.mkdir(parents=True)
    (target / "pictures.zip.part").write_bytes(server.files["pictures.zip"])
    download("set", target)
    assert len(server.starts) == 1
    assert tree(target) == WHOLE


def test_a_server_that_cannot_go_on_is_asked_for_everything(
    table: Path, server: Server, target: Path
) -> None:
    server.ranges = False
    server.breaks = [100_000]
    download("set", target)
    assert server.starts == [0, 0, 0]
    assert tree(target) == WHOLE


@pytest.mark.parametrize("lengths", [True, False])
def test_a_server_that_brings_nothing_more_is_given_up(
    table: Path, server: Server, target: Path, lengths: bool
) -> None:
    server.lengths = lengths
    server.breaks = [100_000, *[0] * 10]
    with pytest.raises(EnvironmentFault, match=r"cannot be fetched: (.|\n)*100000 bytes .* kept"):
        download("set", target)
    assert server.starts == [0, *[100_000] * 4]
    assert tree(target) == {"pictures.zip.part"}
    server.breaks = []
    download("set", target)
    assert tree(target) == WHOLE


def test_moved_files_are_followed(table: Path, server: Server, target: Path) -> None:
    server.files["new.zip"] = server.files.pop("pictures.zip")
    server.moved["pictures.zip"] = "new.zip"
    download("set", target)
    assert tree(target) == WHOLE


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (503, 4)])
def test_what_a_server_refuses_is_told(
    table: Path, server: Server, target: Path, status: int, requests: int
) -> None:
    server.status = status
    with pytest.raises(EnvironmentFault, match=f"pictures.zip cannot be fetched: .*{status}"):
        download("set", target)
    assert len(server.starts) == requests


def test_without_a_connection_the_cause_is_told(table: Path, server: Server, target: Path) -> None:
    table.write_text(table.read_text().replace(str(server.server_port), "1"))
    said = Mock(spec=Silent)
    with pytest.raises(EnvironmentFault, match="cannot be fetched") as caught:
        download("set", target, progress=said)
    assert "name their folder with --data" in caught.value.remedy
    assert not said.say.called  # nothing is tried again


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_fault_76_a_file_of_another_checksum_is_deleted(
    table: Path, server: Server, target: Path, kind: str
) -> None:
    content = bytearray(server.files["pictures.zip"])
    table.write_text("")
    right = f"{kind}:{hashlib.new(kind, content).hexdigest()}"
    offer(table, server, "pictures.zip", "pictures", checksum=right)
    content[1000] ^= 1
    server.files["pictures.zip"] = bytes(content)
    with pytest.raises(BadInput, match=f"came with the {kind} (.|\n)*deleted"):
        download("set", target)
    assert tree(target) == set()
    content[1000] ^= 1
    server.files["pictures.zip"] = bytes(content)
    download("set", target)
    assert (target / "pictures" / "a.jpg").read_bytes() == PICTURES


def test_fault_76_a_wrong_beginning_is_found_too(table: Path, server: Server, target: Path) -> None:
    target.mkdir(parents=True)
    (target / "pictures.zip.part").write_bytes(b"x" * 1000)
    with pytest.raises(BadInput, match="deleted"):
        download("set", target)
    assert tree(target) == set()


def test_fault_76_a_file_of_another_size_is_not_even_fetched(
    table: Path, server: Server, target: Path
) -> None:
    server.files["pictures.zip"] += b"more"
    with pytest.raises(BadInput, match=r"pictures\.zip has \d+ bytes, not \d+"):
        download("set", target)
    assert tree(target) == set()


def test_fault_76_a_file_without_end_is_cut_and_deleted(
    table: Path, server: Server, target: Path
) -> None:
    server.lengths, server.endless = False, True
    with pytest.raises(BadInput, match="deleted"):
        download("set", target)
    assert tree(target) == set()


@pytest.mark.parametrize("name", ["../evil", "/evil", "pictures/../../evil"])
def test_fault_74_a_hostile_archive_leaves_nothing(
    table: Path, server: Server, target: Path, name: str
) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("pictures/a.jpg"))
        archive.addfile(tarfile.TarInfo(name))
    server.files["evil.tgz"] = stream.getvalue()
    table.write_text("")
    offer(table, server, "evil.tgz", "pictures")
    with pytest.raises(BadInput, match="leads out of it"):
        download("set", target)
    assert tree(target.parent) == {"here/evil.tgz.part"}


def test_fault_75_a_bomb_leaves_nothing(table: Path, server: Server, target: Path) -> None:
    table.write_text("")
    offer(table, server, "pictures.zip", "pictures", unpacked=len(PICTURES))
    with pytest.raises(BadInput, match="unpacks to more than"):
        download("set", target)
    assert tree(target) == {"pictures.zip.part"}


def test_without_room_nothing_is_fetched(
    table: Path, server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = [len(server.files[name]) for name in ("pictures.zip", "labels.zip")]
    # Each archive stands beside what its predecessors and itself have unpacked to.
    needed = max(10**6 + sizes[0], 2 * 10**6 + sizes[1])
    disk = SimpleNamespace(free=needed - 1)
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: disk)
    with pytest.raises(EnvironmentFault, match="are needed in"):
        download("set", target)
    assert server.starts == []
    disk.free = needed
    download("set", target)
    assert tree(target) == WHOLE


def test_two_commands_do_not_write_one_file(table: Path, server: Server, target: Path) -> None:
    target.mkdir(parents=True)
    lock = FolderLock(target / ".download.lock")
    try:
        with pytest.raises(EnvironmentFault, match="is being written by"):
            download("set", target)
    finally:
        lock.release()
    assert server.starts == []


def test_a_target_that_is_no_folder_is_told(table: Path, target: Path) -> None:
    target.parent.mkdir()
    target.write_text("")
    with pytest.raises(EnvironmentFault, match="Cannot write in"):
        download("set", target)


def test_unknown_data_sets_are_refused(table: Path, target: Path) -> None:
    with pytest.raises(UsageError, match=r"imagenet cannot(.|\n)*one of: set\."):
        download("imagenet", target)
    assert not target.exists()


@pytest.mark.parametrize(("name", "count"), [("voc", 1), ("sbd", 1), ("coco", 3)])
def test_the_table_is_whole(name: str, count: int) -> None:
    known = module._archives(name)
    assert len(known) == count
    for archive in known:
        assert isinstance(archive, Archive)
        assert urlparse(archive.url).scheme in ("http", "https")
        assert re.fullmatch(r"md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", archive.checksum)
        # Without a certificate, only a strong checksum tells who has sent a file.
        assert archive.url.startswith("https") or archive.checksum.startswith("sha256")
        assert 0 < archive.size < archive.unpacked
        assert archive.name.endswith((".tar", ".tgz", ".zip"))
