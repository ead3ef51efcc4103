"""Data sets as large as the official ones, of pictures of one pixel: counts, time and memory.

pytest -m slow tests/test_official_lists.py -s

Every measurement runs in a process of its own, because peak memory is that of a process.
"""

import gzip
import io
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from gleclip_cli.datasets.coco.raw_ids import RAW_IDS
from gleclip_cli.datasets.vocabulary import load_vocabulary

DATA = Path(os.environ.get("GLECLIP_TEST_DATA", Path(__file__).parents[1] / "../shared/data"))
LISTS = DATA / "voc-lists"
COUNTS = {"train": 82_081, "val": 40_137}
EMPTY = {"train": 702, "val": 367}  # listed by COCO, without any annotation

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not LISTS.is_dir(), reason="the lists of GLECLIP_TEST_DATA are absent"),
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux"),
]

PREPARE = """
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.tables import load_prepared
from gleclip_cli.config import PrepareDataConfig
from gleclip_cli.stages.prepare_data import prepare_data
run = RunDir("run")
manifest = prepare_data(run, PrepareDataConfig(dataset={dataset!r}, data={data!r}))
assert manifest.complete
splits = {{s: len(load_prepared(run).image_ids(s)) for s in load_prepared(run).splits()}}
notes, problems = {{}}, []
"""
READ = """
from gleclip_cli.config import PrepareDataConfig
from gleclip_cli.datasets.readers import read_source
source = read_source(PrepareDataConfig(dataset={dataset!r}, data={data!r}))
splits = {{s: len(ids) for s, ids in source.splits.items()}}
notes, problems = source.notes, [p.cause for p in source.problems]
"""
MEASURE = """
import json, pathlib, time
started = time.perf_counter()
{work}
# ru_maxrss would begin with that of pytest, which a new process inherits
status = pathlib.Path("/proc/self/status").read_text()
print(json.dumps(dict(
    splits=splits, notes=notes, problems=problems,
    seconds=round(time.perf_counter() - started, 1),
    mebibytes=int(status.partition("VmHWM:")[2].split()[0]) // 1024)))
"""


def measure(work: str, dataset: str, data: Path, folder: Path) -> dict[str, Any]:
    code = MEASURE.format(work=work.format(dataset=dataset, data=str(data)))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    print(f"\n{dataset} {found}")
    return found


def make_pictures(folder: Path, names: Iterable[str]) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (1, 1)).save(buffer, "JPEG")
    folder.mkdir(parents=True)
    for name in names:
        (folder / f"{name}.jpg").write_bytes(buffer.getvalue())


def labelled(split: str) -> list[list[str]]:
    """Rows of an official list of labels: name, id, id ..."""
    with gzip.open(LISTS / f"coco14_{split}_labels.txt.gz", "rt") as lines:
        return [line.split() for line in lines]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("devkit") / "COCO2014"
    for split in COUNTS:
        names = [name for name, *_ in labelled(split)] + nameless(split)
        make_pictures(root / "JPEGImages" / f"{split}2014", names)
    return root


def nameless(split: str) -> list[str]:
    return [f"COCO_{split}2014_{10**6 + number:012d}" for number in range(EMPTY[split])]


def test_coco_from_its_label_lists(pictures: Path, tmp_path: Path) -> None:
    for split in COUNTS:
        shutil.copy(LISTS / f"coco14_{split}_labels.txt.gz", pictures)
    found = measure(PREPARE, "coco", pictures, tmp_path)
    assert found["splits"] == COUNTS
    assert found["mebibytes"] < 600


def test_coco_from_instances_of_full_size(pictures: Path, tmp_path: Path) -> None:
    for split in COUNTS:
        write_instances(pictures / "annotations" / f"instances_{split}2014.json", split)
    size = (pictures / "annotations" / "instances_train2014.json").stat().st_size
    assert size > 440e6
    found = measure(READ, "coco", pictures, tmp_path)
    assert found["splits"] == COUNTS
    assert found["problems"] == []
    assert found["notes"] == {f"of {s} without objects, left out": n for s, n in EMPTY.items()}
    assert found["mebibytes"] < 600  # json.load: 2,657


def write_instances(path: Path, split: str) -> None:
    """As many objects with as many corners as in COCO: 605,000 and 450 MB in train."""
    rng = random.Random(split)
    outlines = [[[round(rng.uniform(0, 640), 2) for _ in range(76)]] for _ in range(500)]
    texts = [json.dumps(outline) for outline in outlines]
    rows = labelled(split)
    entries = [
        {"license": 5, "file_name": f"{name}.jpg", "height": 1, "width": 1, "id": number}
        for number, name in enumerate([name for name, *_ in rows] + nameless(split))
    ]
    categories = [
        {"supercategory": "thing", "id": raw, "name": name}
        for raw, name in zip(RAW_IDS, load_vocabulary("coco").classes, strict=True)
    ]
    path.parent.mkdir(exist_ok=True)
    with path.open("w") as stream:
        stream.write(f'{{"info": {{}}, "images": {json.dumps(entries)}, "annotations": [')
        comma = ""
        for image, (_, *ids) in enumerate(rows):
            for word in ids + rng.choices(ids, k=rng.choice((2, 4, 7))):
                stream.write(
                    f'{comma}{{"segmentation": {rng.choice(texts)}, "area": 54652.9555, '
                    f'"iscrowd": 0, "image_id": {image}, "bbox": [116.95, 305.86, 285.3, 266.03], '
                    f'"category_id": {RAW_IDS[int(word)]}, "id": 156}}'
                )
                comma = ", "
        stream.write(f'], "categories": {json.dumps(categories)}}}')


def test_voc_and_its_augmented_list(tmp_path: Path) -> None:
    root = tmp_path / "VOCdevkit" / "VOC2012"
    lists = {s: (LISTS / f"{s}.txt").read_text().split() for s in ("train", "trainaug", "val")}
    names = sorted(set().union(*lists.values()))
    make_pictures(root / "JPEGImages", names)
    (root / "Annotations").mkdir()
    for name in names:
        text = "<annotation><object><name>cat</name></object></annotation>"
        (root / "Annotations" / f"{name}.xml").write_text(text)
    (root / "ImageSets" / "Segmentation").mkdir(parents=True)
    for split in lists:
        shutil.copy(LISTS / f"{split}.txt", root / "ImageSets" / "Segmentation")
    found = measure(PREPARE, "voc", root, tmp_path)
    assert found["splits"] == {"train": 1_464, "trainaug": 10_582, "val": 1_449}
    assert found["mebibytes"] < 200
