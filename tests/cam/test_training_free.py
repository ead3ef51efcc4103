"""Which texts compete for a picture."""

from dataclasses import replace

import torch

from gleclip_cli.cam.training_free import TrainingFree
from gleclip_cli.config import GenCamConfig
from gleclip_cli.model.clip import FrozenClip

CLIP_ES = GenCamConfig(method="clip-es")


def test_absent_classes_do_not_compete_and_backgrounds_do(lively_clip: FrozenClip) -> None:
    texts = torch.eye(5, lively_clip.embed_dim)
    view = TrainingFree(CLIP_ES, lively_clip, texts, num_classes=3)
    assert view._competing([[1], [2, 3]]).tolist() == [
        [True, False, False, True, True],
        [False, True, True, True, True],
    ]
    without = replace(CLIP_ES, background_texts=False)
    view = TrainingFree(without, lively_clip, texts[:3], num_classes=3)
    assert view._competing([[1]]).tolist() == [[True, True, True]]
