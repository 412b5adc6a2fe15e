"""Which sequences make up a step: the same at any world size, from a few integers. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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

    def epoch(self, samples: int) -> int:
        """Epoch that the next sample belongs to."""
        return samples // self.sequences

    def order(self, epoch: int) -> Starts:
        """First token of every sequence of an epoch, in the order of their use.

        Each epoch shifts the cuts, so that later ones see other boundaries.
        """
        random = np.random.Generator(np.random.Philox(key=[self.seed, epoch]))
        slack = self.tokens - 1 - self.sequences * self.length
        shift = int(random.integers(0, min(slack, self.length - 1) + 1))
        return random.permutation(self.sequences).astype(np.int64) * self.length + shift

    def starts(self, samples: int, count: int) -> Starts:
        """First tokens of the `count` sequences after `samples` consumed ones."""
        parts: list[Starts] = []
        while count > 0:
            epoch, used = divmod(samples, self.sequences)
            part = self._order(epoch)[used : used + count]
            parts.append(part)
            samples, count = samples + len(part), count - len(part)
        return np.concatenate(parts)

    def _order(self, epoch: int) -> Starts:
        key = (self.tokens, self.length, self.seed, epoch)
        if key not in _last:
            _last.clear()
            _last[key] = self.order(epoch)
        return _last[key]


_last: dict[tuple[int, int, int, int], Starts] = {}
"""The order in use: a permutation for every step would cost more than the step."""


def share(starts: Starts, rank: int, world_size: int) -> Starts:
    """The rows of a batch that one rank takes."""
    rows = len(starts) // world_size
    return starts[rank * rows : (rank + 1) * rows]


def windows(tokens: int, length: int, count: int) -> Starts:
    """First tokens of at most `count` sequences, evenly spread over a held-out line; 0: all."""
    found = (tokens - 1) // length
    if count and count < found:
        return (np.arange(count, dtype=np.int64) * found // count) * length
    return np.arange(found, dtype=np.int64) * length
