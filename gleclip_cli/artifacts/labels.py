"""Label images in memory: a class id per pixel, 0 for background.

Up to 254 classes they are uint8 and 255 is ignored; beyond, uint16 and 65535. The type of an array
tells its value to ignore; a number of classes here counts background.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.unsignedinteger[Any]]

MOST_CLASSES = 65535
"""Labels 0..65534: background and as many classes as a label image can hold."""


def label_dtype(num_classes: int) -> type[np.uint8] | type[np.uint16]:
    """Return the type of label images of that many classes."""
    return np.uint8 if num_classes <= 255 else np.uint16


def ignore_index(labels: Any) -> int:
    """Return the value to ignore in an array or tensor of labels."""
    return 255 if labels.dtype.itemsize == 1 else 65535


def as_wide_as(num_classes: int, labels: Labels) -> Labels:
    """Return labels in the type for that many classes; what was ignored in bytes still is.

    Raises:
        ValueError: they are wider than that: a cast could turn one class into another.
    """
    dtype = label_dtype(num_classes)
    if labels.dtype == dtype:
        return labels
    if labels.dtype != np.uint8:
        raise ValueError(f"labels are {labels.dtype}, not {np.dtype(dtype)}")
    wide: Labels = labels.astype(dtype)
    wide[labels == ignore_index(labels)] = ignore_index(wide)
    return wide


def label_fault(labels: Labels, num_classes: int) -> str:
    """Name the first values that are no class, or nothing."""
    ignored = ignore_index(labels)
    others = np.unique(labels[(labels >= num_classes) & (labels != ignored)])
    if not others.size:
        return ""
    shown = ", ".join(str(value) for value in others[:5])
    return f"holds {shown}: not in 0..{num_classes - 1} or {ignored}"
