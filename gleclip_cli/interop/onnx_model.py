"""A network as ONNX, compared with itself by onnxruntime before it is kept.

Input `images`: uint8 (batch, 3, height, width), RGB as in a picture, of any size; what the network
does to colours is part of the file. Outputs: `logits`, float32 (batch, classes, height, width), and
`labels`, the class ids (batch, height, width), uint8, int32 beyond 255 classes; background is 0.
The names of the classes, in JSON, stand in the metadata under `classes`.
"""

import json
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor, nn

from gleclip_cli.errors import EnvironmentFault, GleclipError

_OPSET = 18
_INSTALL = "Install the extra onnx: `pip install 'gleclip[onnx]'`."
# No side is a multiple of a patch: what pads the others must not be left out.
_TRACED, _OTHER = (2, 97, 131), (1, 160, 128)
_TOLERANCE = 1e-3
_NEAR = 1e-3


def check_onnx() -> None:
    """See that a network can be exported, before one is loaded.

    Raises:
        EnvironmentFault: a package is missing.
    """
    for name in ("onnx", "onnxscript"):
        try:
            import_module(name)
        except ImportError as error:
            raise EnvironmentFault(f"{name} is not installed.", _INSTALL) from error


class FromBytes(nn.Module):
    """A network that takes the bytes of pictures, and also says which class has most."""

    def __init__(self, network: nn.Module, num_classes: int) -> None:
        super().__init__()
        self.network = network
        self.dtype = torch.uint8 if num_classes <= 255 else torch.int32

    def forward(
        self, images: UInt8[Tensor, "b 3 H W"]
    ) -> tuple[Float[Tensor, "b c H W"], Shaped[Tensor, "b H W"]]:
        """Return logits and labels of RGB pictures."""
        logits = self.network(images.float() / 255)
        return logits, logits.argmax(dim=1).to(self.dtype)


def write_onnx(
    out: Path, network: nn.Module, classes: Sequence[str], facts: Mapping[str, str]
) -> str:
    """Write a network on the CPU, which takes RGB in [0, 1]; return what the comparison found.

    `facts`: texts for the metadata.

    Raises:
        EnvironmentFault: a package is missing.
        GleclipError: torch cannot export this network, or onnxruntime says something else than it.
    """
    import onnx

    model = FromBytes(network, len(classes)).eval()
    proto = _exported(model)
    for key, value in {"classes": json.dumps(list(classes)), **facts}.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.save(proto, str(out))
    return _compared(out, model)


def _exported(model: FromBytes) -> Any:
    dynamic = torch.export.Dim.DYNAMIC
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter about itself
        try:
            program = torch.onnx.export(
                model,
                (_pictures(_TRACED),),
                input_names=["images"],
                output_names=["logits", "labels"],
                dynamic_shapes=({0: dynamic, 2: dynamic, 3: dynamic},),
                opset_version=_OPSET,
                dynamo=True,
                verbose=False,
            )
        except Exception as error:  # of many kinds, with a report of many pages
            cause = str(error).strip().split("\n")[0]
            raise GleclipError(
                f"torch cannot export this network as ONNX: {cause}",
                "Export another architecture, or use --format hub.",
            ) from error
    assert program is not None
    return program.model_proto


def _compared(path: Path, model: FromBytes) -> str:
    """Compare with onnxruntime at two sizes; labels may differ where two logits nearly agree."""
    try:
        import onnxruntime
    except ImportError:
        return f"not compared, for onnxruntime is not installed. {_INSTALL}"
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    largest = 0.0
    for size in (_TRACED, _OTHER):
        pictures = _pictures(size)
        with torch.no_grad():
            logits, labels = (part.numpy() for part in model(pictures))
        run: list[np.ndarray] = session.run(None, {"images": pictures.numpy()})
        if run[0].shape != logits.shape:
            raise _differs(f"shape {run[0].shape}, not {logits.shape}")
        largest = max(largest, float(np.abs(run[0] - logits).max()))
        first, second = np.moveaxis(np.sort(logits, axis=1)[:, -2:], 1, 0)[::-1]
        clear = first - second > _NEAR
        if largest > _TOLERANCE * max(1.0, float(np.abs(logits).max())):
            raise _differs(f"logits by {largest:.2g}")
        if not np.array_equal(run[1][clear], labels[clear]):
            raise _differs("other labels")
    sizes = " and ".join(f"{width} x {height}" for _, height, width in (_TRACED, _OTHER))
    return f"onnxruntime gives the same labels at {sizes} pixels, logits within {largest:.1e}"


def _pictures(size: tuple[int, int, int]) -> UInt8[Tensor, "b 3 H W"]:
    batch, height, width = size
    rows = torch.linspace(0, 1, height)[:, None]
    columns = torch.linspace(0, 1, width)
    waves = torch.stack([rows + columns, torch.sin(9 * rows * columns), (rows - columns) ** 2])
    noise = torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(0))
    return ((waves.abs() / 2 + noise) / 2 * 255).clamp(0, 255).to(torch.uint8)


def _differs(what: str) -> GleclipError:
    return GleclipError(
        f"onnxruntime and the network disagree: {what}.",
        "Update torch, onnxscript and onnxruntime, or use --format hub.",
    )
