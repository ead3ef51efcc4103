"""The decoder on frozen CLIP: sizes, what learns, what a checkpoint holds, cost at full size."""

import pytest
import torch
from torch.nn import functional

from gleclip_cli.model.clip import load_clip
from gleclip_cli.seg.clip_decoder import ClipDecoder, ContextLayer, decoder_size


@pytest.fixture(scope="module")
def decoder(tiny_clip_json) -> ClipDecoder:
    torch.manual_seed(0)
    return ClipDecoder(load_clip(tiny_clip_json, "random"), 3)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (15, 15), (32, 48)])
def test_13_any_size_becomes_whole_patches_and_back(decoder, size):
    assert decoder(torch.rand(2, 3, *size)).shape == (2, 3, *size)


def test_padding_has_the_mean_colour(decoder):
    padded = decoder.pad(torch.zeros(1, 3, 15, 16))
    assert padded.shape == (1, 3, 16, 16)
    assert torch.equal(padded[..., :15, :], torch.zeros(1, 3, 15, 16))
    assert torch.allclose(padded[0, :, 15], decoder.clip.mean.expand(3, 1, 16)[:, 0])


def token(maps, row, column):
    raw = maps[:, row, column]
    return (raw - raw.mean()) / (raw.var(correction=0) + 1e-5).sqrt()


def test_features_are_standardised_tokens_of_the_quarter_layers(decoder):
    images = torch.rand(2, 3, 32, 48)
    features, _ = decoder.features(images)
    assert decoder.layers == (1, 2, 3, 4)
    assert features.shape == (2, 8, 4, 6, 64)
    (near,), _ = decoder.clip.block_outputs(decoder.clip.normalise(images), [3])
    assert torch.allclose(features[1, 2, 2, 5], token(near[1], 2, 5), atol=1e-5)


@pytest.mark.parametrize("size", [(32, 48), (8, 24)])
def test_features_of_the_picture_at_half_its_size_come_last(decoder, size):
    """An odd number of patches gets one more, of the mean colour."""
    images = torch.rand(2, 3, *size)
    features, _ = decoder.features(images)
    assert features.shape[2:4] == (size[0] // 8, size[1] // 8)
    even = decoder.clip.mean.expand(2, 3, *(-(-side // 16) * 16 for side in size)).clone()
    even[..., : size[0], : size[1]] = images
    halved = (even[..., ::2, ::2] + even[..., 1::2, ::2] + even[..., ::2, 1::2]) / 4
    halved += even[..., 1::2, 1::2] / 4
    (far,), _ = decoder.clip.block_outputs(decoder.clip.normalise(halved), [3])
    enlarged = functional.interpolate(far, scale_factor=2, mode="bilinear")
    assert torch.allclose(features[1, 6, 0, 2], token(enlarged[1], 0, 2), atol=1e-5)


def test_forward_is_decode_of_features_enlarged(decoder):
    images = torch.rand(1, 3, 32, 32)
    coarse = decoder.decode(*decoder.features(images), images)
    assert coarse.shape == (1, 3, 8, 8)
    (trained,) = decoder.training_logits(images)
    assert torch.equal(trained, coarse)
    enlarged = torch.nn.functional.interpolate(coarse, (32, 32), mode="bilinear")
    assert torch.equal(decoder(images), enlarged)


def test_only_the_decoder_learns_and_only_it_is_stored(decoder):
    decoder.train()
    decoder.zero_grad()
    decoder.training_logits(torch.rand(1, 3, 32, 32))[0].square().sum().backward()
    learning = {name for name, p in decoder.named_parameters() if p.grad is not None}
    assert learning == set(decoder.weights())
    assert not any(name.startswith("clip.") for name in learning)
    assert not decoder.clip.training
    optimised = {
        id(p)
        for group in decoder.optimiser(learning_rate=1e-3, weight_decay=0.1).param_groups
        for p in group["params"]
    }
    assert optimised == {id(p) for n, p in decoder.named_parameters() if n in learning}


def test_a_context_layer_reads_the_whole_grid_once_trained():
    torch.manual_seed(0)
    layer = ContextLayer(64, 2)
    tokens = torch.randn(1, 3, 5, 64)
    changed = tokens.clone()
    changed[0, 2, 4] = torch.randn(64)  # in the odd corner that pooling must not drop
    assert torch.equal(layer(tokens), tokens)
    torch.nn.init.normal_(layer.merge.weight)
    assert not torch.allclose(layer(tokens)[0, 0, 0], layer(changed)[0, 0, 0])


def test_an_untrained_decoder_is_a_classifier_of_tokens(decoder):
    images = torch.rand(1, 3, 32, 32)
    features, whole = decoder.features(images)
    parts = [layer(features[:, i]) for i, layer in enumerate(decoder.project)]
    tokens = decoder.join(functional.gelu(torch.cat(parts, dim=-1)))
    coarse = decoder.classify(tokens).permute(0, 3, 1, 2)
    expected = functional.interpolate(coarse, (8, 8), mode="bilinear")
    assert torch.allclose(decoder.decode(features, whole, images), expected, atol=1e-6)


def test_the_whole_picture_says_which_classes_are_likely(decoder, monkeypatch):
    """A unit vector of width e, times sqrt(e); the same everywhere."""
    images = torch.rand(1, 3, 32, 32)
    features, whole = decoder.features(images)
    plain = decoder.decode(features, whole, images)
    weight = torch.randn(3, whole.shape[1])
    monkeypatch.setattr(decoder.presence, "weight", torch.nn.Parameter(weight))
    likely = (weight @ whole[0] * whole.shape[1] ** 0.5)[:, None, None]
    assert torch.allclose(decoder.decode(features, whole, images), plain + likely, atol=1e-4)


def test_the_decoder_grows_with_clip():
    assert [decoder_size(width) for width in (64, 128, 384, 768, 1024)] == [
        (64, 1, 2), (128, 1, 2), (256, 1, 2), (256, 3, 4), (256, 3, 4),
    ]  # fmt: skip
