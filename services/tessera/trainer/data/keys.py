"""Samples by number, over the ends of epochs. Pure."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Order = NDArray[np.int64]
"""[N] the samples of one epoch in the order of their use."""

Keys = NDArray[np.int64]
"""[N, 2]: which sample, and its seed, which everything random about it follows from."""


def consecutive(order: Callable[[int], Order], sequences: int, samples: int, count: int) -> Keys:
    """The `count` samples after `samples` consumed ones; a sample's number in the run is its seed.

    Args:
        order: of an epoch.
        sequences: samples of every epoch.
        samples: consumed so far.
        count: how many are wanted.
    """
    parts: list[Order] = []
    sample_seeds = np.arange(samples, samples + count, dtype=np.int64)
    while count > 0:
        epoch, used = divmod(samples, sequences)
        part = order(epoch)[used : used + count]
        parts.append(part)
        samples, count = samples + len(part), count - len(part)
    return np.stack([np.concatenate(parts), sample_seeds], axis=1)
