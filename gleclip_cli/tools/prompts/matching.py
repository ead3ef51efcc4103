"""How well each text of a class table matches whole pictures, and where in them.

Maps are those of `gen-cam --method similarity` before any stretching: per patch, one softmax over
all classes and background words. Where a class is in the picture but another text is more likely at
the very patches that suit the class best, the class loses: one of the two wordings should change.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from gleclip_cli.artifacts.maps import load_image, save_jpeg
from gleclip_cli.artifacts.run_dir import OutDir
from gleclip_cli.cam.fuse import view_grid
from gleclip_cli.cam.method import resize_to_patches
from gleclip_cli.cam.similarity import similarity_maps
from gleclip_cli.cam.texts import wording_of
from gleclip_cli.config import GenCamConfig
from gleclip_cli.datasets.vocabulary import Vocabulary
from gleclip_cli.errors import UsageError
from gleclip_cli.model.clip import FrozenClip, load_clip
from gleclip_cli.model.texts import text_embeddings
from gleclip_cli.parallel.device import pick_device
from gleclip_cli.progress import SILENT, Progress
from gleclip_cli.resources import clip_files
from gleclip_cli.tools.predict.pictures import find_pictures
from gleclip_cli.tools.predict.tags import find_tags
from gleclip_cli.tools.prompts.sheets import sheet

_BEST = 0.05
"""Share of the patches, those that suit a class best, where it is compared with other texts."""
_NEAREST = 3


@dataclass(frozen=True)
class Match:
    """One text in one picture.

    `similarity`: cosine with the whole picture; `probability`: softmax of that over all texts;
    `presence`: the highest probability of any patch; `area`: share of patches it wins.
    """

    similarity: float
    probability: float
    presence: float
    area: float


@dataclass(frozen=True)
class TextMatch:
    """A text over all pictures: means, and the texts whose embeddings are nearest (cosines)."""

    name: str
    text: str
    background: bool
    mean: Match
    nearest: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Loss:
    """In a picture, where class `name` matches best: `own` probability, and that of the winner."""

    image: str
    name: str
    own: float
    winner: str
    to_background: bool
    winners: float


@dataclass(frozen=True)
class Findings:
    """All there is to tell; `present`: classes by picture, as tagged, or as CLIP guesses."""

    texts: tuple[TextMatch, ...]
    images: Mapping[str, Mapping[str, Match]]
    present: Mapping[str, tuple[str, ...]]
    guessed: bool
    losses: tuple[Loss, ...]
    sheets: tuple[Path, ...]

    def as_json(self) -> dict[str, Any]:
        """Return all of it, for JSON."""
        return {
            "texts": [asdict(text) for text in self.texts],
            "images": {
                image: {name: asdict(match) for name, match in matches.items()}
                for image, matches in self.images.items()
            },
            "present": dict(self.present),
            "present_is_guessed": self.guessed,
            "losses": [asdict(loss) for loss in self.losses],
            "sheets": [str(path) for path in self.sheets],
        }


def match_prompts(
    words: Sequence[str],
    vocabulary: Vocabulary,
    config: GenCamConfig,
    *,
    tags: Sequence[str] = (),
    out: OutDir | None = None,
    most: int = 12,
    device: str = "auto",
    progress: Progress = SILENT,
) -> Findings:
    """Match every text of `vocabulary` with the first `most` pictures that `words` name.

    `tags`: what is in the pictures, or a table of it; else the likeliest class of each is taken to
    be in it. With `out` a sheet of heat maps is written for every picture.

    Raises:
        UsageError: no picture, an unknown tag, model or weights.
        BadInput: a picture that cannot be read.
    """
    found = find_pictures(words, out or OutDir(Path("/dev/null")))
    if found.problems:
        raise UsageError(found.problems[0].cause, found.problems[0].remedy)
    files = dict(list(found.files.items())[:most])
    if len(files) < len(found.files):
        progress.say(f"The first {most} of {len(found.files)} pictures are looked at.")
    tagged = find_tags(tags, files).class_ids(vocabulary)
    clip = load_clip(*clip_files(config.clip_model, config.clip_weights))
    for warning in clip.warnings:
        progress.warn(warning)
    clip = clip.to(pick_device(device, progress))
    names = (*vocabulary.classes, *vocabulary.background_texts)
    wording = wording_of(vocabulary, config.texts, background_texts=True)
    texts = text_embeddings(clip, wording)
    matches, present, losses, sheets = {}, {}, [], []
    for image_id, file in progress.each(files.items(), total=len(files), label="prompts"):
        image = load_image(file)
        cosines, maps = _look(clip, texts, image, config.calibration)
        matches[image_id] = _matches(names, clip.logit_scale, cosines, maps)
        ids = tagged[image_id]
        classes = (
            [int(cosines[: len(vocabulary.classes)].argmax())] if ids is None else np.array(ids) - 1
        )
        present[image_id] = tuple(names[number] for number in classes)
        losses += _losses(image_id, names, list(map(int, classes)), len(vocabulary.classes), maps)
        if out is not None:
            sheets.append(out.overlay(image_id, "jpg"))
            save_jpeg(sheets[-1], sheet(image, dict(zip(names, maps, strict=True))))
    return Findings(
        texts=_text_matches(vocabulary, wording.prompts, texts, list(matches.values())),
        images=matches,
        present=present,
        guessed=not tags,
        losses=tuple(losses),
        sheets=tuple(sheets),
    )


@torch.no_grad()
def _look(
    clip: FrozenClip, texts: Float[Tensor, "c e"], image: NDArray[np.uint8], calibration: str
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return cosines (c,) with the whole picture, and maps (c, h, w) that sum to 1 over texts."""
    patch = clip.patch_size
    view = resize_to_patches(image, view_grid(image.shape[:2], scale=1.0, patch=patch), patch)
    batch = torch.from_numpy(np.array(view)).permute(2, 0, 1)[None].to(texts.device)
    features = clip(clip.normalise(batch), calibration=calibration, attention=False)
    competing = torch.ones(1, len(texts), dtype=torch.bool, device=texts.device)
    maps = similarity_maps(clip, features.dense, texts, competing)[0]
    return (features.global_embed[0] @ texts.T).cpu().numpy(), maps.cpu().numpy()


