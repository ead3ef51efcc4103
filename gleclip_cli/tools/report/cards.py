"""One card of the gallery: the small pictures of an image, and how well each class was found."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np

from gleclip_cli.artifacts.maps import Cam, load_cam, load_label_image
from gleclip_cli.artifacts.run_dir import RunDir, printable
from gleclip_cli.artifacts.tables import PreparedData
from gleclip_cli.datasets.vocabulary import Vocabulary
from gleclip_cli.errors import BadInput
from gleclip_cli.metrics.confusion import confusion_of, summarise
from gleclip_cli.tools.report import encode
from gleclip_cli.tools.report.picks import Candidate

PAGE_BYTES = 56_000_000
"""What all cards together may take: the page stays below 60 MB."""
_MOST_BYTES_PER_CARD = 80_000
_LARGEST_SIDE = 448
_SMALLEST_SIDE = 48
_MOST_MAPS = 4


@dataclass(frozen=True)
class Sources:
    """Whose outputs a split's cards show: splits of maps and masks, name of a network; or None."""

    cams: str | None
    pseudo: str | None
    network: str | None


@dataclass(frozen=True)
class Card:
    """What the page shows of an image; `pictures`: panel -> data URI.

    `maps`: (class id, data URI), the best first; `iou`: class id -> IoU of the last of pseudo mask
    and prediction, for classes of truth or prediction; `spurious`: those that are not in the truth;
    `faults`: what could not be read.
    """

    splits: tuple[str, ...]
    image_id: str
    size: encode.Size
    class_ids: tuple[int, ...]
    pictures: dict[str, str] = field(default_factory=dict)
    maps: list[tuple[int, str]] = field(default_factory=list)
    iou: dict[int, float] = field(default_factory=dict)
    spurious: tuple[int, ...] = ()
    miou: float | None = None
    faults: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        """The image id without what could drive a terminal or hide."""
        return printable(self.image_id)

    @property
    def weight(self) -> int:
        """Bytes of all pictures."""
        return sum(map(len, self.pictures.values())) + sum(len(uri) for _, uri in self.maps)


def bytes_per_card(cards: int) -> int:
    """Return how many bytes each of so many cards may take, frame and texts included."""
    return min(_MOST_BYTES_PER_CARD, PAGE_BYTES // max(cards, 1))


def first_side(allowance: int) -> int:
    """Return the longest side of pictures that usually fit into that many bytes."""
    return min(_LARGEST_SIDE, max(_SMALLEST_SIDE, isqrt(int(allowance * 2.4))))


@dataclass(frozen=True)
class Studio:
    """Makes cards; one for all threads. `sources` by split; `allowance`: most bytes per card."""

    run: RunDir
    data: PreparedData
    vocabulary: Vocabulary
    sources: Mapping[str, Sources]
    allowance: int

    def card(self, candidate: Candidate) -> Card:
        """Make one card: smaller pictures where those of the usual size are too heavy."""
        layers = self._load(candidate)
        side = first_side(self.allowance)
        card = self._draw(candidate, layers, side)
        while card.weight > self.allowance and side > _SMALLEST_SIDE:
            side = max(_SMALLEST_SIDE, side * 4 // 5)
            card = self._draw(candidate, layers, side)
        return card

    def _load(self, candidate: Candidate) -> dict[str, Any]:
        """Read what there is, by panel; a fault is kept in place of what could not be read."""
        labels = len(self.vocabulary.class_names)
        photo = partial(self.data.load_image, candidate.splits[0], candidate.image_id)
        loads: dict[str, Callable[[], Any]] = {"image": photo}
        for panel, path in self._paths(candidate).items():
            load_labels = partial(load_label_image, path, labels)
            loads[panel] = partial(load_cam, path) if panel == "cam" else load_labels
        layers: dict[str, Any] = {}
        for panel, load in loads.items():
            try:
                layers[panel] = load()
            except BadInput as error:
                layers[panel] = error
        return layers

    def _paths(self, candidate: Candidate) -> dict[str, Path]:
        """Return the file of every panel that there is, of the first list that has it."""
        run, image_id = self.run, candidate.image_id
        found: dict[str, Path] = {}
        for split in candidate.splits:
            of = self.sources[split]
            paths = {
                "cam": of.cams and run.cam(of.cams, image_id),
                "pseudo": of.pseudo and run.pseudo_mask(of.pseudo, image_id),
                "prediction": of.network and run.pred_mask(of.network, split, image_id),
                "truth": self.data.record(split, image_id).mask,
            }
            for panel, path in paths.items():
                if path and panel not in found and (panel == "truth" or path.exists()):
                    found[panel] = path
        return found

    def _draw(self, candidate: Candidate, layers: Mapping[str, Any], side: int) -> Card:
        height, width = self.data.record(candidate.splits[0], candidate.image_id).size
        size = encode.fitted(width, height, side)
        card = Card(candidate.splits, candidate.image_id, size, candidate.class_ids)
        for panel, layer in layers.items():
            if isinstance(layer, BadInput):
                card.faults.append(layer.cause)
            elif panel == "image":
                card.pictures[panel] = encode.photo_uri(layer, size)
            elif panel == "cam":
                card.maps.extend(_maps(layer))
            else:
                card.pictures[panel] = encode.labels_uri(layer, size, self.vocabulary.palette)
        made = layers.get("prediction", layers.get("pseudo"))
        return self._judged(card, made, layers.get("truth"))

    def _judged(self, card: Card, made: Any, truth: Any) -> Card:
        """Compare what was made with the truth, where both could be read and have one size."""
        if not isinstance(made, np.ndarray) or not isinstance(truth, np.ndarray):
            return card
        names = self.vocabulary.class_names
        try:
            confusion = confusion_of(truth, made, len(names), name=card.title)
        except BadInput as error:
            card.faults.append(error.cause)
            return card
        summary = summarise(confusion)
        iou = {i: round(float(v), 4) for i, v in enumerate(summary.iou) if not np.isnan(v)}
        return replace(
            card,
            pictures={**card.pictures, "error": encode.errors_uri(truth, made, card.size)},
            iou=iou,
            spurious=tuple(i for i in iou if not confusion[i].any()),
            miou=None if np.isnan(summary.miou) else round(summary.miou, 4),
        )


def _maps(cam: Cam) -> list[tuple[int, str]]:
    """Return the maps of an image's classes, the strongest first, as many as a page can carry."""
    if not len(cam.scores):
        return []
    order = np.argsort(-cam.scores.max(axis=(1, 2)), kind="stable")[:_MOST_MAPS]
    maps = [(int(cam.class_ids[i]), encode.map_uri(cam.scores[i])) for i in order]
    if len(maps) == 1:
        return maps
    return [(0, encode.map_uri(cam.scores.max(axis=0))), *maps]
