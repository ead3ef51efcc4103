"""Both backends of the dense CRF on the same photographs."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gleclip_cli.config import CRF_BACKENDS
from gleclip_cli.refine.crf import PRESETS, dense_crf

pytest.importorskip("pydensecrf", reason="the extra crf is not installed")

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("GLECLIP_TEST_DATA", ROOT.parent / "shared" / "data"))
PHOTOS = sorted((DATA / "voc-photos").rglob("JPEGImages/*.jpg"))[:3]


def crop_and_scores(photo: Path, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The middle of a photograph and smooth scores that follow its colours a little."""
    image = np.asarray(Image.open(photo).convert("RGB"))[60:220, 80:280]
    rng = np.random.default_rng(0)
    coarse = rng.random((k, 8, 10), np.float32)
    maps = [Image.fromarray(c).resize((200, 160), Image.Resampling.BILINEAR) for c in coarse]
    bright = image.mean(-1) / 255
    return image, np.stack([0.8 * np.asarray(m) + 0.2 * bright for m in maps]).astype(np.float32)


@pytest.mark.skipif(not PHOTOS, reason=f"no photographs under {DATA}")
@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize(("preset", "k"), [("deeplab", 4), ("afa", 2), ("irn", 3), ("psa", 12)])
def test_photographs_get_the_same_labels(number: int, preset: str, k: int) -> None:
    image, scores = crop_and_scores(PHOTOS[number], k)
    ours = dense_crf(image, scores, PRESETS[preset])
    theirs = dense_crf(image, scores, PRESETS[preset], backend="pydensecrf")
    assert (ours.argmax(0) == theirs.argmax(0)).mean() >= 0.999
    assert np.abs(ours - theirs).mean() < 1e-3


@pytest.mark.parametrize("backend", CRF_BACKENDS)
def test_input_may_be_read_only_and_is_not_written(backend: str) -> None:
    rng = np.random.default_rng(0)
    image, scores = rng.integers(0, 256, (8, 9, 3), np.uint8), rng.random((2, 8, 9), np.float32)
    image.flags.writeable = scores.flags.writeable = False
    assert np.isfinite(dense_crf(image, scores, backend=backend)).all()
