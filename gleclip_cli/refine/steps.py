"""The steps of `refine` that work on pixels, in the order they were asked for."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, UInt8

from gleclip_cli.config import RefineConfig
from gleclip_cli.refine.par import par


def on_pixels(
    scores: Float[np.ndarray, "k H W"],
    image: UInt8[np.ndarray, "H W 3"],
    config: RefineConfig,
    device: torch.device,
    *,
    name_regions: Callable[[Float[np.ndarray, "k H W"]], Float[np.ndarray, "k H W"]] | None = None,
) -> Float[np.ndarray, "k H W"]:
    """Return scores (background first) after every step of `config` that works on pixels.

    `name_regions` does the step `regions`, which needs a model and so cannot be done here.

    Raises:
        BadInput: a score is not finite.
        EnvironmentFault: a backend is missing.
    """
    for step in config.steps:
        if step == "par":
            scores = _par(scores, image, config, device)
        elif step == "regions":
            if name_regions is None:
                raise ValueError("regions without a model that names them")
            scores = name_regions(scores)
        elif step == "crf":
            scores = _crf(scores, image, config, device)
    return scores


def require_steps(config: RefineConfig) -> None:
    """Raise EnvironmentFault if a step cannot be done here, before any work."""
    if "crf" in config.steps:
        from gleclip_cli.refine.crf import require_backend

        require_backend(config.crf_backend)


def _par(
    scores: Float[np.ndarray, "k H W"],
    image: UInt8[np.ndarray, "H W 3"],
    config: RefineConfig,
    device: torch.device,
) -> Float[np.ndarray, "k H W"]:
    pixels = torch.tensor(image, device=device).permute(2, 0, 1)[None].float()
    maps = torch.from_numpy(scores)[None].to(device)
    refined: Float[np.ndarray, "k H W"]
    refined = par(pixels, maps, iterations=config.par_iterations)[0].cpu().numpy()
    return refined


def _crf(
    scores: Float[np.ndarray, "k H W"],
    image: UInt8[np.ndarray, "H W 3"],
    config: RefineConfig,
    device: torch.device,
) -> Float[np.ndarray, "k H W"]:
    # compiled code is loaded only where the CRF is asked for
    from gleclip_cli.refine.crf import PRESETS, dense_crf

    return dense_crf(
        image,
        scores / max(1, scores.max()),  # par's weights sum to more than 1
        PRESETS[config.crf_preset],
        iterations=config.crf_iterations,
        backend=config.crf_backend,
        device=str(device),
    )
