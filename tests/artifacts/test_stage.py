"""What a stage promises: resume, failures, refusal of other settings, shards, dry run."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gleclip_cli.artifacts.maps import load_cam
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.stage import load_manifest, open_stage, require
from gleclip_cli.config import Execution
from gleclip_cli.errors import BadInput, EnvironmentFault, MissingInput, OtherSettings

HERE = Path(__file__).parent


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def changes(folder: Path) -> dict[Path, tuple[int, bytes]]:
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file() and path.name != "log.jsonl"
    }


def test_a_stage_leaves_what_the_reference_says(toy: Any) -> None:
    manifest = toy()
    assert toy.made == toy.ids
    assert manifest.complete
    assert manifest.counts == {"items": 8, "done": 8, "failed": 0, "without_classes": 1}
    names = {path.name for path in toy.folder.iterdir()}
    assert names == {
        "cams",
        "index.0-of-1.jsonl",
        "log.jsonl",
        "manifest.json",
        "settings.json",
    }
    index = lines(toy.folder / "index.0-of-1.jsonl")
    assert [line["id"] for line in index] == sorted(toy.ids)
    assert load_manifest(toy.run, "gen_cam", "train") == manifest
    events = [line["event"] for line in lines(toy.folder / "log.jsonl")]
    assert events == ["open", "finish"]


def test_a_rerun_does_nothing(toy: Any) -> None:
    first = toy()
    before = changes(toy.folder)
    assert toy() == first
    assert toy.made == []
    assert changes(toy.folder) == before
    assert toy.heard == []


def test_an_interrupted_stage_goes_on_and_ends_alike(
    toy: Any, another_toy: Callable[[], Any]
) -> None:
    (whole := another_toy())()
    with pytest.raises(KeyboardInterrupt):
        toy(stop_at="c")
    assert toy.made == toy.ids[:3]
    with pytest.raises(MissingInput, match="not finished"):
        load_manifest(toy.run, "gen_cam", "train")
    manifest = toy()
    assert toy.made == toy.ids[3:]
    assert manifest.counts["without_classes"] == 1  # "b" was done before the interruption
    assert toy.content() == whole.content()


def test_no_resume_makes_everything_again(toy: Any) -> None:
    toy()
    before = toy.content()
    toy(resume=False)
    assert toy.made == toy.ids
    assert toy.content() == before


def test_partial_output_is_refused_unless_allowed(toy: Any) -> None:
    with pytest.raises(MissingInput, match=r"gleclip gen-cam --run \S+ --split train"):
        require(toy.run, "gen_cam", "train", allow_partial=True)
    toy(bad=["c"])
    with pytest.raises(MissingInput, match="--allow-partial"):
        require(toy.run, "gen_cam", "train", allow_partial=False)
    assert require(toy.run, "gen_cam", "train", allow_partial=True).counts["failed"] == 1


def test_fault_53_other_settings_are_refused_and_named(toy: Any) -> None:
    toy(weights={"clip": "a" * 64})
    before = changes(toy.folder)
    with pytest.raises(OtherSettings) as caught:
        toy(config={"scales": (0.5, 1.0), "flip": False}, weights={"clip": "b" * 64})
    assert caught.value.exit_code == 5
    assert "scales [1.0] -> [0.5, 1.0]" in caught.value.cause
    assert "weight clip aaaaaaaaaaaa -> bbbbbbbbbbbb" in caught.value.cause
    assert "flip" not in caught.value.cause
    assert changes(toy.folder) == before
    assert not list(toy.folder.glob(".*"))


def test_a_raised_limit_extends_and_a_lowered_one_is_refused(
    toy: Any, another_toy: Callable[[], Any]
) -> None:
    def limited(limit: int | None, **execution: Any) -> Any:
        config = {"scales": (1.0,), "flip": False, "limit": limit}
        return toy(toy.ids[:limit], config=config, **execution)

    whole = another_toy()
    digest = whole(config={"scales": (1.0,), "flip": False, "limit": None}).digest
    first = limited(3)
    assert first.complete
    assert first.data["config"]["limit"] == 3
    with pytest.raises(OtherSettings, match=r"other settings: flip false -> true\."):
        toy(config={"scales": (1.0,), "flip": True, "limit": 8})
    assert limited(8, dry_run=True).counts["to_do"] == 5
    assert limited(8).data["config"]["limit"] == 8
    assert toy.made == toy.ids[3:]
    last = limited(None)  # the same images
    assert toy.made == []
    assert last.data["config"]["limit"] is None
    assert (last.key, last.digest) == (first.key, digest)
    for execution in ({}, {"dry_run": True}):
        with pytest.raises(OtherSettings, match=r"other settings: limit null -> 3\."):
            limited(3, **execution)
    assert toy.content() == whole.content()


def test_overwrite_replaces_everything(toy: Any, another_toy: Callable[[], Any]) -> None:
    toy([*toy.ids, "only before"])
    new = {"config": {"scales": (0.5,)}}
    toy(**new, overwrite=True)
    (whole := another_toy())(**new)
    assert toy.content() == whole.content()
    toy(**new, overwrite=True)  # the same settings: nothing to replace
    assert toy.made == []


def test_files_of_somebody_else_are_never_deleted(toy: Any) -> None:
    toy.folder.mkdir(parents=True)
    (toy.folder / "thesis.txt").write_text("mine")
    with pytest.raises(OtherSettings, match=r"thesis\.txt, which is not gleclip's"):
        toy(overwrite=True)
    assert (toy.folder / "thesis.txt").read_text() == "mine"


def test_damaged_settings_fit_nothing(toy: Any) -> None:
    toy()
    (toy.folder / "settings.json").write_text("{")
    with pytest.raises(OtherSettings, match="damaged"):
        toy()
    assert toy(overwrite=True).complete
    assert toy.made == toy.ids


def test_fault_52_damaged_files_are_made_again(toy: Any) -> None:
    toy()
    before = toy.content()
    path = toy.run.cam("train", "c")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    toy.run.cam("train", "d").unlink()
    assert toy().complete
    assert toy.made == ["c", "d"]
    assert toy.heard == ["Made again, because of damage: 2 items."]
    assert toy.content() == before


def test_fault_56_times_mean_nothing(toy: Any) -> None:
    toy()
    for path in toy.folder.rglob("*"):
        os.utime(path, (4e9, 4e9))
    toy()
    assert toy.made == []


def test_fault_57_changed_input_is_made_again(toy: Any) -> None:
    prints = dict.fromkeys(toy.ids, "old")
    toy(fingerprints=prints)
    toy(fingerprints={**prints, "c": "new"})
    assert toy.made == ["c"]
    assert toy.heard == ["Made again, because their input has changed: 1 item."]
    toy(fingerprints={**prints, "c": "new"})
    assert toy.made == []


@pytest.mark.parametrize("damage", [b"", b'{"id": "g", "fi', b"\xff\n[1]\n{}\n"])
def test_a_damaged_index_only_costs_time(toy: Any, damage: bytes) -> None:
    toy()
    before = toy.content()
    index = toy.folder / "index.0-of-1.jsonl"
    whole = index.read_bytes().splitlines(keepends=True)
    index.write_bytes(b"".join(whole[:5]) + damage)
    toy()
    done = {json.loads(line)["id"] for line in whole[:5]}
    assert toy.made == [image_id for image_id in toy.ids if image_id not in done]
    assert toy.content() == before


def test_a_damaged_manifest_is_written_again(toy: Any) -> None:
    manifest = toy()
    manifest.path.write_text("{")
    assert toy().digest == manifest.digest
    assert load_manifest(toy.run, "gen_cam", "train").counts == manifest.counts


def test_items_that_left_the_list_leave_the_output(
    toy: Any, another_toy: Callable[[], Any]
) -> None:
    toy()
    assert toy(toy.ids[:3]).counts["items"] == 3
    (whole := another_toy())(toy.ids[:3])
    assert toy.content() == whole.content()


def test_no_items_at_all(toy: Any) -> None:
    assert toy([]).complete


def test_fault_55_the_lock_of_a_dead_process_is_recovered(toy: Any) -> None:
    toy.folder.mkdir(parents=True)
    (toy.folder / ".lock").write_text("4194303\n")
    (toy.folder / ".x.npz.tmp-4194303").write_text("half")
    assert toy().data["warnings"] == ["Recovered the lock of process 4194303."]
    assert not list(toy.folder.glob(".*"))


def test_fault_54_a_second_run_is_kept_out(toy: Any) -> None:
    def nested() -> None:
        with open_stage(toy.run, "gen_cam", {}, name="train", execution=Execution()):
            toy(config={})

    with pytest.raises(EnvironmentFault, match=f"written by process {os.getpid()}"):
        nested()


def test_fault_59_too_few_inodes_are_told_before_work(
    toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.statvfs

    def full(path: Any) -> os.statvfs_result:
        values = list(real(path))
        values[7] = 7  # f_favail
        return os.statvfs_result(values)

    monkeypatch.setattr(os, "statvfs", full)
    with pytest.raises(EnvironmentFault, match="8 files are to be written") as caught:
        toy()
    assert "room for 7 more" in caught.value.cause
    assert toy.made == []


UNPRIVILEGED = """
import os, sys
from pathlib import Path
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.stage import open_stage
from gleclip_cli.config import Execution
from gleclip_cli.errors import EnvironmentFault
os.umask(0)
folder = Path(sys.argv[1]) / "gen_cam"
folder.mkdir(parents=True)
folder.chmod(0o555)
os.chdir(folder)  # the folders above may be closed to others
if os.getuid() == 0:
    os.setuid(65534)
