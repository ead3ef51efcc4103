"""Tries libraries one by one and prints a line of JSON before and after each; run by itself.

A library that is broken may end this process: the last line then tells which.
"""

import importlib
import json
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any

Facts = dict[str, Any]

MODEL, TAG = "ViT-B-16-quickgelu", "openai"
"""What the presets of real data use."""


def _imported(name: str) -> Callable[[], Facts]:
    def try_it() -> Facts:
        module = importlib.import_module(name)
        return {"version": str(getattr(module, "__version__", ""))}

    return try_it


def _torch() -> Facts:
    import torch

    devices = []
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(number)
            free, total = torch.cuda.mem_get_info(number)
            devices.append({"name": properties.name, "free": free, "total": total})
    one = torch.ones(2, 3)
    assert float((one @ one.T).sum()) == 12
    return {
        "version": torch.__version__,
        "cuda": torch.version.cuda,
        "devices": devices,
        "mps": torch.backends.mps.is_available(),
        "threads": torch.get_num_threads(),
    }


def _vision() -> Facts:
    import torch
    import torchvision

    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    torchvision.ops.nms(boxes, torch.ones(1), 0.5)  # fails where the two do not fit
    return {"version": torchvision.__version__}


def _lattice() -> Facts:
    """Run the kernel of the dense CRF on a few pixels."""
    import numpy as np

    from gleclip_cli.refine.crf import dense_crf

    scores = np.full((2, 4, 5), 0.5, np.float32)
    dense_crf(np.zeros((4, 5, 3), np.uint8), scores)
    return {}


def _weights() -> Facts:
    """Look for the weights of the presets, without asking the network."""
    from gleclip_cli.model.hub import cached, tag_settings

    file = cached(tag_settings(MODEL, TAG, random="random"))
    return {"file": None if file is None else str(file)}


STEPS: dict[str, Callable[[], Facts]] = {
    "numpy": _imported("numpy"),
    "Pillow": _imported("PIL"),
    "cv2": _imported("cv2"),
    "numba": _imported("numba"),
    "pycocotools": _imported("pycocotools.mask"),
    "torch": _torch,
    "torchvision": _vision,
    "open_clip": _imported("open_clip"),
    "accelerate": _imported("accelerate"),
    "CRF lattice": _lattice,
    "CRF pydensecrf": _imported("pydensecrf.densecrf"),
    "CLIP weights": _weights,
}


def main() -> None:
    """Try every step; one that fails does not end the others."""
    out = os.fdopen(os.dup(1), "w")

    def tell(**facts: Any) -> None:
        out.write(json.dumps(facts) + "\n")
        out.flush()

    for name, step in STEPS.items():
        tell(step=name)
        try:
            with redirect_stdout(sys.stderr):  # libraries may print
                facts = step()
        except BaseException as error:
            facts = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
        tell(step=name, facts=facts)


if __name__ == "__main__":
    main()
