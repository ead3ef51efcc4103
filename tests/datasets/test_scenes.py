"""The scenes world keeps its promises: exact masks, failure modes, streams that never meet."""

from collections import Counter

import numpy as np
import pytest

from gleclip_cli.datasets.scenes import CLASSES, SIZES, VIEW_SIZE, Scene, draw_scene, draw_view
from gleclip_cli.datasets.scenes.backgrounds import TYPICAL
from gleclip_cli.datasets.scenes.figures import FIGURES, draw_distractor
from gleclip_cli.datasets.vocabulary import load_vocabulary


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [draw_scene("train", index) for index in range(200)]


def test_class_table_and_figures_agree_on_the_order_of_classes() -> None:
    vocabulary = load_vocabulary("scenes")
    assert vocabulary.classes == CLASSES
    assert set(TYPICAL) == set(vocabulary.background_texts)


def test_a_scene_is_a_function_of_split_index_and_seed() -> None:
    again, other = draw_scene("train", 7), draw_scene("train", 7, seed=1)
    assert np.array_equal(draw_scene("train", 7).image, again.image)
    assert not np.array_equal(again.image, other.image)
    assert not np.array_equal(draw_view(7).image, draw_view(7, seed=1).image)


def test_streams_never_meet(scenes: list[Scene]) -> None:
    """Distinct seed sequences: the split is a word of its own, whatever the index."""
    drawn = [*scenes[:40], *(draw_scene("val", index) for index in range(40))]
    pictures = {scene.image.tobytes() for scene in drawn}
    views = {draw_view(index).image.tobytes() for index in range(40)}
    assert len(pictures) == 80
    assert len(views) == 40
    with pytest.raises(ValueError, match="outside"):
        draw_view(2**32)
    with pytest.raises(ValueError, match="outside"):
        draw_scene("train", -1)


def test_masks_and_labels_say_the_same(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert scene.mask.shape == scene.image.shape[:2] in SIZES
        assert scene.mask.dtype == scene.image.dtype == np.uint8
        assert tuple(np.unique(scene.mask[scene.mask > 0])) == scene.class_ids
        assert scene.class_ids


def test_statistics_of_the_world(scenes: list[Scene]) -> None:
    areas = np.array([np.mean(s.mask == k) for s in scenes for k in s.class_ids])
    assert 0.004 < areas.min() < 0.04
    assert 0.4 < areas.max() < 0.7
    assert 0.08 < np.median(areas) < 0.2
    several = np.mean([len(s.class_ids) > 1 for s in scenes])
    assert 0.35 < several < 0.6
    counts = Counter(CLASSES[k - 1] for s in scenes for k in s.class_ids)
    assert min(counts.values()) > 0.5 * max(counts.values())


def test_backgrounds_co_occur_with_their_classes(scenes: list[Scene]) -> None:
    home = {name: background for background, names in TYPICAL.items() for name in names}
    at_home = [s.background == home[CLASSES[k - 1]] for s in scenes for k in s.class_ids]
    assert 0.75 < np.mean(at_home) < 0.87


def test_figures_occlude_and_leave_the_picture(scenes: list[Scene]) -> None:
    def touches_border(scene: Scene) -> bool:
        edge = [scene.mask[0], scene.mask[-1], scene.mask[:, 0], scene.mask[:, -1]]
        return any(bool(side.any()) for side in edge)

    assert 0.2 < np.mean([touches_border(s) for s in scenes]) < 0.9


def test_every_class_has_one_telling_part() -> None:
    rng = np.random.default_rng(0)
    for draw in FIGURES.values():
        tones = Counter(part.tone for part in draw(rng))
        assert tones["mark"] >= 1
        assert tones["body"] >= 1
    assert draw_distractor(rng)


def test_captions_name_every_object_and_nothing_else() -> None:
    for index in range(100):
        view = draw_view(index)
        assert view.image.shape == (VIEW_SIZE, VIEW_SIZE, 3)
        words = set(view.caption.replace(",", "").split())
        assert words & set(CLASSES) == {CLASSES[k - 1] for k in view.class_ids}