for run, stage in ((RunDir("new"), "gen_cam"), (RunDir(""), "")):
    try:
        with open_stage(run, stage, {}, execution=Execution()):
            print("opened")
    except EnvironmentFault as fault:
        print(fault.exit_code, fault.cause)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs permissions of POSIX")
def test_fault_51_a_read_only_folder_is_found_before_any_compute(tmp_path: Path) -> None:
    command = [sys.executable, "-c", UNPRIVILEGED, str(tmp_path)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines() == [
        "6 Cannot create new/gen_cam: Permission denied.",
        "6 Cannot write in .: Permission denied.",
    ]


def test_a_dry_run_writes_nothing_and_tells_what_is_left(toy: Any) -> None:
    manifest = toy(dry_run=True)
    assert toy.made == toy.ids
    assert manifest.counts["to_do"] == 8
    assert not manifest.complete
    assert not toy.run.root.exists()
    with pytest.raises(KeyboardInterrupt):
        toy(stop_at="c")
    before = changes(toy.folder)
    manifest = toy(dry_run=True)
    assert toy.made == toy.ids[3:]
    assert (manifest.counts["done"], manifest.counts["to_do"]) == (3, 5)
    toy(dry_run=True, resume=False)
    assert toy.made == toy.ids
    toy(dry_run=True, overwrite=True, config={"scales": ()})
    assert toy.made == toy.ids
    with pytest.raises(OtherSettings):
        toy(dry_run=True, config={"scales": ()})
    assert changes(toy.folder) == before
    toy()
    assert toy(dry_run=True).counts["to_do"] == 0


@pytest.mark.parametrize("shards", [2, 3, 20])
def test_shards_write_what_one_process_writes(
    toy: Any, another_toy: Callable[[], Any], shards: int
) -> None:
    (whole := another_toy())()
    made = []
    for index in range(shards):
        manifest = toy(shard=(index, shards))
        made += toy.made
        assert manifest.complete == (sorted(made) == sorted(toy.ids))
        assert manifest.path.exists() == manifest.complete
    assert sorted(made) == sorted(toy.ids)
    assert toy.content() == whole.content()


def test_shards_keep_what_other_numbers_of_shards_made(
    toy: Any, another_toy: Callable[[], Any]
) -> None:
    (whole := another_toy())()
    with pytest.raises(KeyboardInterrupt):
        toy(stop_at="d")
    made = list(toy.made)
    for shard in ((0, 3), (1, 2), (0, 2), (2, 3), (1, 3), (0, 1)):
        toy(shard=shard)
        made += toy.made
    assert sorted(made) == sorted(toy.ids)
    assert toy.content() == whole.content()


def test_failures_of_shards_are_told_together(toy: Any) -> None:
    for index in range(2):
        manifest = toy(shard=(index, 2), bad=["a b", "c", "d"])
    assert [line["id"] for line in lines(toy.folder / "failed.jsonl")] == ["a b", "c", "d"]
    assert manifest.counts["failed"] == 3
    assert not manifest.complete
    assert toy().complete


SHARD = """
import sys
sys.path.insert(0, sys.argv[1])
from conftest import Toy
from gleclip_cli.artifacts.run_dir import RunDir
index, count = int(sys.argv[3]), int(sys.argv[4])
toy = Toy(RunDir(sys.argv[2]))
print("ready", flush=True)
sys.stdin.readline()
toy([f"image {n}" for n in range(30)], shard=(index, count))
"""


def test_shards_at_the_same_time(toy: Any, another_toy: Callable[[], Any]) -> None:
    (whole := another_toy())([f"image {n}" for n in range(30)])
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", SHARD, str(HERE), str(toy.run.root), str(index), "3"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for index in range(3)
    ]
    for worker in workers:
        assert worker.stdout
        worker.stdout.readline()
    for worker in workers:
        assert worker.stdin
        worker.stdin.write(b"\n")
        worker.stdin.flush()
    for worker in workers:
        worker.communicate()
        assert worker.returncode == 0
    assert load_manifest(toy.run, "gen_cam", "train").complete
    assert toy.content() == whole.content()


