"""One frozen dataclass per stage: everything that changes a stage's output, and nothing else.

How a stage is executed (device, workers, shard, resume ...) is `Execution`; it never changes bytes.
Precedence, highest first: command line, environment, TOML file, preset of the data set, default.
"""

from dataclasses import fields
from typing import Any

from gleclip_cli.config.evaluate import PREDICTING, EvaluateConfig
from gleclip_cli.config.execution import Execution
from gleclip_cli.config.export import ExportConfig
from gleclip_cli.config.gen_cam import CAM_METHODS, GenCamConfig
from gleclip_cli.config.predict import OVERLAYS, PredictConfig
from gleclip_cli.config.prepare_data import DATASETS, PrepareDataConfig
from gleclip_cli.config.refine import CRF_BACKENDS, CRF_PRESETS, RefineConfig
from gleclip_cli.config.train_cam import BCA, DAF, DAF_FUSIONS, DAF_PROJECTIONS, TrainCamConfig
from gleclip_cli.config.train_seg import ARCHITECTURES, TrainSegConfig
from gleclip_cli.config.words import (
    CALIBRATIONS,
    EVALUATE_WHAT,
    GRID_STEPS,
    PIXEL_STEPS,
    REFINE_STEPS,
    TEXTS,
    TRAIN,
    TRAINAUG,
)

__all__ = [
    "ARCHITECTURES",
    "BCA",
    "CALIBRATIONS",
    "CAM_METHODS",
    "CONFIGS",
    "CRF_BACKENDS",
    "CRF_PRESETS",
    "DAF",
    "DAF_FUSIONS",
    "DAF_PROJECTIONS",
    "DATASETS",
    "EVALUATE_WHAT",
    "GRID_STEPS",
    "OVERLAYS",
    "PIXEL_STEPS",
    "PREDICTING",
    "REFINE_STEPS",
    "STAGE_CONFIGS",
    "TEXTS",
    "TRAIN",
    "TRAINAUG",
    "EvaluateConfig",
    "Execution",
    "ExportConfig",
    "GenCamConfig",
    "PredictConfig",
    "PrepareDataConfig",
    "RefineConfig",
    "TrainCamConfig",
    "TrainSegConfig",
    "field_names",
]

STAGE_CONFIGS: dict[str, type[Any]] = {
    "prepare-data": PrepareDataConfig,
    "train-cam": TrainCamConfig,
    "gen-cam": GenCamConfig,
    "refine": RefineConfig,
    "train-seg": TrainSegConfig,
    "evaluate": EvaluateConfig,
}
"""Stage configurations in pipeline order, by command name."""

CONFIGS: dict[str, type[Any]] = {**STAGE_CONFIGS, "predict": PredictConfig}
"""Those of all commands that a file of settings may hold a table of."""


def field_names(config: type[Any]) -> tuple[str, ...]:
    """Names of a configuration's fields, in order."""
    return tuple(f.name for f in fields(config))
