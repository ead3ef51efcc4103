"""Texts become embeddings; attributes are mixed in as published."""

import numpy as np
import pytest
import torch
from scipy.cluster.vq import kmeans2

from gleclip_cli.model import texts as module
from gleclip_cli.model.clip import FrozenClip, load_clip
from gleclip_cli.model.texts import (
    Wording,
    attribute_bank,
    class_text_embeddings,
    enriched,
    text_embeddings,
)


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


def unit(rows: int, columns: int, seed: int) -> torch.Tensor:
    drawn = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    return drawn / drawn.norm(dim=1, keepdim=True)


@pytest.mark.parametrize(("size", "dropped"), [(1, 0), (9, 0), (10, 1), (25, 2)])
def test_enrichment_is_the_published_formula(size: int, dropped: int) -> None:
    texts, bank = unit(3, 6, seed=0), 0.8 * unit(size, 6, seed=1)
    actual = enriched(texts, bank).numpy()
    for row, text in zip(actual, texts.double().numpy(), strict=True):
        near = sorted(bank.double().numpy(), key=lambda one: float(text @ one))[dropped:]
        weights = [np.exp(text @ one) for one in near]
        mixed = text + sum(w / sum(weights) * one for w, one in zip(weights, near, strict=True))
        np.testing.assert_allclose(row, mixed / np.linalg.norm(mixed), atol=1e-6)


def test_attributes_are_sentences_behind_the_first_template(clip: FrozenClip) -> None:
    bank = attribute_bank(clip, ["cat", "boat"], "a {}.", [["It purrs."], ["A hull.", "Sails."]])
    expected = [encoded(clip, t) for t in ("a cat. It purrs.", "a boat. A hull.", "a boat. Sails.")]
    assert len(bank) == 3
    for text in expected:
        assert (bank - text).norm(dim=1).min() < 1e-5


@pytest.mark.parametrize(("classes", "count"), [(20, 112), (80, 224), (1, 25)])
def test_numbers_of_attributes_are_the_published_ones(
    clip: FrozenClip, monkeypatch: pytest.MonkeyPatch, classes: int, count: int
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(module, "_centroids", lambda points, count: asked.append(count) or points)
    attribute_bank(clip, [f"c{i}" for i in range(classes)], "{}", [["x"]] * classes)
    assert asked == [count]


def test_centroids_are_means_of_their_nearest_points() -> None:
    points = unit(200, 5, seed=2)
    centroids = module._centroids(points, 12)
    assert torch.equal(module._centroids(points, 12), centroids)
    again, _ = kmeans2(points.numpy(), centroids.numpy(), iter=1, minit="matrix")
    np.testing.assert_allclose(again, centroids.numpy(), atol=1e-6)
    groups = torch.tensor([[0.0, 0.0], [50.0, 0.0], [0.0, 90.0]])
    spread = (groups[:, None] + torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 3.0]])).reshape(-1, 2)
    found = sorted(module._centroids(spread, 3).tolist())
    np.testing.assert_allclose(found, [[0, 1], [0, 91], [50, 1]], atol=1e-5)


def test_equal_points_give_one_centroid() -> None:
    points = unit(2, 5, seed=3).repeat(4, 1)
    assert module._centroids(points, 6).shape == (2, 5)


def test_background_words_are_not_enriched(clip: FrozenClip) -> None:
    templates = ("a {}.", "one {}.")
    plain = Wording(("cat", "boat"), ("sky",), templates)
    rich = Wording(("cat", "boat"), ("sky",), templates, (("It purrs.",), ("A hull.",)))
    before, after = text_embeddings(clip, plain), text_embeddings(clip, rich)
    assert torch.equal(before, class_text_embeddings(clip, ["cat", "boat", "sky"], templates))
    assert torch.equal(after[2], before[2])
    bank = attribute_bank(clip, plain.prompts, "a {}.", rich.attributes)
    torch.testing.assert_close(after[:2], enriched(before[:2], bank))
    assert (after[:2] - before[:2]).norm(dim=1).min() > 0.01
