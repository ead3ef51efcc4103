import pytest
import torch

from gleclip_cli.model.clip import FrozenClip, load_clip
from gleclip_cli.model.texts import class_text_embeddings


@pytest.fixture(scope="module")
def clip(tiny_clip_json: str) -> FrozenClip:
    return load_clip(tiny_clip_json, "random", seed=5)


def encoded(clip: FrozenClip, text: str) -> torch.Tensor:
    vector = clip.clip.encode_text(clip.tokenizer([text]))[0]
    return vector / vector.norm()


def test_templates_are_averaged_on_the_sphere(clip: FrozenClip) -> None:
    templates = ["a clean origami {}.", "a rendering of a weird {}."]
    actual = class_text_embeddings(clip, ["cat", "boat"], templates)
    for row, name in zip(actual, ("cat", "boat"), strict=True):
        mean = sum(encoded(clip, t.replace("{}", name)) for t in templates)
        torch.testing.assert_close(row, mean / mean.norm())


def test_many_texts_and_braces_in_a_name(clip: FrozenClip) -> None:
    names = [f"thing {i}" for i in range(300)] + ["set {a}"]
    actual = class_text_embeddings(clip, names, ["{}"])
    torch.testing.assert_close(actual[299], encoded(clip, "thing 299"), atol=1e-5, rtol=0)
    torch.testing.assert_close(actual[300], encoded(clip, "set {a}"), atol=1e-5, rtol=0)


def test_no_names_give_no_embeddings(clip: FrozenClip) -> None:
    assert class_text_embeddings(clip, [], ["{}"]).shape == (0, 24)
