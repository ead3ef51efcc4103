"""Trains micro-CLIP, the small real CLIP of the scenes world, from pictures and captions alone.

    python -m gleclip_cli.tools.train_micro_clip --out DIR

The recipe is CLIP's (Radford et al. 2021): image and caption embeddings meet in a symmetric
cross-entropy over the batch. Here: equal captions of a batch share their target; each picture also
meets the nouns of its caption one by one (sub-captions, as in DreamLIP, Zheng et al. 2024), because
whole captions of a mixed batch are told apart by background and colour alone; the first course
shows small close-ups (few tokens first, as in CLIPA, Li et al. 2023), each at a random place of the
position grid, the second whole views: scenes from whole at half size to a quarter at full size, so
the network may run at twice its resolution. Masks are never read. Interrupted, the same command
goes on where it stopped.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from open_clip.model import CLIP
from open_clip.tokenizer import SimpleTokenizer
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import DataLoader, Dataset

from gleclip_cli.artifacts.atomic import atomic_write
from gleclip_cli.artifacts.checkpoint import load_training_state, save_training_state
from gleclip_cli.datasets.scenes import VIEW_SIZE, Scene, draw_close_up, draw_view
from gleclip_cli.errors import Diverged
from gleclip_cli.tools.micro_clip import (
    MEAN,
    MODEL,
    NOUN_CAPTIONS,
    STD,
    build_model,
    contrastive_loss,
    embed_images,
    normalised,
    noun_loss,
    window,
    zero_shot_accuracy,
)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights.

    `close_ups` and `views` count pictures of the two courses. The last `decay_share` of all steps
    has a falling learning rate.
    """

    close_ups: int = 450_000
    views: int = 70_000
    batch_size: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup_steps: int = 200
    decay_share: float = 0.25
    seed: int = 0

    def course_steps(self) -> int:
        """Return the number of optimiser steps on close-ups."""
        return self.close_ups // self.batch_size

    def steps(self) -> int:
        """Return the number of optimiser steps."""
        return self.course_steps() + self.views // self.batch_size

    def rate(self, step: int) -> float:
        """Return the learning rate of a step: warm-up, plateau, linear decay to zero."""
        rise = (step + 1) / self.warmup_steps
        fall = (self.steps() - step) / max(1, self.decay_share * self.steps())
        return self.learning_rate * min(1.0, rise, fall)


class Pictures(Dataset[tuple[Tensor, str]]):
    """A part of a stream of pictures: uint8 (3, H, W) and caption."""

    def __init__(self, draw: Callable[[int, int], Scene], part: range, seed: int) -> None:
        self.draw, self.part, self.seed = draw, part, seed

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, k: int) -> tuple[Tensor, str]:
        picture = self.draw(self.part[k], self.seed)
        return torch.from_numpy(picture.image).permute(2, 0, 1), picture.caption


def optimiser(model: CLIP, recipe: Recipe) -> torch.optim.AdamW:
    """Return AdamW; weight decay only on matrices."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    rest = [p for p in model.parameters() if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": recipe.weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98), fused=True)


def batches(recipe: Recipe, first_step: int, workers: int) -> Iterator[tuple[Tensor, list[str]]]:
    """Yield the batches of steps `first_step` to the last one, drawn by other processes."""
    turn = recipe.course_steps()
    for draw, first, last in (
        (draw_close_up, 0, turn),
        (draw_view, turn, recipe.steps()),
    ):
        begin = min(max(first, first_step), last)
        bounds = ((step - first) * recipe.batch_size for step in (begin, last))
        loader = DataLoader(
            Pictures(draw, range(*bounds), recipe.seed),
            recipe.batch_size,
            num_workers=workers,
            multiprocessing_context="spawn" if workers else None,
            prefetch_factor=4 if workers else None,
            generator=torch.Generator(),  # a loader draws a seed: not from the state that is saved
        )
        for images, captions in loader:
            yield images, list(captions)


def write_model(model: CLIP, out: Path, record: dict[str, Any]) -> None:
    """Write fp16 weights, open_clip's config and the record of how they came to be."""
    out.mkdir(parents=True, exist_ok=True)
    weights = {
        k: v.detach().cpu().half().contiguous()
        for k, v in model.state_dict().items()
        if v.is_floating_point()
    }
    with atomic_write(out / "weights.safetensors") as path:
        save_file(weights, path)
    preprocess = {"size": VIEW_SIZE, "mean": MEAN, "std": STD, "interpolation": "bicubic"}
    for name, content in (
        ("config.json", {"model_cfg": MODEL, "preprocess_cfg": preprocess}),
        ("provenance.json", record),
    ):
        with atomic_write(out / name) as path:
            path.write_text(json.dumps(content, indent=1) + "\n")


