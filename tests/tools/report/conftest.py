"""A run with hostile names; a headless Chromium, spoken to through a pipe without a driver."""

import base64
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gleclip_cli.artifacts.maps import Cam, save_cam, save_label_image
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.stage import open_stage
from gleclip_cli.artifacts.tables import ImageRecord, save_prepared
from gleclip_cli.config import (
    EvaluateConfig,
    Execution,
    GenCamConfig,
    RefineConfig,
    TrainSegConfig,
)
from gleclip_cli.datasets.class_table import class_table
from gleclip_cli.datasets.vocabulary import voc_palette

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)


class Browser:
    """One page of a Chromium; `events` holds what it has told beside its answers.

    Source: the Chrome DevTools Protocol; messages are JSON, each ended by a zero byte.
    """

    def __init__(self, program: str, profile: Path) -> None:
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        # The browser reads from descriptor 3 and writes to 4.
        wiring = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
        command = ["bash", "-c", wiring, "bash", program, *FLAGS, f"--user-data-dir={profile}"]
        self._process = subprocess.Popen(
            [*command, "about:blank"],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._left = b""
        self._count = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Page.setLifecycleEventsEnabled", enabled=True)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send one command and return its result."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._count:
                assert "error" not in answer, (method, answer["error"])
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            part = os.read(self._in, 2**20)
            assert part, "the browser has ended"
            self._left += part
        message, self._left = self._left.split(b"\0", 1)
        answer: dict[str, Any] = json.loads(message)
        return answer

    def open(self, path: Path) -> None:
        """Load a file and wait until it is complete."""
        self.events.clear()
        loader = self.call("Page.navigate", url=path.as_uri())["loaderId"]
        done = {"name": "load", "loaderId": loader}.items()
        while not any(done <= told.items() for told in self.told("Page.lifecycleEvent")):
            self.events.append(self._receive())
        self.settle()

    def told(self, method: str) -> list[dict[str, Any]]:
        """Parameters of all events of a kind."""
        return [event["params"] for event in self.events if event.get("method") == method]

    def run(self, script: str) -> Any:
        """Evaluate an expression and return its value."""
        answer = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def settle(self) -> None:
        """Wait for two frames and for all pictures."""
        self.run(
            "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
            ".then(() => Promise.all(Array.from(document.images, i => i.decode().catch(() => 0))))"
            ".then(() => 1)"
        )

    def choose(self, element: str, value: object, event: str = "change") -> None:
        """Give an input element a value, as a user would."""
        found = f"document.getElementById({json.dumps(element)})"
        fire = f"dispatchEvent(new Event({json.dumps(event)}))"
        self.run(f"(e => {{ e.value = {json.dumps(value)}; e.{fire}; }})({found})")
        self.settle()

    def press(self, key: str) -> None:
        """Press and release a key."""
        text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        codes = {"Enter": 13, "Escape": 27, "ArrowLeft": 37, "ArrowRight": 39, "Tab": 9}
        code = {"windowsVirtualKeyCode": codes[key]} if key in codes else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text, **code)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, **code)
        self.settle()

    def picture(self, path: Path, **options: Any) -> None:
        """Save what the window shows."""
        shot = self.call("Page.captureScreenshot", **options)
        path.write_bytes(base64.b64decode(shot["data"]))

    def close(self) -> None:
        """End the browser and wait for it."""
        os.write(self._out, b'{"id": 0, "method": "Browser.close"}\0')
        self._process.wait(timeout=30)
        os.close(self._out)
        os.close(self._in)


EVIL = '<img src=x onerror="alert(1)">'
CLASSES = (EVIL, "a\"b'c&d</script>", "Zwölf 🚲")
IMAGES = {"</script><script>alert(1)</script>": (1, 2), 'b&c "d"': (2,), "e\udcff\x1b[31m": (3,)}
SIZE = (24, 32)
QUIET = Execution(device="cpu")


def truth_of(class_ids: tuple[int, ...]) -> np.ndarray:
    """Boxes side by side; a column of ignored pixels."""
    labels = np.zeros(SIZE, np.uint8)
    for place, class_id in enumerate(class_ids):
        labels[4:20, 2 + 12 * place : 10 + 12 * place] = class_id
    labels[:, -2:] = 255
    return labels


