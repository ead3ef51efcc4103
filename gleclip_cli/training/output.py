"""The output of a training: one process writes it, all know what was bad; a look at its worth."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from gleclip_cli.artifacts.labels import Labels
from gleclip_cli.artifacts.maps import load_label_image
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.stage import Stage, open_stage
from gleclip_cli.artifacts.tables import PreparedData
from gleclip_cli.config import Execution
from gleclip_cli.errors import BadInput
from gleclip_cli.metrics.confusion import confusion_of, summarise
from gleclip_cli.parallel.processes import Processes
from gleclip_cli.training.board import BOARD_FOLDER, board


@contextmanager
def open_training(
    run: RunDir,
    stage: str,
    config: Any,
    *,
    processes: Processes,
    execution: Execution,
    **options: Any,
) -> Iterator[Stage]:
    """Open the output folder as `open_stage` does: the main process for writing, others to look.

    A stage that only looks drops what it is told.

    Raises:
        OtherSettings: the folder holds output of other settings and `overwrite` is off.
        EnvironmentFault: somebody else is writing there, or it cannot be written.
    """
    if not processes.main:
        processes.wait()  # until the main process has claimed the folder
        execution = replace(execution, dry_run=True)
    with ExitStack() as stack:
        opened = stack.enter_context(open_stage(run, stage, config, execution=execution, **options))
        if processes.main:
            processes.wait()
        if execution.log_to and not execution.dry_run:
            stack.enter_context(board(opened, opened.folder / BOARD_FOLDER))
        yield opened


class BadImages:
    """Images that cannot be read: recorded once, or the end, as `on_bad` says.

    `images`: how many there are; a training without any that can be read is refused.
    """

    def __init__(self, stage: Stage, processes: Processes, *, images: int, on_bad: str) -> None:
        self._stage, self._processes = stage, processes
        self._images, self._stops = images, on_bad == "stop"
        self._told: dict[str, Exception] = {}

    def __call__(self, image_id: str, error: Exception) -> None:
        """Take note of an image that has failed with `error`.

        Raises:
            BadInput: `on_bad` is stop, or no image is left.
        """
        if image_id in self._told:
            return
        self._told[image_id] = error
        if self._processes.main:
            with self._stage.item(image_id):
                raise error
        elif self._stops:
            raise error
        if len(self._told) == self._images:
            raise BadInput("No image can be read with its mask.", str(error))

    def gather(self) -> None:
        """Take note of what the other processes have met; all call this."""
        for told in self._processes.gather(self._told):
            for image_id, error in told.items():
                self(image_id, error)


def monitor(
    stage: Stage,
    prepared: PreparedData,
    split: str,
    image_ids: Sequence[str],
    predict: Callable[[str], Labels],
    num_labels: int,
) -> dict[str, Any]:
    """Score a few images of a split, for the log and the checkpoint; nothing without true masks.

    `predict`: image id -> labels (H, W).
    """
    total = np.zeros((num_labels, num_labels + 1), dtype=np.int64)
    scored = 0
    for image_id in image_ids:
        path = prepared.record(split, image_id).mask
        if path is None:
            continue
        with stage.item(image_id, path):
            predicted = predict(image_id)
            total += confusion_of(load_label_image(path, num_labels), predicted, num_labels)
            scored += 1
    if not scored:
        return {}
    facts = {"split": split, "images": scored, "miou": summarise(total).miou}
    stage.log({"event": "monitor", **facts})
    return facts
