"""Labels of a network in training: what is done stays, processes share, bad images are told."""

import threading

import torch

from gleclip_cli.errors import BadInput
from gleclip_cli.parallel.processes import ALONE, Processes
from gleclip_cli.training.teaching import teach


class Pretended(Processes):
    """One of several processes that never wait."""

    def wait(self) -> None:
        pass


def taught(processes: Processes, done: str = "") -> tuple[dict[str, str], list[str]]:
    saved: dict[str, str] = {}
    bad: list[str] = []

    def label(image_id: str) -> str:
        if image_id == "c":
            raise BadInput("It is broken.")
        return image_id.upper()

    def save(image_id: str, labels: str) -> None:
        assert threading.current_thread() is threading.main_thread()
        saved[image_id] = labels

    teach(
        list("abcdef"), label, save, done=lambda image_id: image_id in done,
        device=torch.device("cpu"), processes=processes,
        on_bad=lambda image_id, error: bad.append(f"{image_id}: {error}"),
    )  # fmt: skip
    return saved, bad


def test_what_is_done_stays_and_what_is_bad_is_told():
    saved, bad = taught(ALONE, done="be")
    assert saved == {"a": "A", "d": "D", "f": "F"}
    assert bad == ["c: It is broken."]


def test_processes_share_the_images_whatever_is_done():
    assert taught(Pretended(0, 2)) == ({"a": "A", "e": "E"}, ["c: It is broken."])
    assert taught(Pretended(1, 2), done="d") == ({"b": "B", "f": "F"}, [])
