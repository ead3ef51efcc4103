"""A network as ONNX, run by onnxruntime on photographs."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from gleclip_cli.errors import EnvironmentFault, GleclipError
from gleclip_cli.interop import onnx_model
from gleclip_cli.interop.onnx_model import FromBytes, check_onnx, write_onnx


class Padded(nn.Module):
    """Like real networks: pads to a multiple of its patch, works at a stride, enlarges again."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 4, 8, stride=8)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        height, width = images.shape[-2:]
        padded = nn.functional.pad(images, (0, -width % 8, 0, -height % 8))
        size = padded.shape[-2:]
        logits = nn.functional.interpolate(self.body(padded), size, mode="bilinear")
        return logits[..., :height, :width]


def test_bytes_become_logits_and_labels() -> None:
    network = nn.Conv2d(3, 2, 1)
    pictures = torch.arange(12, dtype=torch.uint8).reshape(1, 3, 2, 2) * 20
    logits, labels = FromBytes(network, 2)(pictures)
    torch.testing.assert_close(logits, network(pictures / 255))
    assert labels.dtype == torch.uint8
    assert FromBytes(network, 300)(pictures)[1].dtype == torch.int32


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(EnvironmentFault, match="is not installed"):
        check_onnx()


@pytest.mark.slow
def test_onnxruntime_agrees_at_any_size_and_on_photographs(
    tmp_path: Path, photographs: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    network, out = Padded().eval(), tmp_path / "n.onnx"
    told = write_onnx(out, network, ["background", "a", "b", "c"], {"checkpoint": "123"})
    assert told.startswith("onnxruntime gives the same labels at 131 x 97 and 128 x 160 pixels")
    session = onnxruntime.InferenceSession(str(out))
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["classes"]) == ["background", "a", "b", "c"]
    files = sorted((photographs("own-photos") / "images").rglob("*.jpg"))[:2]
    for file in files:
        picture = np.array(Image.open(file).convert("RGB")).transpose(2, 0, 1)[None]
        logits, labels = session.run(None, {"images": picture})
        with torch.no_grad():
            expected = network(torch.tensor(picture) / 255)
        np.testing.assert_allclose(logits, expected, atol=1e-4)
        np.testing.assert_array_equal(labels, expected.argmax(1))
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "onnxruntime", None)
        assert "not compared" in onnx_model._compared(out, FromBytes(network, 4))
    nn.init.ones_(network.body.weight)
    with pytest.raises(GleclipError, match="disagree: logits"):
        onnx_model._compared(out, FromBytes(network, 4))


@pytest.mark.slow
def test_what_torch_cannot_export_is_told(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")

    class Odd(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images if images.sum() > 0 else -images  # depends on the picture

    with pytest.raises(GleclipError, match="torch cannot export"):
        write_onnx(tmp_path / "n.onnx", Odd().eval(), ["background"], {})
