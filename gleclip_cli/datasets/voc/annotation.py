"""Image-level labels from VOC's XML annotations, read so that no file can do harm."""

from collections.abc import Mapping
from pathlib import Path
from xml.parsers import expat

from gleclip_cli.artifacts.photos import read_file
from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.errors import BadInput

_NAME = ["annotation", "object", "name"]
_LARGEST = 4 * 2**20
_REPLACE = "Replace it by the annotation that came with the image."


def read_object_names(path: Path) -> list[str]:
    """Class names of all objects in a VOC annotation, in order, with repetitions.

    Raises:
        BadInput: not VOC's XML, too large, or with a document type (entities could expand
            without end or read other files, so none is accepted).
    """
    content = read_file(path)
    if len(content) > _LARGEST:
        raise BadInput(f"{printable(path)} is too large for an annotation.", _REPLACE)
    try:
        return _Objects().read(content)
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise BadInput(f"{printable(path)} is not VOC XML: {error}.", _REPLACE) from error


class _Objects:
    """Collects the text of annotation/object/name; parts of objects have names too."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.path: list[str] = []

    def read(self, content: bytes) -> list[str]:
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = self._refuse
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.Parse(content, True)
        return [name.strip() for name in self.names]

    def _refuse(self, *_: object) -> None:
        raise ValueError("it declares a document type")

    def _start(self, tag: str, _: Mapping[str, str]) -> None:
        if not self.path and tag != _NAME[0]:
            raise ValueError(f"it begins with <{printable(tag)}>")
        self.path.append(tag)
        if self.path == _NAME:
            self.names.append("")

    def _characters(self, text: str) -> None:
        if self.path == _NAME:
            self.names[-1] += text

    def _end(self, _: str) -> None:
        self.path.pop()
