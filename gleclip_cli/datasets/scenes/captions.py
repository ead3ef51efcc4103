"""Captions of scenes: every object named, in any order, and mostly what stands around them."""

from collections.abc import Sequence

from gleclip_cli.datasets.scenes.backgrounds import Rng

OPENINGS = ("a photo of", "a picture of", "an image of", "")
_PLACES = {
    "sky": "in the sky",
    "water": "on water",
    "road": "on a road",
    "rails": "on rails",
    "grass": "on grass",
    "room": "in a room",
    "sand": "on sand",
    "snow": "in snow",
    "forest": "in a forest",
}


def with_article(words: str) -> str:
    """Put the article before words: "an aeroplane", "a red car"."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def write_caption(rng: Rng, objects: Sequence[tuple[str, str]], background: str) -> str:
    """Describe a scene from its objects, given as (colour, class name), and its background."""
    names = [
        with_article(f"{colour} {name}" if rng.random() < 0.5 else name)
        for colour, name in (objects[k] for k in rng.permutation(len(objects)))
    ]
    opening = OPENINGS[rng.integers(len(OPENINGS))]
    if not names:
        return f"{opening} {background}".strip()
    listed = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    place = _PLACES[background] if rng.random() < 0.8 else ""
    return " ".join(part for part in (opening, listed, place) if part)
