"""JSON of the form {"name": [element, ...], ...} or [element, ...], read one element at a time.

COCO's annotations are half a gigabyte of text and several as Python objects; here they are never
in memory together. Every element comes with its place in the file, so that it can be read again.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.errors import BadInput

Take = Callable[[Any, int, int], None]
"""Gets an element, the position of its first byte and its length in bytes."""

_PIECE = 2**22
_LARGEST_ELEMENT = 2**26
_BLANK = re.compile(r"[ \t\r\n]*")
_BYTE_ORDER_MARK = "\xef\xbb\xbf"
_DECODER = json.JSONDecoder()


def read_arrays(path: Path, take: Mapping[str, Take]) -> set[str]:
    """Hand every element of the arrays named in `take` to its function; return the arrays found.

    Raises:
        BadInput: the file cannot be read, or is not one JSON object.
    """
    with _opened(path) as text:
        return _read_object(text, take)


def read_list(path: Path, take: Take) -> None:
    """Hand every element of a file that is one array to `take`.

    Raises:
        BadInput: the file cannot be read, or is not one JSON array.
    """
    with _opened(path) as text:
        text.skip(_BYTE_ORDER_MARK)
        _read_array(text, take)


@contextmanager
def _opened(path: Path) -> Iterator["_Text"]:
    try:
        with path.open("rb") as stream:
            yield _Text(path, stream)
    except OSError as error:
        cause = f"{printable(path)} cannot be read: {error.strerror}."
        raise BadInput(cause, "Give yourself the permission to read it.") from error


def read_element(stream: BinaryIO, start: int, length: int) -> Any:
    """Read one element again.

    Raises:
        ValueError: something else stands there now.
    """
    stream.seek(start)
    try:
        return json.loads(stream.read(length))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _read_object(text: "_Text", take: Mapping[str, Take]) -> set[str]:
    found = set()
    text.skip(_BYTE_ORDER_MARK)
    text.expect("{")
    while True:
        name, _, _ = text.value()
        text.expect(":")
        if text.next_sign() == "[":
            _read_array(text, take.get(name) if isinstance(name, str) else None)
            found.add(str(name))
        else:
            text.value()
        if text.expect(",}") == "}":
            return found


def _read_array(text: "_Text", take: Take | None) -> None:
    text.expect("[")
    if text.next_sign() == "]":
        text.expect("]")
        return
    while True:
        element = text.value()
        if take:
            take(*element)
        if text.expect(",]") == "]":
            return


class _Text:
    """A window on a file that moves forward.

    Bytes are taken for Latin-1 characters: positions in the text are then positions in the file,
    and the syntax of JSON is ASCII. What is not ASCII is decoded again, as UTF-8.
    """

    def __init__(self, path: Path, stream: BinaryIO) -> None:
        self._path = path
        self._stream = stream
        self._text = ""
        self._at = 0
        self._before = 0  # bytes of the file before the window

    def skip(self, start: str) -> None:
        """Go past `start`, if the file begins with it."""
        self.next_sign()
        self._at += len(start) * self._text.startswith(start)

    def next_sign(self) -> str:
        """Return the next character that is not blank without going past it; "" at the end."""
        while True:
            blank = _BLANK.match(self._text, self._at)
            self._at = blank.end() if blank else self._at
            if self._at < len(self._text) or not self._more():
                return self._text[self._at : self._at + 1]

    def expect(self, signs: str) -> str:
        """Go past one of `signs` and return it."""
        sign = self.next_sign()
        if not sign or sign not in signs:
            raise self._damaged()
        self._at += 1
        return sign

    def value(self) -> tuple[Any, int, int]:
        """Return the next value, its position and its length in bytes."""
        self.next_sign()
        while True:
            value, end = self._decoded()
            # A number at the end of the window may go on behind it.
            if end < len(self._text):
                start, self._at = self._at, end
                return value, self._before + start, end - start
            if len(self._text) - self._at > _LARGEST_ELEMENT or not self._more():
                raise self._damaged()

    def _decoded(self) -> tuple[Any, int]:
        """Return the next value and where it ends: at the window's end if it is not whole."""
        try:
            value, end = _DECODER.raw_decode(self._text, self._at)
            text = self._text[self._at : end]
            return (value if text.isascii() else json.loads(text.encode("latin-1"))), end
        except (ValueError, RecursionError):
            return None, len(self._text)

    def _more(self) -> bool:
        """Drop what was read and take in another piece; False at the end of the file."""
        piece = self._stream.read(_PIECE)
        self._before += self._at
        self._text = self._text[self._at :] + piece.decode("latin-1")
        self._at = 0
        return bool(piece)

    def _damaged(self) -> BadInput:
        return BadInput(
            f"{printable(self._path)} is not valid JSON at byte {self._before + self._at}, "
            f"or not of arrays: {printable(self._text[self._at : self._at + 20])!r}.",
            "Unpack it from its archive again.",
        )