class Made:
    """A run with hostile names, made part by part; train and val hold other pictures."""

    def __init__(self, folder: Path) -> None:
        self.run = RunDir(folder / "run <b>&amp;")
        self.palette = voc_palette()
        self.root = folder / "photos"
        records: dict[str, dict[str, ImageRecord]] = {"train": {}, "val": {}}
        for number, (split, image_id) in enumerate((s, i) for s in records for i in IMAGES):
            image = self.root / f"{number}.png"
            save_label_image(image, truth_of((number,)), self.palette)
            mask = self.root / f"{number} mask.png"
            save_label_image(mask, truth_of(IMAGES[image_id]), self.palette)
            digest = hashlib.sha256(image.read_bytes()).hexdigest()
            records[split][image_id] = ImageRecord(image, mask, SIZE, digest)
        self.records = records
        self.prepare()

    def prepare(self) -> None:
        """Write the tables, again if records have changed."""
        table = class_table(CLASSES)
        again = Execution(overwrite=True, resume=False)
        with open_stage(self.run, "prepare_data", {}, execution=again) as stage:
            tables = save_prepared(
                self.run,
                dataset="folder",
                vocabulary="gleclip.toml",
                root=self.root,
                records=self.records,
                labels=dict.fromkeys(self.records, IMAGES),
                class_table=table,
            )
            stage.finish(*tables)

    def maps(self) -> "Made":
        """Maps of train that know the truth, made without tags."""
        config = GenCamConfig(labels="none")
        options: Any = {"name": "train", "item_ids": list(IMAGES), "execution": QUIET}
        with open_stage(self.run, "gen_cam", config, **options) as stage:
            stage.todo()
            for image_id, class_ids in IMAGES.items():
                path = self.run.cam("train", image_id)
                true = truth_of(class_ids)[::4, ::4]
                scores = np.array([0.2 + 0.6 * (true == c) for c in class_ids], np.float32)
                save_cam(path, Cam(scores, np.array(class_ids), SIZE))
                stage.done(image_id, path)
            stage.finish()
        return self

    def masks(self) -> "Made":
        """Pseudo masks of train, right but for one row."""
        options: Any = {"name": "train", "item_ids": list(IMAGES), "execution": QUIET}
        with open_stage(self.run, "refine", RefineConfig(), **options) as stage:
            stage.todo()
            for image_id, class_ids in IMAGES.items():
                path = self.run.pseudo_mask("train", image_id)
                save_label_image(path, self.guess(class_ids), self.palette)
                stage.done(image_id, path)
            stage.finish()
        return self

    def guess(self, class_ids: tuple[int, ...]) -> np.ndarray:
        """What a good network might say."""
        labels = truth_of(class_ids)
        labels[labels == 255] = 0
        labels[4] = 0
        return labels

    def network(self) -> "Made":
        """A training's log, and predictions on val with the scores of train's masks."""
        with open_stage(
            self.run, "train_seg", TrainSegConfig(), name="seg", execution=QUIET
        ) as stage:
            for step in range(0, 60, 10):
                stage.log({"event": "step", "step": step, "loss": 2 - step / 50, "rate": 0.1})
            stage.log({"event": "monitor", "split": "val", "miou": 0.5, "images": 3})
            stage.finish()
        shutil.copytree(self.run.evaluation("pseudo", "train"), self.run.evaluation("seg", "val"))
        for path in self.run.evaluation("seg", "val").glob("*.json"):
            facts = json.loads(path.read_text())
            if "config" in facts:
                facts["name"] = "seg-val"
                facts["config"] |= {"what": "seg", "split": "val"}
                path.write_text(json.dumps(facts))
        for image_id, class_ids in IMAGES.items():
            path = self.run.pred_mask("seg", "val", image_id)
            save_label_image(path, self.guess(class_ids), self.palette)
        return self

    def scores(self, *outputs: str) -> "Made":
        """Score what was made of train."""
        from gleclip_cli.stages.evaluate import evaluate

        for what in outputs:
            evaluate(self.run, EvaluateConfig(what=what, split="train"), execution=QUIET)
        return self


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Prepared data and nothing else."""
    return Made(tmp_path)


@pytest.fixture
def whole(tmp_path: Path) -> Made:
    """A run with everything, to be changed."""
    return Made(tmp_path).maps().masks().scores("cam", "pseudo").network()


@pytest.fixture(scope="package")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A run with everything, of which only the page may change."""
    folder = tmp_path_factory.mktemp("kept")
    return Made(folder).maps().masks().scores("cam", "pseudo").network()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """A fresh Chromium, or a skipped test where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    program = next((found for name in names if (found := shutil.which(name))), None)
    if program is None or os.name != "posix":
        pytest.skip("no Chromium was found")
    opened = Browser(program, tmp_path / "profile")
    yield opened
    opened.close()