def test_a_working_shard_protects_the_folder(toy: Any) -> None:
    def nested(**options: Any) -> None:
        with open_stage(toy.run, "gen_cam", {}, name="train", execution=Execution(shard=(0, 2))):
            toy(config={"scales": ()}, **options)

    with pytest.raises(EnvironmentFault, match="being written"):
        nested()
    with pytest.raises(EnvironmentFault, match="being written with other settings"):
        nested(shard=(1, 2), overwrite=True)
    with pytest.raises(OtherSettings):
        nested(shard=(1, 2))


def train(
    run: RunDir, *, inputs: Any = (), limit: int | None = None, **execution: Any
) -> tuple[bool, Path]:
    """A stage without items: whether it was finished, and its folder."""
    config, how = {"limit": limit}, Execution(**execution)
    with open_stage(run, "train_seg", config, name="seg", inputs=inputs, execution=how) as stage:
        finished = stage.finished
        if not finished and not stage.dry_run:
            (stage.folder / "checkpoint").write_text("weights")
            stage.finish(stage.folder / "checkpoint", steps=3)
        else:
            stage.finish()
    return finished, stage.folder


def test_a_dry_run_takes_weights_that_are_not_here_for_the_same(toy: Any) -> None:
    fetched = "The weights of CLIP are not on this machine: they would be fetched."
    assert toy(weights={"clip": ""}, dry_run=True).counts["to_do"] == 8
    toy(weights={"clip": "1", "texts": "2"})
    unknown = {"clip": "", "texts": "2"}
    assert toy(weights=unknown, dry_run=True).counts["to_do"] == 0
    assert toy.said == [fetched]
    with pytest.raises(OtherSettings, match=r"other settings: weight texts 2 -> 3\."):
        toy(weights={"clip": "", "texts": "3"}, dry_run=True)
    other = {"weights": unknown, "config": {"scales": ()}, "dry_run": True}
    assert toy(**other, overwrite=True).counts["to_do"] == 8
    assert [line.split(":")[0] for line in toy.said] == [fetched.split(":")[0], "Would be replaced"]


