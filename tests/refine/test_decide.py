"""Labels and confidence of scores, logits and the dense CRF."""

import numpy as np
import torch

from gleclip_cli.refine.crf import dense_crf
from gleclip_cli.refine.decide import by_logits, by_scores, by_steps
from gleclip_cli.refine.pseudo_mask import pseudo_mask

RNG = np.random.default_rng(0)
SCORES = RNG.random((3, 8, 12)).astype(np.float32)


def test_scores_at_the_size_of_the_picture_are_decided_as_pseudo_masks_are():
    decision = by_scores(SCORES, [0, 4, 9], (8, 12), 10)
    places, share = pseudo_mask(SCORES)
    assert np.array_equal(decision.labels, np.array([0, 4, 9])[places])
    assert np.array_equal(decision.confidence, share)
    assert decision.labels.dtype == np.uint8
    assert by_scores(SCORES, [0, 4, 300], (8, 12), 301).labels.dtype == np.uint16


def test_logits_by_bands_give_winner_and_its_probability():
    logits = torch.from_numpy(SCORES) * 5
    parts = [(slice(top, top + 4), logits[:, top : top + 4]) for top in (0, 4)]
    decision = by_logits(parts, (8, 12), 3)
    shares = np.exp(5 * SCORES) / np.exp(5 * SCORES).sum(0)
    assert np.array_equal(decision.labels, SCORES.argmax(0))
    np.testing.assert_allclose(decision.confidence, shares.max(0), rtol=1e-5)
    assert np.array_equal(decision.turned.labels, decision.labels.T)


def test_the_crf_decides_among_the_winners():
    image = RNG.integers(0, 256, (8, 12, 3), dtype=np.uint8)
    scores = np.concatenate([SCORES, np.full((1, 8, 12), 1e-3, np.float32)])
    decision = by_steps(image, scores, [0, 4, 9, 2], 10, crf=True, device="cpu")
    expected = by_scores(dense_crf(image, SCORES), [0, 4, 9], (8, 12), 10)
    assert np.array_equal(decision.labels, expected.labels)
    alone = by_steps(image, scores[[2, 3]], [9, 2], 10, crf=True, device="cpu")
    assert (alone.labels == 9).all()


def test_the_crf_of_a_large_picture_works_on_the_grid_of_the_scores():
    """Left and right differ in colour; scores on a quarter of the sides only lean that way."""
    image = np.zeros((32, 64, 3), np.uint8)
    image[:, 32:] = 255
    left = np.full((8, 16), 0.6, np.float32) - 0.2 * (np.arange(16) >= 7)
    decision = by_steps(image, np.stack([left, 1 - left]), [0, 3], 4, crf=True, device="cpu")
    assert decision.labels.shape == (32, 64)
    assert (decision.labels[:, :31] == 0).all()
    assert (decision.labels[:, 33:] == 3).all()


def test_regions_are_named_on_the_grid_of_the_scores_after_the_crf():
    image, seen = np.zeros((16, 24, 3), np.uint8), []

    def namer(scores, picture, class_ids):
        seen.append((scores, picture.shape, list(class_ids)))
        return scores[[0, 2, 1]]

    named = by_steps(image, SCORES, [0, 4, 9], 10, crf=False, device="cpu", namer=namer)
    assert seen[0][1:] == ((8, 12, 3), [4, 9])
    assert np.array_equal(named.labels, by_scores(SCORES, [0, 9, 4], (16, 24), 10).labels)
    by_steps(image, SCORES, [0, 4, 9], 10, crf=True, device="cpu", namer=namer)
    assert not np.array_equal(seen[1][0], SCORES)
