"""Settings -> GLE-CLIP; checkpoint of a run -> GLE-CLIP."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from gleclip_cli.artifacts.checkpoint import load_checkpoint
from gleclip_cli.artifacts.lines import sha256_of
from gleclip_cli.artifacts.manifest import Manifest
from gleclip_cli.artifacts.run_dir import RunDir, printable
from gleclip_cli.cam.texts import Embed, remembered
from gleclip_cli.config import GenCamConfig, TrainCamConfig
from gleclip_cli.datasets.vocabulary import Vocabulary
from gleclip_cli.errors import BadInput, OtherSettings
from gleclip_cli.model.bca import BidirectionalCrossAttention
from gleclip_cli.model.clip import FrozenClip, build_clip
from gleclip_cli.model.daf import DynamicAttentionFusion, DynamicProjection
from gleclip_cli.model.gleclip import GLECLIP
from gleclip_cli.model.grounding_decoder import GroundingDecoder, levels_of
from gleclip_cli.model.on_clip import quarter_blocks
from gleclip_cli.model.texts import Wording
from gleclip_cli.model.weights import find_clip, fit_weights
from gleclip_cli.resources import MICRO_CLIP, clip_files

_DRAWN = "scenes"
_WIDEST = 256
_REFIT = "Train it again: `gleclip train-cam --overwrite`."


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """All that is needed to build the model again before its weights are loaded."""

    clip_model: str
    clip_weights: str
    calibration: str
    gd: bool
    gd_levels: int
    bca: str
    bca_layers: int
    daf: str
    daf_projection: str
    daf_fusion: str
    gate: bool


def spec_of(config: TrainCamConfig) -> ModelSpec:
    """Return what of a configuration decides the model."""
    known = asdict(config)
    return ModelSpec(**{name: known[name] for name in ModelSpec.__dataclass_fields__})


def build_gleclip(
    spec: ModelSpec, clip: FrozenClip, texts: torch.Tensor, num_classes: int, *, seed: int = 0
) -> GLECLIP:
    """Build an untrained model; new weights are drawn from `seed`.

    `texts`: (c, e), classes first, then background words.
    Here: parts are as wide as published from ViT-B on, three quarters of CLIP's width below.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        blocks = quarter_blocks(clip.num_layers)
        decoder = GroundingDecoder(
            clip.width,
            clip.embed_dim,
            blocks=len(blocks),
            width=_narrowed(clip.width),
            levels=levels_of(clip.patch_size, spec.gd_levels),
        )
        exchange = [
            BidirectionalCrossAttention(
                clip.embed_dim,
                text_reads=spec.bca in ("both", "t2p"),
                pixels_read=spec.bca in ("both", "p2t"),
            )
            for _ in range(spec.bca_layers)
        ]
        projection = DynamicProjection(clip.embed_dim, dynamic=spec.daf_projection == "dynamic")
    fused = spec.daf != "local"
    fixed_share = {"dynamic": None, "local": None, "fixed": 0.5, "global": 1.0}[spec.daf]
    model = GLECLIP(
        clip,
        texts,
        num_classes,
        decoder=decoder if spec.gd else None,
        exchange=exchange if spec.bca != "off" else [],
        projection=projection if fused and spec.daf_projection != "off" else None,
        fusion=DynamicAttentionFusion(
            fixed_share=fixed_share, embeddings=spec.daf_fusion == "embed"
        )
        if fused
        else None,
        blocks=blocks,
        calibration=spec.calibration,
        gate=spec.gate,
    )
    return model.to(clip.mean.device)


def load_gleclip(run: RunDir, device: torch.device | str = "cpu") -> GLECLIP:
    """Load the trained model of a run, ready to make maps.

    Raises:
        MissingInput: it has not been trained.
        BadInput: the checkpoint is damaged, or its CLIP is not the one it was trained on.
    """
    path = run.cam_checkpoint()
    tensors, meta = load_checkpoint(path)
    try:
        spec, wording = ModelSpec(**meta["model"]), _wording(meta["wording"])
        clip_sha256, num_classes = str(meta["clip_sha256"]), len(wording.prompts)
    except (KeyError, TypeError) as error:
        raise BadInput(f"{printable(path)} does not say what it holds: {error}.", _REFIT) from error
    source = find_clip(*clip_files(spec.clip_model, spec.clip_weights))
    if source.sha256 != clip_sha256:
        raise BadInput(
            f"{printable(path)} was trained on {spec.clip_model} with other weights "
            f"({clip_sha256[:12]}, not {source.sha256[:12]}).",
            f"Bring back those weights. {_REFIT}",
        )
    clip = build_clip(source).to(device)
    embed: Embed = remembered(run, source)
    model = build_gleclip(spec, clip, embed(clip, wording), num_classes)
    fit_weights(model, tensors, origin=printable(path), remedy=_REFIT, wanted=model.weights())
    return model.eval()


def warnings_about(clip: FrozenClip, vocabulary: Vocabulary) -> tuple[str, ...]:
    """Return what to tell of a CLIP: what was done to its weights, and of what it knows nothing."""
    _, micro = clip_files(MICRO_CLIP, MICRO_CLIP)
    if vocabulary.name == _DRAWN or clip.weights_sha256 != sha256_of(Path(micro)):
        return clip.warnings
    return (
        *clip.warnings,
        f"micro-CLIP knows the drawn world of {_DRAWN} only; its maps of photographs mean nothing: "
        f"use --clip-model {GenCamConfig.clip_model} --clip-weights {GenCamConfig.clip_weights}.",
    )


def fitting(training: Manifest, weights: Mapping[str, str], calibration: str) -> None:
    """Make sure that maps are asked for with the CLIP and the texts of the training.

    Weights without a hash have not been fetched, and are taken for the same.

    Raises:
        OtherSettings: they are others.
    """
    trained_on, spec = training.data["weights"], training.data["config"]
    if weights["clip"] and trained_on["clip"] != weights["clip"]:
        raise OtherSettings(
            "GLE-CLIP was trained on another CLIP.",
            f"Use --clip-model {spec['clip_model']} --clip-weights {spec['clip_weights']}, "
            "or `gleclip train-cam --overwrite`.",
        )
    if trained_on["texts"] != weights["texts"]:
        raise OtherSettings(
            "The texts of classes or background words have changed since GLE-CLIP was trained.",
            "Bring back class table and --texts, or `gleclip train-cam --overwrite`.",
        )
    if spec["calibration"] != calibration:
        raise OtherSettings(
            f"GLE-CLIP was trained on patches calibrated by {spec['calibration']}.",
            f"Use --calibration {spec['calibration']}, or `gleclip train-cam --overwrite`.",
        )


def _narrowed(width: int) -> int:
    return min(_WIDEST, max(16, width * 3 // 4 // 16 * 16))


def _wording(entry: Mapping[str, Any]) -> Wording:
    """Return the texts of a checkpoint; JSON knows lists only."""
    plain = {name: tuple(entry[name]) for name in ("prompts", "background_words", "templates")}
    return Wording(**plain, attributes=tuple(map(tuple, entry["attributes"])))
