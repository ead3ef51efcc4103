"""What one look has found."""

from dataclasses import dataclass

OK, NOTE, FAULT = "ok", "note", "fault"


@dataclass(frozen=True)
class Finding:
    """One line: `state` is `ok`, `note` (works, but know this) or `fault`; then `remedy` helps."""

    name: str
    state: str
    found: str
    remedy: str = ""
