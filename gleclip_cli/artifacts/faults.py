"""`Faults`: what becomes of a bad item, as `--on-bad` and `--max-failures` say."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gleclip_cli.artifacts.atomic import as_item_fault
from gleclip_cli.artifacts.index import FAILED_FILE, Index
from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.config import Execution
from gleclip_cli.errors import BadInput
from gleclip_cli.progress import Progress


class Faults:
    """Records bad items in failed.jsonl, or lets them end the stage."""

    def __init__(self, index: Index, execution: Execution, progress: Progress) -> None:
        self._index = index
        self._stops, self._most = execution.on_bad == "stop", execution.max_failures
        self._progress = progress
        self._met = 0

    @contextmanager
    def item(self, image_id: str, path: Path | None) -> Iterator[None]:
        """Work on one item; a fault of the item is recorded, or raised under `--on-bad stop`.

        Raises:
            BadInput: the item is bad and `on_bad` is stop, or `max_failures` is reached.
            EnvironmentFault: the disk is full; no other item would fare better.
        """
        try:
            yield
        except (BadInput, OSError) as error:
            fault = as_item_fault(error)
            if self._stops or not isinstance(fault, BadInput):
                raise fault from error
            self._record(image_id, path, fault)
        else:
            self._index.mend(image_id)

    def _record(self, image_id: str, path: Path | None, fault: BadInput) -> None:
        failure = {"id": image_id, "reason": fault.cause, "remedy": fault.remedy}
        if path is not None:
            failure["path"] = printable(path)
        self._index.fail(failure)
        self._progress.warn(printable(f"{image_id}: {fault.cause}"))
        self._met += 1
        if self._most is not None and self._met >= self._most:
            raise BadInput(
                f"Stopped after {self._met} failed items (--max-failures).",
                f"Read {printable(self._index.folder / FAILED_FILE)}.",
            ) from fault
