"""How a stage is executed: never part of the stage key."""

from dataclasses import dataclass

from gleclip_cli.config.checks import choice, require


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How a stage runs: never part of the stage key.

    `together`: the shards are started by one launcher and end together.
    """

    device: str = "auto"
    workers: int = 0
    shard: tuple[int, int] = (0, 1)
    together: bool = False
    resume: bool = True
    overwrite: bool = False
    allow_partial: bool = False
    on_bad: str = "skip"
    max_failures: int | None = None
    dry_run: bool = False
    log_to: str = ""

    def __post_init__(self) -> None:
        choice("--on-bad", self.on_bad, ("stop", "skip"))
        if self.log_to:
            choice("--log-to", self.log_to, ("tensorboard",))
        index, count = self.shard
        require(0 <= index < count, f"--shard is {index}/{count}.", "Use i/n with 0 <= i < n.")
        require(self.workers >= 0, f"--workers is {self.workers}.", "Use 0 or more.")
