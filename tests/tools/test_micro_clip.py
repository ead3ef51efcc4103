"""The losses that micro-CLIP learns from, by hand and against plain cross-entropy."""

import math

import torch
from torch.nn.functional import cross_entropy, normalize

from gleclip_cli.datasets.scenes import BACKGROUNDS, CLASSES
from gleclip_cli.tools.micro_clip import (
    NOUN_CAPTIONS,
    NOUNS,
    build_model,
    contrastive_loss,
    embed_images,
    noun_loss,
    nouns_of,
    window,
)

SCALE = torch.tensor(5.0)


def unit(rows: int) -> torch.Tensor:
    return normalize(torch.randn(rows, 6, generator=torch.Generator().manual_seed(rows)), dim=1)


def test_different_captions_give_clips_own_loss() -> None:
    image, text = unit(4), unit(5)[:4]
    logits = SCALE * image @ text.T
    right = torch.arange(4)
    expected = (cross_entropy(logits, right) + cross_entropy(logits.T, right)) / 2
    assert torch.allclose(contrastive_loss(image, text, SCALE, list("abcd")), expected)


def test_equal_captions_share_their_target() -> None:
    image, text = unit(3), unit(5)[:3]
    text[1] = text[0]  # equal captions have equal embeddings
    log_p = (SCALE * image @ text.T).log_softmax(dim=1)
    log_q = (SCALE * text @ image.T).log_softmax(dim=1)
    target = torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    expected = -((target * log_p).sum() + (target * log_q).sum()) / 6
    assert torch.allclose(contrastive_loss(image, text, SCALE, ["a", "a", "b"]), expected)


def test_a_caption_denies_places_only_if_it_names_one() -> None:
    named, denied = nouns_of(["a photo of a red cat, a bus and a dog on grass", "a horse"])
    assert {NOUNS[k] for k in named[0].nonzero()[:, 0]} == {"cat", "bus", "dog", "grass"}
    assert denied[0].sum() == len(NOUNS) - 4
    assert {NOUNS[k] for k in named[1].nonzero()[:, 0]} == {"horse"}
    assert {NOUNS[k] for k in denied[1].nonzero()[:, 0]} == set(CLASSES) - {"horse"}


def test_the_noun_loss_is_a_cross_entropy_against_the_denied() -> None:
    image, text = unit(1), unit(len(NOUNS))
    logits = (SCALE * image @ text.T)[0].tolist()
    cat, road = NOUNS.index("cat"), NOUNS.index("road")
    rest = sum(math.exp(v) for k, v in enumerate(logits) if k not in (cat, road))
    by_hand = [math.log(1 + rest / math.exp(logits[k])) for k in (cat, road)]
    loss = noun_loss(image, text, SCALE, ["a cat on a road"])
    assert math.isclose(float(loss), sum(by_hand) / 2, rel_tol=1e-5)


def test_noun_captions_read_like_captions() -> None:
    assert NOUN_CAPTIONS[0] == "a photo of an aeroplane"
    assert NOUN_CAPTIONS[-1] == f"a photo of {BACKGROUNDS[-1]}"


def test_a_window_of_the_whole_grid_is_the_networks_own_forward_pass() -> None:
    model = build_model().eval()
    images = torch.rand(2, 3, 112, 112)
    with torch.no_grad():
        expected = model.encode_image(images, normalize=True)
        own = embed_images(model.visual, images, window(model.visual, 14, (0, 0)))
    assert torch.allclose(own, expected, atol=1e-5)


def test_a_window_takes_the_positions_of_its_patches() -> None:
    visual = build_model().visual
    positions = window(visual, 2, (3, 5))
    assert torch.equal(positions, visual.positional_embedding[1:][[47, 48, 61, 62]])
