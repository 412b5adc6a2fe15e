"""Which sequences make up a step: the same at any world size, from a few integers. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tessera.trainer.data.keys import Keys, consecutive

Starts = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampler:
    """Cuts a line of tokens into sequences and shuffles them anew in every epoch.

    The position of a run is the number of samples consumed and nothing else.

    Args:
        tokens: length of the line.
        length: tokens of a sequence, its last target left out.
        seed: of the order.
    """

    tokens: int
    length: int
    seed: int

    def __post_init__(self) -> None:
        if self.tokens <= self.length:
            raise ValueError(f"{self.tokens} tokens make no sequence of {self.length}")

    @property
    def sequences(self) -> int:
        """Sequences of one epoch."""
        return max(1, (self.tokens - self.length) // self.length)

    def order(self, epoch: int) -> Starts:
        """First token of every sequence of an epoch, in the order of their use.

        Each epoch shifts the cuts, so that later ones see other boundaries.
        """
        random = np.random.Generator(np.random.Philox(key=[self.seed, epoch]))
        slack = self.tokens - 1 - self.sequences * self.length
        shift = int(random.integers(0, min(slack, self.length - 1) + 1))
        return random.permutation(self.sequences).astype(np.int64) * self.length + shift

    def keys(self, samples: int, count: int) -> Keys:
        """First tokens and seeds of the `count` sequences after `samples` consumed ones."""
        return consecutive(self._order, self.sequences, samples, count)

    def _order(self, epoch: int) -> Starts:
        key = (self.tokens, self.length, self.seed, epoch)
        if key not in _last:
            _last.clear()
            _last[key] = self.order(epoch)
        return _last[key]


_last: dict[tuple[int, int, int, int], Starts] = {}
"""The order in use: a permutation for every step would cost more than the step."""


def windows(tokens: int, length: int, count: int) -> Keys:
    """First tokens of at most `count` sequences, evenly spread over a held-out line; 0: all.

    The seed of each is its place among them.
    """
    found = (tokens - 1) // length
    starts = np.arange(found, dtype=np.int64) * length
    if count and count < found:
        starts = (np.arange(count, dtype=np.int64) * found // count) * length
    return np.stack([starts, np.arange(len(starts), dtype=np.int64)], axis=1)
