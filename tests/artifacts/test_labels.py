"""The width of label images and the value that is ignored."""

import numpy as np
import pytest
import torch

from gleclip_cli.artifacts.labels import as_wide_as, ignore_index, label_dtype, label_fault


@pytest.mark.parametrize(
    ("num_classes", "dtype", "ignored"),
    [(2, np.uint8, 255), (255, np.uint8, 255), (256, np.uint16, 65535), (65535, np.uint16, 65535)],
)
def test_fault_42_the_number_of_classes_decides(
    num_classes: int, dtype: type, ignored: int
) -> None:
    assert label_dtype(num_classes) is dtype
    labels = np.zeros((1, 2), dtype)
    assert ignore_index(labels) == ignore_index(torch.tensor(labels)) == ignored
    labels[0] = num_classes - 1, ignored
    assert label_fault(labels, num_classes) == ""


def test_fault_42_bytes_are_widened_with_what_they_ignore_and_never_narrowed() -> None:
    narrow = np.array([[0, 254, 255]], np.uint8)
    assert as_wide_as(255, narrow) is narrow
    wide = as_wide_as(256, narrow)
    assert (wide.dtype, wide.tolist()) == (np.uint16, [[0, 254, 65535]])
    with pytest.raises(ValueError, match="uint16, not uint8"):
        as_wide_as(255, wide)


def test_values_that_are_no_class_are_named() -> None:
    assert (
        label_fault(np.array([[2, 3, 91, 255]], np.uint8), 3) == "holds 3, 91: not in 0..2 or 255"
    )
    wide = np.array([[255, 300, 301, 65535]], np.uint16)
    assert label_fault(wide, 301) == "holds 301: not in 0..300 or 65535"
