"""The training loop: one criterion, one schedule, any number of processes.

Resumable to the bit on the CPU.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from gleclip_cli.artifacts.checkpoint import STATE_FILE, load_training_state, save_training_state
from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.errors import EnvironmentFault
from gleclip_cli.progress import SILENT, Progress
from gleclip_cli.training.batches import Batch
from gleclip_cli.training.trainer import Trainer

_LOG_EVERY = 10

Batches = Callable[[int, int], Iterator[Batch]]
"""First number, number after the last -> these batches; a number is the same batch in every run."""


def resume(trainer: Trainer, state_folder: Path) -> bool:
    """Go on from the state in `state_folder` if it is ahead of the trainer; tell whether it is.

    Raises:
        BadInput: the state is damaged, or of another network.
        EnvironmentFault: the processes do not see the same state.
    """
    saved = load_training_state(state_folder)
    ahead = saved is not None and saved["step"] > trainer.step
    if saved is not None and ahead:
        trainer.restore(saved)
    # all wait here: the main process must not replace what others still read
    if len(set(trainer.processes.gather(trainer.step))) > 1:
        raise EnvironmentFault(
            f"The processes do not find the same {STATE_FILE} in {printable(state_folder)}.",
            "Put the run into a folder that all machines share.",
        )
    return ahead


def rounds(
    trainer: Trainer, count: int, state_folder: Path, *, log: Callable[[Mapping[str, Any]], None]
) -> Iterator[tuple[int, int, bool]]:
    """Yield what is left of `count` equal rounds: number, step after the last, whether it begins.

    Goes on from the state in `state_folder`; `fit` to the end of a round before the next is asked
    for. Raises what `resume` does.
    """
    if resume(trainer, state_folder):
        log({"event": "resumed", "step": trainer.step})
    first = 0
    for number in range(count):
        last = round(trainer.recipe.steps * (number + 1) / count)
        if trainer.step < last:
            yield number, last, trainer.step == first
        first = last


def fit(
    trainer: Trainer,
    batches: Batches,
    *,
    until: int | None = None,
    state_folder: Path,
    save_seconds: float = 30.0,
    log: Callable[[Mapping[str, Any]], None],
    progress: Progress = SILENT,
) -> None:
    """Train to step `until` (the last by default), from the state in `state_folder` if it is ahead.

    Before the last step, the state is saved at the end. A batch of which a process has no image
    that can be read is left out.

    Raises:
        Diverged: a loss is NaN or infinite; the state of an earlier step, whose loss was finite,
            stays in `state_folder`.
    """
    if resume(trainer, state_folder):
        log({"event": "resumed", "step": trainer.step})
    last, count = trainer.recipe.steps, trainer.recipe.accumulate
    until = last if until is None else min(until, last)
    if trainer.step >= until:
        return
    main = trainer.processes.main
    stream = batches(trainer.step * count, until * count)
    last_saved = time.monotonic()
    for step in progress.each(
        range(trainer.step, until), total=until - trainer.step, label="steps"
    ):
        trainer.begin()
        due = main and time.monotonic() - last_saved >= save_seconds
        state = trainer.state() if due else None
        losses = []
        for batch in islice(stream, count):
            if not trainer.processes.all(bool(batch.image_ids), trainer.device):
                continue
            loss, whole = trainer.loss(batch)
            if state is not None:  # its weights have just given a finite loss
                save_training_state(state_folder, state)
                state, last_saved = None, time.monotonic()
            trainer.learn(loss)
            losses.append(whole)
        if losses:
            trainer.update()
            if step % _LOG_EVERY == 0 or step == last - 1:
                mean, rate = sum(losses) / len(losses), trainer.recipe.rate(step)
                log({"event": "step", "step": step, "loss": mean, "rate": rate})
        trainer.step += 1
    if main and until < last:
        save_training_state(state_folder, trainer.state())
