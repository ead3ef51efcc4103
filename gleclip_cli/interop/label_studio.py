"""Label Studio's JSON of tasks, with masks as its run lengths of brush strokes.

A task is written as a prediction, so that the tool shows it for correction; what people save comes
back as annotations, which count more. `labelling_config` is the set-up of a project for it.

Run lengths, as of the package rle-pack for JavaScript: a stream of bits, the highest of a byte
first. 32 bits: how many values follow; 5: bits of a value less 1; four times 4: bits of four kinds
of lengths less 1. Then blocks: a bit, 1 for a run; 2 bits, the kind; length less 1; the value, or
for a block of 0 as many values. Values are those of a picture of four channels, of which the last
counts.
"""

import json
import re
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from gleclip_cli.artifacts.labels import Labels, label_dtype
from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.datasets.coco.elements import read_element, read_list
from gleclip_cli.datasets.vocabulary import BACKGROUND, Vocabulary
from gleclip_cli.errors import BadInput
from gleclip_cli.interop.masked import Masked, Stored, class_id, path_of, regions

LOCAL_FILES = "/data/local-files/?d="
"""Where Label Studio serves pictures of its own machine, below its document root."""

_UPLOADED = re.compile(r"data/upload/(\d+/)?[0-9a-f]{8}-")  # put before the names of uploads
_CHANNELS = 4
_LENGTHS = (3, 4, 8, 16)
_OPAQUE = 128
_MOST_PIXELS = 2**27
_AGAIN = "Export the project again, as JSON."


def write_label_studio(
    out: Path, masks: Iterable[Masked], vocabulary: Vocabulary, *, images: str = LOCAL_FILES
) -> int:
    """Write a task per mask; return the number of regions. `images`: address of all pictures."""
    written = 0
    with out.open("w", encoding="ascii") as file:
        for number, masked in enumerate(masks):
            name = path_of(masked.image_id, masked.image.suffix)
            results = [
                _result(vocabulary.class_names[value], inside) for value, inside in regions(masked)
            ]
            written += len(results)
            prediction = {"model_version": "gleclip", "result": results}
            image = images + quote(name, errors="surrogateescape")
            height, width = masked.size
            data = {"image": image, "image_id": masked.image_id, "height": height, "width": width}
            file.write(",\n" if number else "[\n")
            json.dump({"data": data, "predictions": [prediction]}, file)
        file.write("\n]\n")
    return written


def labelling_config(vocabulary: Vocabulary) -> str:
    """Return the labelling interface of a project, with classes in their colours."""
    colours = np.resize(vocabulary.palette[1:], (len(vocabulary.classes), 3)).tolist()
    labels = "".join(
        f'    <Label value={quoteattr(name)} background="#{red:02x}{green:02x}{blue:02x}"/>\n'
        for name, (red, green, blue) in zip(vocabulary.classes, colours, strict=True)
    )
    return (
        '<View>\n  <Image name="image" value="$image" zoom="true"/>\n'
        f'  <BrushLabels name="tag" toName="image">\n{labels}  </BrushLabels>\n</View>\n'
    )


def read_label_studio(path: Path, vocabulary: Vocabulary) -> dict[str, Stored]:
    """Find the masks of an export by name of picture: of a task, what was annotated last.

    Predictions count if nothing at all was annotated.

    Raises:
        BadInput: the file is damaged, or holds no tasks.
    """
    annotated: dict[str, Stored] = {}
    foretold: dict[str, Stored] = {}

    def take(task: Any, start: int, length: int) -> None:
        try:
            draw = partial(_draw, path, (start, length), vocabulary)
            found = annotated if _saved(task) else foretold
            found[_name(task["data"])] = Stored(path, draw)
        except (KeyError, TypeError, AttributeError, StopIteration) as error:
            cause = f"{printable(path)}: the element at byte {start} is no task with a picture."
            raise BadInput(cause, _AGAIN) from error

    read_list(path, take)
    return annotated or foretold


def _result(name: str, inside: NDArray[np.bool_]) -> dict[str, Any]:
    height, width = inside.shape
    return {
        "type": "brushlabels",
        "from_name": "tag",
        "to_name": "image",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": {"format": "rle", "rle": packed(inside), "brushlabels": [name]},
    }


