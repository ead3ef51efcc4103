"""The softmax of the dense CRF, compiled: in strips of pixels whose rows become vectors."""

from typing import Any

import numpy as np

from gleclip_cli.compiled import kernel
from gleclip_cli.refine.rows import from_bits

_STRIP = 256
# 2^f on [0, 1], relative error 8e-8: a Chebyshev fit
_POWER_OF_TWO = (0.00899258403, 0.0558236045, 0.24015453, 0.693152968, 0.999999927)


@kernel
def exp(x: Any) -> Any:
    """Return exp(max(x, -60)) for x <= 0 to 4e-6: smaller numbers are slow and change nothing.

    A polynomial for the fraction of x / log 2, bits for its whole part: loops become vectors.
    """
    scaled = (x if x > -60 else np.float32(-60)) * np.float32(1.4426950408889634)
    whole = np.int32(scaled) - 1  # rounds towards 0: the fraction lies in (0, 1]
    f = scaled - np.float32(whole)
    power = np.float32(0.00187623295)
    for coefficient in _POWER_OF_TWO:
        power = power * f + np.float32(coefficient)
    return from_bits(np.int32((whole + 127) << 23)) * power


@kernel
def softmax(values: Any, logits: Any) -> None:
    """Turn messages `values` into probabilities; the background's logit is less their sum.

    One strip of pixels after another, class by class: rows of a strip become vectors.
    """
    classes, pixels = logits.shape
    lanes = values.shape[2]
    for start in range(0, pixels, _STRIP):
        strip = slice(start, min(start + _STRIP, pixels))
        count = strip.stop - start
        scores = np.empty((classes, count), np.float32)
        total, largest = np.zeros(count, np.float32), np.zeros(count, np.float32)
        for k in range(classes):
            message, score = values[k // lanes, strip, k % lanes], scores[k]
            for p in range(count):
                score[p] = message[p]
            for p in range(count):
                total[p] += score[p]
        for k in range(classes):
            logit, score = logits[k, strip], scores[k]
            for p in range(count):
                score[p] += logit[p] + total[p]
            for p in range(count):
                largest[p] = score[p] if score[p] > largest[p] else largest[p]
        for p in range(count):
            total[p] = exp(-largest[p])
        for k in range(classes):
            score = scores[k]
            for p in range(count):
                score[p] = exp(score[p] - largest[p])
            for p in range(count):
                total[p] += score[p]
        for k in range(classes):
            probability, score = values[k // lanes, strip, k % lanes], scores[k]
            for p in range(count):
                probability[p] = score[p] / total[p]