def _matches(
    names: Sequence[str],
    scale: float,
    cosines: NDArray[np.float32],
    maps: NDArray[np.float32],
) -> dict[str, Match]:
    powers = np.exp(scale * (cosines - cosines.max()))
    likely = powers / powers.sum()
    winners = np.bincount(maps.argmax(axis=0).ravel(), minlength=len(names))
    area = winners / winners.sum()
    presence = maps.max(axis=(1, 2))
    columns = zip(cosines, likely, presence, area, strict=True)
    return {name: Match(*map(float, values)) for name, values in zip(names, columns, strict=True)}


def _losses(
    image: str,
    names: Sequence[str],
    present: Sequence[int],
    classes: int,
    maps: NDArray[np.float32],
) -> list[Loss]:
    """Return by whom the classes of a picture are beaten where they match best.

    By an absent class, which counts where maps are made without labels; by a background word.
    """
    flat = maps.reshape(len(maps), -1)
    absent = [number for number in range(classes) if number not in present]
    found = []
    for number in present:
        best = np.argsort(flat[number])[-max(1, round(_BEST * flat.shape[1])) :]
        means = flat[:, best].mean(axis=1)
        for rivals in (absent, list(range(classes, len(maps)))):
            winner = max(rivals, key=lambda rival: means[rival], default=number)
            if means[winner] > means[number]:
                own, others = float(means[number]), float(means[winner])
                to_background = winner >= classes
                found.append(Loss(image, names[number], own, names[winner], to_background, others))
    return found


def _text_matches(
    vocabulary: Vocabulary,
    prompts: Sequence[str],
    texts: Float[Tensor, "c e"],
    matches: Sequence[Mapping[str, Match]],
) -> tuple[TextMatch, ...]:
    names = (*vocabulary.classes, *vocabulary.background_texts)
    written = (*prompts, *vocabulary.background_texts)
    cosines = (texts @ texts.T).cpu().numpy()
    np.fill_diagonal(cosines, -1)
    found = []
    for number, (name, text) in enumerate(zip(names, written, strict=True)):
        values = np.mean([list(asdict(own[name]).values()) for own in matches], axis=0)
        order = np.argsort(-cosines[number])[:_NEAREST]
        nearest = tuple((names[other], float(cosines[number, other])) for other in order)
        background = number >= len(vocabulary.classes)
        found.append(TextMatch(name, text, background, Match(*map(float, values)), nearest))
    return tuple(found)
