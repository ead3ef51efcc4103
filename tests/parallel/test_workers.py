"""Work over images: order, errors, dying workers, few images."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from gleclip_cli.errors import BadInput, UsageError
from gleclip_cli.parallel.workers import over_images


class Worker:
    """Adds a suffix; some ids mean trouble. Top-level, so that spawned processes find it."""

    def __init__(self, suffix: str, notes: Path) -> None:
        self.suffix = suffix
        self.notes = notes

    def __call__(self, image_id: str) -> str:
        if image_id == "broken":
            raise BadInput("The image is broken.", "Replace it.")
        if image_id == "a bug":
            raise ZeroDivisionError
        if image_id == "deadly":
            os.kill(os.getpid(), signal.SIGKILL)
        if image_id == "unlucky" and not self.notes.exists():
            self.notes.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return f"{image_id}{self.suffix}"


def refuse() -> Callable[[str], str]:
    """A build that cannot be."""
    raise UsageError("No such thing.", "Name another.")


def outcomes(image_ids: list[str], notes: Path, *, workers: int) -> dict[str, str]:
    found = {}
    for image_id, result in over_images(Worker, ("!", notes), image_ids, workers=workers):
        try:
            found[image_id] = result()
        except BadInput as error:
            found[image_id] = f"{error.cause} {error.remedy}"
    return found


@pytest.mark.parametrize("workers", [0, 3])
def test_results_come_in_order_and_errors_with_their_image(tmp_path: Path, workers: int) -> None:
    ids = ["a", "broken", "c"]
    found = outcomes(ids, tmp_path / "notes", workers=workers)
    assert list(found) == ids
    assert found == {"a": "a!", "broken": "The image is broken. Replace it.", "c": "c!"}


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_of_ours_names_the_image(tmp_path: Path, workers: int) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        outcomes(["a bug"], tmp_path, workers=workers)
    assert caught.value.__notes__ == ["Image: a bug"]


@pytest.mark.parametrize("workers", [0, 4])
def test_an_empty_list_builds_nothing(workers: int) -> None:
    assert list(over_images(refuse, (), [], workers=workers)) == []


def test_an_error_while_building_comes_as_it_was() -> None:
    with pytest.raises(UsageError, match="No such thing"):
        [result() for _, result in over_images(refuse, (), ["a"], workers=2)]


def test_fault_60_a_dying_worker_costs_one_image_after_one_retry(tmp_path: Path) -> None:
    ids = ["a", "deadly", "unlucky", "d", "e", "f"]
    found = outcomes(ids, tmp_path / "notes", workers=2)
    assert "died twice" in found.pop("deadly")
    assert found == {i: f"{i}!" for i in ids if i != "deadly"}
