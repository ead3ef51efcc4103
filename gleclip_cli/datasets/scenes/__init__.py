"""The scenes world: procedural pictures with exact masks and the failure modes of weak supervision.

Twelve classes of part-based figures, confusable pairs (cat and dog, cow and horse, car and bus),
backgrounds that co-occur with a class in about 80 % of its pictures, occlusion, cropping at the
border, thin structures, texture, noise and distractors of no class. A scene is a function of its
split, index and seed alone.
"""

from gleclip_cli.datasets.scenes.backgrounds import TYPICAL
from gleclip_cli.datasets.scenes.captions import with_article
from gleclip_cli.datasets.scenes.world import (
    CLASSES,
    CLOSE_UP_SIZE,
    SIZES,
    VIEW_SIZE,
    Scene,
    draw_close_up,
    draw_scene,
    draw_view,
    scene_id,
)

BACKGROUNDS = tuple(TYPICAL)
"""The kinds of stuff a scene may show, each a word that captions use."""

__all__ = [
    "BACKGROUNDS",
    "CLASSES",
    "CLOSE_UP_SIZE",
    "SIZES",
    "VIEW_SIZE",
    "Scene",
    "draw_close_up",
    "draw_scene",
    "draw_view",
    "scene_id",
    "with_article",
]
