"""The gallery: which images of which splits it shows, and what stands on their cards."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from gleclip_cli.artifacts.run_dir import RunDir, printable
from gleclip_cli.artifacts.tables import PreparedData
from gleclip_cli.datasets.vocabulary import Vocabulary
from gleclip_cli.metrics.scope import made_for
from gleclip_cli.parallel.batches import prefetched
from gleclip_cli.progress import Progress, counted
from gleclip_cli.tools.report import encode
from gleclip_cli.tools.report.cards import Card, Sources, Studio, bytes_per_card
from gleclip_cli.tools.report.outputs import Output
from gleclip_cli.tools.report.picks import Candidate, chance, pick, share_out
from gleclip_cli.tools.report.scores import Evaluation, image_scores

PANELS = {
    "image": "Image",
    "cam": "CAM",
    "pseudo": "Pseudo mask",
    "prediction": "Prediction",
    "truth": "Ground truth",
    "error": "Error",
}


@dataclass(frozen=True)
class Gallery:
    """Images to show, out of `total`, and by split whose outputs they show."""

    run: RunDir
    data: PreparedData
    vocabulary: Vocabulary
    picked: list[Candidate]
    total: int
    sources: dict[str, Sources]

    @cached_property
    def about(self) -> dict[str, Any]:
        """What the page says about the gallery and offers to filter by."""
        names = self.vocabulary.class_names
        splits = [name for name in self.sources if any(name in c.splits for c in self.picked)]
        text = f"{len(self.picked)} of {counted(self.total, 'image')} of {', '.join(splits)}."
        if not self.picked:
            text = "No images were asked for (--images 0)."
        elif len(self.picked) < self.total:
            text += " Classes took turns to name their worst, their best and a random image."
        compared = any(source.pseudo or source.network for source in self.sources.values())
        colours = map(encode.css, encode.ERROR_COLOURS)
        errors = list(zip(encode.ERRORS, colours, strict=True))
        return {
            "count": len(self.picked),
            "about": text,
            "splits": splits,
            "classes": [(i, printable(name)) for i, name in enumerate(names) if i],
            "scored": any(c.iou for c in self.picked),
            "errors": errors[1:] if compared else [],
        }

    def cards(self, *, workers: int, progress: Progress) -> Iterator[dict[str, Any]]:
        """Yield the cards one by one, made ahead by threads; few are in memory at a time."""
        allowance = bytes_per_card(len(self.picked))
        studio = Studio(self.run, self.data, self.vocabulary, self.sources, allowance)
        made = prefetched(self.picked, studio.card, workers=workers)
        for _, card in progress.each(made, total=len(self.picked), label="thumbnails"):
            yield self._shown(card())

    def _shown(self, card: Card) -> dict[str, Any]:
        names = self.vocabulary.class_names
        colours = encode.colours_of(np.arange(len(names)), self.vocabulary.palette)
        known = {*card.class_ids, *card.iou} - {0}
        panels = [key for key in PANELS if key in card.pictures or (key == "cam" and card.maps)]
        judged = "prediction" if "prediction" in card.pictures else "pseudo"
        titles = {**PANELS, "error": f"Error of {PANELS[judged].lower()}"}
        return {
            "splits": card.splits,
            "title": card.title,
            "size": card.size,
            "miou": card.miou,
            "chance": chance(card.splits, card.image_id).hex()[:8],
            "chips": [
                {
                    "id": i,
                    "name": printable(names[i]),
                    "iou": card.iou.get(i),
                    "ghost": i in card.spurious,
                    "colour": encode.css(colours[i]),
                }
                for i in sorted(known, key=lambda i: (i in card.spurious, i))
            ],
            "panels": [(key, titles[key]) for key in panels],
            "data": {"pictures": card.pictures, "maps": card.maps},
            "faults": card.faults,
        }


def choose(
    run: RunDir,
    data: PreparedData,
    vocabulary: Vocabulary,
    outputs: Sequence[Output],
    evaluations: Sequence[Evaluation],
    *,
    split: str | None,
    images: int,
) -> Gallery:
    """Choose at most `images` images: of `split`, else of every split there is output of.

    Raises:
        UsageError: the data set has no such split.
    """
    splits = [split] if split else _worth_showing(data, outputs)
    found: dict[tuple[str, str], Candidate] = {}
    for name in splits:
        iou = image_scores(evaluations, name, len(vocabulary.class_names))
        labels = data.labels(name)
        for image_id in data.image_ids(name):
            key = (image_id, data.record(name, image_id).sha256)
            class_ids = tuple(labels.get(image_id, ()))
            new = Candidate((name,), image_id, class_ids, iou.get(image_id, {}))
            if known := found.get(key):  # the same picture in another list is one card
                new = replace(known, splits=(*known.splits, name), iou=new.iou or known.iou)
            found[key] = new
    by_split = {name: [c for c in found.values() if c.splits[0] == name] for name in splits}
    shares = share_out({name: len(own) for name, own in by_split.items()}, images)
    picked = [c for name, share in shares.items() for c in pick(by_split[name], most=share)]
    sources = {name: _sources(run, outputs, evaluations, name) for name in splits}
    return Gallery(run, data, vocabulary, picked, len(found), sources)


def _worth_showing(data: PreparedData, outputs: Sequence[Output]) -> list[str]:
    """Return the splits that some output is about; all, where there is none yet."""
    about = {str(o.data.get("config", {}).get("split")) for o in outputs if o.stage in _BY_IMAGE}
    return [name for name in data.splits() if name in about] or data.splits()


_BY_IMAGE = ("gen_cam", "refine", "evaluate")


def _sources(
    run: RunDir, outputs: Sequence[Output], evaluations: Sequence[Evaluation], split: str
) -> Sources:
    begun = {(output.stage, output.name) for output in outputs}

    def serving(stage: str) -> str | None:
        name = made_for(run, stage, split)
        return name if (stage, name) in begun else None

    networks = [e.what for e in evaluations if e.kind == 2 and e.split == split]
    return Sources(serving("gen_cam"), serving("refine"), networks[0] if networks else None)
