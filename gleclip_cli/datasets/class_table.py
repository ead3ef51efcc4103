"""Writes a class table for classes of one's own: TOML, with comments for the one who edits it."""

import json
from collections.abc import Mapping, Sequence

from gleclip_cli.datasets.vocabulary import load_vocabulary
from gleclip_cli.progress import counted

_PER_LINE = 8

_TEXT = """\
# Class table for `gleclip prepare-data --dataset folder`; edit it and run that command again.
name = {name}

# Label values in masks are places in this list, counted from 1; 0 is background, 255 ignored
# (beyond 254 classes masks are 16-bit, 65535 ignored).
# Adding a class at the end keeps the values of the others.
classes = [
{classes}
]

# CLIP reads every template with the text of every class at the place of {{}}; texts are averaged.
templates = [{templates}]

# What else is in the pictures. These words compete with the classes, so that the ground under a cow
# does not become cow. Add what surrounds your objects; take out what is part of them.
background_texts = [
{background}
]

# What CLIP reads in place of a class's name. Synonyms help, and words that tell the class from what
# it is confused with: "mouse" may be "computer mouse". Remove the # of a line to change it.
[prompts]
{prompts}

# Sentences for `gleclip gen-cam --texts enriched`: what a class looks like, its parts, shapes and
# colours, not what surrounds it. It needs some of every class. Remove the # of table and lines.
# [attributes]
{attributes}
"""


def class_table(
    classes: Sequence[str], *, name: str = "folder", counts: Mapping[str, int] | None = None
) -> str:
    """Return TOML that `vocabulary.parse_vocabulary` reads; `counts`: images by class, told beside.

    Templates and background words are VOC's, less those that are classes here; synonyms VOC's and
    COCO's.
    """
    voc, coco = load_vocabulary("voc"), load_vocabulary("coco")
    synonyms = dict(zip(coco.classes + voc.classes, coco.prompts + voc.prompts, strict=True))
    taken = {form for known in classes for form in (known.casefold(), f"{known.casefold()}s")}
    background = [word for word in voc.background_texts if not {word, f"{word}s"} & taken]
    lines = [
        ", ".join(map(_quoted, background[start : start + _PER_LINE]))
        for start in range(0, len(background), _PER_LINE)
    ]
    return _TEXT.format(
        name=_quoted(name),
        classes="\n".join(
            f"    {_quoted(known)},"
            + (f"  # {counted(counts.get(known, 0), 'image')}" if counts else "")
            for known in classes
        ),
        templates=", ".join(map(_quoted, voc.templates)),
        background="\n".join(f"    {line}," for line in lines),
        prompts="\n".join(_prompt(known, synonyms.get(known, known)) for known in classes),
        attributes="\n".join(
            f'# {_quoted(known)} = ["It has ...", "Its ... is ..."]' for known in classes
        ),
    )


def _prompt(known: str, text: str) -> str:
    """One line of prompts, switched off where it says no more than the name."""
    text = text.replace("_", " ")
    return f"{'# ' if text == known else ''}{_quoted(known)} = {_quoted(text)}"


def _quoted(text: str) -> str:
    """A TOML string: JSON's escapes are TOML's, but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
