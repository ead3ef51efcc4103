"""The curves of a training for TensorBoard, beside the log, which has the same numbers."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gleclip_cli.artifacts.stage import Stage
from gleclip_cli.errors import EnvironmentFault

BOARD_FOLDER = "tensorboard"


@contextmanager
def board(stage: Stage, folder: Path) -> Iterator[None]:
    """Write every number that `stage` logs into `folder` too; what has no step goes to the last.

    Raises:
        EnvironmentFault: TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise EnvironmentFault(
            "TensorBoard is not installed.", "Run: pip install 'gleclip[tensorboard]'"
        ) from error
    writer: Any = SummaryWriter(str(folder))
    step = 0

    def hear(event: Mapping[str, Any]) -> None:
        nonlocal step
        step = event.get("step", step)
        for name, value in event.items():
            if name != "step" and isinstance(value, int | float):
                writer.add_scalar(f"{event['event']}/{name}", value, step)

    stage.listeners.append(hear)
    try:
        yield
    finally:
        writer.close()
