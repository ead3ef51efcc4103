"""The gallery: which images of which splits it shows, and what stands on their cards."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.artifacts.tables import PreparedData
from gleclip_cli.datasets.vocabulary import Vocabulary
from gleclip_cli.metrics.scope import made_for
from gleclip_cli.parallel.batches import prefetched
from gleclip_cli.progress import Progress
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
    """Images to show, `totals` of them by split to choose from, and whose outputs they show."""

    run: RunDir
    data: PreparedData
    vocabulary: Vocabulary
    picked: list[Candidate]
    totals: dict[str, int]
    sources: dict[str, Sources]

    @cached_property
    def about(self) -> dict[str, Any]:
        """What the page says about the gallery and offers to filter by."""
        names = self.vocabulary.class_names
        splits = list(self.totals)
        counts = [sum(c.split == split for c in self.picked) for split in splits]
        pairs = zip(splits, counts, strict=True)
        told = ", ".join(f"{count} of the {self.totals[s]} images of {s}" for s, count in pairs)
        text = f"{told}." if self.picked else "No images were asked for (--images 0)."
        if self.picked and len(self.picked) < sum(self.totals.values()):
            text += " Classes took turns to name their worst, their best and a random image."
        return {
            "count": len(self.picked),
            "about": text,
            "splits": splits,
            "classes": [(i, name) for i, name in enumerate(names) if i],
            "scored": any(c.iou for c in self.picked),
            "errors": [
                (name, "#{:02x}{:02x}{:02x}".format(*colour))
                for name, colour in zip(encode.ERRORS, encode.ERROR_COLOURS, strict=True)
            ][1:],
        }

    def cards(self, *, workers: int, progress: Progress) -> Iterator[dict[str, Any]]:
        """Yield the cards one by one, made ahead by threads; few are in memory at a time."""
        allowance = bytes_per_card(len(self.picked))
        studio = Studio(self.run, self.data, self.vocabulary, self.sources, allowance)
        made = prefetched(self.picked, studio.card, workers=workers)
        for _, card in progress.each(made, total=len(self.picked), label="thumbnails"):
            yield self._shown(card())

    def _shown(self, card: Card) -> dict[str, Any]:
        names, palette = self.vocabulary.class_names, self.vocabulary.palette
        known = {*card.class_ids, *card.iou} - {0}
        panels = [key for key in PANELS if key in card.pictures or (key == "cam" and card.maps)]
        judged = "prediction" if "prediction" in card.pictures else "pseudo"
        titles = {**PANELS, "error": f"Error of {PANELS[judged].lower()}"}
        return {
            "split": card.split,
            "title": card.title,
            "size": card.size,
            "miou": card.miou,
            "chance": chance(card.split, card.image_id).hex()[:8],
            "chips": [
                {
                    "id": i,
                    "name": names[i],
                    "iou": card.iou.get(i),
                    "ghost": i in card.spurious,
                    "colour": "#{:02x}{:02x}{:02x}".format(*palette[(i - 1) % 255 + 1]),
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
    sources = {name: _sources(run, outputs, evaluations, name) for name in splits}
    candidates: dict[str, list[Candidate]] = {}
    seen: set[str] = set()
    for name in splits:
        iou = image_scores(evaluations, name, len(vocabulary.class_names))
        labels = data.labels(name)
        ids = [image_id for image_id in data.image_ids(name) if image_id not in seen]
        seen.update(ids)
        candidates[name] = [
            Candidate(name, i, tuple(labels.get(i, ())), iou.get(i, {})) for i in ids
        ]
    totals = {name: len(found) for name, found in candidates.items() if found}
    shares = share_out(totals, images)
    picked = [c for name, share in shares.items() for c in pick(candidates[name], most=share)]
    return Gallery(run, data, vocabulary, picked, totals, sources)


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
