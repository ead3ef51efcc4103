"""The command line that makes an output again, from what its manifest tells."""

from collections.abc import Mapping
from dataclasses import fields
from shlex import join
from typing import Any

from gleclip_cli.artifacts.run_dir import printable
from gleclip_cli.config import STAGE_CONFIGS
from gleclip_cli.presets import PRESETS


def command_line(stage: str, settings: Mapping[str, Any], *, run: object, dataset: str) -> str:
    """Return `gleclip STAGE --run ...` with every option that is not a default.

    `settings`: a manifest or settings.json. A value is left out only where the default and the
    preset of the data set both have it, so the line does not depend on which of them applies.
    """
    command = stage.replace("_", "-")
    words = ["gleclip", command, "--run", printable(run)]
    preset = PRESETS.get(dataset, {}).get(command, {})
    known = {field.name: field.default for field in fields(STAGE_CONFIGS[command])}
    for name, value in settings.get("config", {}).items():
        default = known.get(name)
        if name not in known or value is None:  # which no option can say
            continue
        plain = _plain(value)
        if name == "dataset" or {plain} != {_plain(default), _plain(preset.get(name, default))}:
            words += _option(name, plain)
    if settings.get("execution", {}).get("allow_partial"):
        words.append("--allow-partial")
    return join(words)


def _plain(value: Any) -> Any:
    """Lists of JSON as the tuples of a configuration."""
    return tuple(value) if isinstance(value, list) else value


def _option(name: str, value: Any) -> list[str]:
    dashed = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{'' if value else 'no-'}{dashed}"]
    if isinstance(value, tuple):
        return [f"--{dashed}", ",".join(map(str, value)) or "none"]
    return [f"--{dashed}", printable(value)]
