"""A trained network of a run as a function from pictures to label images."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from gleclip_cli.artifacts.labels import Labels, label_dtype
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.errors import EnvironmentFault
from gleclip_cli.seg.network import load_network, warnings_of
from gleclip_cli.seg.predict import predict_logits


def labeller(
    run: RunDir,
    name: str,
    device: torch.device,
    *,
    scales: Sequence[float],
    flip: bool,
    warn: Callable[[str], None],
) -> Callable[[NDArray[np.uint8]], Labels]:
    """Load the network `name`; the function takes (H, W, 3) and returns class ids (H, W).

    `warn` is told what had to be done to the weights.

    Raises:
        MissingInput: there is no such network.
        BadInput: its checkpoint is damaged; from the function: its scores are not finite.
        EnvironmentFault: from the function: one image does not fit into the device's memory.
    """
    network = load_network(run, name, device)
    for warning in warnings_of(network):
        warn(warning)

    def label(image: NDArray[np.uint8]) -> Labels:
        try:
            logits = predict_logits(network, image, scales=scales, flip=flip)
        except torch.OutOfMemoryError as error:
            raise EnvironmentFault(
                f"The device has no memory for one image of {image.shape[:2]} pixels.",
                "Use smaller --scales, or --device cpu.",
            ) from error
        return logits.argmax(dim=0).cpu().numpy().astype(label_dtype(len(logits)))

    return label
