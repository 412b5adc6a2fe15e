"""Probabilities from what heads say."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.float32]


def expit(x: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """1 / (1 + exp(-x)), which overflows nowhere."""
    return np.exp(-np.logaddexp(0.0, -np.asarray(x, np.float64)))


def softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Probabilities over the last axis: zeros where -inf rules everything out."""
    exact = logits.astype(np.float64)
    top = exact.max(axis=-1, keepdims=True)
    powers = np.exp(exact - np.where(np.isneginf(top), 0, top))
    total = powers.sum(axis=-1, keepdims=True)
    return powers / np.where(total == 0, 1, total)


def largest(values: NDArray[Any], count: int) -> NDArray[np.intp]:
    """Indexes of the largest of some numbers, the largest first."""
    count = min(count, len(values))
    some = np.argpartition(-values, count - 1)[:count]
    return some[np.argsort(-values[some], kind="stable")]
