"""The twelve classes of the scenes world, each a figure built from parts.

A figure lives in its own plane: x to the right, y down, any extent; `render` scales it. Every
class has a body whose colour and proportions vary freely and one small part that tells it apart.
Cat and dog share a body, so do cow and horse, and car and bus: the small part and hints of shape
differ.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from gleclip_cli.datasets.scenes.backgrounds import Rng
from gleclip_cli.datasets.scenes.shapes import Part, box, ellipse, part, stroke, wheel


def _quadruped(rng: Rng) -> tuple[list[Part], float, float, float]:
    """Body, legs, tail and neck; returns them with the head's centre and radius."""
    length, height = rng.uniform(0.75, 1.25), rng.uniform(0.3, 0.48)
    leg, width = rng.uniform(0.28, 0.5), rng.uniform(0.07, 0.12)
    parts = [
        part(
            "body",
            stroke(x * length, 0.1, x * length + rng.uniform(-0.1, 0.1), height / 2 + leg, width),
        )
        for x in (-0.4, -0.28, 0.28, 0.4)
    ]
    parts.append(part("body", ellipse(0, 0, length / 2, height / 2)))
    if rng.random() < 0.5:
        parts.append(
            part("accent", ellipse(rng.uniform(-0.2, 0.2), 0.02, rng.uniform(0.08, 0.2), 0.1))
        )
    tail = rng.uniform(-0.35, 0.35)
    parts.append(part("body", stroke(-length / 2 + 0.05, -0.02, -length / 2 - 0.25, tail, 0.06)))
    head_x, head_y = length / 2 + rng.uniform(0.08, 0.2), -height / 2 - rng.uniform(0.1, 0.3)
    parts.append(part("body", stroke(length / 2 - 0.12, 0, head_x, head_y, 0.2)))
    radius = rng.uniform(0.15, 0.2)
    parts.append(part("body", ellipse(head_x, head_y, radius, radius * 0.9)))
    parts.append(part("dark", ellipse(head_x + 0.06, head_y - 0.03, 0.025, 0.03)))
    return parts, head_x, head_y, radius


def _cat(rng: Rng) -> list[Part]:
    parts, x, y, r = _quadruped(rng)
    ears = [
        part(
            "body",
            [(x + s * r * 0.95, y - r * 0.2), (x + s * r * 0.75, y - r * 2.0), (x, y - r * 0.7)],
        )
        for s in (-1, 1)
    ]
    inner = [
        part(
            "mark",
            [
                (x + s * r * 0.75, y - r * 0.6),
                (x + s * r * 0.7, y - r * 1.6),
                (x + s * r * 0.25, y - r * 0.8),
            ],
        )
        for s in (-1, 1)
    ]
    whiskers = [
        part("light", stroke(x + r * 0.5, y + 0.05, x + r * 1.5, y + d, 0.015)) for d in (0.0, 0.1)
    ]
    return [*ears, *parts, *inner, *whiskers]


def _dog(rng: Rng) -> list[Part]:
    parts, x, y, r = _quadruped(rng)
    return [
        *parts,
        part("body", ellipse(x + r * 1.1, y + r * 0.35, r * 0.75, r * 0.42)),
        part("dark", ellipse(x + r * 1.75, y + r * 0.2, r * 0.22, r * 0.2)),
        part("mark", ellipse(x - r * 0.55, y + r * 0.35, r * 0.38, r * 0.95)),
    ]


def _big_quadruped(rng: Rng) -> tuple[list[Part], float, float, float]:
    parts, x, y, r = _quadruped(rng)
    muzzle = part("body", ellipse(x + r * 0.9, y + r * 0.6, r * 0.8, r * 0.6))
    nostril = part("dark", ellipse(x + r * 1.4, y + r * 0.6, 0.02, 0.025))
    return [*parts, muzzle, nostril], x, y, r


def _cow(rng: Rng) -> list[Part]:
    parts, x, y, r = _big_quadruped(rng)
    horns = [
        part(
            "light",
            [
                (x + s * r * 0.2, y - r * 0.6),
                (x + s * r * 1.3, y - r * 1.1),
                (x + s * r * 1.5, y - r * 2.0),
                (x + s * r * 0.9, y - r * 1.3),
            ],
        )
        for s in (-1, 1)
    ]
    udder = part("mark", ellipse(-0.12, 0.2, 0.1, 0.08))
    return [udder, *parts, *horns]


def _horse(rng: Rng) -> list[Part]:
    parts, x, y, r = _big_quadruped(rng)
    mane = [
        (x + r * 0.2, y - r * 1.3),
        (x - r * 0.8, y - r * 1.1),
        (x - r * 1.9, y + r * 0.6),
        (x - r * 2.2, y + r * 1.9),
        (x - r * 0.9, y + r * 1.0),
        (x - r * 0.1, y - r * 0.5),
    ]
    return [*parts, part("mark", mane)]