class Training:
    """One resumable training run; `state` folder and result live in `out`."""

    def __init__(
        self,
        recipe: Recipe,
        out: Path,
        device: str,
        *,
        start: Path | None = None,
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.out, self.device, self.start = recipe, out, device, start
        self.model = build_model().to(device).train()
        if start:
            self.model.load_state_dict(load_file(start / "weights.safetensors"))
        self.optimiser = optimiser(self.model, recipe)
        self.tokenizer = SimpleTokenizer(context_length=MODEL["text_cfg"]["context_length"])
        self.step, self.seconds = 0, 0.0
        self._resume()

    def _resume(self) -> None:
        state = load_training_state(self.out / "state")
        if state is None:
            return
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        torch.set_rng_state(state["rng"])
        self.step, self.seconds = state["step"], state["seconds"]

    def save(self) -> None:
        """Write weights as they are now and the state to go on from."""
        state = {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "rng": torch.get_rng_state(),
            "step": self.step,
            "seconds": self.seconds,
        }
        save_training_state(self.out / "state", state)
        write_model(self.model, self.out, self.record())

    def record(self) -> dict[str, Any]:
        """Return how the weights came to be, with their zero-shot accuracy."""
        start = self.start and json.loads((self.start / "provenance.json").read_text())
        return {
            "command": "python -m gleclip_cli.tools.train_micro_clip",
            "recipe": asdict(self.recipe),
            "started_from": start,
            "pictures_seen": self.step * self.recipe.batch_size,
            "hours": round(self.seconds / 3600, 2),
            "device": self.device,
            "supervision": "captions only",
            "zero_shot_accuracy_single_object_val_half_size": zero_shot_accuracy(
                self.model, self.tokenizer
            ),
        }

    def update(self, images: Tensor, captions: list[str]) -> float:
        """Do one optimiser step on a batch and return its loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.rate(self.step)
        tokens, nouns = (
            self.tokenizer(texts).to(self.device) for texts in (captions, NOUN_CAPTIONS)
        )
        pictures = normalised(images.to(self.device))
        positions = window(self.model.visual, *self._place(images.shape[-1]))
        # fused attention on CPUs is slower than its parts at this size, backward above all
        with sdpa_kernel(SDPBackend.MATH), torch.autocast(self.device, torch.bfloat16):
            image = embed_images(self.model.visual, pictures, positions).float()
            text = self.model.encode_text(tokens, normalize=True).float()
            noun = self.model.encode_text(nouns, normalize=True).float()
        scale = self.model.logit_scale.exp().clamp(max=100)
        loss = contrastive_loss(image, text, scale, captions)
        loss = loss + noun_loss(image, noun, scale, captions)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        return float(loss.detach())

    def _place(self, size: int) -> tuple[int, tuple[int, int]]:
        """Return the patches per side of a picture and a random corner for it in the grid."""
        side = size // MODEL["vision_cfg"]["patch_size"]
        room = self.model.visual.grid_size[0] - side
        row, column = torch.randint(room + 1, (2,)).tolist()
        return side, (row, column)

    def run(self, *, workers: int, save_every: float) -> None:
        """Train to the end of the recipe, saving every `save_every` seconds."""
        saved = started = time.monotonic()
        before = self.seconds
        losses: list[float] = []
        for images, captions in batches(self.recipe, self.step, workers):
            losses.append(self.update(images, captions))
            self.seconds = before + time.monotonic() - started
            if not np.isfinite(losses[-1]):
                raise Diverged(
                    f"The loss of step {self.step} is not finite.", "Lower --learning-rate."
                )
            if self.step % 50 == 0:
                loss = round(float(np.mean(losses[-50:])), 4)
                line = {"step": self.step, "loss": loss, "seconds": round(self.seconds)}
                typer.echo(json.dumps(line))
            if time.monotonic() - saved > save_every:
                self.save()
                saved = time.monotonic()
        self.save()


def main(
    out: Annotated[Path, typer.Option(help="Folder of weights, config, record and state.")],
    start: Annotated[
        Path | None, typer.Option(help="Folder of weights to begin with; none: random ones.")
    ] = None,
    close_ups: Annotated[int, typer.Option(help="Close-ups to begin with.")] = Recipe.close_ups,
    views: Annotated[int, typer.Option(help="Views to end with.")] = Recipe.views,
    learning_rate: Annotated[
        float, typer.Option(help="Peak learning rate.")
    ] = Recipe.learning_rate,
    seed: Annotated[int, typer.Option(help="Seed of weights and views.")] = Recipe.seed,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    workers: Annotated[int, typer.Option(help="Processes that draw views.")] = 1,
    save_every: Annotated[float, typer.Option(help="Seconds between saves.")] = 600.0,
) -> None:
    """Train micro-CLIP; run again to go on after an interruption."""
    recipe = Recipe(close_ups=close_ups, views=views, learning_rate=learning_rate, seed=seed)
    Training(recipe, out, device, start=start).run(workers=workers, save_every=save_every)


if __name__ == "__main__":
    typer.run(main)
