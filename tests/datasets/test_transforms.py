"""Augmentation never invents a label and never turns padding into background."""

import numpy as np
import pytest
import torch

from gleclip_cli.datasets.transforms import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Augment,
    Normalise,
    pad_to,
)
from gleclip_cli.datasets.vocabulary import IGNORE_INDEX

FILL = (9, 8, 7)


def pair(height: int, width: int, values: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(height * 1000 + width)
    mask = torch.from_numpy(rng.choice(np.array(values, dtype=np.uint8), (height, width)))
    # the picture shows its own mask, so that both can be compared after any geometry
    return mask.expand(3, -1, -1).clone(), mask


@pytest.mark.parametrize("size", [(1, 1), (15, 15), (1, 60), (40, 33), (90, 50)])
@pytest.mark.parametrize("values", [(0, 3, 15), (5, 255)])
def test_mask_values_stay_a_subset_of_the_input_and_ignore(size, values):
    image, mask = pair(*size, values)
    augment = Augment(48, scales=(0.4, 2.5), jitter=0.5, fill=FILL)
    for seed in range(20):
        out_image, out_mask = augment(image, mask, seed=seed)
        assert out_image.shape == (3, 48, 48)
        assert out_mask.shape == (48, 48)
        assert out_mask.dtype == torch.uint8
        assert set(out_mask.unique().tolist()) <= {*values, IGNORE_INDEX}


@pytest.mark.parametrize("jitter", [0.0, 0.5])
def test_padding_is_ignored_never_background(jitter):
    image, mask = pair(20, 20, (0,))  # a picture that is all background
    out_image, out_mask = Augment(32, flip=False, jitter=jitter, fill=FILL)(image, mask, seed=1)
    padded = (out_image == torch.tensor(FILL, dtype=torch.uint8).reshape(3, 1, 1)).all(0)
    assert (out_mask[padded] == IGNORE_INDEX).all()
    assert (out_mask[~padded] == 0).all()
    assert 0 < int((out_mask == 0).sum()) <= 400


def test_fault_42_wide_masks_are_padded_with_what_they_ignore():
    image, mask = pair(20, 20, (255,))
    wide = (mask.int() + 45).to(torch.uint16)  # class 300
    _, cropped = Augment(32, scales=(0.5, 1.0), fill=FILL)(image, wide, seed=1)
    _, padded = pad_to(image, wide, (24, 24), fill=FILL)
    for out in (cropped, padded):
        assert (out.dtype, set(out.flatten().tolist())) == (torch.uint16, {300, 65535})


def test_picture_and_mask_move_together():
    image, mask = pair(60, 45, (0, 1, 2, 77))
    for seed in range(10):
        out_image, out_mask = Augment(40)(image, mask, seed=seed)
        assert torch.equal(out_image[0], out_mask)


def test_further_planes_move_with_the_mask():
    image, mask = pair(60, 45, (0, 1, 2, 77))
    augment = Augment(40, scales=(0.5, 1.5))
    _, out_mask, out_plane = augment(image, mask, (mask + 100), seed=4)
    inside = out_mask != IGNORE_INDEX
    assert torch.equal(out_plane[inside], out_mask[inside] + 100)
    assert torch.equal(out_mask, augment(image, mask, seed=4)[1])


def test_jitter_varies_colours_and_nothing_else():
    image, mask = pair(40, 40, (0, 1, 200))
    plain, varied = Augment(40, flip=False), Augment(40, flip=False, jitter=0.5)
    pairs = [varied(image, mask, seed=s) for s in range(8)]
    assert all(torch.equal(moved, mask) for _, moved in pairs)
    assert torch.equal(plain(image, mask, seed=0)[0], image)
    means = [float(picture.float().mean()) for picture, _ in pairs]
    assert max(means) > 1.2 * min(means)
    assert torch.equal(varied(image, mask, seed=3)[0], pairs[3][0])


def test_same_seed_same_pair_and_the_global_generator_is_left_alone():
    image, mask = pair(60, 45, (0, 1, 2))
    augment = Augment(30, scales=(0.5, 1.5))
    before = torch.random.get_rng_state()
    first, again, other = (augment(image, mask, seed=s)[1] for s in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.random.get_rng_state())


def test_random_scale_covers_its_range():
    # a 40 x 40 white square on black, padded: its area in the crop tells the factor
    image, mask = torch.full((3, 40, 40), 255, dtype=torch.uint8), torch.zeros(40, 40).byte()
    augment = Augment(100, scales=(0.5, 2.0), fill=(0, 0, 0))
    sides = [float((augment(image, mask, seed=s)[1] == 0).sum()) ** 0.5 for s in range(300)]
    assert 20 <= min(sides) < 22
    assert 78 < max(sides) <= 80
    assert np.mean(sides) == pytest.approx(50, abs=3)


def test_pad_to_extends_right_and_below():
    image, mask = pair(3, 4, (0, 1))
    out_image, out_mask = pad_to(image, mask, (5, 8), fill=FILL)
    assert torch.equal(out_mask[:3, :4], mask)
    assert torch.equal(out_image[:, :3, :4], image)
    assert (out_mask[3:] == IGNORE_INDEX).all()
    assert (out_mask[:, 4:] == IGNORE_INDEX).all()
    assert out_image[:, 4, 7].tolist() == list(FILL)
    assert [type(out_image), type(out_mask)] == [torch.Tensor, torch.Tensor]


def test_normalise_is_the_imagenet_formula():
    out = Normalise()(torch.full((1, 3, 1, 1), 0.5)).flatten().tolist()
    assert out == pytest.approx(
        [(0.5 - m) / s for m, s in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)]
    )
