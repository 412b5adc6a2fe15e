"""The baseline that a model has to beat: how often one token follows another. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def bigram_loss(
    train: NDArray[Any], previous: NDArray[Any], following: NDArray[Any], vocab_size: int
) -> float:
    """Mean loss, in nats per token, of an add-one smoothed bigram model.

    Args:
        train: [N] the tokens that are counted.
        previous: [M] the tokens that the model sees.
        following: [M] the tokens that it has to predict.
        vocab_size: number of ids.
    """
    line = np.asarray(train, dtype=np.int64)
    pairs, counts = np.unique(line[:-1] * vocab_size + line[1:], return_counts=True)
    seen = np.bincount(line[:-1], minlength=vocab_size)
    before = np.asarray(previous, dtype=np.int64)
    wanted = before * vocab_size + np.asarray(following, dtype=np.int64)
    at = np.minimum(np.searchsorted(pairs, wanted), len(pairs) - 1)
    found = np.where(pairs[at] == wanted, counts[at], 0)
    return float(np.mean(np.log(seen[before] + vocab_size) - np.log(found + 1)))
