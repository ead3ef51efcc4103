"""Labels and confidence of hand-computed maps."""

import numpy as np

from gleclip_cli.refine.pseudo_mask import background_scores, pseudo_mask

# Two classes on a row of four pixels.
SCORES = np.array([[[0.9, 0.2, 0.5, 0.0]], [[0.1, 0.7, 0.5, 0.0]]], dtype=np.float32)


def test_background_is_what_no_class_claims() -> None:
    np.testing.assert_allclose(background_scores(SCORES), [[0.1, 0.3, 0.5, 1.0]], atol=1e-6)
    np.testing.assert_allclose(
        background_scores(SCORES, power=2.0), [[0.01, 0.09, 0.25, 1.0]], atol=1e-6
    )


def test_a_constant_background_ignores_the_power() -> None:
    assert (background_scores(SCORES, power=3.0, constant=0.25) == 0.25).all()


def test_labels_and_shares_of_a_hand_computed_row() -> None:
    background = background_scores(SCORES)
    places, share = pseudo_mask(np.concatenate([background[None], SCORES]))
    assert places.tolist() == [[1, 2, 0, 0]]  # equal scores: background comes first
    np.testing.assert_allclose(share, [[0.9 / 1.1, 0.7 / 1.2, 0.5 / 1.5, 1.0]], atol=1e-6)


def test_fault_32_an_image_without_classes_is_all_background() -> None:
    nothing = np.empty((0, 2, 3), dtype=np.float32)
    background = background_scores(nothing)
    places, share = pseudo_mask(background[None])
    assert places.tolist() == [[0, 0, 0], [0, 0, 0]]
    assert (share == 1).all()


def test_fault_64_all_zero_scores_give_background_without_nan() -> None:
    places, share = pseudo_mask(np.zeros((3, 2, 2), dtype=np.float32))
    assert (places == 0).all()
    np.testing.assert_allclose(share, 1 / 3)


def test_the_background_may_be_what_all_classes_leave() -> None:
    np.testing.assert_allclose(
        background_scores(SCORES, rule="sum"), [[0.0, 0.1, 0.0, 1.0]], atol=1e-6
    )
    above = np.array([[[0.8]], [[0.9]]], dtype=np.float32)
    assert (background_scores(above, rule="sum", power=2.0) == 0).all()
    assert (background_scores(SCORES, rule="sum", constant=0.25) == 0.25).all()
