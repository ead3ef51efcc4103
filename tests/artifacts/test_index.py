"""Outputs with something made of all items together: by shards, and from one list to the next."""

import threading
from pathlib import Path
from typing import Any

import pytest

from gleclip_cli.artifacts.atomic import write_text
from gleclip_cli.artifacts.run_dir import OutDir
from gleclip_cli.artifacts.stage import Manifest, open_stage
from gleclip_cli.config import Execution

IDS = ["a", "b c", "d", "e", "f"]


def letters(out: OutDir, ids: list[str] = IDS, *, stop: str = "", **execution: Any) -> Manifest:
    """A file per item, and one that counts them all."""
    with open_stage(
        out, "letters", {}, item_ids=ids, execution=Execution(**execution), keep_others=True
    ) as stage:
        for item in stage.todo(dict.fromkeys(ids, "same")):
            if item == stop:
                raise KeyboardInterrupt
            write_text(out.areas(item), item)
            stage.done(item, out.areas(item))
        if not stage.ended():
            return stage.leave()
        write_text(out.areas(), "\n".join(sorted(stage.index.item_ids)))
        return stage.finish(out.areas())


def content(out: OutDir) -> dict[str, bytes]:
    files = (path for path in out.root.rglob("*") if path.is_file())
    return {
        str(path.relative_to(out.root)): path.read_bytes()
        for path in files
        if path.name not in ("log.jsonl", "manifest.json")
    }


@pytest.fixture
def whole(tmp_path: Path) -> dict[str, bytes]:
    letters(OutDir(tmp_path / "whole"))
    return content(OutDir(tmp_path / "whole"))


def test_the_last_shard_makes_the_whole(tmp_path: Path, whole: dict[str, bytes]) -> None:
    out = OutDir(tmp_path / "out")
    for index in range(3):
        manifest = letters(out, shard=(index, 3))
        assert manifest.path.exists() == out.areas().exists() == (index == 2)
    assert manifest.complete
    assert content(out) == whole


def test_shards_that_run_together_end_together(tmp_path: Path, whole: dict[str, bytes]) -> None:
    out, found = OutDir(tmp_path / "out"), {}

    def work(index: int) -> None:
        found[index] = letters(out, shard=(index, 2), together=True)

    threads = [threading.Thread(target=work, args=[index]) for index in range(2)]
    threads[1].start()
    threads[1].join(timeout=0.5)
    assert threads[1].is_alive()  # waits for the other
    threads[0].start()
    for thread in threads:
        thread.join(timeout=20)
    assert found[0].complete
    assert found[0].data == found[1].data
    assert content(out) == whole


def test_an_item_that_is_missing_takes_the_manifest_back(tmp_path: Path) -> None:
    out = OutDir(tmp_path / "out")
    path = letters(out).path
    out.areas("a").unlink()
    own = next(i for i in range(2) if "a" not in _own(out, i))
    letters(out, shard=(own, 2))  # the other one has it to do
    assert path.exists()  # nobody has looked at `a` since
    with pytest.raises(KeyboardInterrupt):
        letters(out, shard=(1 - own, 2), stop="a")
    assert not letters(out, shard=(own, 2)).complete
    assert not path.exists()


def _own(out: OutDir, index: int) -> list[str]:
    with open_stage(
        out, "letters", {}, item_ids=IDS, execution=Execution(shard=(index, 2), dry_run=True)
    ) as stage:
        return stage.index.own_ids()


def test_what_other_lists_have_made_stays(tmp_path: Path, whole: dict[str, bytes]) -> None:
    out = OutDir(tmp_path / "out")
    letters(out, IDS[:2])
    letters(out, IDS[2:])
    assert content(out) == whole
    letters(out, IDS[:1], shard=(0, 2))
    letters(out, IDS[:1], shard=(1, 2))
    assert content(out) == whole


def test_of_other_lists_only_what_is_gone_is_forgotten(tmp_path: Path) -> None:
    out = OutDir(tmp_path / "out")
    letters(out)
    out.areas("d").unlink()
    manifest = letters(out, IDS[:1])
    assert manifest.complete
    assert manifest.counts["items"] == 4
    assert out.areas().read_text().split("\n") == ["a", "b c", "e", "f"]


def test_names_become_folders_without_leaving_them(tmp_path: Path) -> None:
    out = OutDir(tmp_path)
    assert out.output("predict", "x") == tmp_path
    assert out.mask("farm/a b") == tmp_path / "masks" / "farm" / "a b.png"
    assert out.overlay("../a:b", "jpg") == tmp_path / "overlays" / "%2E%2E" / "a%3Ab.jpg"


def test_of_two_that_end_in_the_same_moment_one_makes_the_whole(tmp_path: Path) -> None:
    out = OutDir(tmp_path / "out")
    letters(out)
    options = {"item_ids": IDS, "keep_others": True}
    with open_stage(out, "letters", {}, execution=Execution(shard=(0, 2)), **options) as first:
        with open_stage(out, "letters", {}, execution=Execution(shard=(1, 2)), **options) as second:
            assert first.ended()
            assert not second.ended()
        first.finish(out.areas())
    assert not list(out.root.glob(".*"))