def test_a_run_knows_that_it_was_opened(toy: Any) -> None:
    toy(dry_run=True)
    assert not toy.run.opened
    with pytest.raises(KeyboardInterrupt):
        toy(stop_at="b")
    assert toy.run.opened
    again = type(toy)(RunDir(toy.run.root))
    with pytest.raises(OtherSettings):
        again(config={"scales": ()})
    assert not again.run.opened


def test_a_stage_without_items_is_done_once(toy: Any) -> None:
    finished, folder = train(toy.run)
    before = changes(folder)
    assert not finished
    assert load_manifest(toy.run, "train_seg", "seg").counts["steps"] == 3
    assert train(toy.run, dry_run=True)[0]
    assert train(toy.run)[0]
    assert changes(folder) == before
    assert not train(toy.run, dry_run=True, resume=False)[0]
    assert not train(toy.run, resume=False)[0]


def test_failures_without_items_stay_until_they_are_mended(toy: Any) -> None:
    def score(bad: str) -> bool:
        with open_stage(toy.run, "evaluate", {}, execution=Execution()) as stage:
            for image_id in "ab":
                with stage.item(image_id):
                    if image_id == bad:
                        raise BadInput(f"{image_id} is bad.")
            return stage.finish().complete

    assert not score("a")
    with open_stage(toy.run, "evaluate", {}, execution=Execution()) as stage:
        assert stage.finished
        assert not stage.finish().complete
    assert [line["id"] for line in lines(stage.folder / "failed.jsonl")] == ["a"]
    assert not score("b")
    failed = lines(stage.folder / "failed.jsonl")
    assert [line["id"] for line in failed] == ["b"]
    assert load_manifest(toy.run, "evaluate").data["failures"] == failed
    assert score("")
    assert not (stage.folder / "failed.jsonl").exists()


def test_fault_52_a_stage_without_items_sees_damage(toy: Any) -> None:
    _, folder = train(toy.run)
    (folder / "checkpoint").write_text("damaged")
    assert not train(toy.run)[0]
    assert train(toy.run)[0]


