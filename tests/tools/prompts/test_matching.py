"""Prompts matched with pictures by a tiny random CLIP, and losses counted by hand."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gleclip_cli.artifacts.run_dir import OutDir
from gleclip_cli.config import GenCamConfig
from gleclip_cli.datasets.vocabulary import Vocabulary, parse_vocabulary
from gleclip_cli.errors import UsageError
from gleclip_cli.tools.prompts import Findings, match_prompts
from gleclip_cli.tools.prompts.matching import _losses

TABLE = """
name = "own"
classes = ["cat", "dog"]
templates = ["a {}."]
background_texts = ["grass", "sky"]
[prompts]
dog = "a dog"
"""
NAMES = ("cat", "dog", "grass", "sky")


@pytest.fixture
def vocabulary() -> Vocabulary:
    return parse_vocabulary(TABLE, "own")


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    random = np.random.default_rng(0)
    for name in "ab":
        pixels = random.integers(0, 256, (40, 56, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    return [str(tmp_path / "a.png"), str(tmp_path / "b.png")]


@pytest.fixture
def config(tiny_clip_json: str) -> GenCamConfig:
    return GenCamConfig(clip_model=tiny_clip_json, clip_weights="random", texts="synonyms")


def test_shares_are_shares_and_the_guess_is_the_likeliest_class(
    pictures: list[str], vocabulary: Vocabulary, config: GenCamConfig
) -> None:
    found: Findings = match_prompts(pictures, vocabulary, config, device="cpu")
    assert [text.name for text in found.texts] == list(NAMES)
    assert [text.text for text in found.texts] == ["cat", "a dog", "grass", "sky"]
    assert [text.background for text in found.texts] == [False, False, True, True]
    assert len(found.images) == 2
    for image, matches in found.images.items():
        assert sum(match.probability for match in matches.values()) == pytest.approx(1)
        assert sum(match.area for match in matches.values()) == pytest.approx(1)
        assert all(0 < match.presence <= 1 for match in matches.values())
        likeliest = max(("cat", "dog"), key=lambda name: matches[name].probability)
        assert found.present[image] == (likeliest,)
    mean = np.mean([matches["sky"].similarity for matches in found.images.values()])
    assert found.texts[3].mean.similarity == pytest.approx(mean)
    for text in found.texts:
        assert len(text.nearest) == 3
        assert text.name not in dict(text.nearest)
        assert text.nearest[0][1] >= text.nearest[1][1]
    assert found.guessed
    assert found.sheets == ()
    assert found.as_json()["present_is_guessed"] is True


def test_tags_tell_what_is_there_and_sheets_are_written(
    pictures: list[str], vocabulary: Vocabulary, config: GenCamConfig, tmp_path: Path
) -> None:
    out = OutDir(tmp_path / "out")
    found = match_prompts(
        pictures, vocabulary, config, tags=["cat", "dog"], out=out, most=1, device="cpu"
    )
    (image,) = found.images
    assert found.present[image] == ("cat", "dog")
    assert not found.guessed
    (path,) = found.sheets
    with Image.open(path) as picture:
        assert picture.width > 6 * 176  # the picture and four texts, in a row of six
    with pytest.raises(UsageError, match="no class 'cow'"):
        match_prompts(pictures, vocabulary, config, tags=["cow"], device="cpu")


def test_a_class_loses_where_it_matches_best() -> None:
    """Twenty patches: one is the best of cat, and there grass is likelier, and dog even more."""
    maps = np.full((4, 4, 5), 0.1, np.float32)
    maps[:, 1, 2] = (0.3, 0.4, 0.35, 0.2)
    both = _losses("a", NAMES, [0], 2, maps)
    assert [(loss.name, loss.winner, loss.to_background) for loss in both] == [
        ("cat", "dog", False),
        ("cat", "grass", True),
    ]
    assert (both[1].own, both[1].winners) == pytest.approx((0.3, 0.35))
    # with the dog in the picture, too, the cat does not lose to it, nor does the dog to anything
    (left,) = _losses("a", NAMES, [0, 1], 2, maps)
    assert left.winner == "grass"
    assert _losses("a", NAMES, [1], 2, maps) == []


def test_a_name_that_means_nothing_is_an_error(
    vocabulary: Vocabulary, config: GenCamConfig, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="means no file"):
        match_prompts([str(tmp_path / "none.jpg")], vocabulary, config)
