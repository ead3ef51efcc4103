"""What a scene contains: how many objects of which classes, how large, before which background."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gleclip_cli.datasets.scenes.backgrounds import TYPICAL, Rng
from gleclip_cli.datasets.scenes.captions import write_caption
from gleclip_cli.datasets.scenes.figures import FIGURES
from gleclip_cli.datasets.scenes.render import COLOURS, Canvas, Request, compose

CLASSES = tuple(FIGURES)
SIZES = ((224, 224), (192, 256), (256, 192), (240, 208))
"""Heights and widths of scenes in pixels."""

VIEW_SIZE = 112
"""Side in pixels of a view: what micro-CLIP is trained on."""

CLOSE_UP_SIZE = 64
"""Side in pixels of a close-up: what micro-CLIP sees first, at a third of a view's cost."""

_UNIT = 224.0
_WORLD = 20261
_STREAMS = {"train": 1, "val": 2, "micro-clip": 3, "close-up": 4}
_LIKELY = np.array([0.17, 0.11, 0.24, 0.11, 0.24, 0.18, 0.03, 0.03, 0.03])
"""Probability of each background, in the order of `TYPICAL`."""


@dataclass(frozen=True)
class Scene:
    """A picture (H, W, 3) uint8 RGB with its exact mask (H, W) uint8, labels and caption."""

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    class_ids: tuple[int, ...]
    background: str
    caption: str


def _random(stream: str, index: int, seed: int) -> Rng:
    """Return the generator of one scene; streams differ in a word of the seed: they never meet."""
    if not 0 <= index < 2**32 or not 0 <= seed < 2**32:
        raise ValueError(f"scene index {index} or seed {seed} is outside 0 to 2**32 - 1")
    return np.random.default_rng(np.random.SeedSequence((_WORLD, _STREAMS[stream], index, seed)))


def _contents(
    rng: Rng, count: int, least: float, most: float, side: float
) -> tuple[str, list[Request]]:
    """Pick a background and `count` objects, `least` to `most` of a scene of `side` pixels."""
    background = tuple(TYPICAL)[rng.choice(len(_LIKELY), p=_LIKELY / _LIKELY.sum())]
    names: list[str] = []
    for _ in range(count):
        typical = [c for c in TYPICAL[background] if c not in names] or list(TYPICAL[background])
        loyal = typical and rng.random() < (0.97 if not names else 0.8)
        names.append(str(rng.choice(typical if loyal else CLASSES)))
    shades = list(COLOURS)

    def request(name: str | None, low: float, high: float) -> Request:
        share = float(rng.uniform(np.sqrt(low), np.sqrt(high))) ** 2
        return Request(name, share * side**2, shades[rng.integers(len(shades))])

    objects = [request(name, least, most) for name in names]
    objects.sort(key=lambda r: -r.area)  # large ones stand behind
    clutter = [request(None, 0.005, 0.05) for _ in range(int(rng.integers(0, 4)))]
    return background, [*clutter, *objects]


def _finished(rng: Rng, canvas: Canvas, background: str) -> Scene:
    seen = [request for request, _ in canvas.placed]
    ids = tuple(sorted({CLASSES.index(r.name) + 1 for r in seen if r.name}))
    image = np.clip(np.round(canvas.image), 0, 255).astype(np.uint8)
    named = [(r.colour, r.name) for r in seen if r.name]
    return Scene(image, canvas.mask, ids, background, write_caption(rng, named, background))


def draw_scene(split: str, index: int, seed: int = 0) -> Scene:
    """Draw scene `index` of `split` ("train" or "val"): one to four objects, 2 to 60 % of the area.

    Raises:
        ValueError: `index` or `seed` is outside 0 to 2**32 - 1.
    """
    rng = _random(split, index, seed)
    height, width = SIZES[rng.integers(len(SIZES))]
    count = int(rng.choice((1, 2, 3, 4), p=(0.34, 0.34, 0.2, 0.12)))
    most = {1: 0.6, 2: 0.4, 3: 0.25, 4: 0.18}[count]
    background, requests = _contents(rng, count, 0.025, most, _UNIT)
    canvas = compose(rng, height, width, background, requests, unit=_UNIT, keep=0.85)
    while not canvas.placed:  # every scene shows at least one object
        canvas = compose(rng, height, width, background, requests, unit=_UNIT, keep=0.5)
    return _finished(rng, canvas, background)


def draw_view(index: int, seed: int = 0) -> Scene:
    """Draw view `index` of micro-CLIP's training stream: `VIEW_SIZE` square.

    A view is a scene seen from anywhere between "whole, at half size" and "a quarter of it, at
    full size", so objects have the pixel sizes of train and val. The caption names all objects.

    Raises:
        ValueError: `index` or `seed` is outside 0 to 2**32 - 1.
    """
    rng = _random("micro-clip", index, seed)
    side = VIEW_SIZE * float(2 ** rng.uniform(0, 1))
    near = side / VIEW_SIZE - 1  # 0 far, 1 near: a near view holds fewer objects
    count = int(
        rng.choice((0, 1, 2, 3), p=(0.05, 0.45 + 0.2 * near, 0.3 - 0.1 * near, 0.2 - 0.1 * near))
    )
    background, requests = _contents(rng, count, 0.03, 0.6 if count == 1 else 0.35, side)
    canvas = compose(rng, VIEW_SIZE, VIEW_SIZE, background, requests, unit=side, keep=0.4)
    return _finished(rng, canvas, background)


def draw_close_up(index: int, seed: int = 0) -> Scene:
    """Draw close-up `index`: `CLOSE_UP_SIZE` square, mostly one object that fills much of it.

    Objects have the pixel sizes of scenes from half to full size, so that parts can be learned;
    large ones are cut off, but never their telling part. The caption names all objects.

    Raises:
        ValueError: `index` or `seed` is outside 0 to 2**32 - 1.
    """
    rng = _random("close-up", index, seed)
    unit = VIEW_SIZE * float(2 ** rng.uniform(0, 1))
    count = int(rng.choice((0, 1, 2), p=(0.04, 0.76, 0.2)))
    most = 1.2 if count == 1 else 0.4
    background, requests = _contents(rng, count, 0.08, most, CLOSE_UP_SIZE)
    canvas = compose(rng, CLOSE_UP_SIZE, CLOSE_UP_SIZE, background, requests, unit=unit, keep=0.35)
    return _finished(rng, canvas, background)


def scene_id(split: str, index: int) -> str:
    """Return the image id of a scene, sortable by index."""
    return f"{split}_{index:06d}"
