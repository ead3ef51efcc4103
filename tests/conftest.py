"""What many tests stand on: a tiny CLIP with random weights, in open_clip's own formats."""

import json
from pathlib import Path

import pytest

TINY = {
    "embed_dim": 24,
    "quick_gelu": True,
    "vision_cfg": {
        "image_size": 32,
        "layers": 4,
        "width": 64,
        "head_width": 16,
        "patch_size": 8,
        "patch_dropout": 0.5,
    },
    "text_cfg": {
        "context_length": 16,
        "vocab_size": 49408,
        "width": 16,
        "heads": 2,
        "layers": 2,
    },
}


@pytest.fixture(scope="session")
def tiny_clip_json(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of a configuration for `load_clip(path, "random")`: 32 px, patch 8, 4 blocks."""
    path: Path = tmp_path_factory.mktemp("tiny_clip") / "config.json"
    path.write_text(json.dumps(TINY))
    return str(path)
