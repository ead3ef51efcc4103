"""How a stage tells what it is doing, without knowing who listens."""

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar, runtime_checkable

T = TypeVar("T")


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: 1 image, 2 images."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


@runtime_checkable  # so that the shape checks of the tests can look at signatures
class Progress(Protocol):
    """What a stage may report; `cli.console` shows it, `SILENT` drops it."""

    def each(self, items: Iterable[T], *, total: int, label: str = "") -> Iterator[T]:
        """Yield `items` unchanged, counting them against `total`."""
        ...

    def say(self, message: str) -> None:
        """Tell one line, for people."""
        ...

    def warn(self, message: str) -> None:
        """Tell one line that the summary counts as a warning."""
        ...


class Silent:
    """A `Progress` that shows nothing."""

    def each(self, items: Iterable[T], *, total: int, label: str = "") -> Iterator[T]:
        """Yield `items` unchanged."""
        yield from items

    def say(self, message: str) -> None:
        """Drop the message."""

    def warn(self, message: str) -> None:
        """Drop the message."""


SILENT = Silent()
