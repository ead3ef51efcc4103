"""Trains micro-CLIP, the small real CLIP of the scenes world, from pictures and captions alone.

    python -m gleclip_cli.tools.train_micro_clip --out DIR

The recipe is CLIP's (Radford et al. 2021): image and caption embeddings meet in a symmetric
cross-entropy over the batch. Here: equal captions of a batch share their target; in the second
half of training each picture also meets the nouns of its caption one by one (sub-captions, as in
DreamLIP, Zheng et al. 2024), because whole captions of a mixed batch are told apart by background
and colour alone; half of the patches are dropped until the last part (FLIP, Li et al. 2023); views
show scenes from whole at half size to a quarter at full size, so the network may run at twice its
resolution. Masks are never read. Interrupted, the same command goes on where it stopped.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import torch
import typer
from open_clip.model import CLIP
from open_clip.tokenizer import SimpleTokenizer
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import DataLoader, Dataset

from gleclip_cli.artifacts.atomic import atomic_write
from gleclip_cli.datasets.scenes import (
    BACKGROUNDS,
    CLASSES,
    VIEW_SIZE,
    draw_scene,
    draw_view,
    with_article,
)
from gleclip_cli.errors import Diverged

MODEL: dict[str, Any] = {
    "embed_dim": 128,
    "vision_cfg": {
        "image_size": VIEW_SIZE,
        "layers": 6,
        "width": 128,
        "head_width": 32,
        "patch_size": 8,
    },
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 128, "heads": 4, "layers": 2},
}
"""open_clip's description of the network: ViT-B/16 in small, 14 x 14 patches."""
NOUNS = (*CLASSES, *BACKGROUNDS)
NOUN_CAPTIONS = [f"a photo of {n}" for n in (*map(with_article, CLASSES), *BACKGROUNDS)]
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights.

    `samples` counts views; from `nouns_from` on, nouns count one by one. The last `decay_share` of
    them has a falling learning rate, the last `dense_share` no patch dropout.
    """

    samples: int = 420_000
    batch_size: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup_steps: int = 200
    nouns_from: int = 224_384
    decay_share: float = 0.25
    patch_dropout: float = 0.5
    dense_share: float = 0.05
    seed: int = 0

    def steps(self) -> int:
        """Return the number of optimiser steps."""
        return self.samples // self.batch_size

    def rate(self, step: int) -> float:
        """Return the learning rate of a step: warm-up, plateau, linear decay to zero."""
        rise = (step + 1) / self.warmup_steps
        fall = (self.steps() - step) / max(1, self.decay_share * self.steps())
        return self.learning_rate * min(1.0, rise, fall)


class Views(Dataset[tuple[Tensor, str]]):
    """Views `first` to `last` of the micro-CLIP stream: uint8 (3, H, W) and caption."""

    def __init__(self, first: int, last: int, seed: int) -> None:
        self.first, self.last, self.seed = first, last, seed

    def __len__(self) -> int:
        return self.last - self.first

    def __getitem__(self, k: int) -> tuple[Tensor, str]:
        view = draw_view(self.first + k, self.seed)
        return torch.from_numpy(view.image).permute(2, 0, 1), view.caption


def normalised(images: Tensor) -> Tensor:
    """Scale uint8 images (b, 3, H, W) to [0, 1] and normalise them as CLIP does."""
    mean, std = (torch.tensor(v, device=images.device).view(1, 3, 1, 1) for v in (MEAN, STD))
    return (images.float() / 255 - mean) / std


def contrastive_loss(image: Tensor, text: Tensor, scale: Tensor, captions: list[str]) -> Tensor:
    """Return CLIP's symmetric cross-entropy; equal captions share the probability.

    `image` and `text` are normalised embeddings (b, c), `scale` the inverse temperature.
    """
    logits = scale * image @ text.T
    number = {caption: k for k, caption in enumerate(dict.fromkeys(captions))}
    group = torch.tensor([number[c] for c in captions], device=logits.device)
    same = (group[:, None] == group[None, :]).float()
    target = same / same.sum(dim=1, keepdim=True)
    rows = nn.functional.cross_entropy(logits, target)
    return (rows + nn.functional.cross_entropy(logits.T, target)) / 2


def nouns_of(captions: list[str]) -> tuple[Tensor, Tensor]:
    """Return which of `NOUNS` each caption names, and which it denies: bool (b, NOUNS).

    A caption names all objects, so it denies the others; it denies backgrounds only if it names
    one.
    """
    words = [set(caption.replace(",", " ").split()) for caption in captions]
    named = torch.tensor([[noun in own for noun in NOUNS] for own in words])
    places = torch.arange(len(NOUNS)) >= len(CLASSES)
    silent = ~named[:, places].any(dim=1, keepdim=True)
    return named, ~named & ~(silent & places)


def noun_loss(image: Tensor, text: Tensor, scale: Tensor, captions: list[str]) -> Tensor:
    """Return the cross-entropy of every named noun against the denied ones, mean over all named.

    `image` (b, c) and `text` (NOUNS, c) are normalised embeddings.
    """
    named, denied = (mask.to(image.device) for mask in nouns_of(captions))
    logits = scale * image @ text.T
    rest = logits.masked_fill(~denied, -torch.inf).logsumexp(dim=1, keepdim=True)
    return nn.functional.softplus(rest - logits)[named].mean()


def build_model(patch_dropout: float) -> CLIP:
    """Return an untrained micro-CLIP."""
    vision = {**MODEL["vision_cfg"], "patch_dropout": patch_dropout}
    return CLIP(MODEL["embed_dim"], vision_cfg=vision, text_cfg=MODEL["text_cfg"])


def optimiser(model: CLIP, recipe: Recipe) -> torch.optim.AdamW:
    """Return AdamW; weight decay only on matrices."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    rest = [p for p in model.parameters() if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": recipe.weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98), fused=True)


