"""Labels that a network makes for the rest of its own training."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from gleclip_cli.errors import BadInput
from gleclip_cli.parallel.batches import prefetched
from gleclip_cli.parallel.processes import Processes
from gleclip_cli.parallel.threads import picture_threads
from gleclip_cli.progress import SILENT, Progress
from gleclip_cli.training.batches import OnBad

L = TypeVar("L")


def teach(
    image_ids: Sequence[str],
    label: Callable[[str], L],
    save: Callable[[str, L], None],
    *,
    done: Callable[[str], bool],
    device: torch.device,
    processes: Processes,
    on_bad: OnBad,
    progress: Progress = SILENT,
    task: str = "",
) -> None:
    """Label and save the images that a cut training has not `done`; processes share them.

    All return when the last has finished. `label` may run in several threads, `save` in one.
    """
    own = image_ids[processes.rank :: processes.count]
    missing = [image_id for image_id in own if not done(image_id)]
    with picture_threads(device) as threads:
        labelled = prefetched(missing, label, workers=threads)
        for image_id, result in progress.each(labelled, total=len(missing), label=task):
            try:
                labels = result()
            except (BadInput, OSError) as error:
                on_bad(image_id, error)
                continue
            save(image_id, labels)
    processes.wait()
