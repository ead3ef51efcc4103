"""A network as a folder for a hub."""

import json
from pathlib import Path

import pytest

from gleclip_cli.artifacts.checkpoint import load_checkpoint, save_checkpoint
from gleclip_cli.artifacts.run_dir import RunDir
from gleclip_cli.config import EvaluateConfig, Execution, ExportConfig
from gleclip_cli.datasets.vocabulary import load_vocabulary
from gleclip_cli.errors import BadInput, MissingInput
from gleclip_cli.tools.export.run import export


def hub(run: RunDir, out: Path, what: str = "seg") -> str:
    config = ExportConfig(format="hub", what=what)
    execution = Execution(device="cpu")
    return export(run, config, out, evaluate=EvaluateConfig(what=what), execution=execution).note


def test_the_folder_is_a_checkpoint_with_a_card(run: RunDir, tmp_path: Path) -> None:
    out = tmp_path / "hub"
    assert hub(run, out) == "mIoU 25.0 on val"
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md",
        "classes.toml",
        "config.json",
        "model.safetensors",
    ]
    tensors, meta = load_checkpoint(out)
    own, own_meta = load_checkpoint(run.checkpoint("seg"))
    assert (tensors["head.weight"] == own["head.weight"]).all()
    assert meta["network"] == own_meta["network"]
    assert load_vocabulary(str(out / "classes.toml")).classes == load_vocabulary("voc").classes
    card = (out / "README.md").read_text()
    assert "| voc | val | 3 | 25.00 |" in card
    assert "pseudo masks made from image-level labels of 3 images, split train" in card
    assert "| cat | 25.00 |\n| dog | absent |" in card
    assert "gleclip train-seg --run runs/run" in card
    assert str(tmp_path) not in card  # nobody's folders travel
    _, front, _ = card.split("---\n", 2)
    lines = dict(line.split(": ", 1) for line in front.splitlines())
    facts = {key: json.loads(value) for key, value in lines.items()}
    (result,) = facts["model-index"][0]["results"]
    assert result["metrics"] == [{"type": "mean_iou", "value": 0.25}]


def test_clip_is_told_without_the_folder_that_it_lay_in(run: RunDir, tmp_path: Path) -> None:
    tensors, meta = load_checkpoint(run.checkpoint("seg"))
    clip = {"clip_model": "ViT-B-16", "clip_weights": str(tmp_path / "own.pt")}
    meta["network"] |= {"arch": "clip-decoder", **clip}
    save_checkpoint(run.checkpoint("seg"), tensors, {**meta, "clip_sha256": "0123456789abcdef"})
    told = hub(run, tmp_path / "hub")
    assert told.endswith("; the weights of its CLIP, own.pt, are not in it")
    card = (tmp_path / "hub" / "README.md").read_text()
    assert "weights `own.pt` (SHA-256 0123456789ab ...), which are not in this folder" in card
    assert load_checkpoint(tmp_path / "hub")[1]["network"]["clip_weights"] == "own.pt"


def test_a_changed_weight_is_told(run: RunDir, tmp_path: Path) -> None:
    hub(run, tmp_path / "hub")
    weights = tmp_path / "hub" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    with pytest.raises(BadInput, match="damaged"):
        load_checkpoint(tmp_path / "hub")


def test_figures_of_another_training_are_not_told(run: RunDir, tmp_path: Path) -> None:
    manifest = run.output("evaluate", "seg-val") / "manifest.json"
    content = json.loads(manifest.read_text())
    content["digests"]["train_seg/seg"] = "0"
    manifest.write_text(json.dumps(content))
    assert "never evaluated" in hub(run, tmp_path / "hub")
    assert "has not been evaluated" in (tmp_path / "hub" / "README.md").read_text()


def test_a_network_that_is_not_there(run: RunDir, tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="train_seg/other"):
        hub(run, tmp_path / "hub", "other")
    assert not (tmp_path / "hub").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("arch", ["deeplabv2-small", "clip-decoder", "smp:unet:resnet18"])
def test_onnxruntime_agrees_with_every_kind_of_network(arch: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from gleclip_cli.interop.onnx_model import write_onnx
    from gleclip_cli.seg.network import NetworkSpec, build_network

    clip = {"clip_model": "micro-clip", "clip_weights": "micro-clip"}
    own = clip if arch == "clip-decoder" else {}
    network = build_network(NetworkSpec(arch=arch, num_classes=3, **own)).eval()
    told = write_onnx(tmp_path / "n.onnx", network, ["background", "a", "b"], {})
    assert told.startswith("onnxruntime gives the same labels")
