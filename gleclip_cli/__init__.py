"""gleclip: image-level tags to pixel masks, weakly supervised with CLIP.

The names below are resolved on use: importing the package loads neither torch nor numpy. The
stages are functions of `gleclip_cli.stages`; `pipeline.run` chains them.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Execution": "config",
    "EvaluateConfig": "config",
    "GenCamConfig": "config",
    "GleclipError": "errors",
    "PrepareDataConfig": "config",
    "RefineConfig": "config",
    "RunDir": "artifacts.run_dir",
    "TrainCamConfig": "config",
    "TrainSegConfig": "config",
    "load_cam": "artifacts.maps",
    "load_confidence": "artifacts.maps",
    "load_label_image": "artifacts.maps",
    "load_prepared": "artifacts.tables",
    "load_scores": "artifacts.tables",
    "load_vocabulary": "datasets.vocabulary",
}

__all__ = [*sorted(_HOMES), "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
