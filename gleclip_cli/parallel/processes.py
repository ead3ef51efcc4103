"""The processes of one training, as torchrun starts them; the one importer of accelerate."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from gleclip_cli.errors import EnvironmentFault, UsageError
from gleclip_cli.parallel.device import own_device, pick_device

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """This process among all; `device`: its name for `pick_device`.

    What all have to do together, all must call: mean, all, gather, wait. Each of these raises
    EnvironmentFault when another process has ended.
    """

    rank: int = 0
    count: int = 1
    device: str = "auto"

    @property
    def main(self) -> bool:
        """Whether this is the one process that locks, writes and tells."""
        return self.rank == 0

    def share(self, batch_size: int) -> tuple[int, int]:
        """Return (rank, count), if a batch can be divided evenly.

        Raises:
            UsageError: it cannot.
        """
        if batch_size % self.count:
            raise UsageError(
                f"--batch-size {batch_size} cannot be divided among {self.count} processes.",
                f"Use a multiple of {self.count}.",
            )
        return self.rank, self.count

    def mean(self, tensor: Tensor) -> Tensor:
        """Return the mean over all processes of a tensor on this one's device; no gradients."""
        if self.count == 1:
            return tensor
        from accelerate.utils import reduce

        with _together():
            total: Tensor = reduce(tensor.detach(), reduction="sum")
        return total / self.count

    def all(self, flag: bool, device: torch.device) -> bool:
        """Return whether the flag is set in all processes; `device` as for `mean`."""
        if self.count == 1:
            return flag
        return bool(self.mean(torch.tensor(float(flag), device=device)) == 1)

    def gather(self, value: T) -> list[T]:
        """Return the (picklable) value of every process, by rank."""
        if self.count == 1:
            return [value]
        from accelerate.utils import gather_object

        with _together():
            values: list[T] = gather_object([value])
        return values

    def wait(self) -> None:
        """Return when all processes have come here."""
        if self.count == 1:
            return
        from accelerate import PartialState

        with _together():
            PartialState().wait_for_everyone()


ALONE = Processes()


@contextmanager
def joined(device: str) -> Iterator[Processes]:
    """Join the processes that torchrun has started; without torchrun, yield one alone.

    `device`: as on the command line; on GPUs every process has its own.

    Raises:
        UsageError: the device is one that processes cannot share.
        EnvironmentFault: there is no such device, or not one for each process.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes(device=device)
        return
    own = own_device(device, count)
    picked = pick_device(own)
    from accelerate import PartialState

    with _together():
        state = PartialState(cpu=picked.type == "cpu")
    yield Processes(state.process_index, state.num_processes, own)
    # Only after success: else the others must see this process end, not wait for its goodbye.
    state.destroy_process_group()


@contextmanager
def _together() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # so torch.distributed tells of lost connections, too
        raise EnvironmentFault(
            "Another process of this training has ended or cannot be reached.",
            "Its own message tells why; else see --debug. The same command goes on.",
        ) from error