def _vehicle(rng: Rng) -> tuple[list[Part], float, float]:
    """Lower box and wheels; returns them with half the length and the height of the roof line."""
    half, height = rng.uniform(0.5, 0.8), rng.uniform(0.18, 0.32)
    radius = rng.uniform(0.1, 0.14)
    wheels = [w for x in (-0.6, 0.6) for w in wheel(x * half, height / 2 + 0.02, radius)]
    body = part("body", box(-half, -height / 2, half, height / 2))
    return [body, *wheels], half, -height / 2


def _car(rng: Rng) -> list[Part]:
    parts, half, top = _vehicle(rng)
    rise, back, front = rng.uniform(0.18, 0.3), rng.uniform(-0.85, -0.5), rng.uniform(0.3, 0.6)
    cabin = [
        (back * half, top),
        ((back + 0.2) * half, top - rise),
        ((front - 0.25) * half, top - rise),
        (front * half, top),
    ]
    glass = [(c[0] * 0.85 - 0.01, c[1] * 0.9 + top * 0.12) for c in cabin]
    light = part("mark", ellipse(half * 0.95, top + 0.08, 0.05, 0.05))
    return [part("body", cabin), part("light", glass), *parts, light]


def _bus(rng: Rng) -> list[Part]:
    parts, half, top = _vehicle(rng)
    rise = rng.uniform(0.2, 0.34)
    upper = part("body", box(-half, top - rise, half, top + 0.02))
    count = int(rng.integers(3, 6))
    edges = np.linspace(-half * 0.92, half * 0.92, count + 1)
    gap = (edges[1] - edges[0]) * 0.12
    windows = [
        part("light", box(a + gap, top - rise * 0.8, b - gap, top - rise * 0.15))
        for a, b in pairwise(edges)
    ]
    sign = part("mark", box(half * 0.45, top - rise - 0.07, half * 0.95, top - rise))
    return [upper, *windows, *parts, sign]


def _train(rng: Rng) -> list[Part]:
    half, height = rng.uniform(0.65, 0.95), rng.uniform(0.26, 0.36)
    boiler = part("body", box(-half, -height / 2, half, height / 2))
    cab = part("accent", box(-half, -height * 1.1, -half * 0.45, height / 2))
    window = part("light", box(-half * 0.85, -height * 0.9, -half * 0.6, -height * 0.4))
    wheels = [w for x in np.linspace(-0.8, 0.8, 5) for w in wheel(x * half, height / 2 + 0.05, 0.1)]
    x = half * 0.65
    chimney = part(
        "mark",
        [
            (x - 0.05, -height / 2),
            (x - 0.1, -height * 1.15),
            (x + 0.12, -height * 1.15),
            (x + 0.07, -height / 2),
        ],
    )
    buffer = part("dark", [(half, 0.05), (half + 0.14, height / 2 + 0.1), (half, height / 2 + 0.1)])
    return [boiler, cab, window, *wheels, chimney, buffer]


def _boat(rng: Rng) -> list[Part]:
    half, depth = rng.uniform(0.5, 0.8), rng.uniform(0.18, 0.3)
    hull = part(
        "body",
        [(-half, 0), (half, 0), (half * rng.uniform(0.55, 0.8), depth), (-half * 0.7, depth)],
    )
    tall, x = rng.uniform(0.6, 1.0), rng.uniform(-0.15, 0.1)
    mast = part("dark", stroke(x, 0.02, x, -tall, 0.04))
    parts = [hull, mast]
    if rng.random() < 0.7:
        parts.append(
            part("light", [(x + 0.03, -tall * 0.95), (x + 0.03, -0.08), (x + half * 0.8, -0.08)])
        )
    else:
        parts.append(part("accent", box(x + 0.06, -0.22, x + half * 0.6, 0)))
    return [*parts, part("mark", [(x, -tall - 0.16), (x - 0.26, -tall - 0.07), (x, -tall + 0.02)])]


def _aeroplane(rng: Rng) -> list[Part]:
    half, thick = rng.uniform(0.6, 0.85), rng.uniform(0.09, 0.14)
    span = rng.uniform(0.35, 0.6)
    fin = part(
        "mark", [(-half * 0.95, 0), (-half * 1.12, -0.36), (-half * 0.85, -0.36), (-half * 0.6, 0)]
    )
    body = part("body", ellipse(0, 0, half, thick))
    far = part(
        "accent",
        [(0.1, -thick * 0.5), (-0.16, -span * 0.7), (-0.28, -span * 0.7), (-0.16, -thick * 0.5)],
    )
    near = part("accent", [(0.16, thick * 0.2), (-0.2, span), (-0.36, span), (-0.14, thick * 0.2)])
    windows = [
        part("dark", ellipse(x * half, -thick * 0.25, 0.025, 0.03)) for x in (0.0, 0.2, 0.4, 0.6)
    ]
    return [far, fin, body, near, *windows]


