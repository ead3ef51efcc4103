"""Cells of a grid: colours of labels, outlines, and where things land on the sheet."""

import numpy as np

from gleclip_cli.datasets.vocabulary import voc_palette
from gleclip_cli.tools.grid import fitted, grid, painted

PALETTE = voc_palette()


def test_pictures_keep_their_shape() -> None:
    image = np.zeros((30, 60, 3), np.uint8)
    assert fitted(image, 200).shape == (100, 200, 3)
    assert fitted(np.zeros((1, 900, 3), np.uint8), 20).shape == (1, 20, 3)


def test_labels_have_the_colours_of_their_classes_and_an_outline() -> None:
    image = np.full((20, 40, 3), 100, np.uint8)
    labels = np.zeros((10, 20), np.uint8)  # half as large
    labels[:, 10:] = 15
    labels[:, 18:] = 255
    both = painted(image, labels, PALETTE)
    assert both.shape == image.shape
    expected = (0.72 * PALETTE[15] + 0.28 * 100).astype(int)
    np.testing.assert_allclose(both[5, 25], expected, atol=1)
    assert (both[:, 19] == 30).all()  # the last column before another label
    assert len(set(both[5, 5].tolist())) == 1  # background is grey, lighter than it was
    assert both[5, 5, 0] > 100
    assert len(set(both[5, 38].tolist())) == 1
    assert both[5, 38, 0] < both[5, 5, 0]


def test_wide_labels_share_colours() -> None:
    labels = np.full((4, 4), 256, np.uint16)
    image = np.full((4, 4, 3), 100, np.uint8)
    assert np.array_equal(
        painted(image, labels, PALETTE), painted(image, np.ones((4, 4), np.uint8), PALETTE)
    )


def test_cells_stand_in_rows_and_columns() -> None:
    red, blue = np.zeros((10, 30, 3), np.uint8), np.zeros((20, 30, 3), np.uint8)
    red[:, :, 0], blue[:, :, 2] = 255, 255
    legend = [(f"class number {i}", (i, i, i)) for i in range(9)]
    sheet = grid(["a", "a title that is far too long"], [[red, red], [blue, None]], legend)
    wide = grid(["a", "b", "c", "d"] * 4, [[red] * 16], legend)
    assert sheet.shape[1] == 2 * 30 + 3 * 8
    assert wide.shape[1] == 16 * 38 + 8
    assert sheet.shape[0] > wide.shape[0]  # the legend takes more lines
    top = 8 + 26
    assert (sheet[top : top + 10, 8:38] == (255, 0, 0)).all()
    assert (sheet[top : top + 10, 46:76] == (255, 0, 0)).all()
    assert (sheet[top + 18 : top + 38, 8:38] == (0, 0, 255)).all()
    assert (sheet[top + 18 : top + 38, 46:76] == 255).all()