@torch.no_grad()
def zero_shot_accuracy(model: CLIP, tokenizer: SimpleTokenizer, count: int = 300) -> float:
    """Return the share of single-class val scenes, at half size, whose best class text is right."""
    model.eval()
    device = model.logit_scale.device
    tokens = tokenizer(NOUN_CAPTIONS[: len(CLASSES)]).to(device)
    texts = model.encode_text(tokens, normalize=True)
    single = (s for s in (draw_scene("val", k) for k in range(3 * count)) if len(s.class_ids) == 1)
    scenes = [s for s, _ in zip(single, range(count), strict=False)]
    small = [
        cv2.resize(s.image, (VIEW_SIZE, VIEW_SIZE), interpolation=cv2.INTER_AREA) for s in scenes
    ]
    images = torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).to(device)
    embeds = torch.cat(
        [model.encode_image(normalised(b), normalize=True) for b in torch.split(images, 64)]
    )
    best = (embeds @ texts.T).argmax(dim=1).cpu() + 1
    model.train()
    return float(np.mean([int(b) == s.class_ids[0] for b, s in zip(best, scenes, strict=True)]))


def batches(
    recipe: Recipe, first_step: int, last_step: int, workers: int
) -> Iterator[tuple[Tensor, list[str]]]:
    """Yield the batches of steps `first_step` to `last_step`, drawn by other processes."""
    views = Views(first_step * recipe.batch_size, last_step * recipe.batch_size, recipe.seed)
    context = "spawn" if workers else None
    prefetch = 4 if workers else None
    loader = DataLoader(
        views,
        recipe.batch_size,
        num_workers=workers,
        multiprocessing_context=context,
        prefetch_factor=prefetch,
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

    def __init__(self, recipe: Recipe, out: Path, device: str) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.out, self.device = recipe, out, device
        self.model = build_model(recipe.patch_dropout).to(device).train()
        self.optimiser = optimiser(self.model, recipe)
        self.tokenizer = SimpleTokenizer(context_length=MODEL["text_cfg"]["context_length"])
        self.step, self.seconds = 0, 0.0
        self._resume()

    def _resume(self) -> None:
        if not (self.out / "state").is_dir():
            return
        from gleclip_cli.artifacts.checkpoint import load_training_state

        state = load_training_state(self.out / "state")
        if state is None:
            return
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        torch.set_rng_state(state["rng"])
        self.step, self.seconds = state["step"], state["seconds"]

    def save(self) -> None:
        """Write weights as they are now and the state to go on from."""
        from gleclip_cli.artifacts.checkpoint import save_training_state

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
        return {
            "command": "python -m gleclip_cli.tools.train_micro_clip",
            "recipe": asdict(self.recipe),
            "samples_seen": self.step * self.recipe.batch_size,
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
        tokens = self.tokenizer(captions).to(self.device)
        # fused attention on CPUs is slower than its parts at this size, backward above all
        with sdpa_kernel(SDPBackend.MATH), torch.autocast(self.device, torch.bfloat16):
            image = self.model.encode_image(normalised(images.to(self.device)), normalize=True)
            text = self.model.encode_text(tokens, normalize=True)
            nouns = self._noun_embeddings() if self._nouns_count() else None
        scale = self.model.logit_scale.exp().clamp(max=100)
        loss = contrastive_loss(image.float(), text.float(), scale, captions)
        if nouns is not None:
            loss = loss + noun_loss(image.float(), nouns.float(), scale, captions)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        return float(loss.detach())

    def _nouns_count(self) -> bool:
        return self.step * self.recipe.batch_size >= self.recipe.nouns_from

    def _noun_embeddings(self) -> Tensor:
        tokens = self.tokenizer(NOUN_CAPTIONS).to(self.device)
        embeddings: Tensor = self.model.encode_text(tokens, normalize=True)
        return embeddings

    def run(self, *, workers: int, save_every: float) -> None:
        """Train to the end of the recipe, saving every `save_every` seconds."""
        steps = self.recipe.steps()
        dense_from = round(steps * (1 - self.recipe.dense_share))
        saved = started = time.monotonic()
        before = self.seconds
        losses: list[float] = []
        for first, last, dropout in (
            (0, dense_from, self.recipe.patch_dropout),
            (dense_from, steps, 0.0),
        ):
            self.model.visual.patch_dropout.prob = dropout
            for images, captions in batches(
                self.recipe, max(first, self.step), max(last, self.step), workers
            ):
                losses.append(self.update(images, captions))
                self.seconds = before + time.monotonic() - started
                if not np.isfinite(losses[-1]):
                    raise Diverged(
                        f"The loss of step {self.step} is not finite.", "Lower --learning-rate."
                    )
                if self.step % 50 == 0:
                    typer.echo(
                        json.dumps(
                            {
                                "step": self.step,
                                "loss": round(float(np.mean(losses[-50:])), 4),
                                "seconds": round(self.seconds),
                            }
                        )
                    )
                if time.monotonic() - saved > save_every:
                    self.save()
                    saved = time.monotonic()
        self.save()


def main(
    out: Annotated[Path, typer.Option(help="Folder of weights, config, record and state.")],
    samples: Annotated[int, typer.Option(help="Views to train on.")] = Recipe.samples,
    learning_rate: Annotated[
        float, typer.Option(help="Peak learning rate.")
    ] = Recipe.learning_rate,
    seed: Annotated[int, typer.Option(help="Seed of weights and views.")] = Recipe.seed,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    workers: Annotated[int, typer.Option(help="Processes that draw views.")] = 1,
    save_every: Annotated[float, typer.Option(help="Seconds between saves.")] = 600.0,
) -> None:
    """Train micro-CLIP; run again to go on after an interruption."""
    recipe = Recipe(samples=samples, learning_rate=learning_rate, seed=seed)
    Training(recipe, out, device).run(workers=workers, save_every=save_every)


if __name__ == "__main__":
    typer.run(main)
