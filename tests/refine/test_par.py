"""PAR against its plain definition: all 48 neighbours gathered at once, in float64."""

import numpy as np
import pytest
import torch

from gleclip_cli.refine.par import DILATIONS, par, par_weights


def gathered(array: np.ndarray) -> np.ndarray:
    """Neighbours of (c, H, W) as (48, c, H, W); coordinates beyond the border are clamped."""
    height, width = array.shape[1:]
    rows, columns = np.mgrid[:height, :width]
    return np.stack(
        [
            array[:, (rows + d * dy).clip(0, height - 1), (columns + d * dx).clip(0, width - 1)]
            for d in (1, 2, 4, 8, 12, 24)
            for dy in (-1, 0, 1)
            for dx in (-1, 0, 1)
            if (dy, dx) != (0, 0)
        ]
    )


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=0, keepdims=True))
    return powers / powers.sum(axis=0, keepdims=True)


def plain_weights(image: np.ndarray, position: float) -> np.ndarray:
    neighbours = gathered(image)
    sigma = neighbours.std(axis=0, ddof=1)
    colour = -((np.abs(image - neighbours) / (0.3 * (sigma + 1e-8))) ** 2).mean(axis=1)
    distance = np.array(
        [d * np.hypot(y, x) for d in (1, 2, 4, 8, 12, 24) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    )
    distance = distance[distance > 0]
    near = -((distance / (0.3 * (distance.std(ddof=1) + 1e-8))) ** 2)
    return softmax(colour) + position * softmax(near)[:, None, None]


def plain_par(image: np.ndarray, maps: np.ndarray, iterations: int, position: float) -> np.ndarray:
    weights = plain_weights(image, position)[:, None]
    for _ in range(iterations):
        maps = (weights * gathered(maps)).sum(axis=0)
    return maps


def picture(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Smooth colours, a flat block and noise, as bytes in floats."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 5, 6, generator=generator)
    image = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")
    image = image + 0.05 * torch.randn(1, 3, height, width, generator=generator)
    image[:, :, : height // 2, : width // 2] = 0.4
    return (255 * image.clamp(0, 1)).round()


def random_maps(k: int, height: int, width: int) -> torch.Tensor:
    return torch.rand(1, k, height, width, generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize(("position", "scale"), [(0.01, 1.0), (0.0, 1 / 255)])
def test_par_equals_the_plain_definition(
    position: float, scale: float, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gleclip_cli.refine.par._compiled", lambda _: compiled)
    image, maps = picture(37, 52) * scale, random_maps(3, 37, 52)
    refined = par(image, maps, iterations=20, position=position)[0]
    plain = plain_par(image[0].double().numpy(), maps[0].double().numpy(), 20, position)
    np.testing.assert_allclose(refined, plain, atol=1e-4)


def test_weights_equal_the_plain_definition() -> None:
    image = picture(20, 31)
    plain = plain_weights(image[0].double().numpy(), 0.01)
    np.testing.assert_allclose(par_weights(image)[0], plain, atol=1e-5)


def test_images_of_a_batch_do_not_mix() -> None:
    images = torch.cat([picture(16, 18, seed) for seed in range(3)])
    maps = torch.rand(3, 2, 16, 18, generator=torch.Generator().manual_seed(0))
    alone = torch.cat([par(images[i : i + 1], maps[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(par(images, maps), alone)


def test_a_shifted_map_moves_to_the_edge_in_the_picture() -> None:
    image = torch.zeros(1, 3, 24, 40)
    image[..., 20:] = 200.0
    left = torch.zeros(1, 1, 24, 40)
    left[..., :24] = 1.0  # four pixels too far
    labels = par(image, torch.cat([left, 1 - left], dim=1)).argmax(1)
    assert labels[..., :20].eq(0).all()
    assert labels[..., 20:].eq(1).all()


def test_mirrored_input_gives_the_mirrored_output() -> None:
    image, maps = picture(19, 27), random_maps(2, 19, 27)
    torch.testing.assert_close(par(image.flip(3), maps.flip(3)).flip(3), par(image, maps))


def test_a_flat_picture_and_a_single_pixel_give_no_nan() -> None:
    flat = torch.full((1, 3, 9, 9), 0.3)
    flat[0, :, 4, 4] = 0.9  # all neighbours of this one are equal
    assert par(flat, random_maps(2, 9, 9)).isfinite().all()
    torch.testing.assert_close(
        par(torch.ones(1, 3, 1, 1), torch.ones(1, 2, 1, 1), position=0.0), torch.ones(1, 2, 1, 1)
    )


def test_an_image_on_another_grid_is_resized_with_its_corners_aligned() -> None:
    image, maps = picture(20, 30), random_maps(2, 10, 15)
    small = torch.nn.functional.interpolate(image, (10, 15), mode="bilinear", align_corners=True)
    assert torch.equal(par(image, maps), par(small, maps))


def test_large_maps_are_refined_on_a_smaller_grid() -> None:
    image = torch.zeros(1, 3, 40, 80)
    image[..., 40:] = 200.0
    left = torch.zeros(1, 1, 40, 80)
    left[..., :46] = 1.0
    maps = torch.cat([left, 1 - left], dim=1)
    refined = par(image, maps, max_pixels=800)
    assert refined.shape == maps.shape
    assert refined.argmax(1)[..., :39].eq(0).all()
    assert refined.argmax(1)[..., 41:].eq(1).all()
    assert not torch.equal(refined, par(image, maps))


def test_nothing_to_do_returns_the_maps() -> None:
    maps = random_maps(2, 5, 6)
    assert torch.equal(par(picture(5, 6), maps, iterations=0), maps)
    assert par(picture(5, 6), maps[:, :0]).shape == (1, 0, 5, 6)


def test_there_are_48_neighbours() -> None:
    assert par_weights(picture(4, 4)).shape[1] == 8 * len(DILATIONS) == 48


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_gpu_equals_cpu() -> None:
    image, maps = picture(64, 80), random_maps(3, 64, 80)
    torch.testing.assert_close(
        par(image.cuda(), maps.cuda()).cpu(), par(image, maps), atol=1e-4, rtol=0
    )
