"""JSON: sorted, plain ASCII, NaN as null; read with the thought that it may be damaged."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gleclip_cli.artifacts.atomic import write_text
from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.errors import BadInput


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        BadInput: the file is missing, damaged, or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{printable(path)} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise _damaged(path) from error
    if not isinstance(content, dict):
        raise _damaged(path)
    return content


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically.

    Raises:
        ValueError: a number is infinite.
    """
    write_text(path, json.dumps(_plain(value), sort_keys=True, indent=1, allow_nan=False) + "\n")


def json_line(content: Mapping[str, Any]) -> str:
    """One line of JSON; being ASCII, no control character of a name reaches a terminal.

    Raises:
        ValueError: a number is infinite.
    """
    return json.dumps(_plain(content), sort_keys=True, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    """Replace NaN, which JSON lacks, by None: no value."""
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value


def _damaged(path: Path) -> BadInput:
    return BadInput(
        f"{printable(path)} is damaged.", "Delete it and run the command that made it again."
    )
