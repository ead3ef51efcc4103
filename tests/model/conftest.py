"""CLIP weights in the layouts of others, written independently of the readers."""

import itertools
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

SaveTorchScript = Callable[[Any, Path], None]
Save = Callable[[Any, Path], str]
ToHuggingFace = Callable[[dict[str, Tensor]], dict[str, Tensor]]


class _Archived(nn.Module):
    """As OpenAI published it: the model's own names, and three numbers as buffers."""

    def __init__(self, clip: Any) -> None:
        super().__init__()
        for name, module in clip.named_children():
            setattr(self, name, module)
        for name in ("positional_embedding", "text_projection", "logit_scale"):
            setattr(self, name, getattr(clip, name))
        self.register_buffer("input_resolution", torch.tensor(clip.visual.image_size[0]))
        self.register_buffer("context_length", torch.tensor(clip.context_length))
        self.register_buffer("vocab_size", torch.tensor(clip.vocab_size))

    def forward(self, image: Tensor) -> Tensor:
        features: Tensor = self.visual(image)
        return features * self.logit_scale + self.input_resolution


@pytest.fixture(scope="session")
def save_torchscript() -> SaveTorchScript:
    """Trace a CLIP of open_clip, halve it and save it as OpenAI did theirs."""

    def save(clip: Any, file: Path) -> None:
        picture = torch.zeros(1, 3, *clip.visual.image_size)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch wants tracing to be forgotten
            traced = torch.jit.trace(_Archived(clip).eval(), picture, check_trace=False)
            traced.half().save(str(file))
            traced.float()  # it shares its weights with `clip`

    return save


@pytest.fixture(scope="session")
def to_hugging_face() -> ToHuggingFace:
    """Rename a state dict of open_clip, block by block, as the layout is documented."""

    def rename(state: dict[str, Tensor]) -> dict[str, Tensor]:
        renamed = {
            "logit_scale": state["logit_scale"],
            "text_projection.weight": state["text_projection"].T,
            "visual_projection.weight": state["visual.proj"].T,
            "vision_model.embeddings.class_embedding": state["visual.class_embedding"],
            "vision_model.embeddings.patch_embedding.weight": state["visual.conv1.weight"],
            "vision_model.embeddings.position_ids": torch.arange(5)[None],
            "text_model.embeddings.position_ids": torch.arange(5)[None],
        }
        positions = "embeddings.position_embedding.weight"
        renamed[f"vision_model.{positions}"] = state["visual.positional_embedding"]
        renamed[f"text_model.{positions}"] = state["positional_embedding"]
        renamed["text_model.embeddings.token_embedding.weight"] = state["token_embedding.weight"]
        for kind in ("weight", "bias"):
            renamed[f"vision_model.pre_layrnorm.{kind}"] = state[f"visual.ln_pre.{kind}"]
            renamed[f"vision_model.post_layernorm.{kind}"] = state[f"visual.ln_post.{kind}"]
            renamed[f"text_model.final_layer_norm.{kind}"] = state[f"ln_final.{kind}"]
            for theirs, ours in (("vision_model", "visual."), ("text_model", "")):
                renamed |= blocks(state, theirs, ours, kind)
        return {name: value.contiguous() for name, value in renamed.items()}

    def blocks(state: dict[str, Tensor], theirs: str, ours: str, kind: str) -> dict[str, Tensor]:
        found, number = {}, 0
        while f"{ours}transformer.resblocks.{number}.ln_1.weight" in state:
            own = f"{ours}transformer.resblocks.{number}."
            other = f"{theirs}.encoder.layers.{number}."
            joined = state[f"{own}attn.in_proj_{kind}"]
            width = len(joined) // 3
            for index, part in enumerate(("q_proj", "k_proj", "v_proj")):
                rows = joined[index * width : (index + 1) * width]
                found[f"{other}self_attn.{part}.{kind}"] = rows
            found[f"{other}self_attn.out_proj.{kind}"] = state[f"{own}attn.out_proj.{kind}"]
            found[f"{other}layer_norm1.{kind}"] = state[f"{own}ln_1.{kind}"]
            found[f"{other}layer_norm2.{kind}"] = state[f"{own}ln_2.{kind}"]
            found[f"{other}mlp.fc1.{kind}"] = state[f"{own}mlp.c_fc.{kind}"]
            found[f"{other}mlp.fc2.{kind}"] = state[f"{own}mlp.c_proj.{kind}"]
            number += 1
        return found

    return rename


@pytest.fixture(scope="session")
def savers(save_torchscript: SaveTorchScript, to_hugging_face: ToHuggingFace) -> dict[str, Save]:
    """Format -> function that saves a CLIP into a folder and tells what to name for it."""

    def as_safetensors(clip: Any, folder: Path) -> str:
        safetensors.torch.save_file(clip.state_dict(), folder / "clip.safetensors")
        return str(folder / "clip.safetensors")

    def as_pt(clip: Any, folder: Path) -> str:
        torch.save(clip.state_dict(), folder / "clip.pt")
        return str(folder / "clip.pt")

    def as_checkpoint(clip: Any, folder: Path) -> str:
        state = {f"module.{name}": value for name, value in clip.state_dict().items()}
        torch.save({"epoch": 32, "name": "run", "state_dict": state}, folder / "epoch_32.pt")
        return str(folder / "epoch_32.pt")

    def as_torchscript(clip: Any, folder: Path) -> str:
        save_torchscript(clip, folder / "ViT.pt")
        return str(folder / "ViT.pt")

    def as_hf_safetensors(clip: Any, folder: Path) -> str:
        file = folder / "model.safetensors"
        safetensors.torch.save_file(to_hugging_face(clip.state_dict()), file)
        return str(file)

    def as_hf_bin(clip: Any, folder: Path) -> str:
        torch.save(to_hugging_face(clip.state_dict()), folder / "pytorch_model.bin")
        return str(folder / "pytorch_model.bin")

    def as_hf_folder(clip: Any, folder: Path) -> str:
        as_hf_safetensors(clip, folder)
        quick = "QuickGELU" in str(clip.visual.transformer.resblocks[0])
        vision = {"hidden_act": "quick_gelu" if quick else "gelu"}
        (folder / "config.json").write_text(json.dumps({"vision_config": vision}))
        return str(folder)

    def as_hf_parts(clip: Any, folder: Path) -> str:
        tensors = to_hugging_face(clip.state_dict())
        parts = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
        places = dict(zip(tensors, itertools.cycle(parts), strict=False))
        for part in parts:
            own = {name: value for name, value in tensors.items() if places[name] == part}
            safetensors.torch.save_file(own, folder / part)
        index = {"metadata": {"total_size": 1}, "weight_map": places}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        return str(folder)

    return {
        "safetensors": as_safetensors,
        "pt": as_pt,
        "checkpoint": as_checkpoint,
        "torchscript": as_torchscript,
        "hf safetensors": as_hf_safetensors,
        "hf bin": as_hf_bin,
        "hf folder": as_hf_folder,
        "hf parts": as_hf_parts,
    }
