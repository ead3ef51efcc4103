"""The whole road on VOC photographs with a full-size ViT-B/16: random weights, real formats.

pytest -m slow tests/test_photographs.py -s

The masks mean nothing with such weights; that every stage works on real files is the point.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(params=["random", "file"])
def weights(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """`random`, or a local file as open_clip would save it."""
    if request.param == "random":
        return "random"
    torch.manual_seed(1)
    path = tmp_path / "vit.safetensors"
    save_file(open_clip.create_model("ViT-B-16-quickgelu").state_dict(), path)
    return str(path)


def test_voc_photographs_go_through_all_stages(
    weights: str, photographs: Callable[[str], Path], whole_road: Callable[..., None]
) -> None:
    voc = photographs("voc-photos") / "VOCdevkit" / "VOC2012"
    clip = ("--clip-model", "ViT-B-16-quickgelu", "--clip-weights", weights)
    run = Path("runs/voc")

    def masks(split: str, folder: Path) -> Iterator[tuple[np.ndarray, Path]]:
        for name in (voc / "ImageSets" / "Segmentation" / f"{split}.txt").read_text().split():
            true = np.array(Image.open(voc / "SegmentationClass" / f"{name}.png"))
            yield true, folder / f"{name}.png"

    whole_road(
        "voc",
        voc,
        clip=clip,
        seg=("--arch", "deeplabv2-small", "--pretrained", "none")
        if weights == "random"
        else ("--arch", "clip-decoder", *clip),
        images={"pseudo-train": 60, "seg-val": 40},
        masks=masks,
    )
    assert len(list((run / "gen_cam" / "trainaug" / "cams").rglob("*.npz"))) == 60
    assert len(list((run / "refine" / "trainaug" / "confidence").glob("*.png"))) == 60
