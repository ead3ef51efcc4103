"""A network as a folder for a model hub: weights, how to build it, and a card that tells its worth.

    model.safetensors   weights, without those of a CLIP it stands on
    config.json         the meta of the checkpoint: architecture, classes, hashes
    classes.toml        the class table
    README.md           the card

`load_checkpoint` takes the folder for a checkpoint.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gleclip_cli.artifacts.atomic import write_text
from gleclip_cli.artifacts.checkpoint import save_hub_checkpoint
from gleclip_cli.artifacts.tables import Scores

if TYPE_CHECKING:
    from torch import Tensor

_SHOWN = 40
_TAGS = ("image-segmentation", "semantic-segmentation", "weakly-supervised", "clip", "gleclip")


@dataclass(frozen=True)
class Evaluated:
    """One evaluation of the network: its split, its scores, how predictions were made."""

    split: str
    scores: Scores
    how: str


@dataclass(frozen=True)
class Card:
    """What the card of a network tells; `commands`: exactly how it came about, in order."""

    name: str
    dataset: str
    meta: Mapping[str, Any]
    trained_on: str
    evaluated: Sequence[Evaluated]
    commands: Sequence[str]
    facts: Mapping[str, str] = field(default_factory=dict)


def write_hub(folder: Path, tensors: Mapping[str, "Tensor"], card: Card, classes: str) -> None:
    """Write the folder; `classes`: the class table, in TOML."""
    save_hub_checkpoint(folder, tensors, card.meta)
    write_text(folder / "classes.toml", classes)
    write_text(folder / "README.md", card_text(card))


def card_text(card: Card) -> str:
    """Return the card, Markdown with the table of facts that hubs read."""
    parts = [_front(card), _introduction(card), _figures(card), _use(card), _origin(card)]
    return "\n".join(parts)


def _front(card: Card) -> str:
    """YAML, of which JSON is a part; figures only if there are some."""
    results = [
        {
            "task": {"type": "image-segmentation"},
            "dataset": {"name": card.dataset, "type": card.dataset, "split": one.split},
            "metrics": [{"type": "mean_iou", "value": round(one.scores.miou, 4)}],
        }
        for one in card.evaluated
    ]
    front: dict[str, Any] = {
        "library_name": "gleclip",
        "pipeline_tag": "image-segmentation",
        "tags": list(_TAGS),
    }
    if results:
        front["model-index"] = [{"name": card.name, "results": results}]
    lines = [f"{key}: {json.dumps(value)}" for key, value in front.items()]
    return "\n".join(["---", *lines, "---", ""])


def _introduction(card: Card) -> str:
    names = card.meta["classes"]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    shown = ", ".join(names[:_SHOWN])
    return (
        f"# {card.name}\n\nSemantic segmentation of pictures into {len(names)} labels: {shown}"
        f"{more}. Architecture `{card.meta['network']['arch']}`.\n\n{card.trained_on}\n"
    )


def _figures(card: Card) -> str:
    if not card.evaluated:
        return "## Figures\n\nThis network has not been evaluated.\n"
    lines = ["## Figures", ""]
    lines += ["| data set | split | images | mIoU | predictions |", "|---|---|---|---|---|"]
    lines += [
        f"| {card.dataset} | {one.split} | {one.scores.images} | {100 * one.scores.miou:.2f} | "
        f"{one.how} |"
        for one in card.evaluated
    ]
    best = card.evaluated[0]
    lines += ["", f"IoU by class on {best.split}, in percent:", "", "| class | IoU |", "|---|---|"]
    lines += [
        f"| {name} | {'absent' if iou is None else f'{100 * iou:.2f}'} |"
        for name, iou in best.scores.per_class_iou.items()
    ]
    return "\n".join([*lines, ""])


def _use(card: Card) -> str:
    network = card.meta["network"]
    lines = ["gleclip predict --checkpoint FOLDER PICTURES --out OUT"]
    lines.append("gleclip evaluate --what FOLDER --run RUN")
    needs = ""
    if clip := network.get("clip_weights"):
        needs = (
            f"\nIt stands on the CLIP `{network['clip_model']}` with the weights `{clip}` "
            f"(SHA-256 {card.meta['clip_sha256'][:12]} ...), which are not in this folder. "
            "Files of it are looked for in FOLDER/clip.\n"
        )
    else:
        start = "--pretrained FOLDER"
        lines.append(f"gleclip train-seg {start} --arch {network['arch']}")
    commands = "\n".join(lines)
    return f"## Use\n\n```sh\n{commands}\n```\n{needs}"


def _origin(card: Card) -> str:
    commands = "\n".join(card.commands)
    facts = "".join(f"- {name}: {value}\n" for name, value in card.facts.items())
    return f"## How it came about\n\n```sh\n{commands}\n```\n\n{facts}"
