"""Class tables: names, prompts, background words and colours of a data set.

A table is a TOML file `data/classes/<name>.toml`: `name`, `classes`, `templates` (each with one
`{}`), `background_texts`, and optionally `[prompts]` (class -> text put into the templates, its
name otherwise), `[attributes]` (class -> sentences that say what it looks like) and `palette`
(colours [r, g, b] of labels 0, 1, 2 ... 255; VOC's rule otherwise).
"""

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gleclip_cli.artifacts.labels import MOST_CLASSES
from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.errors import UsageError
from gleclip_cli.resources import data_file

BACKGROUND = 0
IGNORE_INDEX = 255  # of label images in bytes; `labels.ignore_index` tells it of any

_REQUIRED = {"name", "classes", "templates", "background_texts"}
_OPTIONAL = {"prompts", "attributes", "palette"}


@dataclass(frozen=True)
class Vocabulary:
    """The classes of a data set; class id = index + 1, because 0 is background.

    `prompts` holds one text per class, synonyms applied; `attributes` the sentences of the classes
    that have some; `palette` is uint8 (256, 3); `text` is the TOML of a table that does not ship
    with the program.
    """

    name: str
    classes: tuple[str, ...]
    prompts: tuple[str, ...]
    templates: tuple[str, ...]
    background_texts: tuple[str, ...]
    palette: NDArray[np.uint8] = field(compare=False, repr=False)
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    text: str = field(default="", compare=False, repr=False)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names by label value: "background" first."""
        return ("background", *self.classes)

    def near(self, word: str) -> list[str]:
        """Class names that resemble `word`, nearest first."""
        return near_matches(word, self.classes)

    def guess(self, word: str) -> str:
        """What an unknown class was meant to be, in words for a message."""
        near = printable(" or ".join(self.near(word)))
        return f"{near}?" if near else "none is near"


def load_vocabulary(name: str) -> Vocabulary:
    """Read the class table `name` that ships with the program, or a TOML file of one's own.

    Raises:
        UsageError: no such table, or a table that contradicts itself.
    """
    if name.endswith(".toml"):
        return read_vocabulary(Path(name))
    folder = data_file("classes", "voc.toml").parent
    known = sorted(path.stem for path in folder.glob("*.toml"))
    if name not in known:
        raise UsageError(
            f"There is no class table {name!r}.",
            f"Choose one of: {', '.join(known)}; or name a TOML file.",
        )
    return replace(read_vocabulary(folder / f"{name}.toml"), text="")


def read_vocabulary(path: Path) -> Vocabulary:
    """Read one class table.

    Raises:
        UsageError: the file is no TOML, lacks a key, or contradicts itself.
    """
    try:
        return parse_vocabulary(path.read_text(encoding="utf-8"), path.name)
    except OSError as error:
        cause = f"The class table {printable(path)} cannot be read: {error.strerror}."
        raise UsageError(cause, "Name an existing file.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path.name} is not UTF-8: {error}.", "Save it as UTF-8.") from error


def parse_vocabulary(text: str, origin: str) -> Vocabulary:
    """Read a class table from TOML; `origin` names it in messages.

    Raises:
        UsageError: it is no TOML, lacks a key, or contradicts itself.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{origin} is not valid TOML: {error}.", "Correct it.") from error
    fault = _fault(table)
    if fault:
        raise UsageError(f"Class table {origin}: {fault}.", "Correct the table.")
    prompts = table.get("prompts", {})
    palette = voc_palette()
    if "palette" in table:
        palette[: len(table["palette"])] = np.asarray(table["palette"], dtype=np.uint8)
    return Vocabulary(
        name=table["name"],
        classes=tuple(table["classes"]),
        prompts=tuple(prompts.get(name, name) for name in table["classes"]),
        templates=tuple(table["templates"]),
        background_texts=tuple(table["background_texts"]),
        palette=palette,
        attributes={name: tuple(own) for name, own in table.get("attributes", {}).items()},
        text=text,
    )


def voc_palette() -> NDArray[np.uint8]:
    """VOC's colours by label value, uint8 (256, 3).

    Source: VOC development kit, colour map: the bits of the label, three at a time, lowest
    first, fill red, green and blue from the highest bit down.
    """
    labels = np.arange(256)
    palette = np.zeros((256, 3), dtype=np.uint8)
    for step in range(8):
        for channel in range(3):
            bit = (labels >> (3 * step + channel)) & 1
            palette[:, channel] |= (bit << (7 - step)).astype(np.uint8)
    return palette


def near_matches(word: str, known: Iterable[str]) -> list[str]:
    """At most three of `known` that resemble `word`, ignoring case, spaces and dashes."""
    plain = {_plain(name): name for name in known}
    return [plain[match] for match in difflib.get_close_matches(_plain(word), plain, n=3)]


def _plain(word: str) -> str:
    return "".join(letter for letter in word.casefold() if letter.isalnum())


def _fault(table: dict[str, Any]) -> str:
    """Name the first contradiction of a table, or nothing."""
    # the unknown first: what is missing may only be misspelt
    if unknown := sorted(set(table) - _REQUIRED - _OPTIONAL):
        near = near_matches(unknown[0], sorted(_REQUIRED | _OPTIONAL))
        return f"unknown {', '.join(unknown)}{f' ({near[0]}?)' if near else ''}"
    if missing := sorted(_REQUIRED - set(table)):
        return f"missing {', '.join(missing)}"
    for key in ("classes", "templates", "background_texts"):
        if not _texts(table[key]):
            return f"{key} is not a list of different texts"
    classes, prompts = table["classes"], table.get("prompts", {})
    if not 0 < len(classes) < MOST_CLASSES:
        return f"{len(classes)} classes; 1 to {MOST_CLASSES - 1} fit into a label image"
    if "background" in classes:
        return "background is no class: label 0 is added by itself"
    if any(template.count("{}") != 1 for template in table["templates"]) or not table["templates"]:
        return "every template needs one {}"
    if isinstance(prompts, dict) and any(isinstance(text, list) for text in prompts.values()):
        return "a prompt is one text, not a list: write synonyms behind each other"
    if not isinstance(prompts, dict) or not _texts(list(prompts.values())):
        return "prompts do not map classes to different texts"
    if unknown := sorted(set(prompts) - set(classes)):
        return f"prompts for unknown classes {', '.join(unknown)}"
    return _attributes_fault(table.get("attributes", {}), classes) or _palette_fault(
        table.get("palette", [])
    )


def _texts(values: object) -> bool:
    """Whether `values` is a list of different, non-empty texts."""
    return (
        isinstance(values, list)
        and all(isinstance(value, str) and value.strip() for value in values)
        and len(set(values)) == len(values)
    )


def _attributes_fault(attributes: object, classes: list[str]) -> str:
    if not isinstance(attributes, dict):
        return "attributes do not map classes to sentences"
    if unknown := sorted(set(attributes) - set(classes)):
        return f"attributes of unknown classes {', '.join(unknown)}"
    for name, sentences in attributes.items():
        if not sentences or not _texts(sentences):
            return f"attributes of {name} are not a list of different sentences"
    return ""


def _palette_fault(colours: object) -> str:
    if not isinstance(colours, list) or len(colours) > 256:
        return "palette is not a list of at most 256 colours"
    for colour in colours:
        if (
            not isinstance(colour, list)
            or len(colour) != 3
            or not all(type(value) is int and 0 <= value <= 255 for value in colour)
        ):
            return f"palette entry {colour} is not three numbers from 0 to 255"
    return ""
