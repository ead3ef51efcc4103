"""Finds the files of `data/`: inside the package (a wheel) or beside it (a checkout)."""

from pathlib import Path

from gleclip_cli.errors import EnvironmentFault

_PACKAGE = Path(__file__).resolve().parent
_PLACES = (_PACKAGE / "data", _PACKAGE.parent / "data")
MICRO_CLIP = "micro-clip"


def data_file(*parts: str) -> Path:
    """Path of a packaged file, such as data_file("classes", "voc.toml").

    Raises:
        EnvironmentFault: the installation lacks it.
    """
    for place in _PLACES:
        path = place.joinpath(*parts)
        if path.is_file():
            return path
    raise EnvironmentFault(
        f"The packaged file data/{'/'.join(parts)} is missing.", "Install gleclip again."
    )


def clip_files(model: str, weights: str) -> tuple[str, str]:
    """Replace the name micro-clip by its packaged files; other names pass unchanged.

    Raises:
        EnvironmentFault: the installation lacks micro-CLIP.
    """
    if model == MICRO_CLIP:
        model = str(data_file("micro_clip", "config.json"))
    if weights == MICRO_CLIP:
        weights = str(data_file("micro_clip", "weights.safetensors"))
    return model, weights
