"""Training: schedule, learning, exact resume, and what happens when the loss is no number."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gleclip_cli.artifacts.checkpoint import load_training_state, save_training_state
from gleclip_cli.datasets.transforms import Augment
from gleclip_cli.errors import BadInput, Diverged, EnvironmentFault
from gleclip_cli.model.clip import load_clip
from gleclip_cli.parallel.processes import ALONE, Processes, joined
from gleclip_cli.seg.clip_decoder import ClipDecoder
from gleclip_cli.seg.criterion import PixelCriterion
from gleclip_cli.seg.deeplabv2 import deeplabv2_small
from gleclip_cli.seg.norms import share_norms
from gleclip_cli.seg.predict import predict_logits
from gleclip_cli.training.average import WeightAverage
from gleclip_cli.training.batches import AugmentedBatches, Batch, Order
from gleclip_cli.training.cached import CachedBatches
from gleclip_cli.training.loop import Batches, fit, resume, rounds
from gleclip_cli.training.recipe import Recipe
from gleclip_cli.training.trainer import Trainer

CPU = torch.device("cpu")
IDS = [f"{i:02}" for i in range(12)]


def load(image_id: str) -> tuple[np.ndarray, np.ndarray]:
    """A reddish or greenish rectangle on noise; classes 1 and 2 differ by colour."""
    rng = np.random.default_rng(int(image_id))
    image = rng.integers(60, 120, (32, 40, 3), dtype=np.uint8)
    mask = np.zeros((32, 40), np.uint8)
    kind = 1 + int(image_id) % 2
    top, left = (int(value) for value in rng.integers(2, 12, 2))
    inside = (slice(top, top + 16), slice(left, left + 16))
    image[(*inside, kind - 1)] += 110
    mask[inside] = kind
    return image, mask


def refuse(image_id: str, error: Exception) -> None:
    raise error


@pytest.fixture
def decoder(tiny_clip_json) -> ClipDecoder:
    torch.manual_seed(0)
    return ClipDecoder(load_clip(tiny_clip_json, "random"), 3)


def recipe(**changes) -> Recipe:
    return Recipe(**{"steps": 20, "learning_rate": 3e-3, "weight_decay": 0.01, **changes})


def trainer_of(network, plan: Recipe) -> Trainer:
    return Trainer(network, PixelCriterion(network), plan, device=CPU)


def cached(network) -> Batches:
    return CachedBatches(
        network, IDS, load, batch_size=4, crop=32, flip=True, seed=0, on_bad=refuse
    ).steps


def augmented() -> Batches:
    augment = Augment(32, scales=(0.5, 1.5))
    return AugmentedBatches(Order(IDS, 4, 0), load, augment, on_bad=refuse).steps


def quiet(event) -> None:
    """Drop a log event."""


class Broken(Exception):
    """Stands for a kill."""


def until(batches: Batches, stop: int) -> Batches:
    """The same batches, but the run is cut before step `stop`."""

    def cut(first: int, last: int):
        for step, batch in enumerate(batches(first, last), start=first):
            if step == stop:
                raise Broken
            yield batch

    return cut


def test_a_small_set_is_learned_in_seconds(decoder, tmp_path):
    trainer = trainer_of(decoder, recipe(steps=100, warmup=0.1))
    fit(trainer, cached(decoder), state_folder=tmp_path, log=quiet)
    decoder.eval()
    hits, union = np.zeros(3), np.zeros(3)
    for image_id in ("90", "91", "92", "93"):  # never seen
        image, mask = load(image_id)
        predicted = predict_logits(decoder, image).argmax(0).numpy()
        for label in range(3):
            hits[label] += ((predicted == label) & (mask == label)).sum()
            union[label] += ((predicted == label) | (mask == label)).sum()
    assert (hits / union).min() > 0.8


class Everything(nn.Module):
    """Whatever a forward may change or draw: statistics of batch norm, dropout."""

    def __init__(self, dropout: float = 0.5) -> None:
        super().__init__()
        self.parts = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.Dropout(dropout),
            nn.Conv2d(8, 3, 1),
        )

    def training_logits(self, images: Tensor) -> list[Tensor]:
        return [self.parts(images)]

    def optimiser(self, *, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
        groups = [{"params": list(self.parameters()), "rate": 1.0, "weight_decay": weight_decay}]
        return torch.optim.SGD(groups, lr=learning_rate)

    def weights(self) -> dict[str, Tensor]:
        return self.state_dict()


def everything() -> Trainer:
    network = Everything()
    plan = recipe(
        steps=8, accumulate=2, optimiser="adamw", schedule="cosine", clip=0.1, precision="bf16"
    )
    average = WeightAverage(network, 0.9)
    return Trainer(network, PixelCriterion(network), plan, device=CPU, average=average)


@pytest.mark.parametrize("source", ["cached", "augmented", "deeplab", "everything"])
def test_66_a_cut_training_ends_at_the_same_bits(source, decoder, tmp_path):
    def start() -> Trainer:
        torch.manual_seed(1)
        if source == "everything":
            return everything()
        if source == "deeplab":
            return trainer_of(deeplabv2_small(3, pretrained=False), recipe(steps=6))
        return trainer_of(ClipDecoder(decoder.clip, 3), recipe(steps=8, warmup=0.5))

    def data(trainer: Trainer) -> Batches:
        return cached(trainer.network) if source == "cached" else augmented()

    whole = start()
    events: list[dict] = []
    fit(whole, data(whole), state_folder=tmp_path / "whole", log=events.append)
    assert load_training_state(tmp_path / "whole") is None  # nothing was due

    state = tmp_path / "state"
    for stop in (3, 5):  # two kills; every step is saved
        cut = start()
        with pytest.raises(Broken):
            fit(cut, until(data(cut), stop), state_folder=state, save_seconds=0.0, log=quiet)
    torch.manual_seed(99)  # the process that goes on has another past
    last = start()
    resumed: list[dict] = []
    fit(last, data(last), state_folder=state, save_seconds=0.0, log=resumed.append)

    # where two batches make a step, the one before batch 5 begins with batch 4
    assert resumed[0] == {"event": "resumed", "step": 2 if source == "everything" else 4}
    assert resumed[-1] == events[-1]
    pairs = [(whole.network, last.network)]
    if source == "everything":
        pairs.append((whole._average.network, last._average.network))
    for expected, found in pairs:
        for name, value in expected.weights().items():
            assert torch.equal(value, found.weights()[name]), name


def test_65_a_loss_that_is_no_number_stops_and_keeps_the_last_good_state(decoder, tmp_path):
    trainer = trainer_of(decoder, recipe(steps=6))

    def poisoned(first: int, last: int):
        for step, batch in enumerate(cached(decoder)(first, last), start=first):
            if step == 3:
                batch.features[0].fill_(float("inf"))
            yield batch

    with pytest.raises(Diverged, match=r"step 3, images \d\d, \d\d, \d\d, \d\d") as caught:
        fit(trainer, poisoned, state_folder=tmp_path, save_seconds=0.0, log=quiet)
    assert caught.value.exit_code == 1
    assert "Lower --learning-rate" in caught.value.remedy
    state = load_training_state(tmp_path)
    assert state["step"] == 2
    assert all(torch.isfinite(value).all() for value in state["weights"].values())


def test_the_log_tells_loss_and_rate(decoder, tmp_path):
    events: list[dict] = []
    plan = recipe(steps=12)
    fit(trainer_of(decoder, plan), cached(decoder), state_folder=tmp_path, log=events.append)
    assert [event["step"] for event in events] == [0, 10, 11]
    assert events[1]["rate"] == plan.rate(10)
    assert events[0]["loss"] > events[2]["loss"] > 0
    json.dumps(events, allow_nan=False)


class Line(nn.Module):
    """The smallest network: it learns by the rules of the loop and has one weight too many."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor([1.0]))
        self.unused = nn.Parameter(torch.tensor([1.0]))

    def optimiser(self, *, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
        groups = [{"params": list(self.parameters()), "rate": 2.0}]
        return torch.optim.SGD(groups, lr=learning_rate, weight_decay=weight_decay)

    def weights(self) -> dict[str, Tensor]:
        return self.state_dict()


def of_slope(line: Line):
    return lambda batch: 3 * line.slope.sum()


def one_batch(first: int, last: int):
    for _ in range(first, last):
        yield Batch(("a",), torch.zeros(1, 3, 1, 1), torch.zeros(1, 1, 1))


@pytest.mark.parametrize(("clip", "gradient"), [(None, 3.0), (6.0, 3.0), (0.5, 0.5)])
def test_any_network_learns_by_its_own_criterion_and_gradients_are_clipped(
    clip, gradient, tmp_path
):
    line = Line()
    plan = recipe(steps=1, learning_rate=0.1, weight_decay=0.0, clip=clip)
    trainer = Trainer(line, of_slope(line), plan, device=CPU)
    fit(trainer, one_batch, state_folder=tmp_path, log=quiet)
    assert line.slope.item() == pytest.approx(1 - 0.1 * 2.0 * gradient, rel=1e-5)
    assert line.unused.item() == 1.0


def test_rounds_end_where_told_are_saved_and_are_not_repeated(decoder, tmp_path):
    plan = recipe(steps=7, warmup=0.3)
    start = {name: value.clone() for name, value in decoder.state_dict().items()}
    whole = trainer_of(decoder, plan)
    fit(whole, cached(decoder), state_folder=tmp_path / "whole", log=quiet)
    expected = {name: value.clone() for name, value in decoder.weights().items()}

    decoder.load_state_dict(start)
    state, events = tmp_path / "state", []
    rounds = trainer_of(decoder, plan)
    for until in (3, 5):
        fit(rounds, cached(decoder), until=until, state_folder=state, log=events.append)
        assert rounds.step == until == load_training_state(state)["step"]
    assert [event["event"] for event in events] == ["step"]  # of step 0: nothing was resumed

    decoder.load_state_dict(start)
    other = trainer_of(decoder, plan)
    assert resume(other, state)
    assert other.step == 5
    assert not resume(other, state)  # it is not ahead any more
    fit(other, cached(decoder), until=3, state_folder=state, log=events.append)
    assert other.step == 5
    fit(other, cached(decoder), state_folder=state, log=events.append)
    assert [event["event"] for event in events] == ["step", "step"]
    assert all(torch.equal(value, expected[name]) for name, value in decoder.weights().items())


def test_rounds_go_on_where_the_state_stands(decoder, tmp_path):
    events: list[Any] = []

    def left(state: Path) -> list[tuple[int, int, bool]]:
        trainer, seen = trainer_of(decoder, recipe(steps=7)), []
        for number, last, begins in rounds(trainer, 3, state, log=events.append):
            seen.append((number, last, begins))
            trainer.step = last
        return seen

    assert left(tmp_path) == [(0, 2, True), (1, 5, True), (2, 7, True)]
    assert events == []
    for step, expected in ((5, [(2, 7, True)]), (4, [(1, 5, False), (2, 7, True)])):
        state = tmp_path / str(step)
        trainer = trainer_of(decoder, recipe(steps=7))
        trainer.step = step
        save_training_state(state, trainer.state())
        assert left(state) == expected
        assert events.pop() == {"event": "resumed", "step": step}


def test_processes_that_see_different_states_are_told_to_share_a_folder(decoder, tmp_path):
    class Astray(Processes):
        def gather(self, value):
            return [value, 3]

    criterion = PixelCriterion(decoder)
    trainer = Trainer(decoder, criterion, recipe(), device=CPU, processes=Astray(0, 2))
    with pytest.raises(EnvironmentFault, match="do not find the same"):
        resume(trainer, tmp_path)


ODD = IDS[:7]
PLAN = {"steps": 6, "warmup": 0.5, "clip": 1.0}
SOURCES = ("cached", "augmented", "norms")


def curve(source: str, folder: Path, clip: str, processes: Processes, *, until: int) -> list[float]:
    """Losses on seven images, four to a batch; "bad" cannot be read."""
    torch.manual_seed(1)
    network: Any = ClipDecoder(load_clip(clip, "random"), 3)
    if source == "norms":  # dropout would differ: every process draws its own
        network = Everything(dropout=0.0)
        share_norms(network, processes)
    losses: list[float] = []
    batches: AugmentedBatches | CachedBatches
    if source == "cached":
        batches = CachedBatches(
            network, ODD, load, batch_size=4, crop=32, flip=True, seed=0, on_bad=refuse,
            share=processes.share(4),
        )  # fmt: skip
    else:
        order = Order([*ODD, "bad"], 4, 0, processes.share(4))
        batches = AugmentedBatches(order, load_some, Augment(32), on_bad=lambda i, error: None)

    class Heard(Trainer):
        def loss(self, batch: Batch) -> tuple[Tensor, float]:
            loss, whole = super().loss(batch)
            losses.append(whole)
            return loss, whole

    criterion = PixelCriterion(network, mean_count=processes.mean)
    trainer = Heard(network, criterion, recipe(**PLAN), device=CPU, processes=processes)
    state = folder / source
    fit(trainer, batches.steps, until=until, state_folder=state, save_seconds=0.0, log=quiet)
    return losses


def load_some(image_id: str) -> tuple[np.ndarray, np.ndarray]:
    if image_id == "bad":
        raise BadInput("bad is broken.")
    return load(image_id)


def one_of_two(folder: Path, clip: str) -> None:
    with joined("cpu") as processes:
        found = {}
        for source in SOURCES:
            found[source] = curve(source, folder / "two", clip, processes, until=5)
            found[f"{source} resumed"] = curve(source, folder / "one", clip, processes, until=6)
        if processes.main:
            (folder / "two.json").write_text(json.dumps(found))


@pytest.mark.slow
def test_two_processes_have_the_curve_of_one_and_go_on_where_one_has_stopped(
    in_two_processes, tiny_clip_json, tmp_path
):
    whole = {}
    for source in SOURCES:
        whole[source] = curve(source, tmp_path / "whole", tiny_clip_json, ALONE, until=6)
        assert curve(source, tmp_path / "one", tiny_clip_json, ALONE, until=3) == whole[source][:3]
    assert in_two_processes(__file__, str(tmp_path), tiny_clip_json) == [0, 0]
    found = json.loads((tmp_path / "two.json").read_text())
    for source, losses in whole.items():
        assert len(losses) == 6
        assert found[source] == pytest.approx(losses[:5], rel=1e-5)
        assert found[f"{source} resumed"] == pytest.approx(losses[3:], rel=1e-5)
        back = curve(source, tmp_path / "two", tiny_clip_json, ALONE, until=6)
        assert back == pytest.approx(losses[5:], rel=1e-5)


if __name__ == "__main__":
    one_of_two(Path(sys.argv[1]), sys.argv[2])
