"""Errors a user can act on: one line of cause, one line of remedy, one exit code each."""


class GleclipError(Exception):
    """A fault with a known cause; `cli` prints it without a traceback.

    The message is one line; `remedy` is one line telling what to do about it.
    """

    exit_code = 1

    def __init__(self, cause: str, remedy: str = "") -> None:
        super().__init__(cause)
        self.cause = cause
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.cause}\n{self.remedy}" if self.remedy else self.cause


class Diverged(GleclipError):
    """A training run produced NaN or infinite losses; the last good checkpoint is kept."""

    exit_code = 1


class UsageError(GleclipError):
    """A command, option or configuration that makes no sense."""

    exit_code = 2


class BadInput(GleclipError):
    """Input data with a structural fault, or a bad item under `--on-bad stop`."""

    exit_code = 3


class MissingInput(BadInput):
    """A stage was asked to run before the stage that makes its input."""


class OtherSettings(GleclipError):
    """The output folder belongs to a run with other settings."""

    exit_code = 5


class EnvironmentFault(GleclipError):
    """Disk, memory, device, permission, lock or missing dependency."""

    exit_code = 6