def test_fault_57_a_stage_without_items_starts_again_when_its_input_changes(toy: Any) -> None:
    first = toy(fingerprints=dict.fromkeys(toy.ids, "old"))
    _, folder = train(toy.run, inputs=[first])
    (folder / "state").write_text("of the old training")
    assert train(toy.run, inputs=[first, None])[0]
    second = toy(fingerprints={**dict.fromkeys(toy.ids, "old"), "c": "new"})
    assert second.key == first.key
    assert second.digest != first.digest
    assert not train(toy.run, inputs=[second], dry_run=True)[0]
    assert (folder / "state").exists()
    assert not train(toy.run, inputs=[second])[0]
    assert not (folder / "state").exists()
    warnings = load_manifest(toy.run, "train_seg", "seg").data["warnings"]
    assert warnings == [f"The input of {folder} has changed: made again from the start."]


def test_a_training_on_more_images_replaces_one_only_if_its_input_has_grown(toy: Any) -> None:
    first = toy(toy.ids[:3])
    train(toy.run, inputs=[first], limit=3)
    assert train(toy.run, inputs=[first], limit=3)[0]
    with pytest.raises(OtherSettings, match=r"other settings: limit 3 -> null\."):
        train(toy.run, inputs=[first])
    grown = toy()
    assert not train(toy.run, inputs=[grown], dry_run=True)[0]
    assert not train(toy.run, inputs=[grown])[0]
    with pytest.raises(OtherSettings, match=r"other settings: limit null -> 3\."):
        train(toy.run, inputs=[first], limit=3)


def test_without_fingerprints_every_item_follows_the_input(toy: Any, tmp_path: Path) -> None:
    def upstream(content: str) -> Any:
        with open_stage(RunDir(tmp_path / "up"), "prepare_data", {}, execution=Execution()) as up:
            (up.folder / "list").write_text(content)
            return up.finish(up.folder / "list")

    toy(inputs=[upstream("a")])
    toy(inputs=[upstream("a")])
    assert toy.made == []
    toy(inputs=[upstream("b")])
    assert toy.made == toy.ids


def test_manifests_give_fingerprints_for_the_next_stage(toy: Any) -> None:
    before = toy().fingerprints()
    assert set(before) == set(toy.ids)
    toy.run.cam("train", "c").unlink()
    assert toy().fingerprints() == before


KILLED = """
import os, random, shutil, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from conftest import Toy
from gleclip_cli.artifacts.provenance import environment
from gleclip_cli.artifacts.run_dir import RunDir
toy = Toy(RunDir(sys.argv[2]))
ids = [f"image {n}" for n in range(15)]
random.seed(0)
os.fsync = lambda _: None  # guards against power failures only, and is most of the time

def child(seconds=0):
    # Processor time, not wall time: the moment does not depend on what else the machine does.
    # Like SIGKILL, SIGPROF ends a process that does not ask for it at once and without a trace.
    pid = os.fork()
    if not pid:
        signal.setitimer(signal.ITIMER_PROF, seconds)
        toy(ids, bad=["image 7"])
        os._exit(0)
    usage = os.wait4(pid, 0)[2]
    return usage.ru_utime + usage.ru_stime

environment()  # asks git, once for all children
seconds = []
for _ in range(5):
    seconds.append(child())
    shutil.rmtree(sys.argv[2])
whole = sorted(seconds)[2]
halves = kills = 0
while halves < int(sys.argv[3]):
    kills += 1
    child(random.uniform(0, whole) + 1e-6)
    done = len(list(toy.folder.rglob("*.npz")))
    manifest = (toy.folder / "manifest.json").exists()
    halves += 0 < done < len(ids) - 1
    if manifest:
        shutil.rmtree(sys.argv[2])
print(kills)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
@pytest.mark.parametrize("halves", [6, pytest.param(40, marks=pytest.mark.slow)])
def test_fault_48_a_stage_killed_at_random_times_ends_with_the_same_bytes(
    toy: Any, another_toy: Callable[[], Any], halves: int
) -> None:
    ids = [f"image {n}" for n in range(15)]
    (whole := another_toy())(ids, bad=["image 7"])
    command = [sys.executable, "-c", KILLED, str(HERE), str(toy.run.root), str(halves)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(answer.stdout) >= halves  # kills, of which that many hit the items
    for path in toy.folder.rglob("*.npz"):
        load_cam(path)
    manifest = toy(ids, bad=["image 7"])
    assert manifest.counts == load_manifest(whole.run, "gen_cam", "train").counts
    assert toy.content() == whole.content()
