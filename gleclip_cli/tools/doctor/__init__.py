"""`gleclip doctor`: what this machine can do, and what to do about the rest.

Nothing here loads torch: libraries are tried in another process, which may crash.
"""

from pathlib import Path

from gleclip_cli.tools.doctor.finding import Finding
from gleclip_cli.tools.doctor.installed import check_installed
from gleclip_cli.tools.doctor.libraries import check_libraries, tried
from gleclip_cli.tools.doctor.machine import check_machine

__all__ = ["Finding", "examine"]


def examine(place: Path = Path()) -> list[Finding]:
    """Look at installation, libraries, devices, weights and the machine; `place`: of runs."""
    return [*check_installed(), *check_libraries(tried()), *check_machine(place)]