def packed(inside: NDArray[np.bool_]) -> list[int]:
    """Return the run lengths of a mask (H, W), as bytes."""
    flat = inside.ravel()
    ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]) + 1, flat.size)
    runs = np.diff(ends, prepend=0) * _CHANNELS
    bits = [f"{flat.size * _CHANNELS:032b}{7:05b}", *(f"{size - 1:04b}" for size in _LENGTHS)]
    for end, run in zip(ends.tolist(), runs.tolist(), strict=True):
        value = "11111111" if flat[end - 1] else "00000000"
        while run:
            part = min(run, 1 << _LENGTHS[-1])
            kind = next(k for k, size in enumerate(_LENGTHS) if part <= 1 << size)
            bits.append(f"1{kind:02b}{part - 1:0{_LENGTHS[kind]}b}{value}")
            run -= part
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8, "big"))


def unpacked(rle: list[int], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the mask (H, W) of run lengths.

    Raises:
        ValueError: they are damaged, or of a picture of another size.
    """
    data = bytes(rle)
    stream = _Bits(f"{int.from_bytes(data, 'big'):0{8 * len(data)}b}")
    count, width = stream.number(32), stream.number(5) + 1
    lengths = [stream.number(4) + 1 for _ in range(4)]
    if count != size[0] * size[1] * _CHANNELS:
        raise ValueError(f"{count} values do not make {size[1]} x {size[0]} pixels")
    values = np.zeros(count, np.uint8)
    at = 0
    while at < count:
        run, kind = stream.number(1), stream.number(2)
        end = at + 1 + stream.number(lengths[kind])
        if end > count:
            raise ValueError("they go on behind the picture")
        values[at:end] = (
            stream.number(width) if run else [stream.number(width) for _ in range(end - at)]
        )
        at = end
    return values.reshape(*size, _CHANNELS)[..., -1] >= _OPAQUE


class _Bits:
    """Numbers from a text of bits, one after the other."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def number(self, bits: int) -> int:
        """Return the next number of that many bits."""
        word = self._text[self._at : self._at + bits]
        if len(word) < bits:
            raise ValueError("they break off")
        self._at += bits
        return int(word, 2)


def _saved(task: Any) -> list[Any]:
    return [one for one in task.get("annotations", ()) if not one.get("was_cancelled")]


def _regions(task: Any) -> list[Any]:
    """Regions of the annotation saved last, else of the prediction."""
    made = _saved(task) or task["predictions"]
    found: list[Any] = max(made, key=lambda one: str(one.get("updated_at", "")))["result"]
    return found


def _name(data: Any) -> str:
    """Name of the picture: ours if it is still there, else what its address ends with."""
    if isinstance(known := data.get("image_id"), str):
        return known
    address = next(v for v in data.values() if isinstance(v, str) and "/" in v)
    path = PurePosixPath(unquote(address.rpartition("?d=")[2]))
    name = str(path.with_suffix("")).lstrip("/")
    return _UPLOADED.sub("", name)


def _draw(path: Path, span: tuple[int, int], vocabulary: Vocabulary) -> Labels:
    where = printable(path)
    try:
        with path.open("rb") as stream:
            task = read_element(stream, *span)
        where = f"{where}, {printable(_name(task['data']))},"
        found = list(_brushes(_regions(task)))
        # Without a region only our own entries tell the size.
        size = found[0][1] if found else (int(task["data"]["height"]), int(task["data"]["width"]))
        if not 0 < size[0] * size[1] <= _MOST_PIXELS or min(size) < 1:
            raise ValueError(f"{size[1]} x {size[0]} pixels")
        labels = np.full(size, BACKGROUND, label_dtype(len(vocabulary.class_names)))
        for name, _, rle in found:
            labels[unpacked(rle, size)] = class_id(vocabulary, name, path)
    except (ValueError, LookupError, TypeError, AttributeError, OSError) as error:
        raise BadInput(f"{where} cannot be drawn: {printable(error)}.", _AGAIN) from error
    return labels


def _brushes(results: list[Any]) -> Iterator[tuple[str, tuple[int, int], list[int]]]:
    """Yield name, size (H, W) and run lengths of every region."""
    for result in results:
        value = result["value"]
        if value.get("format") != "rle":
            raise ValueError(f"a region is of the kind {result.get('type')}, not a brush's")
        size = int(result["original_height"]), int(result["original_width"])
        yield str(value["brushlabels"][0]), size, value["rle"]
