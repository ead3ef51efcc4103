"""A toy stage without torch: what every stage does with its output folder."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gleclip_cli.artifacts.maps import Cam, save_cam
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.stage import Manifest, open_stage
from gleclip_cli.config import Execution
from gleclip_cli.errors import BadInput
from gleclip_cli.progress import Silent

IDS = ["b", "a b", "Zwölf", "c", "d", "e", "f", "g"]


class Heard(Silent):
    """Keeps what a stage says and warns of."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)

    def warn(self, message: str) -> None:
        self.warnings.append(message)


class Toy:
    """Writes one map per id; `made`, `heard`, `said`: ids, warnings, words of the last call."""

    ids = IDS

    def __init__(self, run: RunDir) -> None:
        self.run = run
        self.folder = run.output("gen_cam", "train")
        self.made: list[str] = []
        self.heard: list[str] = []
        self.said: list[str] = []

    def __call__(
        self,
        ids: Collection[str] = IDS,
        *,
        config: Mapping[str, Any] | None = None,
        bad: Collection[str] = (),
        stop_at: str = "",
        fingerprints: Mapping[str, str] | None = None,
        inputs: Collection[Manifest | None] = (),
        weights: Mapping[str, str] | None = None,
        **execution: Any,
    ) -> Manifest:
        heard, self.made = Heard(), []
        self.heard, self.said = heard.warnings, heard.said
        with open_stage(
            self.run,
            "gen_cam",
            config or {"scales": (1.0,), "flip": False},
            name="train",
            inputs=list(inputs),
            weights=weights,
            item_ids=list(ids),
            execution=Execution(**execution),
            progress=heard,
        ) as stage:
            for image_id in stage.todo(fingerprints):
                if stage.dry_run:
                    self.made.append(image_id)
                    continue
                with stage.item(image_id):
                    if image_id == stop_at:
                        raise KeyboardInterrupt
                    if image_id in bad:
                        raise BadInput(f"{image_id} is bad.", "Mend it.")
                    path = self.run.cam("train", image_id)
                    save_cam(path, toy_cam(image_id))
                    stage.done(image_id, path, without_classes=image_id == "b")
                    self.made.append(image_id)
            return stage.finish()

    def content(self) -> dict[str, bytes]:
        """Every file but those that tell of time."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file() and path.name not in ("log.jsonl", "manifest.json")
        }


def toy_cam(image_id: str) -> Cam:
    generator = np.random.default_rng(sum(image_id.encode()))
    return Cam(generator.random((2, 3, 4)).astype(np.float32), np.array([1, 2]), (48, 64))


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(RunDir(tmp_path / "run"))


@pytest.fixture
def another_toy(tmp_path: Path) -> Callable[[], Toy]:
    """Toys in runs of their own."""
    numbers = iter(range(100))
    return lambda: Toy(RunDir(tmp_path / f"run-{next(numbers)}"))
