"""The compiled softmax: its exponential, and probabilities of messages in lanes."""

import numpy as np
import pytest

from gleclip_cli.refine.softmax import exp, softmax


def test_exponential_is_exact_and_never_tiny() -> None:
    numbers = -np.linspace(0, 60, 2001, dtype=np.float32)
    powers = [exp(x) for x in numbers]
    np.testing.assert_allclose(powers, np.exp(numbers.astype(float)), rtol=4e-6)
    assert exp(np.float32(-1e30)) == pytest.approx(np.exp(-60), rel=4e-6)


def test_probabilities_are_those_of_logits_and_messages() -> None:
    """Of the foreground; the background's logit is less the messages' sum, so it gains by none."""
    rng = np.random.default_rng(0)
    classes, pixels, lanes = 3, 300, 2  # more than a strip, and a lane too many
    logits = rng.normal(size=(classes, pixels)).astype(np.float32)
    values = rng.random((2, pixels, lanes), np.float32)
    messages = values.transpose(0, 2, 1).reshape(4, pixels)[:classes].astype(float)
    scores = np.exp(logits + messages + messages.sum(axis=0))
    softmax(values, logits)
    found = values.transpose(0, 2, 1).reshape(4, pixels)[:classes]
    np.testing.assert_allclose(found, scores / (1 + scores.sum(axis=0)), rtol=1e-5)
