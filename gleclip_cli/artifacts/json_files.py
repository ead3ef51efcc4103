"""Reading JSON files that may be damaged."""

import json
from pathlib import Path
from typing import Any

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


def _damaged(path: Path) -> BadInput:
    return BadInput(
        f"{printable(path)} is damaged.", "Delete it and run the command that made it again."
    )