def _bird(rng: Rng) -> list[Part]:
    length, height = rng.uniform(0.3, 0.42), rng.uniform(0.18, 0.27)
    x, y, r = length * 0.95, -height * rng.uniform(0.8, 1.3), rng.uniform(0.12, 0.16)
    legs = [
        part("dark", stroke(s, height * 0.8, s + 0.03, height + 0.2, 0.035)) for s in (-0.05, 0.1)
    ]
    tail = part(
        "accent",
        [
            (-length * 0.8, -0.05),
            (-length * 1.8, -0.12),
            (-length * 1.7, 0.14),
            (-length * 0.7, 0.1),
        ],
    )
    wing = part(
        "accent",
        [
            (length * 0.35, -height * 0.3),
            (-length * 0.9, -height * rng.uniform(0.4, 2.4)),
            (-length * 0.3, height * 0.4),
        ],
    )
    beak = part(
        "mark",
        [(x + r * 0.7, y - r * 0.45), (x + r * 2.3, y + r * 0.1), (x + r * 0.7, y + r * 0.5)],
    )
    return [
        *legs,
        tail,
        beak,
        part("body", ellipse(0, 0, length, height)),
        part("body", ellipse(x, y, r, r)),
        wing,
        part("dark", ellipse(x + 0.04, y - 0.03, 0.025, 0.025)),
    ]


def _bicycle(rng: Rng) -> list[Part]:
    gap, r, t = rng.uniform(0.36, 0.46), rng.uniform(0.26, 0.32), rng.uniform(0.05, 0.075)
    tyres = [part("dark", ellipse(x, 0, r, r), ellipse(x, 0, r - t, r - t)) for x in (-gap, gap)]
    top = -rng.uniform(0.28, 0.4)
    frame = [
        (-gap, 0, -0.12, top),
        (-0.12, top, 0.06, 0.02),
        (0.06, 0.02, -gap, 0),
        (0.06, 0.02, gap * 0.75, top),
        (-0.12, top, gap * 0.75, top),
        (gap * 0.72, top - 0.12, gap, 0),
    ]
    strokes = [part("body", stroke(*line, t)) for line in frame]
    saddle = part("mark", box(-0.24, top - 0.1, -0.02, top - 0.03))
    bar = part("mark", stroke(gap * 0.5, top - 0.16, gap * 0.95, top - 0.11, 0.06))
    return [*tyres, *strokes, saddle, bar]


def _chair(rng: Rng) -> list[Part]:
    half, leg, tall = rng.uniform(0.26, 0.36), rng.uniform(0.4, 0.55), rng.uniform(0.5, 0.7)
    t = rng.uniform(0.06, 0.09)
    legs = [
        part("body", stroke(x * half, 0, x * half * 1.1, leg, t)) for x in (-0.9, -0.35, 0.45, 0.9)
    ]
    posts = [part("body", stroke(-half * x, 0, -half * x - 0.06, -tall, t)) for x in (0.95, 0.1)]
    slats = [
        part(
            "mark",
            stroke(-half - 0.02 - 0.05 * k, -tall * k, -half * 0.05 - 0.05 * k, -tall * k, 0.07),
        )
        for k in (0.35, 0.62, 0.9)
    ]
    return [*legs, *posts, part("body", box(-half * 1.1, -0.06, half * 1.1, 0.06)), *slats]


FIGURES: dict[str, Callable[[Rng], list[Part]]] = {
    "aeroplane": _aeroplane,
    "bicycle": _bicycle,
    "bird": _bird,
    "boat": _boat,
    "bus": _bus,
    "car": _car,
    "cat": _cat,
    "chair": _chair,
    "cow": _cow,
    "dog": _dog,
    "horse": _horse,
    "train": _train,
}
"""Class name -> draws one figure; the order gives the class ids 1 to 12."""


def draw_distractor(rng: Rng) -> list[Part]:
    """Return a thing of no class: a ball, crate, pole or blob in the same colours as figures."""
    kind = int(rng.integers(4))
    if kind == 0:
        return [part("body", ellipse(0, 0, 0.5, 0.5)), part("accent", ellipse(0, 0, 0.5, 0.15))]
    if kind == 1:
        return [
            part("body", box(-0.5, -0.4, 0.5, 0.4)),
            part("dark", stroke(-0.5, -0.4, 0.5, 0.4, 0.07)),
        ]
    if kind == 2:
        return [
            part("body", box(-0.06, -0.8, 0.06, 0.8)),
            part("mark", box(-0.25, -0.8, 0.25, -0.55)),
        ]
    angle = np.sort(rng.uniform(0, 2 * np.pi, 8))
    radius = rng.uniform(0.25, 0.6, 8)
    return [part("body", np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1))]
